"""The time of the CPU and the memory that this process and all that descend from it take."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Event, Thread
from time import process_time
from typing import TYPE_CHECKING, Self

from headrace.workers.memory import private_memory, proportional_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "PeakMemory",
    "count_descriptors",
    "cpu_seconds",
    "family",
    "private_memory",
    "proportional_memory",
]

_PROC = Path("/proc")
_PARENT = 1  # fields of /proc/N/stat behind the name
_TIMES = slice(11, 15)  # of the process and of its children that have ended: user, system, user, system


def family() -> list[int]:
    """Return the numbers of this process and of all that descend from it; of this one alone where there is no /proc.

    >>> family()[0] == os.getpid()
    True
    """
    children: dict[int, list[int]] = {}
    for process, fields in _stats():
        children.setdefault(int(fields[_PARENT]), []).append(process)
    found = [os.getpid()]
    for process in found:
        found += children.get(process, [])
    return found


def _stats() -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each process of the system, and the fields behind its name."""
    for stat in _PROC.glob("[0-9]*/stat"):
        fields = _fields(stat)
        if fields:
            yield int(stat.parent.name), fields


def _fields(stat: Path) -> list[str]:
    try:
        # The second field, in brackets, is the program's name, which may hold anything.
        return stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:  # it has ended meanwhile
        return []


def cpu_seconds() -> float:
    """Return the seconds of CPU that this process and its descendants have taken, also those that have ended.

    Where there is no /proc, those that are still running are left out. Their time is counted in hundredths.

    >>> cpu_seconds() > 0
    True
    """
    ended = os.times()
    ticks = sum(int(field) for process in family()[1:] for field in _fields(_PROC / str(process) / "stat")[_TIMES])
    per_second = os.sysconf("SC_CLK_TCK") if ticks else 1
    return process_time() + ended.children_user + ended.children_system + ticks / per_second


def count_descriptors(process: int) -> int:
    """Return how many open files a process has; 0 where the system does not say."""
    try:
        return sum(1 for _ in (_PROC / str(process) / "fd").iterdir())
    except OSError:
        return 0


class PeakMemory:
    """The most memory that this process and its descendants take while this is open, looked at every so often.

    A process that ends meanwhile is not counted, neither now nor before, so that what it gives back hides nothing.

    Args:
        every: seconds between two looks.

    Attributes:
        before: bytes when it was opened; 0 where the system does not say.
        grown: bytes that were added since, at the most.

    >>> with PeakMemory() as memory:
    ...     block = bytearray(1 << 20)
    >>> memory.grown >= 0
    True
    """

    def __init__(self, every: float = 0.05) -> None:
        self._every = every
        self._over = Event()
        self._at_first: dict[int, int] = {}
        self.before = self.grown = 0

    def __enter__(self) -> Self:
        self._at_first = {process: proportional_memory([process]) for process in family()}
        self.before = sum(self._at_first.values())
        self._watcher = Thread(target=self._watch, daemon=True)
        if self.before:
            self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self.before:
            self._watcher.join()
            self._look()

    def _watch(self) -> None:
        while not self._over.wait(self._every):
            self._look()

    def _look(self) -> None:
        processes = family()
        at_first = sum(self._at_first.get(process, 0) for process in processes)
        self.grown = max(self.grown, proportional_memory(processes) - at_first)
