"""Records that lie in several files, found by their number."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import kernels
from headrace.batch.rows import gather_rows
from headrace.errors import CorruptDataError
from headrace.formats.index import Index, open_index, open_indexes
from headrace.formats.prepared import LastPrepared
from headrace.formats.shard_bounds import ShardBounds
from headrace.io.counts import ReadCounts
from headrace.io.disk import DiskWaits, open_files
from headrace.io.ranges import FileRanges, Ranges
from headrace.io.source import LocalSource, Packed, count_requests, open_source, read_ranges, split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.formats.index import IndexFormat
    from headrace.formats.shard_bounds import Located
    from headrace.io.source import ByteSource
    from headrace.kernels.scans import SliceRecords

__all__ = ["RecordFiles"]

_BLOCK_BYTES = 1 << 22
_AT_ONCE = 16  # files far away
_LITTLE = 1 << 14  # bytes of an index that stays in memory, where finding it again would cost more


class _IndexedFile:
    """A file and its index, which are closed together."""

    def __init__(self, source: ByteSource, index_format: IndexFormat) -> None:
        self._source = source
        self._format = index_format
        self._index: Index | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return an index that is kept in a file is read from there again."""
        return vars(self) | {"_index": None if self._index is None or self._index.path else self._index}

    def table(self, name: str) -> NDArray[Any]:
        """Return a table of the index."""
        index = self._index
        if index is None:
            index = self._index = open_index(self._source, self._format)
        open_files.use(self)
        return index.tables[name]

    def take(self, index: Index) -> None:
        """Keep an index that was opened."""
        self._index = index
        open_files.use(self)

    def close(self) -> None:
        """Close both. Existing memory maps stay valid until their last view is garbage-collected."""
        self._source.close()
        index = self._index
        if index is not None and index.path and sum(table.nbytes for table in index.tables.values()) > _LITTLE:
            self._index = None


