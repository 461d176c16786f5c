"""TFRecord files, against what TensorFlow wrote, and damaged in every way."""

from __future__ import annotations

import base64
import gzip
import os
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader
from headrace.errors import ArgumentTypeError, CorruptDataError, FileChangedError, HeadraceWarning, StorageError
from headrace.formats.tfrecord.dataset import TFRecordDataset
from headrace.formats.tfrecord.framing import frame
from headrace.testing import check_dataset

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def records(count: int) -> list[bytes]:
    rng = np.random.default_rng(0)
    return [rng.bytes(int(rng.integers(0, 2000))) for _ in range(count)]


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """Three files with 40 records, one of them without any."""
    content = [frame(record) for record in records(40)]
    paths = [tmp_path / f"größe-{number}.tfrecord" for number in range(3)]
    for path, part in zip(paths, (content[:15], [], content[15:]), strict=True):
        path.write_bytes(b"".join(part))
    return paths


def test_all_records(shards: list[Path], tmp_path: Path) -> None:
    for paths in (shards, f"{tmp_path}/*.tfrecord", map(str, shards)):
        dataset = TFRecordDataset(paths)
        assert len(dataset) == 40
        assert [dataset[index] for index in range(40)] == records(40)
        assert dataset.get_batch(np.array([39, 0, 15, 14, 0])) == [records(40)[i] for i in (39, 0, 15, 14, 0)]
        assert dataset.get_batch(np.arange(0)) == []


@pytest.mark.parametrize("decode", [None, len, bytes.upper])
def test_keeps_the_rules(shards: list[Path], decode: Callable[[bytes], Any] | None) -> None:
    check_dataset(TFRecordDataset(shards, decode), negative=True, picklable=True)


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_in_a_loader(shards: list[Path], backend: Any) -> None:
    expected = list(DataLoader(TFRecordDataset(shards), batch_size=7, shuffle=True, seed=0))
    with DataLoader(
        TFRecordDataset(shards), batch_size=7, shuffle=True, seed=0, num_workers=2, backend=backend
    ) as loader:
        assert list(loader) == expected
    resumed = DataLoader(TFRecordDataset(shards), batch_size=7, shuffle=True, seed=0)
    batches = iter(resumed)
    next(batches)
    other = DataLoader(TFRecordDataset(shards), batch_size=7, shuffle=True, seed=0)
    other.load_state_dict(resumed.state_dict())
    assert list(other) == expected[1:]
    assert sorted(record for batch in expected for record in batch) == sorted(records(40))


def test_small_to_pickle(tmp_path: Path) -> None:
    path = tmp_path / "many.tfrecord"
    path.write_bytes(frame(b"record") * 50_000)
    dataset = TFRecordDataset(path)
    text = pickle.dumps(dataset)
    assert len(text) < 2000
    assert pickle.loads(text)[49_999] == b"record"


def test_blocks_are_files(shards: list[Path]) -> None:
    assert TFRecordDataset(shards).blocks().tolist() == [0, 15, 40]


def test_closed_and_read_again(shards: list[Path]) -> None:
    dataset = TFRecordDataset(shards)
    dataset.will_need(np.array([3, 39]))
    first = dataset[3]
    dataset.close()
    assert dataset[3] == first


