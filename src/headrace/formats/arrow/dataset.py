"""Tables of Arrow and Parquet: a sample is a row, a dict with the names of the columns as keys."""

from __future__ import annotations

import warnings
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.ragged import sequence_field
from headrace.errors import ArgumentError, CorruptDataError, HeadraceWarning
from headrace.formats.arrow.record_batches import RecordBatches
from headrace.formats.shard_bounds import ShardBounds
from headrace.formats.sharded import ShardedDataset
from headrace.io.disk import DiskWaits
from headrace.io.lru import DecodedPieces, Recent
from headrace.io.paths import find_paths
from headrace.pipeline.reading import check_indices

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from headrace.formats.arrow.reader import Table
    from headrace.formats.arrow.record_batches import RecordBatch

__all__ = ["ArrowDataset", "ParquetDataset", "open_files", "open_parquet"]

_CACHE = 1 << 30
_WHILE = 4  # row groups: how long a wait for the disk counts
# Decoded rows for each row that was asked for, and decoded record batches, from which on something must be wrong.
_WASTE, _ENOUGH = 100, 64


class _TableDataset(ShardedDataset["RecordBatch"]):
    """Rows of tables, whose record batches are read when they are needed and kept as long as memory allows."""

    _batch_name = "record batch"  # what its format calls it

    def __init__(self, tables: Sequence[Table], cache_bytes: int) -> None:
        for table in tables:
            _check_alike(table, tables[0])
        self._tables = tables
        self._places = [(table, number) for table in tables for number in range(len(table.lengths))]
        super().__init__(ShardBounds(table.lengths[number] for table, number in self._places))
        self._recent: Recent[RecordBatch] = Recent(_checked_size(cache_bytes))
        self._last: tuple[list[int], RecordBatches] | None = None  # those that the last batch was gathered from

    @property
    def column_names(self) -> list[str]:
        """The keys of a sample."""
        return list(self._tables[0].types)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_last": None}

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """Return the batch of the samples at the indices, shape (n,), int64."""
        indices = check_indices(indices, len(self))
        located = self._bounds.locate(indices)
        return self._batches(located.shards).gather(located, indices)

    def get_ragged(self, indices: NDArray[np.int64]) -> dict[str, Any] | None:
        """Return the same with lists that differ in length as Ragged; None where samples must be read."""
        indices = check_indices(indices, len(self))
        located = self._bounds.locate(indices)
        return self._batches(located.shards).gather_ragged(located, indices)

    def where(self, index: int) -> str:
        """Return the file of a row, its record batch or row group there, and its place in that."""
        shard, row = self._bounds.find(index)
        table, number = self._places[shard]
        return f"{table.name}, {self._batch_name} {number}, row {row}"

    def _lengths(self, field: int | str | None) -> Iterator[NDArray[np.int64] | None] | None:
        """Yield how many items the lists of each record batch have, of which no other column is decoded."""
        name = sequence_field(self.column_names, field)
        if name is None:
            return None
        return (_checked_lengths(table, number, str(name)) for table, number in self._places)

    def _batches(self, numbers: list[int]) -> RecordBatches:
        """Return the record batches of these numbers: in blocks, and in sequence, those of the batch before."""
        last = self._last
        if last is not None and last[0] == numbers:
            self._check(numbers)
            return last[1]
        self._last = last = None  # so that they are not in memory beside those that come
        batches = RecordBatches(self._open(numbers))
        if len(self._recent) >= len(numbers):  # the cache keeps them anyway
            self._last = numbers, batches
        return batches

    def _check(self, numbers: list[int]) -> None:
        for table in {self._places[number][0] for number in numbers}:
            table.check()

    def _open(self, numbers: list[int]) -> list[RecordBatch]:
        self._check(numbers)
        return [self._recent.get(number, partial(self._read, number)) for number in numbers]

    def _read(self, shard: int) -> tuple[RecordBatch, int]:
        table, number = self._places[shard]
        return table.read(number)


