"""The clock of a loader: it takes in what its iterators and workers tell, and keeps the last of it.

A step costs two records, which are packed and put to others. They are looked at when there are many, or when somebody
asks, so a step makes no object that stays and the memory is the same after a thousand steps and a million.
"""

from __future__ import annotations

import copy
import threading
from collections import Counter
from struct import Struct
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from headrace.insight.columns import BEGUN, DEVICE_COPY, ENDED, STEP_WIDTH, TASKS, TIMES, WIDTH, WORKER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from headrace.insight.clock import StageClock
    from headrace.insight.totals import Totals

__all__ = ["ENOUGH", "LoaderClock", "pack_step"]

# So many records are told before they are put to the others, all at once, and so many of those are kept.
ENOUGH, _KEPT = 64, 1024
pack_step, _pack_task, _pack_times = (Struct(f"{width}q").pack for width in (STEP_WIDTH, TIMES, WIDTH))
# Of times that are the consumer's own: what it does for any number of batches, or for one.
_OWN, _COPIED = _pack_task(0, -1, 0, 0, 0, 0), _pack_task(0, -1, 1, 0, 0, 0)


class Timed(Protocol):
    """Results of a pool that tell the times of tasks."""

    @property
    def clock(self) -> StageClock:
        """The clock of what the consumer's own thread did for them."""

    @property
    def timing(self) -> bytes | None:
        """The times of the latest task, told by its worker; None where the consumer is the worker."""

    @property
    def waiting(self) -> int:
        """The number of results that had come when the latest one was asked for."""


class LoaderClock:
    """Takes in what all iterators of one loader do, from any thread.

    Attributes:
        steps: records of batches that were handed out, packed by `pack_step`: when each was asked for, and so on. Once
            there are so many as `ENOUGH`, `take_in` is to be called. There is no method to tell one, as calling it
            would cost more than all that it does.
        listener: called with the records of steps and tasks whenever they are looked at.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.steps: list[bytes] = []
        self._told_tasks: list[bytes] = []
        self._last_steps = _LastRecords(STEP_WIDTH)
        self._last_tasks = _LastRecords(TIMES + WIDTH)
        self._totals: Totals | None = None
        self._knows_stages = False  # whether as many tasks were timed as are at first
        self._counters: Counter[str] = Counter()
        self.listener: Callable[[NDArray[np.int64], NDArray[np.int64]], None] | None = None

    def consumed(self, nanoseconds: int) -> None:
        """Take in the time that the consumer took for a batch after which there is no other."""
        self.steps.append(pack_step(0, 0, nanoseconds, 0, 0, 0, -1))

    def loaded(self, results: Timed, epoch: int, step: int, steps: int, samples: int) -> None:
        """Take in the times of the latest of some results, which were taken: of which epoch it is, and so on."""
        clock, timing, told = results.clock, results.timing, self._told_tasks
        asked, own = clock.row[BEGUN], clock.take()
        task = _pack_task(epoch, step, steps, samples, asked, results.waiting)
        if timing is None:
            told.append(task + own)
            if self._knows_stages:
                clock.to_time = 0  # the clock is another one in each epoch
            elif not clock.to_time:
                self._knows_stages = True
        else:
            told.append(_OWN + own)
            told.append(task + timing)
        if self.listener is not None:
            clock.times_all = True  # it is to hear of every task
        if len(told) >= ENOUGH:
            self.take_in()

    def copied(self, began: int, nbytes: int) -> None:
        """Take in that the consumer's thread has put a batch on a device since a time, or begun to."""
        row, now = [0] * WIDTH, perf_counter_ns()
        row[WORKER], row[BEGUN], row[ENDED], row[TASKS] = -1, began, now, 1
        row[DEVICE_COPY], row[DEVICE_COPY + 1] = now - began, nbytes
        self._told_tasks.append(_COPIED + _pack_times(*row))

    def counted(self, counters: Mapping[str, int]) -> None:
        """Add what the dataset of a worker process has counted."""
        if counters:
            with self._lock:
                self._counters.update(counters)

    def counters(self) -> dict[str, int]:
        """Return what the datasets of worker processes have counted."""
        with self._lock:
            return dict(self._counters)

    def totals(self) -> Totals:
        """Return the sums so far."""
        self.take_in()
        with self._lock:
            return copy.deepcopy(self._add_up())

    def recent(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the last records of steps and tasks, by the columns of `headrace.insight.columns`."""
        self.take_in()
        with self._lock:
            return self._last_steps.last(_KEPT), self._last_tasks.last(_KEPT)

    def take_in(self) -> None:
        """Put what was told to the other records."""
        with self._lock:
            steps, tasks = self._last_steps.rows_of(_pop(self.steps)), self._last_tasks.rows_of(_pop(self._told_tasks))
            if self.listener is not None and len(steps) + len(tasks):
                self.listener(steps, tasks)
            while len(steps) + len(tasks):
                if self._last_steps.is_full or self._last_tasks.is_full:
                    self._add_up()
                steps, tasks = self._last_steps.put(steps), self._last_tasks.put(tasks)

    def _add_up(self) -> Totals:
        """Add what has not been added to the sums, and return these."""
        if self._totals is None:
            from headrace.insight.totals import Totals  # once there is something to add

            self._totals = Totals()
        self._totals.add_steps(self._last_steps.take_new())
        self._totals.add_tasks(self._last_tasks.take_new())
        return self._totals


class _LastRecords:
    """The last records of one kind, in memory that is made once.

    Args:
        width: how many numbers a record has.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._rows = np.zeros((0, width), np.int64)
        self._count = 0  # of all that were put here, each to the place of one that came `_KEPT` before
        self._new = 0  # how many of them have not been added up

    @property
    def is_full(self) -> bool:
        """Whether no more can be put here until those that are new are taken."""
        return self._new == _KEPT

    def rows_of(self, told: list[bytes]) -> NDArray[np.int64]:
        """Return records as rows."""
        return np.frombuffer(b"".join(told), np.int64).reshape(-1, self._width)

    def put(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Put as many rows here as go; return those that are left."""
        if not len(rows):
            return rows
        if not len(self._rows):
            self._rows = np.zeros((_KEPT, self._width), np.int64)
        place = self._count % _KEPT
        count = min(len(rows), _KEPT - place, _KEPT - self._new)
        self._rows[place : place + count] = rows[:count]
        self._count += count
        self._new += count
        return rows[count:]

    def last(self, most: int) -> NDArray[np.int64]:
        """Return a copy of the last rows, the oldest first, so many at most."""
        return self._rows[np.arange(self._count - min(most, self._count, _KEPT), self._count) % _KEPT]

    def take_new(self) -> NDArray[np.int64]:
        """Return those that have not been taken."""
        found, self._new = self.last(self._new), 0
        return found


def _pop(told: list[Any]) -> list[Any]:
    """Return the records that are there, and take them away; others may come meanwhile."""
    found = told[: len(told)]
    del told[: len(found)]
    return found
