"""The base of all writers: columns become chunks, chunks are written to a shard.

A format encodes columns to chunks wherever that is quickest, in a worker for example, and writes
chunks in one place, in the order of their samples. A chunk knows what each of its samples takes, so
that it can be cut where a shard is full. What comes out depends on the samples alone: no time of
day, no user, no size of a chunk.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Chunk", "Column", "Columns", "FileWriter", "OutputFormat", "Records", "State", "TableChunk", "ValueChunk"]
__all__ += ["Writer", "call_lone_values_data", "check_dtype", "name_kinds", "payload"]

# A column holds a field of some samples: an array, shape (n, ...), or a list of n values, each bytes,
# str, an array, a number, or None where a sample does not have the field. The name of a sample that
# has no fields, but is a value itself, is "".
Column = Any
Columns = dict[str, Column]

# What a half-written shard is continued from: JSON, as `Writer.checkpoint` gave it.
State = dict[str, Any]


@dataclass(frozen=True)
class Records:
    """Encoded samples, one after the other.

    Attributes:
        first: the number of the first of them.
        sizes: bytes of each, shape (n,), int64.
        data: all of them, shape (sum(sizes),), uint8.
        kinds: what must be alike in all samples though no record tells it of others, and what it is here.
    """

    first: int
    sizes: NDArray[np.int64]
    data: NDArray[np.uint8]
    kinds: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, first: int, records: Sequence[bytes]) -> Records:
        """Return the records as one block, whatever they are."""
        sizes = np.fromiter(map(len, records), np.int64, len(records))
        return cls(first, sizes, np.frombuffer(b"".join(records), np.uint8))

    @property
    def nbytes(self) -> int:
        """The bytes of all samples."""
        return int(self.sizes.sum())

    def cut(self, start: int, stop: int) -> Records:
        """Return the samples from the start-th to before the stop-th."""
        before, inside = int(self.sizes[:start].sum()), int(self.sizes[start:stop].sum())
        return Records(self.first + start, self.sizes[start:stop], self.data[before : before + inside], self.kinds)

    def content(self) -> bytes:
        """Return bytes that differ between different samples."""
        return self.data.tobytes()


@dataclass(frozen=True)
class ValueChunk:
    """Samples as bytes objects, for formats that keep each by itself: to join them would copy all for nothing.

    Attributes:
        first: the number of the first sample.
        sizes: bytes of each, shape (n,), int64.
        values: the samples.
        kinds: what must be alike in all samples, as in `Records`.
    """

    first: int
    sizes: NDArray[np.int64]
    values: list[bytes]
    kinds: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, first: int, values: list[bytes], kinds: dict[str, str] | None = None) -> ValueChunk:
        """Return the values as a chunk."""
        return cls(first, np.fromiter(map(len, values), np.int64, len(values)), values, kinds or {})

    @property
    def nbytes(self) -> int:
        """The bytes of all samples."""
        return int(self.sizes.sum())

    def cut(self, start: int, stop: int) -> ValueChunk:
        """Return the samples from the start-th to before the stop-th."""
        return ValueChunk(self.first + start, self.sizes[start:stop], self.values[start:stop], self.kinds)

    def content(self) -> bytes:
        """Return bytes that differ between different samples."""
        return b"".join(self.values)


@dataclass(frozen=True)
class TableChunk:
    """Samples as columns.

    Attributes:
        first: the number of the first sample.
        sizes: bytes of the values of each sample, shape (n,), int64.
        columns: their fields.
        kinds: the types of the columns, which must be alike in all samples.
    """

    first: int
    sizes: NDArray[np.int64]
    columns: Columns
    kinds: dict[str, str]

    @property
    def nbytes(self) -> int:
        """The bytes of all samples."""
        return int(self.sizes.sum())

    def cut(self, start: int, stop: int) -> TableChunk:
        """Return the samples from the start-th to before the stop-th."""
        columns = {name: column[start:stop] for name, column in self.columns.items()}
        return TableChunk(self.first + start, self.sizes[start:stop], columns, self.kinds)

    def content(self) -> bytes:
        """Return bytes that differ between different samples."""
        return repr({name: _values(column) for name, column in self.columns.items()}).encode()


def _values(column: Column) -> Any:
    if isinstance(column, list):
        return column
    try:
        return column.tolist()
    except OverflowError:  # dates that those of Python do not reach
        return str(column)


Chunk = Records | ValueChunk | TableChunk


class Writer(Protocol):
    """A shard that is being written, under a name that is not yet its own."""

    @property
    def samples(self) -> int:
        """The number of samples in the shard."""

    def write(self, chunk: Any) -> None:
        """Append the samples of a chunk."""

    def checkpoint(self) -> State | None:
        """Make what is written survive, and say what to continue from; None where that cannot be."""

    def finish(self) -> int:
        """Complete the shard on disk and give its size in bytes."""

    def close(self) -> None:
        """Give up what is open. Called in any case, also after `finish`."""


class OutputFormat(Protocol):
    """A file format to write.

    Attributes:
        name: what users call it.
        ending: what its files, or folders, are called.
        is_folder: whether a shard is a folder.
        marks_any_time: whether the bytes of a shard do not depend on where its writer was told to `checkpoint`.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - see above
    @property
    def ending(self) -> str: ...  # noqa: D102
    @property
    def is_folder(self) -> bool: ...  # noqa: D102
    @property
    def marks_any_time(self) -> bool: ...  # noqa: D102

    def encode(self, columns: Columns, first: int) -> Chunk:
        """Return the samples as the format has them.

        Args:
            columns: the fields of some samples.
            first: the number of the first of these samples in the dataset.

        Raises:
            ArgumentError: the format cannot hold them.
        """

    def open(self, path: Path, state: State | None) -> Writer:
        """Begin a shard at a path, or continue the one that is there from a state."""


