"""Shards that begin with a table of where their items lie: those of MDS and litData.

A shard is a number n (uint32), n + 1 offsets from its begin (uint32), of which the last one is its size, and the items.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from contextlib import nullcontext
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from headrace.batch.collate import default_collate
from headrace.datasets.base import Dataset
from headrace.errors import CorruptDataError, HeadraceError
from headrace.errors.notes import add_note
from headrace.formats.shard_bounds import ShardBounds
from headrace.io.counts import ReadCounts
from headrace.io.files import read_files
from headrace.io.ranges import FileRanges, split
from headrace.io.source import LocalSource, count_requests, open_source, options_for
from headrace.pipeline.reading import check_index, check_indices

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from headrace.io.source import ByteSource

    Read = Callable[[NDArray[np.int64], int], NDArray[np.uint8]]  # ranges of one length, end to end
    Counter = Callable[[Read, NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64] | None]

__all__ = [
    "COUNTED",
    "INDEX_NAME",
    "ItemDataset",
    "ItemShard",
    "Items",
    "is_indexed_folder",
    "join",
    "read_index",
]

INDEX_NAME = "index.json"
COUNTED = 1 << 16  # samples whose headers are read at once
_WORD = 4  # bytes of a number


class Items(Protocol):
    """The items of a shard."""

    def items(self, rows: NDArray[np.int64]) -> list[bytes]:
        """Return the bytes of items."""


class ItemShard:
    """A shard whose items lie in a file as they are.

    Args:
        source: the file.
        count: how many items it has, says its index.
        counts: takes in what is read of the items.

    Raises:
        CorruptDataError: the shard is not what it says.
    """

    def __init__(self, source: ByteSource, count: int, counts: ReadCounts) -> None:
        self._source = source
        self._count = count
        self._counts = counts
        self.is_local = isinstance(source, LocalSource)
        offsets = self._checked_offsets()
        self._offsets = None if self.is_local else offsets  # else the system has them in memory
        count_requests(source, counts)

    def items(self, rows: NDArray[np.int64]) -> list[bytes]:
        """Return the bytes of items.

        Raises:
            FileChangedError: the file has changed since it was opened.
        """
        if self.is_local:  # one by one is as fast, and faster for one
            found = list(map(self._item, rows.tolist()))
        else:
            found = split(self._source.read_many(*self.spans(rows)))
        self._counts.add(sum(map(len, found)))
        return found

    def _item(self, row: int) -> bytes:
        start, stop = self._source.read(_WORD * (1 + row), 2 * _WORD).view("<u4").tolist()
        return self._source.read(start, stop - start).tobytes()

    def byte_ranges(self, rows: NDArray[np.int64]) -> FileRanges:
        """Return where items lie in the file."""
        return FileRanges(self._source, *self.spans(rows))

    def spans(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the bytes at which items begin, and their sizes, each of shape (n,), int64."""
        if self._offsets is None:
            places = self.read_many(_WORD * (1 + rows), 2 * _WORD).view("<u4").reshape(-1, 2).astype(np.int64)
        else:
            places = self._offsets[rows[:, np.newaxis] + [0, 1]].astype(np.int64)
        return places[:, 0], places[:, 1] - places[:, 0]

    def read_many(self, offsets: NDArray[np.int64], length: int) -> NDArray[np.uint8]:
        """Return the bytes of ranges of one length, end to end."""
        return self._source.read_many(offsets, np.full(len(offsets), length)).buffer

    def _checked_offsets(self) -> NDArray[np.uint32]:
        size = self._source.identity.size
        first = _WORD * (self._count + 2)
        if size < first:
            raise self._error(f"it has {size} bytes, but the table of {self._count} items takes {first}")
        found = int(self._source.read(0, _WORD).view("<u4")[0])
        if found != self._count:
            raise self._error(f"it has {found} items, it says, but its index tells of {self._count}")
        offsets = self._source.read(_WORD, first - _WORD).view("<u4")
        if offsets[0] < first or offsets[-1] != size or (offsets[1:] < offsets[:-1]).any():
            raise self._error(
                f"its items lie from byte {offsets[0]} to {offsets[-1]}, says its table, but they must lie in order "
                f"from {first} or later to its end at {size}"
            )
        return offsets

    def _error(self, what: str) -> CorruptDataError:
        return CorruptDataError(f"{self._source.path} is damaged or cut short: {what}; get the file anew")


