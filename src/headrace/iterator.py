"""The iterator over one epoch: it takes batches as they come, times them, and knows where it stands."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from headrace.batch.structure import count_bytes

if TYPE_CHECKING:
    from headrace.epoch import SampledBatches, StreamedBatches
    from headrace.loader import DataLoader
    from headrace.pools import PoolKeeper
    from headrace.workers import Pool

__all__ = ["BatchIterator"]

B_co = TypeVar("B_co", covariant=True)


class BatchIterator(Iterator[B_co]):
    """The batches of one epoch. Several iterators of one loader do not disturb each other."""

    def __init__(self, loader: DataLoader[B_co]) -> None:
        self._loader = loader
        self._cursor = loader._epochs.begin()
        epoch = self._cursor.epoch
        pool = loader._pools.take(lambda: loader._make_pool(epoch))
        try:
            self._batches = loader._batches(pool, self._cursor)
        except BaseException:
            pool.close()
            raise
        # Whoever drops the iterator half-way leaves no worker behind.
        self._end = weakref.finalize(self, _end, loader._pools, pool, self._batches)
        self._handed_out_at: float | None = None

    def __len__(self) -> int:
        """Return the number of batches in the epoch, as len(loader) does."""
        return len(self._loader)

    def __next__(self) -> B_co:
        """Load the next batch.

        Raises:
            StopIteration: the epoch is over.
            Exception: what the dataset raised, with notes that name the sample, the step and the
                epoch. Iteration can go on after it.
        """
        began = perf_counter()
        loader = self._loader
        if self._handed_out_at is not None:
            loader._meter.consumed(began - self._handed_out_at)
            self._handed_out_at = None
        loader._check_open()
        read, samples = self._read()
        batch: B_co = loader._deliver(read)
        self._handed_out_at = perf_counter()
        loader._meter.handed_out(samples, count_bytes(batch), self._handed_out_at - began)
        return batch

    def _read(self) -> tuple[Any, int]:
        if self._cursor.finished:
            raise StopIteration
        try:
            return self._batches.read()
        except StopIteration:
            self._cursor.finished = True
            self._end()
            raise

    def state_dict(self) -> dict[str, Any]:
        """Where this iterator stands, for `DataLoader.load_state_dict`."""
        loader = self._loader
        return loader._state(loader._epochs.position() if self._cursor.finished else self._cursor).to_dict()


def _end(pools: PoolKeeper, pool: Pool[Any, Any], batches: SampledBatches | StreamedBatches) -> None:
    batches.close()
    pools.give_back(pool)
