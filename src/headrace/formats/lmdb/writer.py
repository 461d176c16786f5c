"""LMDB: the key is the sample's number in twelve digits, the value its bytes, or its fields in MessagePack."""

from __future__ import annotations

import errno
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import lmdb
import numpy as np

from headrace.errors import ArgumentError, CorruptDataError
from headrace.formats.lmdb.msgpack import packb, unpackb
from headrace.formats.writer import Records, call_lone_values_data

if TYPE_CHECKING:
    from collections.abc import Iterator
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

    def encode(self, columns: Columns, first: int) -> Records:
        """Return the values."""
        if list(columns) == [""] and set(map(type, columns[""])) <= {str, bytes}:
            return _lone_records(first, list(map(_lone, columns[""])))
        rows = zip(*map(_plain, columns.values()), strict=True)
        names = list(call_lone_values_data(columns))
        samples = (dict(zip(names, values, strict=True)) for values in rows)
        known = ({name: value for name, value in sample.items() if value is not None} for sample in samples)
        return Records.of(first, [_packed(sample, first) for sample in known])

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


def _lone_records(first: int, values: list[bytes]) -> Records:
    """Return samples without fields; a reader parses dicts in MessagePack, so that all are such dicts, or none."""
    # Most samples are told by how they begin.
    kinds = {value[:1] in _DICTS and _is_dict(value) for value in values}
    if len(kinds) > 1:
        raise ArgumentError(
            f"some of the samples from {first} on are dicts in MessagePack, others other bytes, which no reader would "
            "tell apart; unpack the dicts with dataset.map(...), or give all samples a field: {'data': ...}"
        )
    what = "dicts in MessagePack" if True in kinds else "bytes"
    return replace(Records.of(first, values), kinds={"the kind of the samples": what})


def _is_dict(value: bytes) -> bool:
    with suppress(CorruptDataError):
        return isinstance(unpackb(value), dict)
    return False


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
        self.samples = 0 if state is None else int(state["samples"])
        with _explained():  # it may hold one more transaction than the state knows of
            self._stored = int(self._environment.stat()["entries"])
        self._waiting: list[tuple[bytes, memoryview]] = []

    def write(self, chunk: Records) -> None:
        """Append the samples of a chunk."""
        stored = min(max(0, self._stored - self.samples), len(chunk.sizes))
        data, ends = chunk.data.data, np.cumsum(chunk.sizes).tolist()
        starts = [0, *ends]
        self._waiting += [
            (b"%012d" % (chunk.first + place), data[starts[place] : ends[place]]) for place in range(stored, len(ends))
        ]
        self.samples += len(ends)

    def checkpoint(self) -> State:
        """Make what is written survive, in one transaction."""
        with _explained():
            while not self._commit():
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])
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
        self._environment.close()

    def _open(self, map_size: int) -> lmdb.Environment:
        """Open the environment, of the size that it remembers if that is 0."""
        with _explained():
            return lmdb.open(str(self._path), map_size=map_size, lock=False)

    def _commit(self) -> bool:
        """Write what waits; False where the map is too small."""
        if not self._waiting:
            return True
        try:
            with self._environment.begin(write=True) as transaction:
                transaction.cursor().putmulti(self._waiting, append=True)
        except lmdb.MapFullError:
            return False
        return True


@contextmanager
def _explained() -> Iterator[None]:
    """Raise errors of the system as Python has them. A full disk may be an I/O error for LMDB."""
    try:
        yield
    except lmdb.Error as error:
        raise OSError(getattr(error, "code", None) or errno.EIO, str(error)) from error
