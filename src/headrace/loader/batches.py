"""The inner parts of a loader: its workers, its memory, and the batches of an epoch."""

from __future__ import annotations

import copy
import warnings
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from headrace import frameworks
from headrace.batch.arena import Arena
from headrace.batch.coalesce import LARGE, SMALL
from headrace.batch.tree import map_fields
from headrace.cache.randomness import runs_foreign_code
from headrace.errors import HeadraceError, HeadraceWarning
from headrace.insight.loader_clock import LoaderClock
from headrace.loader import position
from headrace.loader.bad_samples import BadSamples
from headrace.loader.base import B_co, LoaderBase
from headrace.loader.epoch import SampledBatches, StreamedBatches
from headrace.loader.iterator import BatchIterator
from headrace.loader.pools import PoolKeeper, choose_backend, make_pool
from headrace.loader.snapshots import ReaderStates, RestoredStates, dataset_part, is_stateful
from headrace.loader.stream_checks import StreamHistory
from headrace.loader.stream_shares import StreamShares
from headrace.loader.work import WorkMaker
from headrace.pipeline.compile import compile_dataset
from headrace.pipeline.hints import reads_ahead
from headrace.pipeline.hugging_face import gives_samples
from headrace.workers.settings import ProgramSettings

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

    from headrace.loader.auto_pool import AutoPool
    from headrace.loader.auto_workers import AutoWorkers
    from headrace.loader.checkpoint import LoaderState
    from headrace.loader.cursor import Cursor, Epoch, StartPoint
    from headrace.loader.epoch import Following
    from headrace.loader.tasks import Loaded
    from headrace.workers import Pool

__all__ = ["BatchLoader"]


