"""System calls for many files: few of them open at a time, and pages asked for early if they come from a disk."""

from __future__ import annotations

import errno
import mmap
import sys
import threading
import weakref
from collections import OrderedDict
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

resource: Any = None
with suppress(ImportError):  # Windows has none
    import resource

__all__ = ["DiskWaits", "OpenFiles", "open_files"]

_MOST = 1 << 14  # files that stay open where the system would allow more
_TRIES = 8  # files that are closed for the sake of one, of which each may have views that keep it open
# Before Python 3.13 a mapping keeps a descriptor of its file.
_NO_DESCRIPTOR: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}


class Holder(Protocol):
    """Something that keeps a file open, and opens it again when it is needed."""

    def close(self) -> None:
        """Give up what is open. What others still look at stays open until they are done."""


class OpenFiles:
    """The files that are open in this process, of all datasets and formats, so many as the system has descriptors for.

    Half of the descriptors are left to others. When a file more is needed, those that were not used for the longest
    time are closed. Where that does not help, since views of them are in use, the file is not mapped, and who needs it
    reads what it needs.

    >>> files = OpenFiles()
    >>> with open(__file__, "rb") as file:
    ...     mapping = files.map(file.fileno(), 10)
    >>> len(mapping)
    10
    """

    def __init__(self) -> None:
        self._mappings: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
        self._holders: OrderedDict[int, weakref.ref[Holder]] = OrderedDict()  # the least recently used first

    @property
    def limit(self) -> int:
        """The number of files that may be open."""
        return _most_open()

    def map(self, descriptor: int, nbytes: int) -> mmap.mmap | None:
        """Return a mapping of the first bytes of a file; None if too many are in use."""
        limit = self.limit
        for _ in range(_TRIES):
            if len(self._mappings) < limit or not self._close_oldest():
                break
        if len(self._mappings) >= limit:
            return None
        make = partial(mmap.mmap, descriptor, nbytes, access=mmap.ACCESS_READ, **_NO_DESCRIPTOR)
        mapping: mmap.mmap = self.opening(make)
        self._mappings.add(mapping)
        return mapping

    def opening(self, make: Callable[[], Any]) -> Any:
        """Return what `make` makes. Where others have used up the descriptors, all files that can be are closed first.

        Raises:
            OSError: it cannot be made.
        """
        try:
            return make()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
        while self._close_oldest():
            pass
        return make()

    def use(self, holder: Holder) -> None:
        """Note that something that is open is used."""
        key = id(holder)
        try:
            self._holders.move_to_end(key)
        except KeyError:
            self._holders[key] = weakref.ref(holder, lambda _: self._holders.pop(key, None))
            if len(self._holders) > self.limit:
                self._close_oldest()

    def _close_oldest(self) -> bool:
        """Close what was not used for the longest time; whether there was something."""
        try:
            _, reference = self._holders.popitem(last=False)
        except KeyError:
            return False
        holder = reference()
        if holder is not None:
            holder.close()
        return True


# One for the process, as its descriptors are.
open_files = OpenFiles()


class DiskWaits:
    """A memory of whether reads had to wait for the disk: for files in memory, advice takes longer than reading.

    So advice begins when a read had to wait, and ends a while after the last one that had to.

    Args:
        lasts: how many reads a wait counts for.
        every: how many reads the system is asked after.

    >>> waits = DiskWaits()
    >>> waits.note_read()
    >>> waits.lately
    False
    """

    def __init__(self, lasts: int = 64, every: int = 8) -> None:
        self._lasts, self._every = lasts, every
        self._reads = 0
        self._until = 0  # of the reads, the one up to which a wait counts
        self._known = threading.local()  # how often each thread has waited so far

    def __reduce__(self) -> tuple[type, tuple[int, int]]:
        return DiskWaits, (self._lasts, self._every)  # another process waits for itself

    @property
    def lately(self) -> bool:
        """Whether one of the last reads had to wait for the disk."""
        return self._reads < self._until

    def note_read(self) -> None:
        """Take note that this thread has read a batch. It had to wait if the thread has, since the system was asked."""
        ask = self._reads % self._every == 0
        self._reads += 1
        if ask:
            faults, known = _count_faults(), self._known
            if faults > getattr(known, "faults", faults):
                self._until = self._reads + self._lasts
            known.faults = faults


_OF_WHOM = resource and getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)


def _count_faults() -> int:
    """Return how often this thread had to wait for a page from the disk; 0 where the system does not say."""
    return 0 if resource is None else resource.getrusage(_OF_WHOM).ru_majflt


def _most_open() -> int:
    """Return how many files to keep open: half of the descriptors are left to others."""
    if resource is None:
        return 256
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else min(max(soft // 2, 4), _MOST)
