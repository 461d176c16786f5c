"""ArrayRecord files, written and read by array_record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from headrace import ArrayRecordDataset, DataLoader, open_dataset
from headrace.errors import CorruptDataError
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


def test_workers_read_the_same(path: Path) -> None:
    dataset = ArrayRecordDataset(path / "a-*.array_record", decode=len)
    inline = [batch.tolist() for batch in DataLoader(dataset, batch_size=8, shuffle=True, seed=0)]
    with DataLoader(dataset, batch_size=8, shuffle=True, seed=0, num_workers=2, backend="process") as loader:
        assert [batch.tolist() for batch in loader] == inline


def test_what_is_no_arrayrecord(tmp_path: Path) -> None:
    (tmp_path / "a.array_record").write_bytes(b"text" * 100)
    with pytest.raises(CorruptDataError, match="cannot be read"):
        ArrayRecordDataset(tmp_path / "a.array_record")
