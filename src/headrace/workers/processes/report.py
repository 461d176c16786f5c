"""Reports of worker processes that can be read after their death: a file in memory for each.

Its first page holds the number of the task that the worker has in hand, and its memory. A dump of its
stacks, which the consumer asks for with a signal, comes after that page.
"""

from __future__ import annotations

import faulthandler
import mmap
import os
import signal
import struct
import sys
from contextlib import suppress
from time import monotonic, sleep

from headrace.workers.processes.segments import create_file

__all__ = ["Report", "ReportWriter"]

_LAYOUT = struct.Struct("=dqq")  # since when it is ready or 0, the task in hand, memory in bytes
_TASK, _TASK_AT = struct.Struct("=q"), 8
_PAGE = mmap.PAGESIZE
_NO_TASK = -1
_STACKS_SIGNAL = getattr(signal, "SIGUSR1", None)
# How long a worker has for the dump, in seconds. It comes from the signal handler, at once.
_PATIENCE = 1.0
_POLL = 0.01


class Report:
    """The consumer's side: makes the file and reads it."""

    def __init__(self) -> None:
        self.file = create_file(_PAGE)
        self._page = mmap.mmap(self.file, _PAGE)
        self._page[: _LAYOUT.size] = _LAYOUT.pack(0, _NO_TASK, 0)

    @property
    def ready(self) -> bool:
        """Whether the worker has begun to serve."""
        return bool(self.ready_at)

    @property
    def ready_at(self) -> float:
        """The time at which the worker began to serve, on the clock `time.monotonic`; 0 if it has not."""
        return self._read()[0]

    @property
    def task(self) -> int | None:
        """The task that the worker has, or had, in hand."""
        number = self._read()[1]
        return None if number == _NO_TASK else number

    @property
    def memory(self) -> int:
        """The resident memory of the worker before the task in hand, in bytes; 0 if it has not said."""
        return self._read()[2]

    def stacks(self, pid: int) -> str:
        """Return the traceback of each thread of the worker."""
        if not self.ready or _STACKS_SIGNAL is None:
            return "  (it has not started yet)\n" if not self.ready else "  (this system cannot tell)\n"
        os.ftruncate(self.file, _PAGE)
        os.lseek(self.file, _PAGE, os.SEEK_SET)  # the worker has the same position
        try:
            os.kill(pid, _STACKS_SIGNAL)
        except ProcessLookupError:
            return "  (it has ended)\n"
        return self._wait_for_dump() or "  (it does not answer)\n"

    def close(self) -> None:
        """Give the file up."""
        self._page.close()
        os.close(self.file)

    def _read(self) -> tuple[float, int, int]:
        ready, task, memory = _LAYOUT.unpack_from(self._page)
        return ready, task, memory

    def _wait_for_dump(self) -> str:
        deadline = monotonic() + _PATIENCE
        size = _PAGE
        while monotonic() < deadline:
            sleep(_POLL)
            grown = os.fstat(self.file).st_size
            if grown == size > _PAGE:
                break
            size = grown
        return os.pread(self.file, size - _PAGE, _PAGE).decode(errors="replace")


class ReportWriter:
    """The worker's side.

    Args:
        file: the descriptor of the file.
    """

    def __init__(self, file: int) -> None:
        self._page = mmap.mmap(file, _PAGE)
        self._ready_at = 0.0
        self._statm: int | None = None  # kept open: it is read for every task
        with suppress(OSError):
            self._statm = os.open("/proc/self/statm", os.O_RDONLY)
        if _STACKS_SIGNAL is not None:
            faulthandler.register(_STACKS_SIGNAL, os.fdopen(file, "wb", closefd=False), all_threads=True)

    def begin(self, task: int) -> None:
        """Say which task the worker has in hand."""
        _TASK.pack_into(self._page, _TASK_AT, task)

    def wait(self) -> None:
        """Say that the worker has none, and how much memory it has."""
        self._ready_at = self._ready_at or monotonic()
        _LAYOUT.pack_into(self._page, 0, self._ready_at, _NO_TASK, self._memory())

    def _memory(self) -> int:
        if self._statm is None:
            return _peak_memory()
        return int(os.pread(self._statm, 100, 0).split()[1]) * _PAGE


def _peak_memory() -> int:
    """Return the most memory that this process has had, in bytes, where it cannot be asked what it has."""
    import resource  # not everywhere

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
