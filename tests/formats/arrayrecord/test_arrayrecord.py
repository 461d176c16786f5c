"""ArrayRecord files, written and read by array_record."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from headrace import ArrayRecordDataset, DataLoader, open_dataset
from headrace.errors import CorruptDataError, FileChangedError
from headrace.testing import check_dataset

if TYPE_CHECKING:
    from pathlib import Path

module: Any = pytest.importorskip("array_record.python.array_record_module")
RECORDS = [f"record {number}".encode() * (number % 4) for number in range(30)]


@pytest.fixture(params=["group_size:1", "group_size:8"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    for number, records in enumerate((RECORDS[:20], RECORDS[20:])):
        writer = module.ArrayRecordWriter(str(tmp_path / f"a-{number}.array_record"), request.param)
        for record in records:
            writer.write(record)
        writer.close()
    return tmp_path


def test_records_are_those_that_were_written(path: Path) -> None:
    dataset = open_dataset(path)
    assert isinstance(dataset, ArrayRecordDataset)
    assert [dataset[index] for index in range(30)] == RECORDS
    assert dataset.__getitems__([29, 0, 21]) == [RECORDS[29], RECORDS[0], RECORDS[21]]
    check_dataset(dataset)
    assert dataset.where(21).endswith("a-1.array_record, record 1")


@pytest.mark.parametrize("shuffle", [True, "block"])
@pytest.mark.parametrize("start", [None, "fork"])
def test_workers_resume_and_read_the_same(path: Path, shuffle: Any, start: str | None) -> None:
    dataset = ArrayRecordDataset(path / "a-*.array_record", decode=len)
    options: dict[str, Any] = {"batch_size": 8, "shuffle": shuffle, "seed": 0}
    inline = [batch.tolist() for batch in DataLoader(dataset, **options)]
    with DataLoader(dataset, **options, num_workers=2, backend="process", multiprocessing_context=start) as loader:
        loader.seek(1)
        assert [batch.tolist() for batch in loader] == inline[1:]


def test_blocks_are_whole_groups_of_a_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ArrayRecordDataset(path / "a-*.array_record").blocks().tolist() == [0, 20, 30]
    monkeypatch.setattr("headrace.formats.arrayrecord.dataset._BLOCK_BYTES", 1)
    blocks = ArrayRecordDataset(path / "a-*.array_record").blocks().tolist()
    assert blocks in ([*range(31)], [0, 8, 16, 20, 28, 30])  # groups of 1, and of 8


def test_a_file_that_changes_is_noticed(path: Path) -> None:
    dataset = ArrayRecordDataset(path / "a-0.array_record")
    with (path / "a-0.array_record").open("ab") as file:
        file.write(b" ")
    with pytest.raises(FileChangedError, match="has changed"):
        dataset[0]


def test_without_the_library_the_extra_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "array_record.python.array_record_module", None)
    with pytest.raises(ImportError, match=r"pip install 'headrace\[arrayrecord\]'"):
        open_dataset(path)


def test_what_is_no_arrayrecord(tmp_path: Path) -> None:
    (tmp_path / "a.array_record").write_bytes(b"text" * 100)
    with pytest.raises(CorruptDataError, match="cannot be read"):
        ArrayRecordDataset(tmp_path / "a.array_record")
