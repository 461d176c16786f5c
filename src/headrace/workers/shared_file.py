"""Memory that processes share: files without a name, for all to read and to write."""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["FileLock", "SharedCounts", "SharedFile", "create_file"]

# So many processes at a time have sums of their own.
_ROWS = 1024


def create_file(nbytes: int) -> int:
    """Return a descriptor of a new file in memory, of that size; elsewhere than on Linux, of one that has no name."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("headrace")
    else:
        with tempfile.TemporaryFile() as temporary:
            file = os.dup(temporary.fileno())
    os.ftruncate(file, nbytes)
    return file


class SharedFile:
    """A file in memory that a process and its workers write to, each seeing what the others have written.

    It has no name, so nothing is left of it when the last of them ends, however that comes. A worker
    gets it with the work that refers to it; any other copy of it is a new one, full of zeros.

    Args:
        nbytes: its size at first, in bytes.
        descriptor: of such a file in another process, now this object's; None makes a new file.

    >>> file = SharedFile(8)
    >>> file.map()[:2] = b"hi"
    >>> os.pread(file.descriptor, 8, 0).rstrip(bytes(1))
    b'hi'
    """

    def __init__(self, nbytes: int, descriptor: int | None = None) -> None:
        self.first_nbytes = nbytes
        self.descriptor = create_file(nbytes) if descriptor is None else descriptor
        weakref.finalize(self, os.close, self.descriptor)

    def __reduce__(self) -> tuple[Any, ...]:
        return SharedFile, (self.first_nbytes,)

    @property
    def nbytes(self) -> int:
        """Its size at present, in bytes."""
        return os.fstat(self.descriptor).st_size

    def grow(self, nbytes: int) -> None:
        """Make it larger; what is new are zeros."""
        os.ftruncate(self.descriptor, nbytes)

    def map(self) -> mmap.mmap:
        """Return all of it as it is now, as memory."""
        return mmap.mmap(self.descriptor, 0)


class SharedCounts:
    """Sums that processes add to, and a lock that goes with them.

    While the lock is held, no other thread or process holds it. If its holder dies it is free again.

    Args:
        names: how many sums; all 0 at first.

    >>> counts = SharedCounts(2)
    >>> counts.add(1, 5)
    >>> counts.add(1, 0)
    >>> counts.sums()
    [2, 5]
    """

    def __init__(self, names: int) -> None:
        self._names = names
        self._open(SharedFile(8 * (1 + _ROWS * names)))

    def _open(self, file: SharedFile) -> None:
        self._file = file
        # Mapped once: where a process gives up a mapping of a file, it loses its locks on that too.
        numbers = np.frombuffer(file.map(), np.int64)
        self._processes, self._rows = numbers[:1], numbers[1:].reshape(_ROWS, self._names)
        self._lock = FileLock(file.descriptor)
        self._adding = threading.Lock()
        self._owner = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"_names": self._names, "_file": self._file}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._names = state["_names"]
        self._open(state["_file"])

    def add(self, *numbers: int) -> None:
        """Add a number to each of the sums."""
        if self._owner != os.getpid():
            self._take_a_row()
        with self._adding:
            self._rows[self._row] += numbers

    def own(self) -> list[int]:
        """Return the counts of this process."""
        own: list[int] = (self._rows[self._row] - self._before).tolist() if self._owner == os.getpid() else []
        return own or [0] * self._names

    def sums(self) -> list[int]:
        """Return the counts of all processes, added up."""
        sums: list[int] = self._rows.sum(0).tolist()
        return sums

    def _take_a_row(self) -> None:
        """Take a row for this process alone, so that adding needs no system call."""
        with self:
            if self._owner == os.getpid():  # another thread was quicker
                return
            self._row = int(self._processes[0]) % _ROWS
            self._processes += 1
            self._before = self._rows[self._row].copy()  # by another, if there were very many
            self._adding = threading.Lock()
            self._owner = os.getpid()  # last, since from here on the other threads add

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


class FileLock:
    """Holds other threads off by a lock of Python's, and other processes by one of the system's on a file.

    Args:
        descriptor: of the file. No other descriptor of it may be closed in this process meanwhile.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        # By process: in one that was forked, a thread that is not there may have had the lock of its parent.
        self._threads: dict[int, threading.Lock] = {}

    def acquire(self) -> None:
        """Wait until no other process or thread holds the lock."""
        lock = self._threads.setdefault(os.getpid(), threading.Lock())  # one call, so that all threads get the same
        lock.acquire()
        try:
            _lock_file(self._descriptor)
        except BaseException:
            lock.release()
            raise

    def release(self) -> None:
        """Let others have it."""
        _unlock_file(self._descriptor)
        self._threads[os.getpid()].release()


def _lock_file(descriptor: int) -> None:
    with suppress(ImportError):  # a system whose workers are threads
        import fcntl

        fcntl.lockf(descriptor, fcntl.LOCK_EX)


def _unlock_file(descriptor: int) -> None:
    with suppress(ImportError):
        import fcntl

        fcntl.lockf(descriptor, fcntl.LOCK_UN)
