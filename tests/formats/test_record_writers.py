"""Files that the formats' own software writes; skipped where that is not installed."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import TarDataset, TarStream, TFRecordDataset

if TYPE_CHECKING:
    from pathlib import Path


def test_what_tensorflow_writes(tmp_path: Path) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    rng = np.random.default_rng(0)
    samples = [
        {"image": rng.bytes(100), "label": int(rng.integers(-5, 5)), "box": rng.random(4, np.float32)}
        for _ in range(20)
    ]
    path = tmp_path / "a.tfrecord"
    with tensorflow.io.TFRecordWriter(str(path)) as writer:
        for sample in samples:
            writer.write(_example(tensorflow, sample))
    dataset = TFRecordDataset(path, features={"image": bytes, "label": int, "box": (np.float32, 4)})
    batch = dataset.get_batch(np.arange(20))
    assert batch["image"] == [sample["image"] for sample in samples]
    assert batch["label"].tolist() == [sample["label"] for sample in samples]
    np.testing.assert_array_equal(batch["box"], [sample["box"] for sample in samples])


def _example(tensorflow: Any, sample: dict[str, Any]) -> bytes:
    train = tensorflow.train
    features = {
        "image": train.Feature(bytes_list=train.BytesList(value=[sample["image"]])),
        "label": train.Feature(int64_list=train.Int64List(value=[sample["label"]])),
        "box": train.Feature(float_list=train.FloatList(value=sample["box"])),
    }
    written: bytes = train.Example(features=train.Features(feature=features)).SerializeToString()
    return written


def test_what_tensorflow_reads(tmp_path: Path) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    from headrace.formats.tfrecord.example import encode
    from headrace.formats.tfrecord.framing import frame

    path = tmp_path / "a.tfrecord"
    path.write_bytes(frame(encode({"image": b"...", "label": [-1, 2**40], "box": np.arange(3, dtype=np.float32)})))
    (record,) = tensorflow.data.TFRecordDataset(str(path))
    feature = tensorflow.train.Example.FromString(record.numpy()).features.feature
    assert list(feature["image"].bytes_list.value) == [b"..."]
    assert list(feature["label"].int64_list.value) == [-1, 2**40]
    assert list(feature["box"].float_list.value) == [0, 1, 2]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its files open
def test_what_webdataset_writes(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    samples = [
        {"__key__": f"größe/{number:04d}", "jpg": bytes([number]) * number, "cls": b"%d" % number}
        for number in range(25)
    ]
    with webdataset.ShardWriter(str(tmp_path / "a-%03d.tar"), maxcount=10, verbose=0) as writer:
        for sample in samples:
            writer.write(sample)
    with webdataset.TarWriter(str(tmp_path / "a.tar.gz")) as writer:
        for sample in samples:
            writer.write(sample)
    dataset = TarDataset(f"{tmp_path}/a-{{000..002}}.tar")
    names = ("__key__", "jpg", "cls")
    assert [{name: dataset[index][name] for name in names} for index in range(25)] == samples
    assert [{name: sample[name] for name in names} for sample in TarStream(tmp_path / "a.tar.gz")] == samples
    theirs = webdataset.WebDataset([str(path) for path in sorted(tmp_path.glob("a-*.tar"))], shardshuffle=False)
    assert [sample["jpg"] for sample in theirs] == [sample["jpg"] for sample in samples]
    del theirs
    gc.collect()  # here, and not in a test to come
