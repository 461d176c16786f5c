"""Formats over sources that are not mapped, of which only what is needed is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import headrace.formats.arrow.reader
import headrace.formats.npy.reader
from headrace import ArrowDataset, DataLoader, NpyDataset, ParquetDataset, ToFloat
from headrace.io.source import LocalSource
from headrace.testing import check_dataset, check_same

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class FarSource(LocalSource):
    """Reads ranges, and counts their bytes."""

    bytes_read = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return FarSource, (self.path, self.identity)

    def view(self) -> Any:
        return None

    def read(self, offset: int, length: int) -> NDArray[np.uint8]:
        FarSource.bytes_read += length
        return super().read_many(np.array([offset]), np.array([length])).buffer

    def read_many(self, offsets: NDArray[np.int64], lengths: NDArray[np.int64]) -> Any:
        FarSource.bytes_read += int(lengths.sum())
        return LocalSource(self.path).read_many(offsets, lengths)


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (headrace.formats.arrow.reader, headrace.formats.npy.reader):
        monkeypatch.setattr(module, "open_source", FarSource)
    monkeypatch.setattr(FarSource, "bytes_read", 0)


@pytest.mark.usefixtures("far")
def test_rows_of_npy_files(tmp_path: Path) -> None:
    array = np.arange(10_000 * 12, dtype=np.uint8).reshape(10_000, 2, 2, 3)
    np.save(tmp_path / "0.npy", array[:4000])
    np.save(tmp_path / "1.npy", np.asfortranarray(array[4000:]))
    np.save(tmp_path / "labels.npy", np.arange(10_000))
    one, shards = NpyDataset(tmp_path / "0.npy"), NpyDataset(tmp_path / "[01].npy")
    check_dataset(one, negative=True, picklable=True)
    check_dataset(shards, negative=True, picklable=True)
    assert NpyDataset(tmp_path / "labels.npy").get_batch(np.array([7, 3])).tolist() == [7, 3]
    FarSource.bytes_read = 0
    indices = np.array([3999, 0, 17])
    check_same(one.get_batch(indices), array[indices])
    check_same(one[5], array[5])
    assert FarSource.bytes_read == 4 * 12
    batch = next(iter(DataLoader(one.map(ToFloat()), batch_size=4)))
    assert FarSource.bytes_read < 1000
    assert batch.shape == (4, 2, 2, 3)
    indices = np.array([9999, 0, 4000])
    check_same(shards.get_batch(indices), array[indices])


@pytest.mark.usefixtures("far")
def test_row_groups_of_parquet_files(tmp_path: Path) -> None:
    table = pa.table({"x": np.arange(10_000), "y": np.random.default_rng(0).normal(size=10_000)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1000)
    dataset = ParquetDataset(tmp_path / "a.parquet", columns=["x"])
    check_dataset(dataset, negative=True, picklable=True)
    FarSource.bytes_read = 0
    assert ParquetDataset(tmp_path / "a.parquet", columns=["x"])[5500]["x"] == 5500
    assert FarSource.bytes_read < (tmp_path / "a.parquet").stat().st_size / 2


@pytest.mark.usefixtures("far")
@pytest.mark.parametrize("stream", [False, True])
def test_record_batches_of_arrow_files(tmp_path: Path, stream: bool) -> None:
    table = pa.table({"x": np.arange(1000), "text": [f"row {n}" for n in range(1000)]})
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    dataset = ArrowDataset(tmp_path / "a.arrow")
    check_dataset(dataset, negative=True, picklable=True)
    assert dataset.get_batch(np.array([999, 0]))["text"] == ["row 999", "row 0"]
