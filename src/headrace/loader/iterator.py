"""The iterator over one epoch: it takes batches as they come, times them, and knows where it stands."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from threading import RLock
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from headrace.batch.tree import count_bytes

if TYPE_CHECKING:
    from types import FrameType

    from headrace.loader.checkpoint import LoaderState
    from headrace.loader.cursor import Cursor, Epoch, Epochs
    from headrace.loader.epoch import SampledBatches, StreamedBatches
    from headrace.loader.pools import PoolKeeper
    from headrace.loader.stats import Meter
    from headrace.workers import Pool

__all__ = ["BatchIterator"]

B_co = TypeVar("B_co", covariant=True)


class IterableLoader(Protocol):
    """A loader as its iterators see it."""

    num_workers: int
    _epochs: Epochs
    _given_sampling: Any
    _meter: Meter
    _pools: PoolKeeper

    def _batches(self, pool: Pool[Any, Any], cursor: Cursor) -> SampledBatches | StreamedBatches: ...
    def _check_open(self) -> None: ...
    def _deliver(self, batch: Any) -> Any: ...
    def _length(self) -> int | None: ...
    def _make_pool(self, epoch: Epoch) -> Pool[Any, Any]: ...
    def _state(self, at: Any) -> LoaderState: ...
    def _steps(self, length: int | None) -> int: ...


class BatchIterator(Iterator[B_co]):
    """The batches of one epoch. Several iterators of one loader do not disturb each other.

    Threads may share one: each batch goes to one of them.
    """

    def __init__(self, loader: IterableLoader) -> None:
        self._loader = loader
        self._lock = RLock()  # what is loaded in the consumer's thread may come back here, which must not hang
        self._begun = False
        self._handed_out_at: float | None = None
        self._end: weakref.finalize[..., BatchIterator[B_co]]
        if loader._given_sampling is not None:
            loader._given_sampling.check()
        cursor = loader._epochs.reserve(loader._length())
        self._started = loader._given_sampling is None or loader.num_workers > 0
        if self._started:
            self._start(cursor)
        else:  # nothing is drawn from a user's sampler before it is needed
            self._cursor = cursor
            self._end = weakref.finalize(self, _forget, loader._epochs, cursor)

    def _start(self, cursor: Cursor) -> None:
        """Let the loader's workers load from the cursor on."""
        loader, self._cursor = self._loader, cursor
        self._call_site = _CallSite()
        epoch = cursor.epoch
        try:
            pool = loader._pools.take(lambda: loader._make_pool(epoch))
            try:
                self._batches = loader._batches(pool, cursor)
            except BaseException:
                pool.close()
                raise
        except BaseException:
            loader._epochs.drop(cursor, look=False)
            raise
        # An iterator that is dropped half-way leaves no worker behind.
        self._end = weakref.finalize(
            self, _end, loader._pools, pool, self._batches, loader._epochs, cursor, self._call_site
        )

    def __len__(self) -> int:
        """Return the number of batches in its epoch."""
        return self._loader._steps(self._cursor.length)

    def __next__(self) -> B_co:
        """Load the next batch.

        Raises:
            StopIteration: the epoch is over.
            Exception: what the dataset raised, with notes that name the sample, the step and the
                epoch. Iteration can go on after it.
        """
        with self._lock:
            loader = self._loader
            first = not self._begun
            if first:
                self._begin()
            else:
                loader._epochs.ask(self._cursor)
            began = perf_counter()
            if self._handed_out_at is not None:
                loader._meter.consumed(began - self._handed_out_at)
                self._handed_out_at = None
            loader._check_open()
            if self._cursor.finished:
                raise StopIteration
            try:
                read, samples = self._batches.read()
            except StopIteration:
                loader._epochs.finish(self._cursor)
                self._end()
                raise
            batch: B_co = loader._deliver(read)
            self._handed_out_at = perf_counter()
            loader._meter.handed_out(samples, count_bytes(batch), self._handed_out_at - began)
            if first:
                self._call_site.asked = _call_site(sys._getframe(1))
            return batch

    def _begin(self) -> None:
        """Begin the epoch, perhaps another one than was expected when the iterator was made."""
        expected, self._cursor = self._cursor, self._loader._epochs.begin(self._cursor)
        self._begun = True
        if self._cursor is expected and self._started:
            return
        if self._cursor is expected:
            self._end.detach()
        elif expected.sampler is not None:
            expected.sampler.undo()
        self._end()
        try:
            self._start(self._cursor)
        except BaseException:
            self._cursor.finished = True
            raise

    def state_dict(self) -> dict[str, Any]:
        """Return where this iterator stands, for `DataLoader.load_state_dict`. It begins an epoch if it has none."""
        loader = self._loader
        if not self._begun:
            with self._lock:
                if not self._begun:
                    self._begin()
        at = loader._epochs.position() if self._cursor.finished else self._cursor.reached()
        return loader._state(at).to_dict()


class _CallSite:
    """The place in the program where an iterator was asked for its first batch."""

    __slots__ = ("asked",)

    def __init__(self) -> None:
        self.asked: tuple[int, int] | None = None


def _call_site(frame: FrameType) -> tuple[int, int]:
    """Return a frame and the instruction that it is at, without keeping the frame."""
    return id(frame), frame.f_lasti


def _forget(epochs: Epochs, cursor: Cursor) -> None:
    epochs.drop(cursor, look=False)


def _end(
    pools: PoolKeeper,
    pool: Pool[Any, Any],
    batches: SampledBatches | StreamedBatches,
    epochs: Epochs,
    cursor: Cursor,
    call_site: _CallSite,
) -> None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") == weakref.__name__:
        frame = frame.f_back
    epochs.drop(cursor, look=frame is not None and call_site.asked == _call_site(frame))
    batches.close()
    pools.give_back(pool)
