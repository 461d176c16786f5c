"""The work of a worker: it is made ready once, then loads one batch after the other."""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import frameworks
from headrace.batch.arena import use_arena
from headrace.batch.coalesce import split
from headrace.errors import HeadraceWarning
from headrace.errors.notes import text_of
from headrace.insight.clock import present_clock
from headrace.kernels.cores import share_cores
from headrace.loader.context import loading_batch
from headrace.loader.fetch import BatchReader
from headrace.loader.stateful_stream import StatefulReader
from headrace.loader.stream_fetch import DealtStream, StreamReader
from headrace.loader.tasks import Loaded, SampleTask, Several, StreamTask, seed_globals
from headrace.pipeline.hints import counters, has_counters, will_need
from headrace.pipeline.hugging_face import unshare_epoch
from headrace.rng.keys import epoch_key
from headrace.workers.info import WorkerInfo, be_worker_process, be_worker_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.batch.arena import Arena
    from headrace.loader.cursor import Epoch
    from headrace.loader.snapshots import RestoredStates
    from headrace.loader.stream_shares import StreamShares
    from headrace.workers.settings import ProgramSettings

__all__ = ["WorkMaker"]


@dataclass(frozen=True)
class WorkMaker:
    """Makes what a worker does: called in each worker once, and sent to it if that is a process.

    Args:
        dataset: what is loaded.
        streams: whether it is a stream.
        batch_size: samples a batch; None for single samples.
        single: hand out the one sample of a selection as it is.
        collate_fn: makes a batch of a list of samples; None for headrace's own way.
        shares: this rank's share of each step of a stream.
        num_workers: how many workers there are; 0 is the consumer itself.
        worker_init_fn: called in each worker with its number.
        seed: what the workers' own seeds follow from.
        shard: deal the batches of a stream out, in place of a whole stream for each worker.
        arena: where batches are written; None where the pool says so.
        own_process: whether a worker has a process for itself.
        on_error: what a sample does that cannot be read: "raise", "skip" or "replace".
        from_batch: replace it with another sample of its batch, not of the whole dataset.
        dealt: the stream that all threads read together.
        settings: what the program has set, for its workers; None where there are none.
        shields: seed the global generators for each batch, as in a process of its own, and put the program's back.
        every: after so many batches a stream that has a state of its own is asked for it; 0 for never.
        restored: the states to go on from; None for none.
    """

    dataset: Any
    streams: bool
    batch_size: int | None
    single: bool
    collate_fn: Callable[[Any], Any] | None
    shares: StreamShares
    num_workers: int = 0
    worker_init_fn: Callable[[int], None] | None = None
    seed: int = 0
    shard: bool = False
    arena: Arena | None = None
    own_process: bool = False
    on_error: str = "raise"
    from_batch: bool = False
    dealt: DealtStream | None = None
    settings: ProgramSettings | None = None
    shields: bool = False
    every: int = 0
    restored: RestoredStates | None = None

    def in_threads(self, arena: Arena) -> WorkMaker:
        """Make the one for workers that are threads, which have a stream and an arena together."""
        dealt = DealtStream(self._stream_reader(0)) if self.streams else None
        return replace(self, arena=arena, dealt=dealt)

    def __call__(self, worker: int) -> Callable[[Any], Any]:
        """Make worker number `worker` ready, and give what it does for a task."""
        if self.num_workers:
            self._begin_worker(worker)
        work = self._sample_work() if not self.streams else self._stream_work(worker)
        if self.own_process and has_counters(self.dataset):
            work = _counting(work, self.dataset)
        if self.shields:
            work = _shielded(work, self._globals(worker))
        return work

    def _globals(self, worker: int) -> frameworks.kept_globals:
        """Return what puts the program's generators back: a stream's code goes on with those that it has left."""
        if self.streams:
            return frameworks.private_globals(epoch_key(self.seed, worker, "worker"))
        return frameworks.reseeded_globals()

    def _begin_worker(self, worker: int) -> None:
        if self.settings is not None:
            self.settings.apply(own_process=self.own_process)
        seed = self._worker_seed(worker)
        # Code that asks where one stream is dealt out would leave out samples that are dealt out already.
        deals = self.shard or self.dealt is not None
        info = None if deals else WorkerInfo(worker, self.num_workers, seed, self.dataset)
        if self.own_process:
            share_cores(self.num_workers)
            self._seed_process(seed, worker)
            unshare_epoch(self.dataset)
            be_worker_process(info)
        else:
            be_worker_thread(info)
        if self.worker_init_fn is not None:
            self._call_init_fn(self.worker_init_fn, worker, deals=deals)

    def _worker_seed(self, worker: int) -> int:
        return epoch_key(self.seed, worker, "worker")

    def _seed_process(self, seed: int, worker: int) -> None:  # noqa: ARG002 - who seeds otherwise asks for it
        """Seed the global generators of a worker's own process."""
        frameworks.seed_globals(seed)

    def _call_init_fn(self, init_fn: Callable[[int], None], worker: int, *, deals: bool) -> None:
        try:
            init_fn(worker)
        except Exception as error:
            if deals:
                error.add_note(
                    "worker_init_fn is told of no worker (get_worker_info() is None), since the stream is dealt out; "
                    "with backend='process' and shard=False each reads a part of its own"
                )
            elif not self.own_process:
                error.add_note(
                    "worker_init_fn ran in a thread, where torch.utils.data.get_worker_info() is None; "
                    "ask headrace.get_worker_info(), or take backend='process'"
                )
            raise

    def _stream_reader(self, worker: int) -> StreamReader:
        make: Callable[..., StreamReader] = StreamReader
        if self.every:
            make = partial(StatefulReader, restored=self.restored, every=self.every)
        turns = self.own_process and self.num_workers > 1 and not self.shard
        return make(
            self.dataset,
            self.shares,
            self.collate_fn,
            single=self.batch_size is None,
            worker=worker if turns else 0,
            workers=self.num_workers if turns else 1,
            seed_globals=self._seed_globals(),
            skips=self.on_error == "skip",
            sums=self.own_process and self.num_workers > 1 and self.shard,
            tells_epoch=self._tells_epoch(),
        )

    def _tells_epoch(self) -> bool:
        """Return whether a stream is told the numbers of epochs."""
        return True

    def _stream_work(self, worker: int) -> Callable[[Any], Any]:
        read, arena, clock = self.dealt or self._stream_reader(worker), self.arena, present_clock()

        def load(task: StreamTask) -> Loaded:
            with use_arena(arena):
                return read(task, clock)

        return load

    def _seed_globals(self) -> Callable[[Epoch, int], None] | None:
        """Return the function that seeds the global generators for a batch, where that is to be done."""
        if self.own_process:
            return seed_globals
        return partial(seed_globals, devices=False) if self.shields else None

    def _sample_work(self) -> Callable[[SampleTask], Any]:
        reader, seed_globals, arena = self.reader(), self._seed_globals(), self.arena

        def load(task: SampleTask) -> Any:
            with loading_batch(task.epoch, task.step, task.selection, arena):
                if task.later is not None:
                    self._announce(task.later)
                if task.parts:
                    return Several(tuple(_load_together(reader, task)))
                if seed_globals is not None:
                    seed_globals(task.epoch, task.step)
                return reader(task.selection, task.epoch.draws_key, task.step)

        return load

    def reader(self) -> BatchReader:
        """Return a reader of the batches of the dataset."""
        return BatchReader(
            self.dataset, self.collate_fn, single=self.single, on_error=self.on_error, from_batch=self.from_batch
        )

    def _announce(self, later: NDArray[np.int64]) -> None:
        try:
            will_need(self.dataset, later)
        except Exception as error:
            warnings.warn(
                f"{type(self.dataset).__name__}.will_need failed, so samples are not asked for early: "
                f"{type(error).__name__}: {text_of(error)}",
                HeadraceWarning,
                stacklevel=2,
            )


