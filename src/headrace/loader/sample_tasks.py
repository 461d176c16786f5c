"""The tasks that the batches of a dataset are loaded by: of an epoch, or of one epoch after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from headrace.errors import DatasetChangedError
from headrace.loader.tasks import SampleTask
from headrace.pipeline.hints import find_listeners
from headrace.sampling.planned import PlannedBatches, PlanSampling

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headrace.loader.cursor import Cursor
    from headrace.sampling.samplers import Sampling, Selection

__all__ = ["EndlessTasks", "READ_AHEAD", "SampleTasks"]  # noqa: RUF022 - in plain order

# How many batches before its turn a dataset hears of one, if it wants to. A user's own sampler may wait to see
# what becomes of a batch before it decides on the next one, so it is not asked early.
READ_AHEAD = 8


class SampleTasks(Iterator[SampleTask]):
    """A task for each batch that has not been handed out, or for several of them.

    Args:
        dataset: whose samples they are.
        sampling: which make up each batch.
        cursor: the epoch and the first batch.
        elsewhere: whether they are read in another process, where only its own copy of the dataset knows what to hear.
        turns: how many take the tasks in turns, each of whom hears of what it will read itself.

    Attributes:
        coalesced: how many; it may be set on the way.
    """

    def __init__(
        self, dataset: Any, sampling: Sampling, cursor: Cursor, *, elsewhere: bool = False, turns: int = 1
    ) -> None:
        self.coalesced = 1
        self._turns = turns
        self._dataset = dataset
        self._elsewhere = elsewhere
        self._length = cursor.length
        self._epoch = cursor.epoch
        self._step = cursor.step
        self._handed_out = frozenset(cursor.ahead)
        self._stop = cursor.start.stop
        self._planned: PlannedBatches | None = None
        self._interrupted: SampleTask | None = None
        self._selections = self._start(sampling, cursor)
        # Who wants to hear of what is read later, if that is known.
        self._listeners = find_listeners(dataset) if isinstance(sampling, PlanSampling) else []

    def _start(self, sampling: Sampling, cursor: Cursor) -> Iterator[Selection]:
        """Return the selections from the cursor on."""
        key, start = cursor.epoch.order_key, cursor.start
        if isinstance(sampling, PlanSampling):
            self._planned = sampling.start(key, cursor.step)
            return self._planned
        cursor.sampler = sampling.start(key, start.step, start.sampler)
        return cursor.sampler

    def _later(self) -> NDArray[np.int64] | None:
        """Return what is read after the last selection, if somebody wants to hear of it."""
        assert self._planned is not None  # noqa: S101 - else there are no listeners
        wanted = self._elsewhere or any(listens() for listens in self._listeners)
        if not wanted:
            return None
        if self.coalesced > 1:
            return self._planned.ahead(max(READ_AHEAD, self.coalesced))
        return self._planned.ahead(-(-READ_AHEAD // self._turns) * self._turns, self._turns)

    def put_back(self, task: SampleTask) -> None:
        """Take back a task that was interrupted, to be drawn next, unless others were drawn after it."""
        if task.epoch == self._epoch and task.steps.stop == self._step:
            self._interrupted = task

    def __next__(self) -> SampleTask:
        if self._length is not None and len(self._dataset) < self._length:
            self._refuse_shorter()
        if self._interrupted is not None:
            task, self._interrupted = self._interrupted, None
            return task
        while self._step in self._handed_out:
            next(self._selections)
            self._step += 1
        if self._stop is not None and self._step >= self._stop:
            raise StopIteration
        if self.coalesced > 1 and self._planned is not None:
            return self._several(self._planned)
        selection, step = next(self._selections), self._step
        self._step = step + 1
        return SampleTask(self._epoch, step, selection, self._later() if self._listeners else None)

    def _several(self, planned: PlannedBatches) -> SampleTask:
        """Return a task for all batches up to the next that has been handed out, as many as go together."""
        first, most = self._step, self.coalesced
        if self._stop is not None:
            most = min(most, self._stop - first)
        while self._handed_out and most > 1 and not self._handed_out.isdisjoint(range(first, first + most)):
            most -= 1
        selection, parts = planned.several(most)
        self._step += len(parts)
        later = self._later() if self._listeners else None
        return SampleTask(self._epoch, first, selection, later, parts if len(parts) > 1 else ())

    def _refuse_shorter(self) -> NoReturn:
        """Refuse a dataset that has become shorter; of one that has grown the epoch's order takes what there was."""
        raise DatasetChangedError(
            f"the dataset had {self._length} samples when epoch {self._epoch.number} began and has "
            f"{len(self._dataset)} at step {self._step}; samples may be added in the midst of an epoch, but taken "
            "away between epochs only"
        )


class EndlessTasks(Iterator[SampleTask]):
    """The tasks of one epoch after the other, so that workers begin the next while the last batches are handed out.

    Args:
        tasks: those of the present epoch.
        following: begins the next epoch, and returns its tasks; None where it has none.
    """

    def __init__(self, tasks: SampleTasks, following: Callable[[], SampleTasks | None]) -> None:
        self._tasks: SampleTasks | None = tasks
        self._following = following
        self.coalesced = 1

    def put_back(self, task: SampleTask) -> None:
        """Take back a task that was interrupted, to be drawn next, unless others were drawn after it."""
        if self._tasks is not None:
            self._tasks.put_back(task)

    def __next__(self) -> SampleTask:
        while self._tasks is not None:
            self._tasks.coalesced = self.coalesced
            task = next(self._tasks, None)
            if task is not None:
                return task
            self._tasks = self._following()
        raise StopIteration
