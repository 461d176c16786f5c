"""The clock of a worker: how long each stage of its tasks took.

It is always on, so it must cost next to nothing: a reading of the processor's clock and two sums for each stage of a
batch. Where samples are read one by one and take but a microsecond, their stages are told apart in one batch of many.
Where the consumer loads batches itself, and each takes but some hundred microseconds, one of sixteen is timed: what
the clock needs has left the processor's caches with each batch, and costs several times as much as it would in a loop.
"""

from __future__ import annotations

from array import array
from contextvars import ContextVar
from time import perf_counter_ns, process_time_ns, thread_time_ns
from typing import TYPE_CHECKING, Any

from headrace.insight.columns import (
    BEGUN,
    CPU,
    CPU_OF,
    ENDED,
    READ,
    SAMPLES,
    SLOWEST,
    SLOWEST_INDEX,
    TASKS,
    WIDTH,
    WORKER,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token

__all__ = ["StageClock", "present_clock", "timing"]

_EMPTY = array("q", [0] * WIDTH)
_EMPTY[TASKS] = 1
# Samples that take so long, in nanoseconds, are all timed; of others those of one batch in so many.
_LONG, _ONE_IN = 20_000, 64
# Tasks that are shorter, in nanoseconds, are asked for the processors' time, a call of the system, once in so many.
_SHORT, _CPU_ONE_IN = 10_000_000, 32
# Of tasks that are as short as this, once so many were timed, one in so many is.
_BRIEF, _FIRST, _TIMED_ONE_IN = 1_000_000, 32, 16


class StageClock:
    """Times the stages of one task after the other, for one worker.

    Every `lap` gives the time since the one before it to a stage, so that no time is counted twice.

    Args:
        worker: the number of the worker; -1 for the consumer.
        alone: whether nothing else works in its process while it does; else it is its thread that takes the time of
            processors.
        times_all: whether each task is timed; else of brief ones one in sixteen, which stands for all.

    Attributes:
        worker: its number.
        times_all: as above.
        on: whether the present task is timed; laps of others do nothing.
        to_time: how many tasks are timed however brief they are.
        row: the times of the present task, by the columns of `headrace.insight.columns`.
        fine: whether the stages of single samples are told apart at present.
        last: the time of the last lap.

    >>> clock = StageClock()
    >>> clock.start()
    >>> clock.lap(READ)
    >>> row = memoryview(clock.take()).cast("q")
    >>> 0 < row[READ] <= row[ENDED] - row[BEGUN]
    True
    """

    __slots__ = (
        "_began_cpu",
        "_cpu_time",
        "_mean",
        "_reads",
        "_tasks_to_cpu",
        "_to_pass",
        "fine",
        "last",
        "on",
        "row",
        "times_all",
        "to_time",
        "worker",
    )

    def __init__(self, worker: int = 0, *, alone: bool = True, times_all: bool = True) -> None:
        self.row = _EMPTY[:]
        self.on = True
        self.times_all = times_all
        self.to_time = _FIRST
        self._to_pass = 0  # tasks that are not timed before the next that is
        self.fine = False
        self.worker = worker
        self.last = perf_counter_ns()
        self._cpu_time = process_time_ns if alone else thread_time_ns
        self._began_cpu: int | None = None
        self._mean = _LONG  # of the samples that were read last
        self._reads = 0
        self._tasks_to_cpu = 0

    def start(self) -> None:
        """Begin to time a task, or to pass it over."""
        if self._to_pass:
            self._to_pass -= 1
            self.on = False
            return
        self.on = True
        if self._tasks_to_cpu:
            self._tasks_to_cpu -= 1
        else:
            self._began_cpu = self._cpu_time()
        self.last = self.row[BEGUN] = perf_counter_ns()

    def lap(self, stage: int, nbytes: int = 0) -> None:
        """Give the time since the last lap to a stage, by its column, and its bytes."""
        if not self.on:
            return
        row, now = self.row, perf_counter_ns()
        row[stage] += now - self.last
        if nbytes:
            row[stage + 1] += nbytes
        self.last = now

    def leave_out(self) -> None:
        """Give the time since the last lap to nobody."""
        self.last = perf_counter_ns()

    def take(self) -> bytes:
        """Return the times of the task, which ended with the last lap, and begin a new row."""
        row = self.row
        row[WORKER] = self.worker
        row[ENDED] = self.last
        if self._began_cpu is not None:
            row[CPU], row[CPU_OF] = self._cpu_time() - self._began_cpu, self.last - row[BEGUN]
            self._began_cpu = None
            self._tasks_to_cpu = _CPU_ONE_IN - 1 if row[CPU_OF] < _SHORT else 0
        times = row.tobytes()
        brief = self.last - row[BEGUN] < _BRIEF
        row[:] = _EMPTY
        if brief and not self.times_all:
            self._pass_over()
        return times

    def _pass_over(self) -> None:
        """Let the next tasks not be timed, and the one after them stand for them."""
        if self.to_time:
            self.to_time -= 1
        else:
            self._to_pass, self.row[TASKS] = _TIMED_ONE_IN - 1, _TIMED_ONE_IN

    # ------------------------------------------------------------------ samples that are read one by one

    def each(self, read: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return the function that reads a sample of the batch that is begun: the same, or one that times each."""
        if not self.on:
            return read
        self._reads += 1
        self.fine = self._mean >= _LONG or not self._reads % _ONE_IN
        if not self.fine:
            return read

        def timed(key: Any) -> Any:
            began = self.last
            value = read(key)
            self.lap(READ)
            took = self.last - began
            if took > self.row[SLOWEST] and isinstance(key, int):
                self.row[SLOWEST], self.row[SLOWEST_INDEX] = took, key
            return value

        return timed

    def read_all(self, count: int, began: int) -> None:
        """Take note that so many samples have been read since a time."""
        if not self.on:
            return
        if not self.fine:
            row, now = self.row, perf_counter_ns()
            row[SAMPLES] += now - self.last
            self.last = now
        self.fine = False
        self._mean = (self.last - began) // (count or 1)


_present: ContextVar[StageClock | None] = ContextVar("headrace_clock", default=None)


def present_clock() -> StageClock:
    """Return the clock of the worker that is made ready in this thread; a new one, which nobody reads, elsewhere."""
    return _present.get() or StageClock()


class timing:  # noqa: N801 - a context manager reads like a function
    """While this is open, work that is made belongs to a worker, whose clock times it.

    Args:
        clock: the worker's.
    """

    __slots__ = ("_clock", "_token")

    def __init__(self, clock: StageClock) -> None:
        self._clock = clock
        self._token: Token[StageClock | None]

    def __enter__(self) -> None:
        self._token = _present.set(self._clock)

    def __exit__(self, *raised: object) -> None:
        _present.reset(self._token)