class ParquetDataset(_TableDataset):
    """The rows of Parquet files. `pip install 'headrace[arrow]'` installs pyarrow, which reads them.

    A row group is decoded as a whole, when a row of it is asked for, and kept for the next. So read in blocks:
    `shuffle="block"` decodes each once an epoch, while `shuffle=True` decodes one for nearly every sample unless all of
    them fit into the cache.

    Args:
        path: a file, a pattern such as "train-*.parquet", or a list of them. Their rows follow one another.
        columns: the names of the columns that are read, in the order of the fields; "image.bytes" is the field
            `bytes` of a column of structs. By default all of them.
        cache_bytes: how much memory decoded row groups may take, in each process.

    Samples are dicts. Numbers, times and lists become NumPy's, strings and bytes Python's, structs dicts, and nulls
    None. A batch has no nulls: one is an error that names the column and the sample.

    Attributes:
        paths: of the files.

    Raises:
        ImportError: pyarrow is not there.
        FileNotFoundError: there is no such file.
        ArgumentError: a file has not the columns, or they are of another type than in the first file.
        CorruptDataError: a file is no Parquet file, or is damaged; of pages where they are read.
        FileChangedError: when samples are asked for of a file that has changed meanwhile.

    >>> import pyarrow, pyarrow.parquet
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     table = pyarrow.table({"text": ["a", "b", "c"], "label": [1, 2, 3]})
    ...     pyarrow.parquet.write_table(table, folder + "/x.parquet")
    ...     ParquetDataset(folder + "/x.parquet")[1]
    {'text': 'b', 'label': np.int64(2)}
    """

    _batch_name = "row group"

    def __init__(
        self,
        path: str | bytes | os.PathLike[Any] | Iterable[str | bytes | os.PathLike[Any]],
        columns: Sequence[str] | None = None,
        *,
        cache_bytes: int = _CACHE,
    ) -> None:
        arrow = _import_arrow()
        self.paths = find_paths(path)
        files = [arrow.ParquetFile(each, columns) for each in self.paths]
        super().__init__(files, cache_bytes)
        self._files = {file.name: file for file in files}
        self._asked = 0
        self._warned = False
        self._advised: list[int] = []
        self._is_local = all(file.is_local for file in files)
        self._waits = DiskWaits(lasts=_WHILE, every=1)  # a read is that of a row group, which lasts many batches

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_asked": 0, "_warned": False, "_advised": []}

    def blocks(self) -> NDArray[np.int64]:
        """Return where the row groups begin, and the last one ends, shape (groups + 1,), int64."""
        lengths = [length for length in self._bounds.lengths.tolist() if length]
        return np.array([0, *accumulate(lengths)], np.int64)

    def reads_ahead(self) -> bool:
        """Return whether it is of use to say early what will be read: where files are far away, or not in memory."""
        return self._waits.lately or not self._is_local

    def will_need(self, indices: NDArray[np.int64]) -> None:
        """Ask the system to read the row groups of samples that will be read soon."""
        shards = self._bounds.locate(indices).shards
        for shard in shards:
            if shard not in self._advised:
                table, number = self._places[shard]
                table.will_need(number)
        self._advised = shards

    def pieces(self, indices: NDArray[np.int64]) -> DecodedPieces:
        """Return the row groups that are decoded for the samples at the indices, shape (n,), int64."""
        found = self._bounds.locate(indices).shards
        files = [self._files[self._places[shard][0].name] for shard in found]
        sizes = [file.unpacked_bytes(self._places[shard][1]) for file, shard in zip(files, found, strict=True)]
        return DecodedPieces(
            "row_groups_decoded", self._recent.limit, list(zip(found, sizes, strict=True)), estimated=True
        )

    def counters(self) -> dict[str, int]:
        """Return how many row groups were decoded so far in this process."""
        return {"row_groups_decoded": self._recent.made}

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """Return the batch of the samples at the indices, shape (n,), int64."""
        batch = super().get_batch(indices)
        self._count(indices)
        return batch

    def get_ragged(self, indices: NDArray[np.int64]) -> dict[str, Any] | None:
        """Return the same with lists that differ in length as Ragged; None where samples must be read."""
        batch = super().get_ragged(indices)
        if batch is not None:
            self._count(indices)
        return batch

    def read_lengths(self, field: int | str | None = None) -> Iterator[NDArray[np.int64] | None] | None:
        """Yield how many items the list of each sample has, by row groups, of which no other column is decoded.

        Args:
            field: the column; None for "input_ids", "tokens", or the only one. None is returned where there is none,
                and yielded where it has other values than lists.
        """
        return self._lengths(field)

    def _count(self, indices: NDArray[np.int64]) -> None:
        self._asked += len(indices)
        self._warn_of_waste()

    def _read(self, shard: int) -> tuple[RecordBatch, int]:
        found = super()._read(shard)
        self._waits.note_read()
        return found

    def _warn_of_waste(self) -> None:
        decoded, groups = self._recent.made, len(self._bounds.lengths)
        if self._warned or decoded < _ENOUGH or decoded * len(self) < _WASTE * self._asked * groups:
            return
        self._warned = True
        warnings.warn(
            f"{decoded} row groups were decoded for {self._asked} samples: the order leaves them before they are used, "
            f"and cache_bytes={self._recent.limit:,} holds {len(self._recent)} of {groups}; read with shuffle='block', "
            "raise cache_bytes, or write smaller row groups",
            HeadraceWarning,
            stacklevel=3,
        )