class ItemDataset(Dataset[Any]):
    """Samples that are items of shards: derive from it and write `_decode`.

    Args:
        paths: of the shards.
        counts: how many items each has.
    """

    def __init__(self, paths: Sequence[str], counts: Sequence[int]) -> None:
        self.paths = list(paths)
        self._lengths = list(counts)
        self._bounds = ShardBounds(counts)
        self._opened: dict[int, Any] = {}
        self._counts = ReadCounts()
        self._options = options_for(needed=any("://" in path for path in paths))  # of where the dataset is made

    def __len__(self) -> int:
        return len(self._bounds)

    def __getstate__(self) -> dict[str, Any]:
        """Return what tells the files; they are opened anew where this goes."""
        return vars(self) | {"_opened": {}}

    def __getitem__(self, index: int, /) -> Any:
        return self.__getitems__([check_index(index, len(self))])[0]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """Return the samples at the indices."""
        positions = check_indices(np.array(indices, np.int64), len(self))
        located = self._bounds.locate(positions)
        items: list[bytes] = [b""] * len(positions)
        for place, number in enumerate(located.shards):
            here = (located.which == place).nonzero()[0]
            for at, item in zip(here.tolist(), self._shard(number).items(located.rows[here]), strict=True):
                items[at] = item
        return list(map(self._sample, items, positions.tolist()))

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """Return the batch of the samples at the indices, shape (n,), int64."""
        return default_collate(self.__getitems__(indices.tolist()), indices)

    def blocks(self) -> NDArray[np.int64]:
        """Return where shards begin, and where the last one ends, shape (shards + 1,), int64."""
        return np.append(0, np.cumsum([count for count in self._lengths if count])).astype(np.int64)

    def byte_ranges(self, indices: NDArray[np.int64]) -> list[FileRanges]:
        """Return where the items at the indices lie, shape (n,), int64; but for chunks of compressed frames."""
        located = self._bounds.locate(indices)
        shards = map(self._shard, located.shards)
        return [
            shard.byte_ranges(located.rows[located.which == place])
            for place, shard in enumerate(shards)
            if isinstance(shard, ItemShard)
        ]

    def counters(self) -> dict[str, int]:
        """Return how many bytes were read, and of files far away with how many requests."""
        return self._counts.totals()

    def where(self, index: int) -> str:
        """Return the shard of a sample, and its place there."""
        shard, row = self._bounds.find(index)
        return f"{self.paths[shard]}, item {row}"

    @abstractmethod
    def _decode(self, item: bytes) -> Any:
        """Return the sample that an item is."""

    def _open(self, number: int) -> Items:
        """Open a shard."""
        return ItemShard(open_source(self.paths[number]), self._lengths[number], self._counts)

    def _shard(self, number: int) -> Any:
        if number not in self._opened:
            with self._options or nullcontext():
                self._opened[number] = self._open(number)
        return self._opened[number]

    def _sample(self, item: bytes, index: int) -> Any:
        try:
            return self._decode(item)
        except HeadraceError as error:
            add_note(error, f"while decoding sample {index}: {self.where(index)}")
            raise
        except Exception as error:
            raise CorruptDataError(
                f"sample {index} ({self.where(index)}) is not what its index says: {str(error) or type(error)}; "
                "get the file anew"
            ) from error


def is_indexed_folder(folder: Path, key: str) -> bool:
    """Return whether a folder has an index.json with an entry of that name."""
    path = folder / INDEX_NAME
    try:
        return path.is_file() and key in json.loads(path.read_bytes())
    except (OSError, ValueError, TypeError):
        return False


def read_index(folder: str, key: str) -> dict[str, Any]:
    """Return the index.json of a folder, which may be an address.

    Raises:
        FileNotFoundError: there is none.
        CorruptDataError: it is no object with a list of that name.
    """
    path = join(folder, INDEX_NAME)
    try:
        found = json.loads(read_files([path], options_for(needed="://" in path))[0])
    except ValueError as error:
        raise CorruptDataError(f"{path} is no JSON ({error}); get the file anew") from error
    if not isinstance(found, dict) or not isinstance(found.get(key), list):
        raise CorruptDataError(f"{path} has no list {key!r}, so it is no index of this kind of dataset")
    return found


def join(folder: str, name: Any) -> str:
    """Return the path of a file in a folder, by the name that an index tells.

    Raises:
        CorruptDataError: the name leads out of the folder, or is none.
    """
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    if not parts or name.startswith("/") or "\\" in name or ".." in parts or ":" in parts[0]:
        raise CorruptDataError(
            f"the index in {folder} names a file {name!r}, which is not in the folder; it is damaged"
        )
    return f"{folder.rstrip('/')}/{name}"