def damaged(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_a_flipped_bit(shards: list[Path]) -> None:
    where = 16 * 3 + sum(map(len, records(40)[:3])) + 12
    damaged(shards[0], where)
    dataset = TFRecordDataset(shards)
    message = rf"sample 3 is damaged: .*größe-0.tfrecord, {len(records(40)[3])} bytes at {where}: their CRC32C is 0x"
    with pytest.raises(CorruptDataError, match=message):
        dataset[3]
    with pytest.raises(CorruptDataError, match="sample 3 is damaged") as caught:
        list(DataLoader(dataset, batch_size=10))
    assert "while reading sample 3 of TFRecordDataset" in caught.value.__notes__
    assert dataset[2] == records(40)[2]
    assert TFRecordDataset(shards, verify=False)[3] != records(40)[3]


def test_a_wrong_length(shards: list[Path]) -> None:
    damaged(shards[2], 1)
    with pytest.raises(
        CorruptDataError, match=r"größe-2.tfrecord: record 0, at byte 0 of \d+, has a length with a wrong"
    ):
        TFRecordDataset(shards)


@pytest.mark.parametrize("cut", [1, 10, 1500])
def test_cut_short(shards: list[Path], cut: int) -> None:
    os.truncate(shards[2], shards[2].stat().st_size - cut)
    with pytest.raises(CorruptDataError, match=r"größe-2.tfrecord: record 2\d, at byte \d+ of \d+, is cut short"):
        TFRecordDataset(shards)


@pytest.mark.parametrize("content", [b"text", b"\0\x1f\x8b is not how compressed data begin", bytes(100)])
def test_another_format(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(CorruptDataError, match=r"a: record 0, at byte 0 of \d+, (has a length with a wrong|is cut)"):
        TFRecordDataset(tmp_path / "a")


def test_a_missing_shard(shards: list[Path]) -> None:
    shards[1].unlink()
    with pytest.raises(FileNotFoundError, match=r"größe-1\.tfrecord"):
        TFRecordDataset(shards)
    with pytest.raises(FileNotFoundError, match=r"no file matches .*\*.tfr"):
        TFRecordDataset(f"{shards[0].parent}/*.tfr")


@pytest.mark.parametrize("change", ["cut", "remove"])
def test_a_file_that_changes_while_it_is_read(shards: list[Path], change: str) -> None:
    dataset = TFRecordDataset(shards)
    copy = pickle.dumps(dataset)
    dataset[39]
    if change == "cut":
        os.truncate(shards[2], 10)
    else:
        shards[2].unlink()
    for each in (dataset, pickle.loads(copy)):
        with pytest.raises(FileChangedError, match=r"größe-2\.tfrecord (has changed|is gone)"):
            each[39]
        assert each[0] == records(40)[0]


def test_records_of_no_bytes_and_of_many(tmp_path: Path) -> None:
    path = tmp_path / "sizes"
    path.write_bytes(frame(b"") + frame(bytes(5_000_000)) + frame(b""))
    assert list(map(len, TFRecordDataset(path).get_batch(np.arange(3)))) == [0, 5_000_000, 0]


def test_a_record_of_three_gigabytes(tmp_path: Path) -> None:
    """In a sparse file, whose zeros take no place; only its length is looked at to find the next one."""
    path = tmp_path / "large"
    length = (3 * 2**30).to_bytes(8, "little")
    with path.open("wb") as file:
        file.write(length + frame(length)[-4:])  # as it is framed, the last of it is the sum of its bytes
        file.seek(3 * 2**30 + 4, os.SEEK_CUR)
        file.write(frame(b"after it"))
    dataset = TFRecordDataset(path)
    assert len(dataset) == 2
    assert dataset[1] == b"after it"


# Written by tf.io.TFRecordWriter(options="GZIP") of TensorFlow 2.21: the records b"", b"headrace" and 300 times b"x".
PACKED_BY_TENSORFLOW = base64.b85decode(
    "ABzY80000000U!SfB;SA8SFP+H7(+R^8dG~@MokZrW7S6rxpY(+pNO~5&!frdTzxiAR3%)nxY5*HAU5yWB~vG"
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "headrace" / "unpacked"


def test_compressed_files_are_unpacked(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "a.tfrecord.gz"
    path.write_bytes(PACKED_BY_TENSORFLOW)
    with pytest.warns(HeadraceWarning, match=r"a\.tfrecord\.gz is compressed, .* it is unpacked to .*unpacked"):
        dataset = TFRecordDataset(path)
    assert dataset.get_batch(np.arange(3)) == [b"", b"headrace", b"x" * 300]
    (copy,) = (each for each in cache.iterdir() if not each.name.startswith("."))
    assert TFRecordDataset(path)[1] == b"headrace"
    path.write_bytes(gzip.compress(frame(b"new")))
    with pytest.warns(HeadraceWarning):
        assert TFRecordDataset(path)[0] == b"new"
    assert not copy.exists()
    assert dataset.paths == [str(path)]


def test_compressed_files_that_are_damaged(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tfrecord.gz"
    path.write_bytes(PACKED_BY_TENSORFLOW[:-9])
    with (
        pytest.warns(HeadraceWarning, match="is compressed"),
        pytest.raises(CorruptDataError, match=r"a\.tfrecord\.gz: its compressed data are damaged or cut short"),
    ):
        TFRecordDataset(path)
    assert list(cache.iterdir()) == []
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with (
        pytest.warns(HeadraceWarning, match="is compressed"),
        pytest.raises(StorageError, match=r"a\.tfrecord\.gz cannot be unpacked to .*; make room, set XDG_CACHE_HOME"),
    ):
        TFRecordDataset(path)


def test_arguments_are_checked(shards: list[Path]) -> None:
    with pytest.raises(ArgumentTypeError, match="decode must be a function"):
        TFRecordDataset(shards, "jpg")  # type: ignore[arg-type]
