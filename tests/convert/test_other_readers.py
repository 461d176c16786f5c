"""What is written, as the formats' own software reads it; and what that writes, written again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.convert.conftest import digits

from headrace import open_dataset
from headrace.convert import write_dataset

if TYPE_CHECKING:
    from pathlib import Path


def test_tensorflow_reads_examples(tmp_path: Path) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    images, labels = digits(50).tensors
    samples = [
        {"image": image, "label": int(label), "score": label / 4, "text": "gr\u00fc\u00df", "table": np.float32(image)}
        for image, label in zip(images, labels, strict=True)
    ]
    write_dataset(samples, tmp_path / "a.tfrecord", shard_samples=20)
    features = {
        "image": tensorflow.io.FixedLenFeature([], tensorflow.string),
        "image/shape": tensorflow.io.FixedLenFeature([2], tensorflow.int64),
        "label": tensorflow.io.FixedLenFeature([], tensorflow.int64),
        "score": tensorflow.io.FixedLenFeature([], tensorflow.float32),
        "text": tensorflow.io.FixedLenFeature([], tensorflow.string),
        "table": tensorflow.io.FixedLenFeature([8, 8], tensorflow.float32),
    }
    paths = [str(path) for path in sorted(tmp_path.glob("a-*.tfrecord"))]
    found = [tensorflow.io.parse_single_example(record, features) for record in tensorflow.data.TFRecordDataset(paths)]
    assert len(found) == 50
    for example, sample in zip(found, samples, strict=True):
        image = tensorflow.reshape(tensorflow.io.decode_raw(example["image"], tensorflow.uint8), example["image/shape"])
        np.testing.assert_array_equal(image.numpy(), sample["image"])
        np.testing.assert_array_equal(example["table"].numpy(), sample["table"])
        assert (int(example["label"]), float(example["score"])) == (sample["label"], sample["score"])
        assert example["text"].numpy().decode() == "gr\u00fc\u00df"


def test_tensorflow_reads_raw_records(tmp_path: Path) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    records = [bytes([number % 256]) * (number % 50) for number in range(300)]
    write_dataset(records, tmp_path / "a.tfrecord")
    assert [record.numpy() for record in tensorflow.data.TFRecordDataset(str(tmp_path / "a.tfrecord"))] == records


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its files open
def test_webdataset_reads_tars(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    pytest.importorskip("PIL")
    images, labels = digits(50).tensors
    samples = [
        {"image": image, "label": int(label), "score": label / 4, "text": "gr\u00fc\u00df", "x": np.float32(image)}
        for image, label in zip(images, labels, strict=True)
    ]
    write_dataset(samples, tmp_path / "a.tar", shard_samples=20)
    paths = [str(path) for path in sorted(tmp_path.glob("a-*.tar"))]
    found = list(webdataset.WebDataset(paths, shardshuffle=False).decode("l8"))
    assert [sample["__key__"] for sample in found] == [f"{number:09d}" for number in range(50)]
    for sample, written in zip(found, samples, strict=True):
        np.testing.assert_array_equal(sample["png"], written["image"])
        np.testing.assert_array_equal(sample["x.npy"], written["x"])
        assert (sample["cls"], sample["score.json"], sample["text"]) == (
            written["label"],
            written["score"],
            written["text"],
        )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_webdataset_writes_is_packed(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        for number in range(20):
            writer.write({"__key__": f"s{number:03d}", "cls": number, "json": {"x": [number]}, "npy": np.arange(3)})
    write_dataset(open_dataset(tmp_path / "a.tar", fields=False), tmp_path / "b.tar")
    ours, theirs = (
        list(webdataset.WebDataset(str(tmp_path / name), shardshuffle=False)) for name in ("b.tar", "a.tar")
    )
    for one, other in zip(ours, theirs, strict=True):
        assert {name: value for name, value in one.items() if name not in ("__url__", "__local_path__")} == {
            name: value for name, value in other.items() if name not in ("__url__", "__local_path__")
        }


def test_msgpack_numpy_reads_values_of_lmdb(tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    msgpack = pytest.importorskip("msgpack")
    theirs = pytest.importorskip("msgpack_numpy")
    write_dataset(digits(20), tmp_path / "a.lmdb", fields=["image", "label"])
    with lmdb.open(str(tmp_path / "a.lmdb"), readonly=True, lock=False) as environment, environment.begin() as found:
        values = [msgpack.unpackb(value, object_hook=theirs.decode) for _, value in found.cursor()]
    for value, image, label in zip(values, *digits(20).tensors, strict=True):
        np.testing.assert_array_equal(value["image"], image)
        assert value["label"] == label
