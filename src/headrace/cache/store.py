"""Stored samples: for each number the bytes that stand for it, in memory that many processes write to and read.

There are two files. The table has a word for each sample: 0, or where its bytes begin in the data. Bytes are
only ever appended to the data, first written and then entered into the table, so a process that finds an entry
finds all of its bytes, and one that is killed leaves nothing but a gap.
"""

from __future__ import annotations

import errno
import os
import struct
import threading
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from headrace import kernels
from headrace.errors import CacheError, HeadraceWarning

if TYPE_CHECKING:
    import mmap
    from collections.abc import Sequence
    from types import TracebackType

    from numpy.typing import NDArray

__all__ = ["FIRST", "HEAD", "MappableFile", "SampleStore", "StoredBytes", "UNIT"]  # noqa: RUF022 - in plain order

# Bytes of samples begin at multiples of this, and are preceded by as many that say how long they are.
UNIT = 16
# So many bytes at the beginning of a file are for what it may have to say of itself.
FIRST = 128
# The CRC32C of the bytes, with the sample's number on top, or 0 where none is needed; and how many there are.
HEAD = struct.Struct("<Ixxxxq")
_WORD = 2**32 - 1
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a disk, a share of it, or the largest file that is allowed


class StoredBytes(NamedTuple):
    """A sample as the bytes to store.

    Attributes:
        parts: the bytes, in pieces.
        row: whether they are a row, as all others of this kind; its entry is positive then, else negative.
    """

    parts: Sequence[Any]  # of bytes and arrays of uint8
    row: bool

    @property
    def nbytes(self) -> int:
        """The number of bytes."""
        return sum(map(len, self.parts))


class MappableFile(Protocol):
    """A file that can be mapped by several processes."""

    @property
    def descriptor(self) -> int:
        """Its descriptor in this process."""

    @property
    def nbytes(self) -> int:
        """Its size at present, in bytes."""

    def grow(self, nbytes: int) -> None:
        """Make it larger; what is new are zeros.

        Raises:
            OSError: there is no room for them; its size is what it was.
        """

    def map(self) -> mmap.mmap:
        """Return all of it as it is now, as memory that is written to for all."""


