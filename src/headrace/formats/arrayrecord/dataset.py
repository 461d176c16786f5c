"""Records of ArrayRecord files, read by array_record."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import CorruptDataError
from headrace.formats.records import RecordDataset
from headrace.formats.shard_bounds import ShardBounds
from headrace.io.paths import find_paths
from headrace.io.source import LocalSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from headrace.datasets.base import Dataset

__all__ = ["ArrayRecordDataset", "open_files"]

_BLOCK_BYTES = 1 << 22


class ArrayRecordDataset(RecordDataset):
    """Records of ArrayRecord files, in any order. Needs array_record: `pip install 'headrace[arrayrecord]'`.

    Files that were written with `group_size:1` suit any order; of others a whole group is decoded for each record.

    Args:
        paths: a file, a pattern such as "train-*.array_record", or several of them.
        decode: takes the bytes of a record and returns the sample; None for the bytes themselves.

    Attributes:
        paths: of the files.

    Raises:
        ImportError: array_record is not installed.
        FileNotFoundError: a file is not there.
        CorruptDataError: a file is no ArrayRecord file, or damaged.
        FileChangedError: when samples are asked for of a file that has changed meanwhile.

    >>> from array_record.python.array_record_module import ArrayRecordWriter
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     writer = ArrayRecordWriter(f"{folder}/train.array_record", "group_size:1")
    ...     for number in range(3):
    ...         writer.write(b"record %d" % number)
    ...     writer.close()
    ...     ArrayRecordDataset(f"{folder}/train.array_record", decode=bytes.decode)[2]
    'record 2'
    """

    def __init__(
        self,
        paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        decode: Callable[[bytes], Any] | None = None,
    ) -> None:
        super().__init__(decode)
        self.paths = find_paths(paths)
        self._sources = [LocalSource(path) for path in self.paths]
        self._readers: dict[int, Any] = {}
        self._process = os.getpid()
        self._bounds = ShardBounds(self._reader(number).num_records() for number in range(len(self.paths)))

    def __len__(self) -> int:
        return len(self._bounds)

    def __getstate__(self) -> dict[str, Any]:
        """Return what tells the files; they are opened anew where this goes."""
        return vars(self) | {"_readers": {}}

    def read_records(self, indices: NDArray[np.int64]) -> list[bytes]:
        """Return the records at the indices, shape (n,), int64, each in [0, len(self))."""
        located = self._bounds.locate(indices)
        found: list[bytes] = [b""] * len(indices)
        for place, shard in enumerate(located.shards):
            here = (located.which == place).nonzero()[0].tolist()
            self._sources[shard].check()
            try:
                records = self._reader(shard).read(located.rows[here].tolist())
            except (ValueError, RuntimeError, IndexError) as error:
                raise CorruptDataError(f"{self.paths[shard]} cannot be read: {error}; get the file anew") from error
            for at, record in zip(here, records, strict=True):
                found[at] = bytes(record)
        return found

    def where(self, index: int) -> str:
        """Return the file that a record lies in, and its place there."""
        shard, row = self._bounds.find(index)
        return f"{self.paths[shard]}, record {row}"

    def blocks(self) -> NDArray[np.int64]:
        """Return where blocks of whole groups begin, of a few megabytes in one file, and where the last one ends."""
        bounds, start = [], 0
        for number, length in enumerate(self._bounds.lengths.tolist()):
            group = _group_size(self._reader(number).writer_options_string())
            group_bytes = max(1, self._sources[number].identity.size * group // max(1, length))
            bounds.append(np.arange(start, start + length, group * max(1, _BLOCK_BYTES // group_bytes)))
            start += length
        return np.append(np.concatenate(bounds), start)

    def close(self) -> None:
        """Give up the files that are open; reading opens them again."""
        self._readers = {}

    def _reader(self, number: int) -> Any:
        """Return the library's reader of a file. A fork opens it anew, since it has threads."""
        if self._process != os.getpid():
            self._readers, self._process = {}, os.getpid()
        if number not in self._readers:
            self._readers[number] = _open(self.paths[number])
        return self._readers[number]


def _group_size(options: str) -> int:
    """Return how many records a file's writer has compressed together."""
    found = re.search(r"group_size:(\d+)", options)
    return max(1, int(found[1])) if found else 1


def _open(path: str) -> Any:
    try:
        from array_record.python.array_record_module import ArrayRecordReader
    except ImportError as error:
        raise ImportError("ArrayRecord files need array_record: pip install 'headrace[arrayrecord]'") from error
    try:
        reader = ArrayRecordReader(path, options="readahead_buffer_size:0")
    except (ValueError, RuntimeError) as error:
        raise CorruptDataError(f"{path} cannot be read as ArrayRecord: {error}; get the file anew") from error
    if not reader.ok():  # it would tell of no records
        raise CorruptDataError(f"{path} cannot be read as ArrayRecord, or is cut short; get the file anew")
    return reader


def open_files(paths: list[str], *, fields: bool = True) -> Dataset[Any]:  # noqa: ARG001 - records are bytes
    """Return the dataset of some files."""
    return ArrayRecordDataset(paths)
