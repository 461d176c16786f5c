"""Reading batches of a stream, one after the other: by one reader, or by threads that have one together."""

from __future__ import annotations

from threading import Lock
from types import GeneratorType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace.batch.checksum import checksum
from headrace.batch.tree import count_array_bytes
from headrace.errors import ArgumentTypeError
from headrace.errors.notes import add_note, without_frames
from headrace.insight.columns import COLLATE, READ
from headrace.loader.bad_samples import Failure
from headrace.loader.context import loading_batch
from headrace.loader.fetch import collate
from headrace.loader.tasks import Loaded, name_step, naming_step
from headrace.rng.context import use_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from headrace.insight.clock import StageClock
    from headrace.loader.cursor import Epoch
    from headrace.loader.stream_shares import StreamShares
    from headrace.loader.tasks import StreamTask

__all__ = ["DealtStream", "ReadSamples", "StreamReader"]

# A stream that fails this often in a row, with no sample in between, is taken to be at its end.
_PATIENCE = 100


class ReadSamples(NamedTuple):
    """The samples of this rank's batch, fewer at the end of the stream, and what was raised among those of all ranks.

    The batch's own draws follow from the places of its samples in the stream.
    """

    samples: list[Any]
    errors: list[Exception]  # those that are told
    failures: list[Failure]  # those of samples that are passed over
    sums: tuple[int, int] | None = None  # checksums of all samples before this batch, and with it
    before: int = 0  # samples of the same step, on ranks before this one
    snapshot: tuple[int, Any] | None = None  # of the stream after them, where a reader takes one


