"""The last steps of a loader and the tasks that were done for them, with the times at which they were."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.insight import columns as record
from headrace.insight.columns import BEGUN, ENDED, FIRST_STAGE, STAGES, WORKER

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Timeline"]

_STEP = np.dtype(
    [
        ("epoch", np.int64),
        ("step", np.int64),
        ("asked", np.float64),
        ("handed_out", np.float64),
        ("consumer", np.float64),
        ("samples", np.int64),
        ("bytes", np.int64),
    ]
)
_TASK = np.dtype(
    [
        ("worker", np.int64),
        ("epoch", np.int64),
        ("step", np.int64),
        ("steps", np.int64),
        ("samples", np.int64),
        ("asked", np.float64),
        ("begun", np.float64),
        ("ended", np.float64),
        ("depth", np.int64),
        *((stage, np.float64) for stage in STAGES),
    ]
)


@dataclass(frozen=True, slots=True)
class Timeline:
    """The last 1,024 steps of a loader, and as many timed tasks. Times are seconds on the clock `time.perf_counter`.

    Attributes:
        steps: of each step, as a structured array: epoch, step, when its batch was asked for and handed out, how long
            the consumer had taken before it (NaN for the first of an iterator), samples and bytes.
        tasks: and of each task of workers: worker, epoch, its first step and how many, samples, when its result was
            asked for, when it was begun and ended, how many results were ready then, and the seconds of each stage. The
            consumer's own part (drawing the order, unpacking) has worker -1.
    """

    steps: NDArray[Any] = field(default_factory=lambda: np.zeros(0, _STEP))
    tasks: NDArray[Any] = field(default_factory=lambda: np.zeros(0, _TASK))

    @classmethod
    def of(cls, steps: NDArray[np.int64], tasks: NDArray[np.int64]) -> Timeline:
        """Return the timeline of records of steps and tasks, as the clock of a loader keeps them."""
        return cls(_as_steps(steps), _as_tasks(tasks))


def _as_steps(steps: NDArray[np.int64]) -> NDArray[Any]:
    found = np.zeros(len(steps), _STEP)
    found["epoch"], found["step"] = steps[:, record.EPOCH_OF_STEP], steps[:, record.STEP]
    found["asked"], found["handed_out"] = steps[:, record.ASKED] / 1e9, steps[:, record.GOT] / 1e9
    before = steps[:, record.BETWEEN]
    found["consumer"] = np.where(before < 0, np.nan, before / 1e9)
    found["samples"], found["bytes"] = steps[:, record.SAMPLES_OF_STEP], steps[:, record.BYTES_OF_STEP]
    found.flags.writeable = False
    return found


def _as_tasks(tasks: NDArray[np.int64]) -> NDArray[Any]:
    found = np.zeros(len(tasks), _TASK)
    times = tasks[:, record.TIMES :]
    found["worker"], found["depth"] = times[:, WORKER], tasks[:, record.DEPTH]
    found["epoch"], found["step"] = tasks[:, record.EPOCH], tasks[:, record.FIRST_STEP]
    found["steps"], found["samples"] = tasks[:, record.STEPS], tasks[:, record.SAMPLES_OF_TASK]
    found["asked"] = tasks[:, record.WANTED] / 1e9
    found["begun"], found["ended"] = times[:, BEGUN] / 1e9, times[:, ENDED] / 1e9
    for number, stage in enumerate(STAGES):
        found[stage] = times[:, FIRST_STAGE + 2 * number] / 1e9
    found.flags.writeable = False
    return found
