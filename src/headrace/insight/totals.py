"""Sums over the records of a loader's clock. They are needed when somebody asks for them, so this is imported then."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.insight.columns import (
    ASKED,
    BEGUN,
    BETWEEN,
    BYTES_OF_STEP,
    CPU,
    CPU_OF,
    DEPTH,
    ENDED,
    EPOCH,
    FIRST_STAGE,
    FIRST_STEP,
    GOT,
    SAMPLES_OF_STEP,
    SAMPLES_OF_TASK,
    SLOWEST,
    SLOWEST_INDEX,
    STAGES,
    STEP,
    STEPS,
    TASKS,
    TIMES,
    WANTED,
    WORKER,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Slow", "Totals", "WorkerTotals"]

_SLOWEST = 10  # samples, and batches, that are kept
# Bins of the histograms of times: four to each doubling, of nanoseconds.
_BINS = 256


class Slow(NamedTuple):
    """A sample or batch that took long.

    Attributes:
        nanoseconds: how long it took.
        epoch: in which epoch it was loaded.
        step: and in which step.
        which: the index of the sample, or the worker that loaded the batch.
    """

    nanoseconds: int
    epoch: int
    step: int
    which: int


@dataclass
class WorkerTotals:
    """The work that one worker has done: tasks, batches and samples, and the nanoseconds that it was busy."""

    tasks: int = 0
    batches: int = 0
    samples: int = 0
    busy: int = 0


@dataclass
class Totals:
    """Sums over all records, times in nanoseconds.

    Attributes:
        batches: handed out, and so samples and bytes.
        wait: of the consumer for batches, those that came first of their iterators included.
        starts: how many were the first.
        start_wait: and how long these were waited for.
        consumer: the time between batches.
        waits: how often a batch was waited for so long, in bins of four to a doubling; without those that came first.
        consumers: and how often the consumer took so long.
        stages: of each stage its time, its bytes and the batches that it was done for, shape (8, 3); the last row is
            of samples whose stages were not told apart.
        queued: how long results lay ready before they were asked for.
        depth: how many others lay ready then, added up.
        tasks: how many tasks there were.
        passed_over: how many of them were not timed, for which others stand.
        cpu: the processors' time in those tasks that were asked for it.
        cpu_of: how long these took.
        workers: by the number of the worker.
        slow_samples: the slowest, the slowest of all first, each index once.
        slow_batches: and so batches.
    """

    batches: int = 0
    samples: int = 0
    bytes: int = 0
    wait: int = 0
    starts: int = 0
    start_wait: int = 0
    consumer: int = 0
    waits: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, np.int64))
    consumers: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, np.int64))
    stages: NDArray[np.int64] = field(default_factory=lambda: np.zeros((8, 3), np.int64))
    queued: int = 0
    depth: int = 0
    tasks: int = 0
    passed_over: int = 0
    cpu: int = 0
    cpu_of: int = 0
    workers: dict[int, WorkerTotals] = field(default_factory=dict)
    slow_samples: list[Slow] = field(default_factory=list)
    slow_batches: list[Slow] = field(default_factory=list)

    def add_steps(self, steps: NDArray[np.int64]) -> None:
        """Add records of steps, shape (n, 7)."""
        batches, betweens = steps[steps[:, STEP] >= 0], steps[:, BETWEEN]
        waits, first = batches[:, GOT] - batches[:, ASKED], batches[:, BETWEEN] < 0
        self.batches += len(batches)
        self.samples += int(batches[:, SAMPLES_OF_STEP].sum())
        self.bytes += int(batches[:, BYTES_OF_STEP].sum())
        self.wait += int(waits.sum())
        self.starts += int(first.sum())
        self.start_wait += int(waits[first].sum())
        self.consumer += int(betweens[betweens > 0].sum())
        self.waits += _histogram(waits[~first])
        self.consumers += _histogram(betweens[betweens > 0])

    def add_tasks(self, tasks: NDArray[np.int64]) -> None:
        """Add records of tasks, shape (n, 6 + WIDTH)."""
        stages = tasks[:, TIMES + FIRST_STAGE :].reshape(len(tasks), len(STAGES) + 1, 2)
        stood = tasks[:, TIMES + TASKS]
        self.stages[:, :2] += np.tensordot(stood, stages, 1)
        self.stages[:, 2] += (stages[:, :, 0] > 0).T @ (tasks[:, STEPS] * stood)
        loads = tasks[tasks[:, TIMES + WORKER] >= 0]
        times, busy = loads[:, TIMES:], loads[:, TIMES + ENDED] - loads[:, TIMES + BEGUN]
        stood = times[:, TASKS]
        self.tasks += int(stood.sum())
        self.passed_over += int(stood.sum()) - len(loads)
        self.depth += int(loads[:, DEPTH] @ stood)
        self.queued += int(np.maximum(loads[:, WANTED] - times[:, ENDED], 0) @ stood)
        self.cpu += int(times[:, CPU].sum())
        self.cpu_of += int(times[:, CPU_OF].sum())
        for worker in np.unique(times[:, WORKER]).tolist():
            own = times[:, WORKER] == worker
            total = self.workers.setdefault(worker, WorkerTotals())
            total.tasks += int(stood[own].sum())
            total.batches += int(loads[own, STEPS] @ stood[own])
            total.samples += int(loads[own, SAMPLES_OF_TASK] @ stood[own])
            total.busy += int(busy[own] @ stood[own])
        self.slow_samples = _slowest(self.slow_samples, loads, times[:, SLOWEST], times[:, SLOWEST_INDEX], once=True)
        self.slow_batches = _slowest(self.slow_batches, loads, busy // np.maximum(loads[:, STEPS], 1), times[:, WORKER])


def _histogram(times: NDArray[np.int64]) -> NDArray[np.int64]:
    bins = (4 * np.log2(np.maximum(times, 1))).astype(np.int64)
    return np.bincount(np.minimum(bins, _BINS - 1), minlength=_BINS)


def _slowest(
    known: list[Slow],
    tasks: NDArray[np.int64],
    times: NDArray[np.int64],
    which: NDArray[np.int64],
    *,
    once: bool = False,
) -> list[Slow]:
    """Return the slowest of those known and of some tasks; `once` keeps of each sample the longest time."""
    rows = np.argsort(-times, kind="stable")[: 2 * _SLOWEST]
    rows = rows[times[rows] > 0]
    columns = times[rows], tasks[rows, EPOCH], tasks[rows, FIRST_STEP], which[rows]
    new = [Slow(*each) for each in zip(*(column.tolist() for column in columns), strict=True)]
    found = sorted([*known, *new], key=lambda slow: -slow.nanoseconds)
    if once:
        found = list({slow.which: slow for slow in reversed(found)}.values())[::-1]
        found.sort(key=lambda slow: -slow.nanoseconds)
    return found[:_SLOWEST]
