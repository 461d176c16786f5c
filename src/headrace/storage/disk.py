"""What many files ask of the system: few of them open at a time, and pages early where they must come from a disk."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

resource: Any = None
with suppress(ImportError):  # Windows has none
    import resource

__all__ = ["DiskWaits", "OpenFiles"]

_WHILE = 64  # batches


class OpenFiles:
    """Which of many files were used last. The others are closed.

    Args:
        close: closes the file of a number; reading opens it again.

    Attributes:
        limit: how many files stay open.
    """

    def __init__(self, close: Callable[[int], None]) -> None:
        self.limit = _most_open()
        self._close = close
        self._used: OrderedDict[int, None] = OrderedDict()  # the least recently used first

    def __reduce__(self) -> tuple[Any, ...]:
        return OpenFiles, (self._close,)

    def use(self, number: int) -> None:
        """Note that a file is used, and close the one that was not for the longest time if too many are open."""
        self._used[number] = None
        with suppress(KeyError):  # another thread was quicker, here and below
            self._used.move_to_end(number)
            while len(self._used) > self.limit:
                oldest, _ = self._used.popitem(last=False)
                self._close(oldest)


class DiskWaits:
    """Whether reads had to wait for the disk lately. While files are in memory, advice takes longer than reading.

    So advice begins when a read had to wait, and ends a while after the last one that had to.

    >>> waits = DiskWaits()
    >>> with waits.reading():
    ...     pass  # here
    >>> waits.lately
    False
    """

    def __init__(self) -> None:
        self._left = 0  # batches for which that still counts

    @property
    def lately(self) -> bool:
        """Whether one of the last reads had to."""
        return self._left > 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        """What is read while this is open counts as one read."""
        before = _count_faults()
        yield
        self._left = _WHILE if _count_faults() > before else max(self._left - 1, 0)


def _count_faults() -> int:
    """How often this thread had to wait for a page from the disk; 0 where the system does not say."""
    if resource is None:
        return 0
    return int(resource.getrusage(getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)).ru_majflt)


def _most_open() -> int:
    """How many files to keep open: each may take two descriptors, and half of them are left to others."""
    if resource is None:
        return 256
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(soft // 4, 16) if soft != resource.RLIM_INFINITY else 1 << 14
