"""Records of LMDB databases."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import CorruptDataError, StorageError
from headrace.formats.keys import concatenate, find_keys, pack_keys
from headrace.formats.lmdb.reader import LMDB
from headrace.formats.record_files import RecordFiles
from headrace.formats.records import RecordDataset
from headrace.io.paths import find_paths
from headrace.io.ranges import announce
from headrace.io.source import Packed
from headrace.pipeline.reading import check_index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from os import PathLike
    from typing import Literal

    from numpy.typing import NDArray

    from headrace.io.ranges import FileRanges

__all__ = ["LMDBDataset", "open_files"]


class LMDBDataset(RecordDataset):
    """The values of LMDB databases, in the order of their keys or of keys that are given.

    An index of each database is built when it is first used, and kept beside it. It says where in the file each value
    is, so that the tree is not searched for it. The library is not needed, and other programs may have the
    database open; when one has written to it, reading from here is an error.

    Args:
        path: the folder of a database, with `data.mdb` in it, or the file of one without a folder; a pattern, or
            several of them, which follow one another.
        keys: of the samples, in their order; bytes, or strings for their UTF-8. Read once, and not kept: a sample
            takes 8 bytes of memory. By default all keys in the order of the database.
        decode: takes the bytes of a value and returns the sample, such as `Decode()`; None for the bytes themselves.
            "msgpack" for MessagePack, as `headrace.write_dataset` writes it. "pickle" unpickles them, which lets the
            file run any code: only for files that you trust.
        verify: whether to hold each value against the CRC32C that it had when the index was built.
        progress: whether to show on stderr how far it is while indexes are built; by default after two seconds, where
            that is a terminal.

    Raises:
        FileNotFoundError: there is no such database.
        CorruptDataError: a file is no LMDB file, is cut short or damaged.
        StorageError: a key is not there; or a database has named ones inside, or several values a key.
        FileChangedError: when samples are asked for of a file that has changed meanwhile.

    >>> LMDBDataset("photos.lmdb", decode=Decode())[0].shape  # doctest: +SKIP
    (375, 500, 3)
    """

    def __init__(
        self,
        path: str | bytes | PathLike[Any] | Iterable[str | bytes | PathLike[Any]],
        keys: Iterable[bytes | str] | None = None,
        decode: Callable[[bytes], Any] | Literal["msgpack", "pickle"] | None = None,
        *,
        verify: bool = True,
        progress: bool | None = None,
    ) -> None:
        super().__init__(_BY_NAME[decode]() if isinstance(decode, str) and decode in _BY_NAME else decode)  # type: ignore[arg-type]
        self.paths = [_file_of(each) for each in find_paths(path)]
        self.verify = verify
        self._files = RecordFiles(self.paths, LMDB, progress=progress)
        self._rows = None if keys is None else self._find(pack_keys(keys))

    def __len__(self) -> int:
        return len(self._files.bounds if self._rows is None else self._rows)

    def key(self, index: int) -> bytes:
        """Return the key of a sample."""
        shard, row = self._files.bounds.find(self._row(check_index(index, len(self))))
        start, stop = self._files.table(shard, "key_bounds")[row : row + 2].tolist()
        return bytes(self._files.table(shard, "keys")[start:stop])

    def read_records(self, indices: NDArray[np.int64]) -> list[bytes]:
        """Return the values at the indices, shape (n,), int64, each in [0, len(self))."""
        located = self._files.bounds.locate(self._rows_at(indices))
        return self._files.read_each(located, indices, verify=self.verify)

    def where(self, index: int) -> str:
        """Return the file that a value lies in, its place there, and its key."""
        shard, row = self._files.bounds.find(self._row(index))
        return f"{self._files.where(shard, self._files.table(shard, 'records')[row])}, of key {self.key(index)!r}"

    def reads_ahead(self) -> bool:
        """Return whether it is of use to say early what will be read: where files are far away, or not in memory."""
        return self._files.reads_ahead()

    def will_need(self, indices: NDArray[np.int64]) -> None:
        """Begin to read the values at the indices, shape (n,), int64."""
        announce(self.byte_ranges(indices))

    def byte_ranges(self, indices: NDArray[np.int64]) -> list[FileRanges]:
        """Return where the values at the indices lie, shape (n,), int64."""
        located = self._files.bounds.locate(self._rows_at(indices))
        return self._files.byte_ranges(located, self._files.rows("records", located))

    def counters(self) -> dict[str, int]:
        """Return how many bytes were read, and of files far away with how many requests."""
        return self._files.counts.totals()

    def close(self) -> None:
        """Give up the files that are open; reading opens them again."""
        self._files.close()

    def _row(self, index: int) -> int:
        return index if self._rows is None else int(self._rows[index])

    def _rows_at(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        return indices if self._rows is None else self._rows[indices]

    def _find(self, keys: Packed) -> NDArray[np.int64]:
        """Return the positions of the keys among those of all files."""
        tables = [
            Packed(self._files.table(shard, "keys"), self._files.table(shard, "key_bounds"))
            for shard in range(len(self.paths))
        ]
        rows = find_keys(keys, concatenate(tables))
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            start, stop = keys.bounds[missing[0] : missing[0] + 2].tolist()
            raise StorageError(
                f"there is no key {bytes(keys.buffer[start:stop])!r} in {', '.join(self.paths)}, which is that of "
                f"sample {missing[0]}; {len(missing)} of {len(rows)} keys are missing"
            )
        return rows


def _file_of(path: str) -> str:
    """Return the file of a database, which may be in a folder of its own."""
    if not Path(path).is_dir():
        return path
    file = Path(path, "data.mdb")
    if not file.is_file():
        raise FileNotFoundError(f"there is no LMDB database in the folder {path}, which has no data.mdb")
    return str(file)


def _from_msgpack() -> Callable[[bytes], Any]:
    from headrace.formats.lmdb.msgpack import unpackb

    return unpackb


_BY_NAME: dict[str, Callable[[], Callable[[bytes], Any]]] = {"msgpack": _from_msgpack, "pickle": lambda: pickle.loads}


def open_files(paths: list[str], *, fields: bool = True) -> LMDBDataset:
    """Return the dataset of some databases, its values unpacked if they are dicts in MessagePack."""
    dataset = LMDBDataset(paths)
    if not fields or not len(dataset):
        return dataset
    try:
        from headrace.formats.lmdb.msgpack import unpackb  # its library may not be there

        packed = isinstance(unpackb(dataset[0]), dict)
    except (CorruptDataError, ImportError):
        packed = False
    return LMDBDataset(paths, decode=unpackb) if packed else dataset
