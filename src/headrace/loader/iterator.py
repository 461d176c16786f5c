"""The iterator over one epoch: it takes batches as they come, times them, and knows where it stands."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from threading import RLock
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from headrace.batch.tree import count_bytes
from headrace.insight.loader_clock import ENOUGH, pack_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

    from headrace.batch.arena import Arena
    from headrace.insight.loader_clock import LoaderClock
    from headrace.loader.checkpoint import LoaderState
    from headrace.loader.cursor import Cursor, Epoch, Epochs
    from headrace.loader.epoch import Following, SampledBatches, StreamedBatches
    from headrace.loader.pools import PoolKeeper
    from headrace.sampling.samplers import Sampling
    from headrace.workers import Pool

__all__ = ["BatchIterator", "one_after_the_other"]

B_co = TypeVar("B_co", covariant=True)


class IterableLoader(Protocol):
    """A loader as its iterators see it."""

    num_workers: int
    _arena: Arena
    _closed: bool
    _epochs: Epochs
    _given_sampling: Any
    _clock: LoaderClock
    _pools: PoolKeeper

    def _batches(self, pool: Pool[Any, Any], cursor: Cursor, arena: Arena) -> SampledBatches | StreamedBatches: ...
    def _sampled_batches(self, pool: Pool[Any, Any], cursor: Cursor, following: Following) -> SampledBatches: ...
    def _arena_named(self, name: str, make: Callable[[], Arena]) -> Arena: ...
    def _check_open(self) -> None: ...
    def _deliver(self, batch: Any) -> Any: ...
    def _delivers(self) -> bool: ...
    def _length(self) -> int | None: ...
    def _make_pool(self, epoch: Epoch, arena: Arena) -> Pool[Any, Any]: ...
    def _state(self, at: Any) -> LoaderState: ...
    def _stream_state(self, at: Any) -> dict[str, Any] | None: ...
    def _sampling(self, length: int | None, shift: int = 0) -> Sampling: ...
    def _steps(self, length: int | None, shift: int = 0) -> int: ...


class BatchIterator(Iterator[B_co]):
    """The batches of one epoch. Several iterators of one loader do not disturb each other.

    Threads may share one: each batch goes to one of them.

    Args:
        loader: whose batches they are.
        epochs: the next of these is gone through; None for the loader's own.
        endless: go on with the epochs after it, for ever.
    """

    def __init__(self, loader: IterableLoader, epochs: Epochs | None = None, *, endless: bool = False) -> None:
        self._loader = loader
        self._epochs = loader._epochs if epochs is None else epochs
        self._endless = endless
        self._arena = loader._arena
        self._delivers = loader._delivers()
        self._lock = RLock()  # what is loaded in the consumer's thread may come back here, which must not hang
        self._handed_out_at: int | None = None
        self._bytes = 0  # of the batch that was handed out last
        self._cursor: Cursor | None = None  # until the first batch is asked for: `iter` alone begins nothing
        self._asked = False
        self._batches: SampledBatches | StreamedBatches
        self._end: weakref.finalize[..., BatchIterator[B_co]]

    def __len__(self) -> int:
        """Return the number of batches in its epoch."""
        if self._endless:
            raise TypeError("an iterator that goes through the epochs for ever has no length")
        loader, start = self._loader, self._epochs.next_start() if self._cursor is None else self._cursor.start
        if start.stop is not None:
            return start.stop - start.step
        length = self._epochs.upcoming_length(loader._length()) if self._cursor is None else self._cursor.length
        return loader._steps(length, start.shift)

    def __next__(self) -> B_co:
        """Load the next batch.

        Raises:
            StopIteration: the epoch is over.
            Exception: what the dataset raised, with notes that name the sample, the step and the
                epoch. Iteration can go on after it.
        """
        with self._lock:
            loader, asked = self._loader, perf_counter_ns()
            cursor = self._begin() if self._cursor is None else self._cursor
            first = not self._asked
            if first:
                self._asked = True
            elif cursor is not self._epochs.front:
                self._epochs.ask(cursor)
            between, self._handed_out_at = -1 if first else asked - (self._handed_out_at or asked), None
            if loader._closed or cursor.finished:
                loader._check_open()
                raise StopIteration
            batches = self._batches
            batch: B_co
            try:
                batch, samples = batches.read()
            except BaseException as error:
                loader._clock.consumed(between)
                if isinstance(error, StopIteration):
                    self._epochs.finish(self._reach(cursor))
                    self._end()
                else:
                    self._reach(cursor)
                raise
            if batches.cursors[0] is not cursor:
                cursor = self._reach(cursor)
            if self._delivers:
                batch = self._deliver(batch)
            self._handed_out_at = now = perf_counter_ns()
            self._bytes = nbytes = count_bytes(batch)
            told = loader._clock.steps
            told.append(pack_step(asked, now, between, samples, nbytes, cursor.epoch.number, batches.step))
            if len(told) >= ENOUGH:
                loader._clock.take_in()
            if first:
                self._call_site.asked = _call_site(sys._getframe(1))
            return batch

    def _deliver(self, batch: Any) -> Any:
        began = perf_counter_ns()
        delivered = self._loader._deliver(batch)
        if delivered is not batch:
            self._loader._clock.copied(began, count_bytes(delivered))
        return delivered

    def note_copy(self, began: int) -> None:
        """Take note that the batch that was handed out last has been put on a device since a time, or is on its way."""
        self._loader._clock.copied(began, self._bytes)

    def is_at_end(self) -> bool:
        """Return whether the last batch of its epoch has been handed out; the loader must have a length."""
        return self._cursor is not None and self._cursor.step >= len(self)

    def begin(self) -> None:
        """Begin its epoch now, so that workers load ahead; else the first batch does."""
        with self._lock:
            if self._cursor is None:
                self._begin()

    def _begin(self) -> Cursor:
        """Begin the epoch whose turn it is, and let workers load; where they cannot, nothing has begun."""
        loader = self._loader
        loader._check_open()
        if loader._given_sampling is not None:
            loader._given_sampling.check()
        epochs = self._epochs
        cursor = epochs.begin(loader._length())
        try:
            pool = loader._pools.take(lambda: loader._make_pool(cursor.epoch, self._arena), self._arena)
            try:
                if self._endless:
                    following = partial(_begin_following, loader, epochs)
                    self._batches = loader._sampled_batches(pool, cursor, following)
                else:
                    self._batches = loader._batches(pool, cursor, self._arena)
            except BaseException:
                pool.close()
                raise
        except BaseException:
            epochs.give_up(cursor)
            raise
        self._cursor, self._call_site = cursor, (site := _CallSite())
        # An iterator that is dropped half-way leaves no worker behind.
        give_back = partial(loader._pools.give_back, pool, self._arena)
        self._end = weakref.finalize(self, _end, give_back, self._batches, epochs, site)
        return cursor

    def _reach(self, cursor: Cursor) -> Cursor:
        """Return the epoch that the last batch was of, where one epoch follows the other."""
        reached = self._batches.cursors[0]
        if reached is not cursor:
            self._epochs.finish(cursor)
            self._epochs.ask(reached)
            self._cursor = reached
        return reached

    def lie_in(self, name: str, make: Callable[[], Arena]) -> None:
        """Let the batches lie in an arena of another kind, and come as they were loaded; once they are, it is too late.

        Args:
            name: the arena's name, under which the loader keeps it for the epochs that follow.
            make: makes it.
        """
        with self._lock:
            if self._cursor is None:
                self._arena, self._delivers = self._loader._arena_named(name, make), False

    def state_dict(self) -> dict[str, Any]:
        """Return where this iterator stands, for `DataLoader.load_state_dict`. It begins an epoch if it has none."""
        with self._lock:
            cursor = self._begin() if self._cursor is None else self._cursor
        at = self._epochs.position() if cursor.finished else cursor.reached()
        return self._loader._state(at).to_dict()

    def state_later(self) -> Callable[[], dict[str, Any]]:
        """Return a function that gives the state of this moment, which costs next to nothing where it is not called."""
        loader, cursor = self._loader, self._cursor
        at = self._epochs.position() if cursor is None else cursor.reached()
        stream = loader._stream_state(at)  # it will be another one by then
        return lambda: replace(loader._state(at), stream=stream).to_dict()


def one_after_the_other(loader: Iterable[B_co]) -> Iterator[B_co]:
    """Yield the batches of one epoch of a loader after the other, until one has none."""
    found = True
    while found:
        found = False
        for batch in loader:
            found = True
            yield batch


def _begin_following(loader: IterableLoader, epochs: Epochs) -> tuple[Cursor, Sampling] | None:
    """Begin the next epoch ahead of its turn; return None where it has no batches."""
    cursor = epochs.begin(loader._length())
    sampling = loader._sampling(cursor.length, cursor.start.shift)
    if sampling.steps():
        return cursor, sampling
    epochs.give_up(cursor)
    return None


class _CallSite:
    """The place in the program where an iterator was asked for its first batch."""

    __slots__ = ("asked",)

    def __init__(self) -> None:
        self.asked: tuple[int, int] | None = None


def _call_site(frame: FrameType) -> tuple[int, int]:
    """Return a frame and the instruction that it is at, without keeping the frame."""
    return id(frame), frame.f_lasti


def _end(
    give_back: Callable[[], None],
    batches: SampledBatches | StreamedBatches,
    epochs: Epochs,
    call_site: _CallSite,
) -> None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") == weakref.__name__:
        frame = frame.f_back
    present, *later = batches.cursors
    epochs.drop(present, look=frame is not None and call_site.asked == _call_site(frame))
    for cursor in later:  # of which no batch has been handed out
        epochs.drop(cursor, look=True)
    batches.close()
    give_back()