def _load_together(reader: BatchReader, task: SampleTask) -> list[Any]:
    """Return the batches of a task that has several; if they cannot be read at once, what becomes of each alone."""
    with suppress(Exception):  # it comes again, and then it is known of which batch
        return split(reader.read_at_once(np.asarray(task.selection)), task.parts)
    return [_load_alone(reader, single) for single in task.singly()]


def _load_alone(reader: BatchReader, task: SampleTask) -> Any:
    try:
        with loading_batch(task.epoch, task.step, task.selection):
            return reader(task.selection, task.epoch.draws_key, task.step)
    except Exception as error:
        return error


def _counting(work: Callable[[Any], Any], dataset: Any) -> Callable[[Any], Any]:
    """Send along what the dataset has counted in this process, where the consumer would not see it."""
    told = counters(dataset)

    def work_and_tell(task: Any) -> Any:
        nonlocal told
        found = work(task)
        before, told = told, counters(dataset)
        counted = {name: count - before.get(name, 0) for name, count in told.items() if count != before.get(name, 0)}
        if not counted:
            return found
        if not isinstance(found, Loaded | Several):
            found = Loaded(len(task.selection), found, loaded=True)
        return replace(found, counted=counted)

    return work_and_tell


def _shielded(work: Callable[[Any], Any], kept: frameworks.kept_globals) -> Callable[[Any], Any]:
    def work_shielded(task: Any) -> Any:
        with kept:
            return work(task)

    return work_shielded