class BatchLoader(LoaderBase[B_co]):
    """A loader that makes workers, and what they load."""

    def __len__(self) -> int:
        """Return the number of batches in an epoch.

        Raises:
            TypeError: the dataset is a stream, or the sampler an iterable, that has no length.
        """
        if not self._streams:
            return self._steps(self._length())
        try:
            length = len(self.dataset)
        except TypeError:
            raise TypeError(
                f"the loader has no length, because its dataset ({type(self.dataset).__name__}) has none"
            ) from None
        return self._stream_shares().steps(length)

    def __iter__(self) -> BatchIterator[B_co]:
        """Return an iterator over the next epoch, or over the rest of the one of a loaded state.

        The epoch begins with the iterator's first batch; until then nothing is drawn, started or moved.
        `next(iter(loader))` is a look at the data: it gives the first batch, and the next iterator begins the same
        epoch.
        """
        self._check_open()
        self._iterated = True
        if self.pin_memory and not frameworks.can_pin():
            warnings.warn("pin_memory=True has no effect: no GPU is found", HeadraceWarning, stacklevel=2)
        return BatchIterator(self)

    def _make_resources(self) -> None:
        self._arena = Arena()
        self._other_arenas: dict[str, Arena] = {}
        self._clock = LoaderClock()
        self._auto: AutoWorkers | None = None  # where it finds the number of its workers itself
        self._end_of_trace = None if self.trace is None else self._begin_trace(self.trace)
        self._bad = BadSamples(self.on_error, self.max_errors)
        self._pools = PoolKeeper(persistent=self.persistent_workers)
        # What other ranks have of a stream is not counted here.
        self._stream_history = StreamHistory(self.dataset, trusts_length=self.world_size == 1)
        self._states = self._make_states()
        self._closed = False

    def _begin_trace(self, path: str | os.PathLike[str]) -> weakref.finalize[..., BatchLoader[B_co]]:
        from headrace.insight.trace import record  # for who wants one

        return weakref.finalize(self, record(path, self._clock))

    def _make_states(self) -> ReaderStates:
        return ReaderStates(every=1)

    def __getstate__(self) -> dict[str, Any]:
        left_out = (
            "_arena",
            "_other_arenas",
            "_clock",
            "_auto",
            "_end_of_trace",
            "_bad",
            "_pools",
            "_stream_history",
            "_states",
            "_closed",
        )
        state = {name: value for name, value in self.__dict__.items() if name not in left_out}
        return {**state, "_epochs": copy.copy(self._epochs)}  # a copy goes its own way, from the same place

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, trace=None)  # which is the first one's
        self._make_resources()

    def close(self) -> None:
        """End the workers and give up the loader's memory.

        Batches handed out stay valid; no more can be loaded.
        """
        self._closed = True
        self._pools.close()
        if self._end_of_trace is not None:
            self._end_of_trace()
        for arena in (self._arena, *self._other_arenas.values()):
            arena.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise HeadraceError("the loader is closed; make a new one")

    def _iterate_in(self, name: str, make: Callable[[], Arena]) -> Iterator[B_co]:
        """Return an iterator over the next epoch whose batches lie in an arena of another kind; see BatchIterator."""
        batches = iter(self)
        if isinstance(batches, BatchIterator):  # a subclass may return another one
            batches.lie_in(name, make)
        return batches

    def _arena_named(self, name: str, make: Callable[[], Arena]) -> Arena:
        """Return the arena of another kind that the loader has, made if it has none of that name."""
        if name not in self._other_arenas:
            self._other_arenas[name] = make()
        return self._other_arenas[name]

    def _batches(
        self,
        pool: Pool[Any, Any],
        cursor: Cursor,
        arena: Arena,  # noqa: ARG002 - for loaders that have no pool
    ) -> SampledBatches | StreamedBatches:
        if self._streams:
            self._states.begin(cursor, self._between_epochs())
            readers = self._readers() or 1
            drops = readers * ((self.batch_size or 1) - 1) if self.drop_last else 0
            check = self._stream_history.begin(readers, drops=drops, whole=not (cursor.step or cursor.ahead))
            return StreamedBatches(pool, readers, cursor, self._note, self._clock, check)
        return self._sampled_batches(pool, cursor)

    def _sampled_batches(
        self, pool: Pool[Any, Any], cursor: Cursor, following: Following | None = None
    ) -> SampledBatches:
        """Return the batches of an epoch of a dataset, and of those that follow it, if any are to."""
        sampling = self._sampling(cursor.length, cursor.start.shift)
        coalesced = self._coalesce_bytes()
        several = self.num_workers > 0 or self._finds_workers()
        elsewhere = several and choose_backend(self, streams=False).separate
        in_turns = elsewhere and not self._finds_workers() and (self._takes_turns() or self.worker_init_fn is not None)
        return SampledBatches(
            pool,
            self.dataset,
            sampling,
            cursor,
            self._note,
            self._clock,
            coalesced,
            following,
            elsewhere=elsewhere,
            turns=self.num_workers if in_turns else 1,
        )

    def _coalesce_bytes(self) -> int:
        """Return the bytes up to which batches may be coalesced."""
        if self.batch_size is None or self._given_sampling is not None or not self._collates_itself():
            return 0
        plan = compile_dataset(self.dataset)
        if not plan.reads_together:
            return 0
        if self._finds_workers():  # some may come, who read ahead anyway
            most = LARGE if self.num_workers else SMALL
            bounds = [bound // 4 for bound in (self.prefetch_bytes, self.ram_budget) if bound is not None]
            return min(most, *bounds) if bounds else most
        if not self.num_workers:
            return 0 if plan.may_change else SMALL
        window = self.num_workers * (self.prefetch_factor or 1)
        return LARGE if self.prefetch_bytes is None else min(LARGE, self.prefetch_bytes // window)

    def _collates_itself(self) -> bool:
        """Return whether batches are made with no function of the user's."""
        return self.collate_fn is None

    def _note(self, found: Loaded, epoch: Epoch, step: int) -> None:
        """Take in what a worker told beside a batch.

        Raises:
            TooManyErrorsError: there are more bad samples than are allowed.
        """
        self._states.snapshots.note(found.snapshot, step)
        self._clock.counted(found.counted)
        self._bad.note(found.failures, epoch.number, step)

    def _readers(self) -> int | None:
        """Return how many workers read a stream in turns; None where the number makes no difference."""
        if not self._streams or self.num_workers < 2 or self.shard or not choose_backend(self, streams=True).separate:
            return None
        return self.num_workers

    def _make_pool(self, epoch: Epoch, arena: Arena) -> Pool[Any, Any]:
        """Make the workers for an iterator that begins with this epoch, and whose batches lie in the arena."""
        if self._finds_workers():
            return self._make_auto_pool(epoch, arena)
        return make_pool(self, self._maker_for(epoch), arena, turns=self._takes_turns())

    def _takes_turns(self) -> bool:
        """Return whether workers take the tasks in turns: those who read a stream, or fetch early what they will read.

        What a worker process has fetched is no other's. Threads have it together, so there whichever is free may go on.
        """
        if self._streams or not self.num_workers:
            return self._readers() is not None
        return choose_backend(self, streams=False).separate and reads_ahead(self.dataset)

    def _make_auto_pool(self, epoch: Epoch, arena: Arena) -> AutoPool:
        """Make workers of which the number is found; it goes on from where the iterator before came to."""
        from headrace.loader.auto_pool import make_auto_pool  # what few loaders need
        from headrace.loader.auto_workers import AutoWorkers

        self._auto = self._auto or AutoWorkers()
        return make_auto_pool(self, self._maker_for(epoch), arena, self._auto)

    def _maker_for(self, epoch: Epoch) -> WorkMaker:
        alike = self.seed is not None or self._finds_workers()  # as in processes, wherever it is that they load
        shields = (not self.num_workers or self._finds_workers()) and alike and self._runs_foreign_code()
        return replace(
            self._maker(),
            seed=epoch.key("workers"),
            settings=ProgramSettings.now() if self.num_workers or self._finds_workers() else None,
            shields=shields,
            every=self._states.snapshots.every if self._keeps_states() else 0,
            restored=None if self._states.loaded is None else RestoredStates(epoch, self._states.loaded),
        )

    def _maker(self) -> WorkMaker:
        return WorkMaker(
            dataset=self.dataset,
            streams=self._streams,
            batch_size=self.batch_size,
            single=self.batch_size is None and self.batch_sampler is None,
            collate_fn=self.collate_fn,
            shares=self._stream_shares(),
            num_workers=self.num_workers,
            worker_init_fn=self.worker_init_fn,
            shard=self.shard,
            on_error=self.on_error,
            from_batch=self._given_sampling is not None,
        )

    def _stream_shares(self) -> StreamShares:
        """Return this rank's share of each step of a stream."""
        return StreamShares(self.batch_size or 1, self.rank, self.world_size, self.uneven, self.drop_last)

    def _runs_foreign_code(self) -> bool:
        """Return whether a batch is made by code that may draw from the global generators: any but headrace's own."""
        return runs_foreign_code(self.dataset) or runs_foreign_code(self.collate_fn)

    def _delivers(self) -> bool:
        """Return whether batches are handed out otherwise than they were loaded."""
        return self.pin_memory

    def _deliver(self, batch: Any) -> Any:
        return map_fields(frameworks.pin, batch) if self.pin_memory and frameworks.can_pin() else batch

    def _keeps_states(self) -> bool:
        """Return whether workers are asked for the states of datasets that have one of their own."""
        # The state of a Hugging Face stream leaves out what its shuffle buffer holds, so it is read again.
        return self._streams and not gives_samples(self.dataset)

    def _between_epochs(self) -> dict[int, Any]:
        """Return the states that an epoch leaves to the next one, where that is read from the same copies."""
        if not self._keeps_states() or (self.num_workers and not self.persistent_workers):
            return {}
        if not self.num_workers and is_stateful(self.dataset):
            return {0: dataset_part({"dataset": self.dataset.state_dict()})}
        return {reader: dataset_part(state) for reader, state in self._states.snapshots.latest.items()}

    def _stream_state(self, at: StartPoint) -> dict[str, Any] | None:
        """Return the states of a stream that has one of its own, after the batches before a place."""
        if not self._keeps_states() or at.ahead:
            return None
        _, states = self._states.at(at, self._between_epochs)
        return {str(reader): state for reader, state in states.items()} or None

    def _load_stream_state(self, state: dict[str, Any] | None) -> None:
        """Let the next iterator read a stream from where its state was taken."""
        self._states.loaded = None if state is None else {int(reader): each for reader, each in state.items()}
        if state is not None:
            self._pools.drop_idle()  # workers that have gone on are not those of the state

    def _steps(self, length: int | None, shift: int = 0) -> int:
        """Return the number of batches in an epoch of so many samples without the first."""
        return len(self) if self._streams else self._sampling(length, shift).steps()

    def _state(self, at: StartPoint) -> LoaderState:
        return position.state_at(self, at)
