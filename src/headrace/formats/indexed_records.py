"""Datasets over records of files that have an index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.formats.records import RecordDataset
from headrace.io.compression import check_bytes, unpack
from headrace.io.paths import find_paths
from headrace.io.progress import Progress
from headrace.io.ranges import announce

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray

    from headrace.formats.record_files import RecordFiles
    from headrace.io.ranges import FileRanges

__all__ = ["IndexedRecords", "unpacked_paths"]


class IndexedRecords(RecordDataset):
    """Records that an index tells the places of: derive from it and open `_files` in the constructor.

    Args:
        decode: takes the bytes of a record and returns the sample; None for the bytes themselves.
        verify: whether to hold each record against its CRC32C when it is read.
    """

    _files: RecordFiles

    def __init__(self, decode: Callable[[bytes], Any] | None, *, verify: bool = True) -> None:
        super().__init__(decode)
        self.verify = verify

    def __len__(self) -> int:
        return len(self._files.bounds)

    def read_records(self, indices: NDArray[np.int64]) -> list[bytes]:
        """Return the records at the indices, shape (n,), int64, each in [0, len(self))."""
        located = self._files.bounds.locate(indices)
        return self._files.read_each(located, indices, verify=self.verify)

    def read_record(self, index: int) -> bytes:
        """Return one record, of an index in [0, len(self))."""
        shard, row = self._files.bounds.find(index)
        return self._files.read_one(shard, row, index, verify=self.verify)

    def where(self, index: int) -> str:
        """Return the file that a record lies in, and its place there."""
        shard, row = self._files.bounds.find(index)
        return self._files.where(shard, self._files.table(shard, "records")[row])

    def blocks(self) -> NDArray[np.int64]:
        """Return where blocks of neighbours begin, of a few megabytes in one file, and where the last one ends."""
        return self._files.blocks()

    def reads_ahead(self) -> bool:
        """Return whether it is of use to say early what will be read: where files are far away, or not in memory."""
        return self._files.reads_ahead()

    def will_need(self, indices: NDArray[np.int64]) -> None:
        """Begin to read the records at the indices, shape (n,), int64."""
        announce(self.byte_ranges(indices))

    def byte_ranges(self, indices: NDArray[np.int64]) -> list[FileRanges]:
        """Return where the records at the indices lie, shape (n,), int64."""
        located = self._files.bounds.locate(indices)
        return self._files.byte_ranges(located, self._files.rows("records", located))

    def counters(self) -> dict[str, int]:
        """Return how many bytes were read, and of files far away with how many requests."""
        return self._files.counts.totals()

    def close(self) -> None:
        """Give up the files that are open; reading opens them again."""
        self._files.close()


def unpacked_paths(
    paths: str | PathLike[str] | Iterable[str | PathLike[str]],
    kind: str,
    *,
    progress: bool | None = None,
    max_unpacked_bytes: int | None = None,
) -> tuple[list[str], list[str]]:
    """Return the paths that are meant, and those of the same files with no compression.

    Args:
        paths: a path, a pattern or several.
        kind: what to call the files in a line of progress.
        progress: whether to show how far it is; None for after two seconds, on a terminal.
        max_unpacked_bytes: how large an unpacked file may be; None for a hundred times its size, and a GiB.
    """
    found = find_paths(paths)
    most = None if max_unpacked_bytes is None else check_bytes("max_unpacked_bytes", max_unpacked_bytes)
    with Progress(lambda: f"unpacking {kind} files", wanted=progress) as show:
        return found, [unpack(path, show, most) for path in found]
