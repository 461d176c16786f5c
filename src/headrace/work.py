"""What a worker does for a task: it loads one batch, of a dataset or of a stream."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import adapters
from headrace.batch.arena import use_arena
from headrace.batch.collate import default_collate
from headrace.data.reading import read_batch, read_samples, reads_batches
from headrace.errors import HeadraceWarning, UnexpectedStopIterationError
from headrace.faces import fast_face
from headrace.keys import epoch_key, slot, use_keys
from headrace.position import Epoch
from headrace.workers.info import WorkerInfo, use_worker_info

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from numpy.typing import NDArray

    from headrace.batch.arena import Arena
    from headrace.order.samplers import Selection

__all__ = ["BatchReader", "SampleTask", "StreamBatch", "StreamReader", "StreamTask", "WorkMaker", "naming_step"]

# The place where a collate_fn draws; without one of its own it would draw what the first sample drew.
_COLLATION = 2**31
# A stream that fails this often in a row, with no sample in between, is taken to be at its end.
_PATIENCE = 100


@dataclass(frozen=True, slots=True)
class SampleTask:
    """A batch of a dataset: which samples, at which step of which epoch."""

    epoch: Epoch
    step: int
    selection: Selection

    def __str__(self) -> str:
        return f"step {self.step} of epoch {self.epoch.number} (seed {self.epoch.seed})"

    def __reduce__(self) -> tuple[Any, ...]:
        # A tenth of the time that pickle would take for its parts; one is sent for every batch.
        indices = self.selection.tobytes() if isinstance(self.selection, np.ndarray) else self.selection
        return _sample_task, (self.epoch.number, self.epoch.seed, self.step, indices)


def _sample_task(epoch: int, seed: int, step: int, indices: bytes | list[Any]) -> SampleTask:
    selection = np.frombuffer(indices, np.int64).copy() if isinstance(indices, bytes) else indices
    return SampleTask(Epoch(epoch, seed), step, selection)


@dataclass(frozen=True, slots=True)
class StreamTask:
    """A batch of a stream.

    Attributes:
        epoch: of which epoch.
        step: which step of it.
        number: which batch of the stream that its reader reads; other than the step where readers
            take turns.
        skip: pass it over.
    """

    epoch: Epoch
    step: int
    number: int
    skip: bool = False

    def __str__(self) -> str:
        return f"step {self.step} of epoch {self.epoch.number} (seed {self.epoch.seed})"


@dataclass(frozen=True, slots=True)
class StreamBatch:
    """What became of a StreamTask.

    Attributes:
        samples: how many samples the batch holds; 0 where the stream has ended, or it was passed over.
        batch: the batch, if it is loaded.
        loaded: whether it is; else there is none, or the last of the errors prevented it.
        errors: what was raised on the way, in the order in which that happened.
    """

    samples: int
    batch: Any = None
    loaded: bool = False
    errors: list[Exception] = field(default_factory=list)


class BatchReader:
    """Reads the samples of a selection and makes them a batch.

    Args:
        dataset: any object with `__getitem__`.
        collate_fn: makes a batch of a list of samples; None for headrace's own way.
        single: hand out the one sample of a selection as it is, or what collate_fn makes of it.
    """

    def __init__(self, dataset: Any, collate_fn: Callable[[Any], Any] | None, *, single: bool) -> None:
        self._dataset = dataset
        self._collate_fn = collate_fn
        self._single = single
        self._reads_batches = collate_fn is None and not single and reads_batches(dataset)
        self._reads_many = not single and fast_face(dataset, "__getitems__", "__getitem__") is not None

    def __call__(self, selection: Selection, key: int, step: int) -> Any:
        """The batch of the selection.

        Args:
            selection: which samples.
            key: the key of the samples' draws.
            step: the number of the batch, which tells apart samples that have no index.
        """
        numbers = selection if isinstance(selection, np.ndarray) else _numbers(step, len(selection))
        fast = self._fast_reader(selection)
        if fast is None:
            with use_keys(key, numbers):
                return self._read_singly(selection)
        try:
            with use_keys(key, numbers):
                return fast(selection)
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
        # Reading sample by sample is what a fast face stands for: it names the sample that is wrong,
        # or else it gives the batch, and the fast face is what is wrong.
        with use_keys(key, numbers):
            batch = self._read_singly(selection)
        warnings.warn(
            f"{type(self._dataset).__name__} could not read a batch at once, but sample by sample: {failure}",
            HeadraceWarning,
            stacklevel=2,
        )
        return batch

    def _fast_reader(self, selection: Selection) -> Callable[[Any], Any] | None:
        """What reads all samples of the selection at once, if anything does."""
        if self._reads_batches and isinstance(selection, np.ndarray):
            return self._read_batch
        return self._read_many if self._reads_many else None

    def _read_batch(self, selection: NDArray[np.int64]) -> Any:
        return read_batch(self._dataset, selection)

    def _read_many(self, selection: Selection) -> Any:
        return self._collate(read_samples(self._dataset, selection), selection)

    def _read_singly(self, selection: Selection) -> Any:
        return self._collate(read_samples(self._dataset, selection, singly=True), selection)

    def _collate(self, samples: list[Any], selection: Selection) -> Any:
        return _collate(samples, selection, self._collate_fn, single=self._single)


class StreamReader:
    """Reads batches of a stream, one after the other.

    Asked for a batch further on it passes over those in between; asked for an earlier one, or for
    another epoch, it starts anew.

    Args:
        stream: a dataset with `__iter__`.
        batch_size: samples a batch; None for single samples.
        collate_fn: makes a batch of a list of samples; None for headrace's own way.
        drop_last: leave out an incomplete last batch.
        worker: which of the readers this is, each of which has the whole stream for itself.
        workers: how many such readers there are.
        seeds_globals: seed the generators that the process shares before the samples of each batch.
    """

    def __init__(
        self,
        stream: Any,
        batch_size: int | None,
        collate_fn: Callable[[Any], Any] | None,
        *,
        drop_last: bool,
        worker: int = 0,
        workers: int = 1,
        seeds_globals: bool = False,
    ) -> None:
        self._stream = stream
        self._size = batch_size or 1
        self._single = batch_size is None
        self._collate_fn = collate_fn
        self._drop_last = drop_last
        self._worker = worker
        self._workers = workers
        self._seeds_globals = seeds_globals
        self._epoch: Epoch | None = None

    def begin(self, epoch: Epoch) -> None:
        """Ask the stream for the samples of an epoch.

        Raises:
            Exception: what its `__iter__` raised; it has no samples then.
        """
        self._epoch = epoch
        self._number = 0  # of the batch that comes next
        self._position = 0  # of the sample that comes next
        self._ended = True
        if hasattr(self._stream, "set_epoch"):
            self._stream.set_epoch(epoch.number)
        with use_keys(epoch.draws_key, np.array([-1 - self._worker])):  # not a sample's
            self._samples = iter(self._stream)
        self._ended = False

    def __call__(self, task: StreamTask) -> StreamBatch:
        """The batch of a task, with what was raised on the way from the batch before it."""
        epoch = task.epoch
        with naming_step(epoch, task.step):
            if epoch != self._epoch or task.number < self._number:
                self.begin(epoch)
        while self._number < task.number and not self._ended:
            self._read_samples(epoch)  # what fails there is told by who loads that batch
        samples, errors = self._read_samples(epoch)
        if task.skip:
            return StreamBatch(0)
        if not samples or (self._drop_last and len(samples) < self._size):
            return StreamBatch(0, errors=errors)
        try:
            return StreamBatch(len(samples), self._collate(samples, task), loaded=True, errors=errors)
        except Exception as error:
            return StreamBatch(len(samples), errors=[*errors, error])

    def _collate(self, samples: list[Any], task: StreamTask) -> Any:
        first = task.number * self._size
        indices = range(first, first + len(samples))
        with naming_step(task.epoch, task.step), use_keys(task.epoch.draws_key, self._numbers(indices)):
            return _collate(samples, indices, self._collate_fn, single=self._single)

    def _read_samples(self, epoch: Epoch) -> tuple[list[Any], list[Exception]]:
        """The samples of the next batch, fewer at the end of the stream, and what was raised among them."""
        number, self._number = self._number, self._number + 1
        step = number * self._workers + self._worker
        if self._seeds_globals:
            _seed_globals(epoch, step)
        samples: list[Any] = []
        errors: list[Exception] = []
        failures = 0  # in a row
        while not self._ended and len(samples) < self._size:
            try:
                with naming_step(epoch, step), use_keys(epoch.draws_key, self._numbers([self._position])):
                    sample = next(self._samples, self)
            except Exception as error:
                errors.append(error)
                failures += 1
                self._ended = failures == _PATIENCE
                continue
            if sample is self:
                self._ended = True  # not asked again: some would start anew
                break
            samples.append(sample)
            self._position += 1
            failures = 0
        return samples, errors

    def _numbers(self, positions: Sequence[int]) -> NDArray[np.int64]:
        """The numbers that tell the samples apart from all others of the epoch."""
        return np.array(positions, np.int64) * self._workers + self._worker


class naming_step:  # noqa: N801 - a context manager reads like a function
    """Add to an error which batch it came from, and let no StopIteration end the loop."""

    __slots__ = ("_epoch", "_step")

    def __init__(self, epoch: Epoch, step: int) -> None:
        self._epoch = epoch
        self._step = step

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, StopIteration):
            unexpected = UnexpectedStopIterationError("StopIteration came out of a collate_fn or get_batch")
            unexpected.add_note(self._note())
            raise unexpected from error
        if isinstance(error, Exception):
            error.add_note(self._note())

    def _note(self) -> str:
        return f"in step {self._step} of epoch {self._epoch.number} (seed {self._epoch.seed})"


def _collate(
    samples: list[Any], indices: Sequence[Any] | NDArray[np.int64], fn: Callable[[Any], Any] | None, *, single: bool
) -> Any:
    """The batch of the samples, or what becomes of the only one."""
    if fn is None:
        return samples[0] if single else default_collate(samples, indices)
    with slot(_COLLATION):
        return fn(samples[0] if single else samples)


def _numbers(step: int, count: int) -> NDArray[np.int64]:
    """Numbers for samples that have no index, different in all batches."""
    return (np.int64(step) << 32) + np.arange(count)


@dataclass(frozen=True)
class WorkMaker:
    """Makes what a worker does: called in each worker once, and sent to it if that is a process.

    Args:
        dataset: what is loaded.
        streams: whether it is a stream.
        batch_size: samples a batch; None for single samples.
        single: hand out the one sample of a selection as it is.
        collate_fn: makes a batch of a list of samples; None for headrace's own way.
        drop_last: leave out an incomplete last batch of a stream.
        num_workers: how many workers there are; 0 is the consumer itself.
        worker_init_fn: called in each worker with its number.
        seed: what the workers' own seeds follow from.
        shard: deal the batches of a stream out, in place of a whole stream for each worker.
        arena: where batches are written; None where the pool says so.
        own_process: whether a worker has a process for itself.
    """

    dataset: Any
    streams: bool
    batch_size: int | None
    single: bool
    collate_fn: Callable[[Any], Any] | None
    drop_last: bool
    num_workers: int = 0
    worker_init_fn: Callable[[int], None] | None = None
    seed: int = 0
    shard: bool = False
    arena: Arena | None = None
    own_process: bool = False

    def __call__(self, worker: int) -> Callable[[Any], Any]:
        """Make worker number `worker` ready, and give what it does for a task."""
        dataset = (
            copy.copy(self.dataset) if self.streams and self.num_workers and not self.own_process else self.dataset
        )
        if self.num_workers:
            self._begin_worker(worker, dataset)
        work = self._stream_work(worker, dataset) if self.streams else self._sample_work()
        return work if self.arena is None else _in_arena(work, self.arena)

    def _begin_worker(self, worker: int, dataset: Any) -> None:
        info = WorkerInfo(worker, self.num_workers, epoch_key(self.seed, worker, "worker"), dataset)
        use_worker_info(info)
        if self.own_process:
            adapters.seed_globals(info.seed)
            adapters.enter_worker(worker, self.num_workers, info.seed, dataset)
        if self.worker_init_fn is not None:
            self.worker_init_fn(worker)
        if self.shard:
            use_worker_info(None)  # who asks would leave out samples that are dealt out already

    def _stream_work(self, worker: int, stream: Any) -> Callable[[StreamTask], StreamBatch]:
        turns = self.num_workers > 1 and not self.shard
        return StreamReader(
            stream,
            self.batch_size,
            self.collate_fn,
            drop_last=self.drop_last,
            worker=worker if turns else 0,
            workers=self.num_workers if turns else 1,
            seeds_globals=self.own_process,
        )

    def _sample_work(self) -> Callable[[SampleTask], Any]:
        reader = BatchReader(self.dataset, self.collate_fn, single=self.single)

        def load(task: SampleTask) -> Any:
            with naming_step(task.epoch, task.step):
                if self.own_process:
                    _seed_globals(task.epoch, task.step)
                return reader(task.selection, task.epoch.draws_key, task.step)

        return load


def _seed_globals(epoch: Epoch, step: int) -> None:
    """Let code that draws from global generators see them alike for a batch, whichever worker loads it."""
    adapters.seed_globals(epoch_key(epoch.seed, epoch.number, f"globals {step}"))


def _in_arena(work: Callable[[Any], Any], arena: Arena) -> Callable[[Any], Any]:
    def work_in_arena(task: Any) -> Any:
        with use_arena(arena):
            return work(task)

    return work_in_arena