class RecordFiles:
    """Files and their indexes. They are opened when they are first read, in each process anew.

    Args:
        paths: of the files.
        index_format: of all of them; has a table "records" of `headrace.kernels.scans.RECORD`.
        counted: the table whose rows are counted.
        fewer: by how many its rows are more than what is counted.
        progress: whether to show how far it is while indexes are built.

    Attributes:
        sources: the files.
        bounds: how many rows each has.
        counts: what has been read of records.

    Raises:
        FileNotFoundError: a file is not there.
        CorruptDataError: a file is not of the format, or damaged.
    """

    def __init__(
        self,
        paths: Sequence[str],
        index_format: IndexFormat,
        *,
        counted: str = "records",
        fewer: int = 0,
        progress: bool | None = None,
    ) -> None:
        self.sources: list[ByteSource] = [open_source(path) for path in paths]
        self._is_local = all(isinstance(source, LocalSource) for source in self.sources)
        self._waits = DiskWaits()
        self._slices = LastPrepared("prepare_slices")
        self._indexed = [_IndexedFile(source, index_format) for source in self.sources]
        self.bounds = ShardBounds(self._count(index_format, counted, fewer, progress=progress))
        self.counts = ReadCounts()
        for source in self.sources:
            count_requests(source, self.counts)

    def table(self, number: int, name: str) -> NDArray[Any]:
        """Return a table of the index of a file."""
        return self._indexed[number].table(name)

    def rows(self, name: str, located: Located) -> NDArray[Any]:
        """Return rows of the tables of several files, shape (n,)."""
        tables = [self.table(shard, name) for shard in located.shards]
        rows: NDArray[Any] = gather_rows(tables, located.which, located.rows)
        return rows

    def read(
        self, located: Located, records: NDArray[Any], indices: NDArray[np.int64], *, verify: bool = True
    ) -> Packed:
        """Return the bytes of records, end to end.

        Args:
            located: in which files they are.
            records: RECORD of shape (n,): where in them.
            indices: of their samples, shape (n,), int64, for the texts of errors.
            verify: whether to hold them against their CRC32C.

        Raises:
            CorruptDataError: one is not what it was when the index was built.
            FileChangedError: a file has changed, or is gone.
        """
        packed = read_ranges(*self._ranges(located, records))
        self._waits.note_read()
        self.counts.add(packed.buffer.nbytes)
        if verify:
            self._check(
                Ranges([packed.buffer], np.zeros(len(records), np.int64), packed.bounds[:-1], np.diff(packed.bounds)),
                located,
                records,
                indices,
            )
        return packed

    def read_each(self, located: Located, indices: NDArray[np.int64], *, verify: bool = True) -> list[bytes]:
        """Return the bytes of each record, whose rows are those of the table "records"; for the rest see `read`."""
        views = [self.sources[shard].view() for shard in located.shards]
        arrays = [view for view in views if view is not None]
        if len(arrays) < len(views):
            return split(self.read(located, self.rows("records", located), indices, verify=verify))
        slice_records: SliceRecords = self._slices.find(
            arrays, [self.table(shard, "records") for shard in located.shards]
        )
        found, nbytes, wrong, crc = slice_records(located.which, located.rows, verify=verify)
        self._waits.note_read()
        self.counts.add(nbytes)
        if wrong >= 0:
            shard = located.shards[located.which[wrong]]
            record = self.table(shard, "records")[located.rows[wrong]]
            raise self._error(shard, record, int(indices[wrong]), crc)
        return found

    def read_one(self, shard: int, row: int, index: int, *, verify: bool = True) -> bytes:
        """Return the bytes of one record.

        Args:
            shard: the number of its file.
            row: which of that file's it is.
            index: of its sample, for the texts of errors.
            verify: whether to hold it against its CRC32C.

        Raises:
            CorruptDataError: it is not what it was when the index was built.
            FileChangedError: the file has changed, or is gone.
        """
        record = self.table(shard, "records")[row]
        offset, length, crc, _ = record.item()
        content = self.sources[shard].read(offset, length)
        self.counts.add(length)
        if verify:
            found = int(kernels.active().crc32c(content, np.zeros(1, np.int64), np.array([length]))[0])
            if found != crc:
                raise self._error(shard, record, index, found)
        return content.tobytes()

    def reads_ahead(self) -> bool:
        """Return whether it is worth to say early what will be read: where files are far away, or not in memory."""
        return self._waits.lately or not self._is_local

    def byte_ranges(self, located: Located, records: NDArray[Any]) -> list[FileRanges]:
        """Return where records lie, by their files."""
        places = [np.flatnonzero(located.which == place) for place in range(len(located.shards))]
        found = zip(located.shards, [records[here] for here in places], strict=True)
        return [FileRanges(self.sources[shard], here["offset"], here["length"]) for shard, here in found]

    def blocks(self) -> NDArray[np.int64]:
        """Return where blocks of neighbours begin, of a few megabytes in one file, and where the last one ends."""
        parts, start = [np.zeros(1, np.int64)], 0
        for source, count in zip(self.sources, self.bounds.lengths.tolist(), strict=True):
            pieces = min(max(source.identity.size // _BLOCK_BYTES, 1), count)
            parts.append(start + count * np.arange(1, pieces + 1) // max(pieces, 1))
            start += count
        return np.concatenate(parts)

    def where(self, shard: int, record: Any) -> str:
        """Return the file that a record lies in, and its place there."""
        return f"{self.sources[shard].path}, {record['length']} bytes at {record['offset']}"

    def close(self) -> None:
        """Give up what is open; reading opens it again."""
        self._slices.close()
        for file in self._indexed:
            file.close()

    def _count(self, index_format: IndexFormat, counted: str, fewer: int, *, progress: bool | None) -> list[int]:
        """Open the indexes, as many at once as there may be open, and count their rows."""
        counts, at_once = [], max(open_files.limit // 2, 1)
        for start in range(0, len(self.sources), at_once):
            some = self.sources[start : start + at_once]
            for file, index in zip(
                self._indexed[start : start + at_once],
                open_indexes(some, index_format, progress=progress),
                strict=True,
            ):
                counts.append(len(index.tables[counted]) - fewer)
                file.take(index)
        return counts

    def _check(self, ranges: Ranges, located: Located, records: NDArray[Any], indices: NDArray[np.int64]) -> None:
        """Raise CorruptDataError unless the ranges are what the records were when the index was built."""
        sums = kernels.active().crc32c_ranges(*ranges)
        wrong = sums != records["crc"]
        if wrong.any():
            bad = int(wrong.argmax())
            shard = located.shards[located.which[bad]]
            raise self._error(shard, records[bad], int(indices[bad]), int(sums[bad]))

    def _ranges(self, located: Located, records: NDArray[Any]) -> Ranges:
        """Return the ranges of the records, in arrays that hold those of each file."""
        offsets, lengths = records["offset"].copy(), records["length"].copy()  # end to end, not rows of a table
        arrays = [self.sources[shard].view() for shard in located.shards]
        far = [place for place, array in enumerate(arrays) if array is None]
        if far:
            ranges = self.byte_ranges(located, records)
            with ThreadPoolExecutor(min(len(far), _AT_ONCE)) as pool:
                found = pool.map(_read_ranges, [ranges[place] for place in far])
                for place, packed in zip(far, list(found), strict=True):
                    arrays[place], offsets[located.which == place] = packed.buffer, packed.bounds[:-1]
        return Ranges([array for array in arrays if array is not None], located.which, offsets, lengths)

    def _error(self, shard: int, record: Any, index: int, found: int) -> CorruptDataError:
        return CorruptDataError(
            f"sample {index} is damaged: {self.where(shard, record)}: their CRC32C is {found:#010x}, but "
            f"{record['crc']:#010x} was written; get the file anew, or pass verify=False to read it as it is"
        )


def _read_ranges(file: FileRanges) -> Packed:
    return file.source.read_many(file.offsets, file.lengths)