class FileWriter:
    """A shard that is one file of records end to end.

    Args:
        path: where to write.
        state: what `checkpoint` gave, to continue from there; what was written after it is cut off.
        trailer: what the format wants behind the last record, of a file of a number of bytes.
    """

    def __init__(self, path: Path, state: State | None, trailer: Any = None) -> None:
        self._file = path.open("wb" if state is None else "r+b", buffering=0)
        self._trailer = trailer
        self.samples = 0 if state is None else int(state["samples"])
        self._size = 0 if state is None else int(state["bytes"])
        if state is not None:
            self._file.truncate(self._size)
            self._file.seek(self._size)

    def write(self, chunk: Records) -> None:
        """Append the samples of a chunk."""
        self._append(chunk.data)
        self.samples += len(chunk.sizes)

    def checkpoint(self) -> State:
        """Make what is written survive, and say what to continue from."""
        os.fsync(self._file.fileno())
        return {"samples": self.samples, "bytes": self._size}

    def finish(self) -> int:
        """Complete the file on disk and give its size in bytes."""
        if self._trailer is not None:
            self._append(self._trailer(self._size))
        os.fsync(self._file.fileno())
        return self._size

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, data: Any) -> None:
        view = memoryview(data)
        while view:  # one call writes two gigabytes at most
            written = self._file.write(view)
            self._size += written
            view = view[written:]


def call_lone_values_data(columns: Columns) -> Columns:
    """Return the columns under the names that they have in files: a value without a name is called "data".

    Raises:
        ArgumentError: another field is called so.
    """
    if "" in columns and "data" in columns:
        raise ArgumentError(
            "a sample has a field '' and a field 'data', which would both be called 'data'; rename one of them with "
            "dataset.map(...)"
        )
    return {name or "data": column for name, column in columns.items()}


def name_kinds(kinds: Mapping[str, str]) -> dict[str, str]:
    """Return the kinds of a table, from the types of its columns: the columns themselves are one of them."""
    return {"the fields": ", ".join(map(repr, kinds)), **{f"field {name!r}": kind for name, kind in kinds.items()}}


def check_dtype(name: str, dtype: np.dtype[Any]) -> None:
    """Refuse arrays whose dtype a file does not tell, so that they would come back as something else.

    Raises:
        ArgumentError: the field's dtype is none of NumPy's own.
    """
    try:
        is_told = np.lib.format.descr_to_dtype(np.lib.format.dtype_to_descr(dtype)) == dtype
    except (TypeError, ValueError):
        is_told = False
    if not is_told:
        raise ArgumentError(
            f"field {name!r} holds arrays of {dtype}, a dtype that a .npy file cannot tell; convert it with "
            "dataset.map(...), for example to float32"
        )


def payload(columns: Columns) -> NDArray[np.int64]:
    """Return the bytes of the values of each sample, shape (n,)."""
    count = len(next(iter(columns.values())))
    total = np.zeros(count, np.int64)
    for column in columns.values():
        if isinstance(column, np.ndarray):
            total += column.nbytes // max(count, 1)
        elif set(map(type, column)) <= {bytes, str}:
            total += np.fromiter(map(len, column), np.int64, count)
        else:
            total += np.fromiter(map(_bytes_of, column), np.int64, count)
    return total


def _bytes_of(value: Any) -> int:
    if value is None:
        return 0
    return len(value) if isinstance(value, bytes | str) else np.asarray(value).nbytes
