"""LMDB: the key is the sample's number in twelve digits, the value its bytes, or its fields in MessagePack."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import lmdb
import numpy as np

from headrace.errors import ArgumentError
from headrace.formats.lmdb.msgpack import is_dict, packb
from headrace.formats.writer import ValueChunk, call_lone_values_data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from headrace.formats.writer import Columns, State

__all__ = ["LMDBFormat"]

_PYTHONS = (np.int64, np.float64, np.bool_)
_DICTS = frozenset(bytes([code]) for code in (*range(0x80, 0x90), 0xDE, 0xDF))  # how MessagePack begins them
_MAP = 1 << 28  # bytes that are mapped at first: no more than the samples take is written


class LMDBFormat:
    """A folder with an LMDB environment."""

    name = "lmdb"
    ending = ".lmdb"
    is_folder = True
    marks_any_time = False

    def encode(self, columns: Columns, first: int) -> ValueChunk:
        """Return the values."""
        if list(columns) == [""] and set(map(type, columns[""])) <= {str, bytes}:
            return _lone_values(first, list(map(_lone, columns[""])))
        rows = zip(*map(_plain, columns.values()), strict=True)
        names = list(call_lone_values_data(columns))
        samples = (dict(zip(names, values, strict=True)) for values in rows)
        known = ({name: value for name, value in sample.items() if value is not None} for sample in samples)
        return ValueChunk.of(first, [_packed(sample, first) for sample in known])

    def open(self, path: Path, state: State | None) -> _EnvironmentWriter:
        """Begin an environment, or continue one."""
        return _EnvironmentWriter(path, state)


def _plain(column: Any) -> Any:
    """Return the values of a column, those that Python has too as Python's own."""
    is_numbers = isinstance(column, np.ndarray) and column.ndim == 1 and column.dtype in _PYTHONS
    return column.tolist() if is_numbers else column


def _lone(value: str | bytes) -> bytes:
    """Return a sample that has no fields: bytes and texts need no wrapping."""
    return value.encode() if isinstance(value, str) else value


def _lone_values(first: int, values: list[bytes]) -> ValueChunk:
    """Return samples without fields; a reader parses dicts in MessagePack, so that all are such dicts, or none."""
    # Most samples are told by how they begin.
    kinds = {value[:1] in _DICTS and is_dict(value) for value in values}
    if len(kinds) > 1:
        raise ArgumentError(
            f"some of the samples from {first} on are dicts in MessagePack, others other bytes, which no reader would "
            "tell apart; unpack the dicts with dataset.map(...), or give all samples a field: {'data': ...}"
        )
    what = "dicts in MessagePack" if True in kinds else "bytes"
    return ValueChunk.of(first, values, {"the kind of the samples": what})


def _packed(sample: Any, first: int) -> bytes:
    try:
        return packb(sample)
    except (TypeError, OverflowError, ValueError) as error:
        raise ArgumentError(
            f"among the samples from {first} on is one that MessagePack cannot hold: {error}"
        ) from error


class _EnvironmentWriter:
    """An environment whose last transaction is the place to continue from."""

    def __init__(self, path: Path, state: State | None) -> None:
        self._path = path
        self._environment = self._open(_MAP if state is None else 0)
        self._transaction: Any = None  # of what waits, where there is any
        self.samples = 0 if state is None else int(state["samples"])
        with _explained():  # it may hold one more transaction than the state knows of
            self._stored = int(self._environment.stat()["entries"])
        self._waiting: list[ValueChunk] = []  # which are put again where the map turns out to be too small

    def write(self, chunk: ValueChunk) -> None:
        """Append the samples of a chunk."""
        stored = min(max(0, self._stored - self.samples), len(chunk.sizes))
        self.samples += len(chunk.sizes)
        if stored < len(chunk.sizes):
            self._waiting.append(chunk.cut(stored, len(chunk.sizes)) if stored else chunk)
            with _explained():
                if not self._fits(partial(self._put, self._waiting[-1:])):
                    self._put_again()

    def checkpoint(self) -> State:
        """Make what is written survive, in one transaction."""
        with _explained():
            while not self._fits(self._commit):
                self._put_again()
        self._waiting = []
        # LMDB uses the memory of written pages again, with what is left in it. From new memory, pages are
        # written that do not depend on whether the packing was stopped here.
        self._environment.close()
        self._environment = self._open(0)
        return {"samples": self.samples}

    def finish(self) -> int:
        """Complete the environment on disk and give its size in bytes."""
        self.checkpoint()
        return (self._path / "data.mdb").stat().st_size

    def close(self) -> None:
        """Close the environment."""
        self._abort()
        self._environment.close()

    def _open(self, map_size: int) -> lmdb.Environment:
        """Open the environment, of the size that it remembers if that is 0."""
        with _explained():
            return lmdb.open(str(self._path), map_size=map_size, lock=False)

    def _put_again(self) -> None:
        """Begin the transaction anew with a larger map, until it holds all that waits."""
        begun = False
        while not begun:
            self._environment.set_mapsize(2 * self._environment.info()["map_size"])
            begun = self._fits(partial(self._put, self._waiting))

    def _fits(self, step: Callable[[], None]) -> bool:
        """Take a step of the transaction, and give it up where the map is too small for that."""
        try:
            step()
        except lmdb.MapFullError:
            self._abort()
            return False
        return True

    def _put(self, chunks: list[ValueChunk]) -> None:
        """Put the samples of chunks into the transaction."""
        if self._transaction is None:
            self._transaction = self._environment.begin(write=True)
        cursor = self._transaction.cursor()
        for chunk in chunks:
            cursor.putmulti(_entries(chunk), append=True)

    def _commit(self) -> None:
        """End the transaction, if there is one."""
        if self._transaction is not None:
            self._transaction.commit()
        self._transaction = None

    def _abort(self) -> None:
        """Give up the transaction, if there is one."""
        if self._transaction is not None:
            self._transaction.abort()
        self._transaction = None


def _entries(chunk: ValueChunk) -> Iterator[tuple[bytes, bytes]]:
    """Yield the key and the value of each sample of a chunk."""
    return ((b"%012d" % number, value) for number, value in enumerate(chunk.values, chunk.first))


@contextmanager
def _explained() -> Iterator[None]:
    """Raise errors of the system as Python has them. A full disk may be an I/O error for LMDB."""
    try:
        yield
    except lmdb.Error as error:
        raise OSError(getattr(error, "code", None) or errno.EIO, str(error)) from error