class Lock(Protocol):
    """Held by one thread of one process at a time."""

    def __enter__(self) -> None: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class SampleStore:
    """Bytes of samples by their numbers.

    Args:
        table: FIRST bytes and an int64 for each sample.
        data: FIRST bytes at first.
        lock: held while space is given out.
        limit: how large the data may become, in bytes; None for no limit.
        checked: a byte for each sample, set once its bytes have been held against their CRC, for
            memory that outlives the processes; None for other memory, which needs no CRC.

    >>> from headrace.workers.shared_file import SharedCounts, SharedFile
    >>> store = SampleStore(SharedFile(FIRST + 8 * 10), SharedFile(FIRST), SharedCounts(0), limit=100)
    >>> store.add(np.array([7]), [StoredBytes([b"seven"], row=False)])
    (array([-8]), 32)
    >>> store.read(-8).tobytes()
    b'seven'
    """

    def __init__(
        self,
        table: MappableFile,
        data: MappableFile,
        lock: Lock,
        limit: int | None,
        checked: MappableFile | None = None,
    ) -> None:
        self.limit = limit
        self._checked = checked
        self._files = table, data
        self._lock = lock
        self._open()

    def _open(self) -> None:
        table, _ = self._files
        self._table = np.frombuffer(table.map(), np.int64, offset=FIRST)
        self._data = np.empty(0, np.uint8)  # as much of the data as has been asked for
        self._sound = None if self._checked is None else np.frombuffer(self._checked.map(), np.bool_)
        self._publishing = threading.Lock()

    def __getstate__(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in ("limit", "_files", "_lock", "_checked")}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._open()

    def __len__(self) -> int:
        return len(self._table)

    @property
    def outlives_processes(self) -> bool:
        """Whether it is memory that is there when the processes are not."""
        return self._checked is not None

    @property
    def nbytes(self) -> int:
        """The bytes of all samples kept."""
        return self._files[1].nbytes - FIRST

    @property
    def room(self) -> float:
        """The number of bytes that may still be stored."""
        return float("inf") if self.limit is None else self.limit - self.nbytes

    def known(self) -> NDArray[np.bool_]:
        """Return of which samples there are entries, shape (n,), whether or not their bytes are sound."""
        known: NDArray[np.bool_] = self._table != 0
        return known

    def count(self) -> int:
        """Return the number of samples stored."""
        return int(np.count_nonzero(self._table))

    def entries(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return samples' entries: the first unit, negative for those that are no rows, and 0 for those not stored.

        Args:
            indices: the samples' numbers, shape (n,), int64.
        """
        entries = self._table[indices]
        if self._sound is not None:
            unsound = np.flatnonzero((entries != 0) & ~self._sound[indices])
            if len(unsound):
                self._check(indices[unsound], entries[unsound])
                entries = self._table[indices]
        return entries

    def data(self, entries: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the memory that has the bytes of at least these entries, read-only."""
        data = self._data
        if len(entries) and UNIT * int(np.abs(entries).max()) >= len(data):
            data = np.frombuffer(self._files[1].map(), np.uint8)
            data.flags.writeable = False
            self._data = data
        return data

    def read(self, entry: int) -> NDArray[np.uint8]:
        """Return the bytes of an entry, read-only."""
        data = self.data(np.array([entry]))
        begin = UNIT * abs(entry) + HEAD.size
        if len(data) >= begin:
            _, nbytes = HEAD.unpack(data[begin - HEAD.size : begin].tobytes())
            if 0 <= nbytes <= len(data) - begin:
                return data[begin : begin + nbytes]
        raise CacheError(f"a cache is damaged: what it has at {begin} is not in its {len(data)} bytes; delete it")

    def describe(self, text: str) -> str:
        """Store the layout of the rows, unless there is one, and return the one that is stored."""
        with self._lock:
            if not self.nbytes:
                content = text.encode()
                end = bytes(-len(content) % UNIT)
                _write(self._files[1].descriptor, [HEAD.pack(0, len(content)), content, end], FIRST)
        return self.read(FIRST // UNIT).tobytes().decode("utf-8", "replace")

    def add(self, indices: NDArray[np.int64], samples: Sequence[StoredBytes]) -> tuple[NDArray[np.int64], int]:
        """Keep samples, as far as there is room.

        Args:
            indices: their numbers, all different.
            samples: the bytes of each.

        Returns:
            The entries, 0 for those that are not kept; and how many bytes have been added.
        """
        sizes = np.array([_units(sample.nbytes) for sample in samples], np.int64)
        with self._lock:
            others = self._table[indices]  # another may have been quicker
            entries = self._take_room(np.where(others == 0, sizes, 0))
        for number in np.flatnonzero(entries).tolist():
            if not self._write(int(entries[number]), int(indices[number]), samples[number]):
                entries[number] = 0
            elif not samples[number].row:
                entries[number] *= -1
        written = entries != 0
        self._publish(indices[written], entries[written])
        return np.where(others == 0, entries, others), UNIT * int(sizes[written].sum())

    def _take_room(self, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Take that many units for each sample and return the first; 0 where none are asked for or room is missing."""
        used = -(-self._files[1].nbytes // UNIT)  # rounded up, should somebody have cut the file off
        ends = used + np.cumsum(sizes)
        fits = sizes > 0
        if self.limit is not None:
            fits &= ends <= (FIRST + self.limit) // UNIT
        if fits.any() and not self._grow(UNIT * int(ends[fits].max())):
            fits[:] = False
        return np.where(fits, ends - sizes, 0)

    def _grow(self, nbytes: int) -> bool:
        """Make the data larger; whether there was room."""
        try:
            self._files[1].grow(nbytes)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            warnings.warn(f"no more samples are cached: {error.strerror}", HeadraceWarning, stacklevel=4)
            return False
        return True

    def _write(self, unit: int, index: int, sample: StoredBytes) -> bool:
        """Write the bytes of a sample; whether there was room for them."""
        parts = sample.parts
        crc = 0
        if self._sound is not None:
            parts = [b"".join(parts)]
            crc = _crc(np.frombuffer(parts[0], np.uint8)) ^ index & _WORD
        try:
            _write(self._files[1].descriptor, [HEAD.pack(crc, sample.nbytes), *parts], UNIT * unit)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            warnings.warn(f"no more samples are cached: {error.strerror}", HeadraceWarning, stacklevel=2)
            return False
        return True

    def _publish(self, indices: NDArray[np.int64], entries: NDArray[np.int64]) -> None:
        """Enter samples, for all to see, whose bytes must be seen then too.

        To give a lock up and to take it again lets nothing that was written before it become visible after
        what is written behind it, on processors that do not keep that order by themselves, as ARM's.
        """
        with self._publishing:
            pass
        with self._publishing:
            self._table[indices] = entries
            if self._sound is not None:
                self._sound[indices] = True

    def _check(self, indices: NDArray[np.int64], entries: NDArray[np.int64]) -> None:
        """Hold the bytes of entries against their CRC; those that are wrong are kept no more."""
        assert self._sound is not None  # noqa: S101 - or nothing would be checked
        for index, entry in zip(indices.tolist(), entries.tolist(), strict=True):
            if self._is_sound(index, entry):
                self._sound[index] = True
            elif self._table[index] == entry:
                self._table[index] = 0

    def _is_sound(self, index: int, entry: int) -> bool:
        if not FIRST <= UNIT * abs(entry) < self._files[1].nbytes - HEAD.size:
            return False
        data = self.data(np.array([entry]))
        begin = UNIT * abs(entry) + HEAD.size
        crc, nbytes = HEAD.unpack(data[begin - HEAD.size : begin].tobytes())
        whole = 0 <= nbytes <= len(data) - begin
        return whole and bool(crc == _crc(data[begin : begin + nbytes]) ^ index & _WORD)


def _crc(content: NDArray[np.uint8]) -> int:
    return int(kernels.active().crc32c(content, np.zeros(1, np.int64), np.array([len(content)]))[0])


def _units(nbytes: int) -> int:
    """Return how many units that many bytes and their head take."""
    return -(-(HEAD.size + nbytes) // UNIT)


def _write(descriptor: int, parts: Sequence[Any], offset: int) -> None:
    """Write all of the parts: quicker than through a map, whose pages come one by one."""
    written = os.pwritev(descriptor, parts, offset)
    if written == sum(map(len, parts)):
        return
    rest = memoryview(b"".join(parts))
    while rest := rest[written:]:
        offset += written
        written = os.pwrite(descriptor, rest, offset)
