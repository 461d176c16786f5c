"""The batches of one epoch as its consumer sees them: tasks for workers, and what comes back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from headrace.batch.coalesce import batches_to_coalesce
from headrace.errors import TooManyErrorsError
from headrace.errors.notes import clear_own_frames, without_frames
from headrace.loader.sample_tasks import EndlessTasks, SampleTasks
from headrace.loader.tasks import Loaded, SampleTask, Several, StreamTask, naming_step
from headrace.loader.validity import with_validity

if TYPE_CHECKING:
    from headrace.insight.loader_clock import LoaderClock
    from headrace.loader.cursor import Cursor, Epoch
    from headrace.loader.stream_checks import StreamCheck
    from headrace.sampling.samplers import Sampling
    from headrace.workers.base import Pool

    Note = Callable[[Loaded, Epoch, int], None]
    Following = Callable[[], tuple[Cursor, Sampling] | None]

__all__ = ["SampledBatches", "StreamedBatches"]

# The numbers of the runs of stream tasks.
_RUNS = count()


class SampledBatches:
    """The batches of a dataset from one step of an epoch on.

    Attributes:
        cursors: of the epoch whose batches are handed out, and of those after it that have begun.
        step: of the batch that was handed out last.

    Args:
        pool: who loads them.
        dataset: any object with `__getitem__`.
        sampling: which samples make up each batch.
        cursor: the epoch, the number of samples that the sampling was made for, if it depends on it, and the first
            batch; it moves on with each batch that is handed out.
        note: takes in what is told beside a batch; it raises where that is too much.
        clock: takes in how long loading took.
        coalesce_bytes: bytes of batches that may be loaded together; 0 loads each alone.
        following: begins the epoch after the last that has begun, and returns its cursor and sampling; None where
            there is none. Its tasks come as soon as those of the epoch before it are given out.
        elsewhere: whether the pool loads them in other processes.
        turns: how many of these take turns; 1 where whichever is free takes the next.
    """

    def __init__(
        self,
        pool: Pool[SampleTask, Any],
        dataset: Any,
        sampling: Sampling,
        cursor: Cursor,
        note: Note,
        clock: LoaderClock,
        coalesce_bytes: int = 0,
        following: Following | None = None,
        *,
        elsewhere: bool = False,
        turns: int = 1,
    ) -> None:
        self.cursors = deque([cursor])
        self.step = cursor.step
        self._clock = clock
        self._note = note
        self._coalesce_bytes = coalesce_bytes
        # What comes next, each with its step and how many samples were asked for.
        self._waiting: deque[tuple[Any, int, int]] = deque()
        shares = sampling.shares
        self._padded = shares if shares is not None and shares.uneven == "pad" else None
        self._make_tasks = partial(SampleTasks, dataset, elsewhere=elsewhere, turns=turns)
        tasks = self._make_tasks(sampling, cursor)
        self._tasks = tasks if following is None else EndlessTasks(tasks, partial(self._follow, following))
        self._results = pool.run(self._tasks)

    def read(self) -> tuple[Any, int]:
        """Return the next batch, and how many samples it holds.

        After an error, the batch that it came from is passed over. So is one all of whose samples were.

        Raises:
            StopIteration: the epoch is over.
            DatasetChangedError: the dataset has become shorter than it was when the epoch began.
        """
        waiting = self._waiting
        while True:
            found, step, samples = waiting.popleft() if waiting else self._next()
            self.step, cursor = step, self.cursors[0]
            if step == cursor.step and not cursor.ahead:  # as mostly, and then nobody can see it half done
                cursor.step = step + 1
            else:
                cursor.hand_out(step)
            if isinstance(found, Loaded):
                try:
                    self._look_at(found, step)
                    if found.loaded:
                        batch = found.batch
                        return batch if self._padded is None else self._mark(batch, step), found.samples
                finally:
                    del found  # its error refers to this frame, which must not refer to it
            elif isinstance(found, Exception):
                try:
                    clear_own_frames(found)
                    raise found
                finally:
                    del found  # as above
            else:
                return found if self._padded is None else self._mark(found, step), samples

    def _mark(self, batch: Any, step: int) -> Any:
        """Return a batch with the field that says which of its samples are no padding."""
        assert self._padded is not None  # noqa: S101 - else there is none
        return with_validity(batch, self._padded.valid(step))

    def _look_at(self, found: Loaded, step: int) -> None:
        """Take in what was told beside a batch, and raise the last of its errors."""
        epoch = self.cursors[0].epoch
        try:
            self._note(found, epoch, step)
            if found.errors:
                clear_own_frames(found.errors[-1])
                with naming_step(epoch, step):
                    raise found.errors[-1]
        finally:
            del found  # its error refers to this frame, which must not refer to it

    def _next(self) -> tuple[Any, int, int]:
        """Return the outcome of the next batch, its step, and how many samples were asked for."""
        results = self._results
        try:
            found = next(results)
        except Exception:
            if results.task is not None:  # else it was not a batch that failed
                self._reach(results.task)
                for step in results.task.steps:
                    self.cursors[0].hand_out(step)
            raise
        except BaseException:  # as Ctrl-C: whoever goes on gets the batches all the same
            if results.task is not None:
                self._tasks.put_back(results.task)
            raise
        task = results.task
        assert task is not None  # noqa: S101 - a result is a task's
        if len(self.cursors) > 1:
            self._reach(task)
        samples = len(task.selection)
        if results.clock.on:
            self._clock.loaded(results, task.epoch.number, task.step, len(task.parts) or 1, samples)
        if isinstance(found, Several):
            self._clock.counted(found.counted)
            self._waiting.extend(zip(found.found, task.steps, task.parts, strict=True))
            return self._waiting.popleft()
        if self._coalesce_bytes and (not isinstance(found, Loaded) or found.is_whole):
            batch = found.batch if isinstance(found, Loaded) else found
            self._tasks.coalesced = batches_to_coalesce(batch, samples, self._coalesce_bytes)
            self._coalesce_bytes = 0  # it is known
        return found, task.step, samples

    def _follow(self, following: Following) -> SampleTasks | None:
        begun = following()
        if begun is None:
            return None
        cursor, sampling = begun
        self.cursors.append(cursor)
        return self._make_tasks(sampling, cursor)

    def _reach(self, task: SampleTask) -> None:
        """Let the epochs before that of a task be over."""
        while len(self.cursors) > 1 and self.cursors[0].epoch != task.epoch:
            self.cursors.popleft()

    def close(self) -> None:
        """Load no more."""
        self._results.close()


class StreamedBatches:
    """The batches of a stream from one step of an epoch on.

    Args:
        pool: who reads it.
        readers: how many of its workers have a whole stream for themselves, and take turns; 1 if there
            is but one stream.
        cursor: the epoch and the first batch; it moves on with each batch that is handed out.
        note: takes in what is told beside a batch; it raises where that is too much.
        clock: takes in how long loading took.
        check: counts the samples that come.

    Attributes:
        cursors: of the epoch.
        step: of the batch that was handed out last.
    """

    def __init__(
        self,
        pool: Pool[StreamTask, Loaded],
        readers: int,
        cursor: Cursor,
        note: Note,
        clock: LoaderClock,
        check: StreamCheck,
    ) -> None:
        self.cursors = deque([cursor])
        self.step = cursor.step
        self._clock = clock
        self._cursor = cursor
        self._note = note
        self._check = check
        # What comes next, each with the step that has been handed out with it.
        self._waiting: deque[tuple[tuple[Any, int] | Exception, int | None]] = deque()
        self._tasks = _StreamTasks(readers, cursor)
        self._results = pool.run(self._tasks)

    def read(self) -> tuple[Any, int]:
        """Return the next batch, and how many samples it holds.

        An error of the stream loses no sample: those before it come with the ones after it.

        Raises:
            StopIteration: the stream is over.
            ArgumentTypeError: it has been gone through before, and cannot be again.
            DatasetChangedError: worker processes that have it together read other samples of it.
        """
        while not self._waiting:
            self._wait_for_more()
        item, step = self._waiting.popleft()
        if step is not None:
            self.step = step
            self._cursor.hand_out(step)
        if isinstance(item, Exception):
            clear_own_frames(item)
            try:
                raise item
            finally:
                del item  # it refers to this frame, which must not refer to it
        return item

    def close(self) -> None:
        """Read no more."""
        self._results.close()

    def _wait_for_more(self) -> None:
        try:
            found = next(self._results, None)
        except Exception:
            self._check.count(0, lost=True)
            raise
        if found is None:
            self._check.end()
            raise StopIteration
        task = self._results.task
        assert task is not None  # noqa: S101 - a result is a task's
        if self._results.clock.on:
            self._clock.loaded(self._results, task.epoch.number, task.step, 1, found.samples)
        self._check.compare(task.number, found.sums)
        self._take(found, task)

    def _take(self, found: Loaded, task: StreamTask) -> None:
        errors = list(found.errors)
        try:
            self._note(found, task.epoch, task.step)
        except TooManyErrorsError as error:
            found = replace(found, loaded=False)
            errors.append(without_frames(error))  # they refer to this list
        if task.skip:
            return
        self._check.count(found.samples + len(found.failures), lost=bool(errors))
        self._waiting.extend((error, None) for error in errors)
        if found.loaded:
            self._waiting.append(((found.batch, found.samples), task.step))  # without the errors, which are raised
        elif found.samples:  # it is passed over with the last of its errors
            last, _ = self._waiting.pop()
            self._waiting.append((last, task.step))
        else:
            self._tasks.end(task)
            self._cursor.hand_out(task.step)


class _StreamTasks(Iterator[StreamTask]):
    """A task for each step, until all streams have ended.

    Readers take turns: step s is batch s // readers of reader s mod readers, also after that one's end,
    so that each step has its reader whatever the others have. A reader that is asked for a batch
    passes over those before it; so where an epoch is resumed, the tasks begin with a whole round.
    """

    def __init__(self, readers: int, cursor: Cursor) -> None:
        self._epoch = cursor.epoch
        self._readers = readers
        self._handed_out = frozenset(range(cursor.step - cursor.step % readers, cursor.step)) | cursor.ahead
        self._step = cursor.step - cursor.step % readers
        self._run = next(_RUNS)
        self._first = self._step // readers
        self._ended: set[int] = set()

    def __next__(self) -> StreamTask:
        if len(self._ended) == self._readers:
            raise StopIteration
        step, self._step = self._step, self._step + 1
        skip = step in self._handed_out
        return StreamTask(self._epoch, step, step // self._readers, skip, self._run, self._first)

    def end(self, task: StreamTask) -> None:
        """Take note that there was no batch for the task, nor will there be for its reader."""
        self._ended.add(task.step % self._readers)
