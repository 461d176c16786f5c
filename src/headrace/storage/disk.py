"""What many files ask of the system: few of them open at a time, and pages early where they must come from a disk."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

resource: Any = None
with suppress(ImportError):  # Windows has none
    import resource

__all__ = ["DiskWaits", "OpenFiles"]

_WHILE = 64  # batches


class OpenFiles:
    """Which of many files were used last. The others are closed.

    Args:
        close: closes a file of a number; reading opens it again.
    """

    def __init__(self, close: Callable[[int], None]) -> None:
        self._close = close
        self._limit = _most_open()
        self._used: dict[int, None] = {}  # the least recently used first

    def __reduce__(self) -> tuple[Any, ...]:
        return OpenFiles, (self._close,)

    def use(self, number: int) -> None:
        """Note that a file is used, and close the one that was not for the longest time if too many are open."""
        self._used.pop(number, None)
        self._used[number] = None
        while len(self._used) > self._limit:
            oldest = next(iter(self._used))
            self._used.pop(oldest, None)
            self._close(oldest)


class DiskWaits:
    """Whether reads had to wait for the disk lately. While files are in memory, advice takes longer than reading.

    >>> waits = DiskWaits()
    >>> with waits:
    ...     pass  # read
    >>> waits.lately
    False
    """

    def __init__(self) -> None:
        self._left = 0  # batches for which that still counts

    @property
    def lately(self) -> bool:
        """Whether one of the last reads had to."""
        return self._left > 0

    def __enter__(self) -> None:
        self._faults = _count_faults()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = _WHILE if _count_faults() > self._faults else max(self._left - 1, 0)


def _count_faults() -> int:
    """How often this thread had to wait for a page from the disk; 0 where the system does not say."""
    if resource is None:
        return 0
    return int(resource.getrusage(getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)).ru_majflt)


def _most_open() -> int:
    """How many files to keep open: half of the descriptors are left to others."""
    if resource is None:
        return 256
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(soft // 4, 16) if soft != resource.RLIM_INFINITY else 1 << 14