class StreamReader:
    """Reads batches of a stream, one after the other.

    Asked for a batch further on it passes over those in between; asked for an earlier one, or for
    another epoch, it starts anew.

    Args:
        stream: a dataset with `__iter__`.
        shares: this rank's share of each step.
        collate_fn: makes a batch of a list of samples; None for headrace's own way.
        single: hand out the one sample of a batch as it is.
        worker: which of the readers this is, each of which has the whole stream for itself.
        workers: how many such readers there are.
        seed_globals: called with the epoch and step before the samples of each batch, to seed the generators that the
            process shares; None to leave them alone.
        skips: pass over samples that fail, where the stream goes on after them.
        sums: give checksums of the samples, to be compared with those of other readers of the same stream.
        tells_epoch: tell a stream that has a `set_epoch` the number of each epoch.
    """

    def __init__(
        self,
        stream: Any,
        shares: StreamShares,
        collate_fn: Callable[[Any], Any] | None,
        *,
        single: bool = False,
        worker: int = 0,
        workers: int = 1,
        seed_globals: Callable[[Epoch, int], None] | None = None,
        skips: bool = False,
        sums: bool = False,
        tells_epoch: bool = True,
    ) -> None:
        self._stream = stream
        self._shares = shares
        self._size = shares.size
        self._single = single
        self._collate_fn = collate_fn
        self._worker = worker
        self._workers = workers
        self._seed_globals = seed_globals
        self._skips = skips
        self._sums = sums
        self._tells_epoch = tells_epoch and hasattr(stream, "set_epoch")
        self._epoch: Epoch | None = None

    def begin(self, epoch: Epoch) -> None:
        """Ask the stream for the samples of an epoch.

        Raises:
            ArgumentTypeError: they have been gone through before, and cannot be again.
            Exception: what its `__iter__` raised; it has no samples then.
        """
        self._epoch = epoch
        self._number = 0  # of the batch that comes next
        self._position = 0  # of the sample that comes next
        self._asked = 0  # how often the stream was asked for a sample
        self._sum = 0  # of all samples so far
        self._ahead = ReadSamples([], [], [])  # what has been read of the batch that comes next
        self._ended = True
        if self._tells_epoch:
            self._stream.set_epoch(epoch.number)
        with use_keys(epoch.draws_key, np.array([-1 - self._worker])):  # not a sample's
            self._samples = iter(self._stream)
        if isinstance(self._samples, GeneratorType) and self._samples.gi_frame is None:
            raise ArgumentTypeError(
                f"the dataset ({type(self._stream).__name__}) can be gone through once, for its __iter__ gives a "
                "generator that has ended; make a new one in each __iter__"
            )
        self._ended = False

    def __call__(self, task: StreamTask, clock: StageClock) -> Loaded:
        """Return the batch of a task, with what was raised on the way from the batch before it."""
        read = self.read(task.epoch, task.step, task.number)
        clock.lap(READ)
        loaded = self.load(task, read)
        clock.lap(COLLATE, count_array_bytes(loaded.batch))
        return loaded

    def read(self, epoch: Epoch, step: int, number: int) -> ReadSamples:
        """Read the samples of the batch of that number, which has its place at a step of an epoch."""
        with naming_step(epoch, step):
            if epoch != self._epoch or number < self._number:
                self.begin(epoch)
        while self._number < number and not (self._ended and not self._ahead.samples):
            self._read_samples(epoch)  # what fails there is told by who loads that batch
        return self._read_samples(epoch)

    def load(self, task: StreamTask, read: ReadSamples) -> Loaded:
        """Make the batch of a task of its samples. Several threads may do that at the same time."""
        samples, errors, failures, sums, before, _ = read
        if task.skip:
            return Loaded(0, sums=sums)
        if not samples:
            return Loaded(0, errors=errors, failures=failures, sums=sums)
        try:
            batch = self._collate(samples, task, before)
        except Exception as error:
            return Loaded(len(samples), errors=[*errors, error], failures=failures, sums=sums)
        return Loaded(len(samples), batch, loaded=True, errors=errors, failures=failures, sums=sums)

    def _collate(self, samples: list[Any], task: StreamTask, before: int) -> Any:
        first = task.number * self._size + before
        indices = range(first, first + len(samples))
        with loading_batch(task.epoch, task.step, self._numbers(indices)):
            return collate(samples, indices, self._collate_fn, single=self._single)

    def _read_samples(self, epoch: Epoch) -> ReadSamples:
        """Return the samples of the next batch."""
        number, self._number = self._number, self._number + 1
        step = number * self._workers + self._worker
        found, self._ahead = self._ahead, ReadSamples([], [], [])
        if self._seed_globals is not None and not found.samples:
            self._seed_globals(epoch, step)
        self._fill(found, self._size, epoch, step)
        self._read_whole(step)
        if self._shares.ahead and not self._ended:
            self._look_ahead(found, epoch, step + self._workers)
        taken, before = self._shares.take(found.samples)
        return found._replace(samples=taken, before=before, sums=self._sum_up(found.samples))

    def _read_whole(self, step: int) -> None:
        """Take note that all samples of a step have been read, and none after it."""

    def _look_ahead(self, found: ReadSamples, epoch: Epoch, step: int) -> None:
        """Let the samples of the next step join this one, if they are the last and fewer than there are ranks."""
        ahead = self._ahead
        if self._seed_globals is not None:
            self._seed_globals(epoch, step)
        self._fill(ahead, self._shares.ahead, epoch, step)
        if self._ended and len(ahead.samples) < self._shares.ahead:
            found.samples.extend(ahead.samples)
            found.errors.extend(ahead.errors)
            found.failures.extend(ahead.failures)
            self._ahead = ReadSamples([], [], [])

    def _fill(self, read: ReadSamples, count: int, epoch: Epoch, step: int) -> None:
        """Read on until there are so many samples, or no more come."""
        in_a_row = 0
        while not self._ended and len(read.samples) < count:
            self._asked += 1
            try:
                with use_keys(epoch.draws_key, self._numbers([self._position])):
                    sample = next(self._samples, self)
            except Exception as error:
                in_a_row += 1
                self._ended = in_a_row == _PATIENCE
                if self._skips and self._goes_on_after(error):
                    read.failures.append(Failure(self._asked - 1, without_frames(error)))
                else:
                    name_step(error, epoch, step)
                    read.errors.append(error)
                continue
            if sample is self:
                self._ended = True  # not asked again: some would start anew
                break
            read.samples.append(sample)
            self._position += 1
            in_a_row = 0

    def _sum_up(self, samples: list[Any]) -> tuple[int, int] | None:
        if not self._sums:
            return None
        before = self._sum
        for sample in samples:
            self._sum = checksum(sample, self._sum)
        return before, self._sum

    def _goes_on_after(self, error: Exception) -> bool:
        """Return whether the stream can be asked for the sample after one that failed; if not, say why."""
        if isinstance(error, MemoryError):  # it says nothing of the sample
            return False
        if self._ended:
            add_note(error, f"{_PATIENCE} samples in a row failed, so the stream is taken to be at its end")
        elif isinstance(self._samples, GeneratorType):
            add_note(
                error,
                "a generator ends when it raises, so nothing comes after this and on_error='skip' cannot pass over it; "
                "catch the error in the generator",
            )
        else:
            return True
        return False

    def _numbers(self, positions: Sequence[int]) -> NDArray[np.int64]:
        """Return the numbers that tell the samples apart from all others of the epoch."""
        return np.array(positions, np.int64) * self._workers + self._worker


class DealtStream:
    """One stream whose batches are dealt out to threads.

    Copies of a stream for each thread would share what the stream holds (a file, a cursor) and lose samples.
    So one thread reads at a time, in the order of the batches, and all of them make batches of samples.

    Args:
        reader: reads the stream.
    """

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader
        self._lock = Lock()
        self._run = -1
        self._next = 0  # the number of the batch that is read next
        self._waiting: dict[
            int, ReadSamples | BaseException
        ] = {}  # what is read before the thread that has the task asks

    def __call__(self, task: StreamTask, clock: StageClock) -> Loaded:
        """Return the batch of a task, with what was raised on the way from the batch before it."""
        with self._lock:
            clock.leave_out()  # what others read meanwhile
            read = self._take(task)
        clock.lap(READ)
        if isinstance(read, BaseException):
            raise read
        loaded = self._reader.load(task, read)
        clock.lap(COLLATE, count_array_bytes(loaded.batch))
        return loaded

    def _take(self, task: StreamTask) -> ReadSamples | BaseException:
        if task.run < self._run:  # it has been given up, and nobody hears of it
            return ReadSamples([], [], [])
        if task.run > self._run:
            self._run, self._next = task.run, task.first
            self._waiting.clear()
        while task.number not in self._waiting:
            number, self._next = self._next, self._next + 1
            try:
                self._waiting[number] = self._reader.read(task.epoch, number, number)
            except BaseException as error:
                self._waiting[number] = error
        return self._waiting.pop(task.number)