class ArrowDataset(_TableDataset):
    """The rows of a pyarrow table, or of Arrow, Feather or CSV files. `pip install 'headrace[arrow]'` installs pyarrow.

    Arrow and Feather files that are not compressed are mapped, so they need not fit into memory; of compressed ones,
    record batches are decoded as row groups of Parquet are. CSV files are read at once, with pyarrow's defaults; for
    other options give `pyarrow.csv.read_csv(path, ...)` as the table.

    Args:
        data: a `pyarrow.Table` or `RecordBatch`; or the path of a file, a pattern, or a list of paths. Names that end
            in .csv or .tsv (or .csv.gz) are read as text, all others as Arrow's IPC format, as a file or a stream.
        columns: the names of the columns that are read, in the order of the fields; "image.bytes" is the field
            `bytes` of a column of structs. By default all of them.
        cache_bytes: how much memory decoded record batches may take, in each process.

    Attributes:
        paths: of the files; none of a table in memory.

    Samples are dicts, as those of `ParquetDataset`.

    Raises:
        ImportError: pyarrow is not there.
        FileNotFoundError: there is no such file.
        ArgumentError: a file has not the columns, or they are of another type than in the first file.
        CorruptDataError: a file is not what it should be.
        FileChangedError: when samples are asked for of a file that has changed meanwhile.

    >>> import pyarrow
    >>> dataset = ArrowDataset(pyarrow.table({"text": ["a", "b", "c"], "label": [1, 2, 3]}))
    >>> dataset.get_batch(np.array([2, 0]))
    {'text': ['c', 'a'], 'label': array([3, 1])}
    """

    def __init__(self, data: Any, columns: Sequence[str] | None = None, *, cache_bytes: int = _CACHE) -> None:
        arrow = _import_arrow()
        self.paths = [] if arrow.is_table(data) else find_paths(data)
        super().__init__([arrow.open_table(each, columns) for each in self.paths or [data]], cache_bytes)

    def field_lengths(self, field: int | str | None = None) -> NDArray[np.int64] | None:
        """Return how many items the list of each sample has, from the offsets; None of files that are compressed.

        Args:
            field: the column; None for "input_ids", "tokens", or the only one. Where there is none, or it has other
                values than lists, None is returned.
        """
        parts = self._lengths(field) if all(table.is_decoded for table in self._tables) else None
        return None if parts is None else _joined(parts)

    def read_lengths(self, field: int | str | None = None) -> Iterator[NDArray[np.int64] | None] | None:
        """Yield the same by record batches, also of files that are compressed."""
        return self._lengths(field)


def _checked_lengths(table: Table, number: int, name: str) -> NDArray[np.int64] | None:
    table.check()
    found = table.read_lengths(number, name)
    if found is not None and len(found) and found.min() < 0:
        raise CorruptDataError(f"{table.name} is damaged: a list of column {name!r} has {found.min()} items")
    return found


def _joined(parts: Iterator[NDArray[np.int64] | None]) -> NDArray[np.int64] | None:
    found = []
    for part in parts:
        if part is None:
            return None
        found.append(part)
    return np.concatenate(found)


def _import_arrow() -> Any:
    try:
        from headrace.formats.arrow import reader as arrow
    except ImportError as error:
        raise ImportError(
            f"pyarrow reads such files, and cannot be imported ({error}): pip install 'headrace[arrow]'"
        ) from error
    return arrow


def _checked_size(cache_bytes: Any) -> int:
    if isinstance(cache_bytes, bool) or not isinstance(cache_bytes, int) or cache_bytes < 0:
        raise ArgumentError(f"cache_bytes must be a number of bytes, 0 or more, but got {cache_bytes!r}")
    return cache_bytes


def _check_alike(table: Table, first: Table) -> None:
    for name, kind in table.types.items():
        if first.types.get(name) != kind:
            raise ArgumentError(
                f"the files must have the same columns, but {name!r} is {kind} in {table.name} and "
                f"{first.types.get(name, 'missing')} in {first.name}; choose others with columns=[...]"
            )
    missing = [name for name in first.types if name not in table.types]
    if missing:
        raise ArgumentError(f"{table.name} has no columns {missing}, which {first.name} has; choose others")


def open_parquet(paths: list[str], *, fields: bool = True) -> ParquetDataset:  # noqa: ARG001 - they are parsed anyway
    """Return the dataset of some Parquet files."""
    return ParquetDataset(paths)


def open_files(paths: list[str], *, fields: bool = True) -> ArrowDataset:  # noqa: ARG001
    """Return the dataset of some files of Arrow, Feather or CSV."""
    return ArrowDataset(paths)
