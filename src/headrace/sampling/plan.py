"""The plan: which samples make up a batch, as arithmetic on (length, batch size, rank, step).

A plan knows lengths and integers, never data. A global step is `batch_size * world_size` samples;
each rank takes its share of them, so the batches of the ranks end to end are the batch that one
machine would have loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BatchPlan", "Order", "Plan"]


class Order(Protocol):
    """An order of the samples of an epoch."""

    def indices(self, key: int, start: int, stop: int) -> NDArray[np.int64]:
        """Return the samples at positions [start, stop), for the key of an epoch."""


class BatchPlan(Protocol):
    """The samples of each batch of an epoch."""

    @property
    def steps(self) -> int:
        """The number of batches in an epoch."""

    def indices(self, key: int, step: int) -> NDArray[np.int64]:
        """Return the samples of a batch, for the key of an epoch."""

    def several(self, key: int, first: int, stop: int) -> tuple[NDArray[np.int64], tuple[int, ...]]:
        """Return the samples of the batches at the steps from `first` to before `stop`, and how many each has."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The batches of an epoch.

    Args:
        length: the number of samples.
        batch_size: samples a batch, on each rank.
        order: in which order the samples come.
        drop_last: leave out the samples that do not fill a whole global step.
        rank: which of the ranks this is.
        world_size: how many ranks share the samples.
    """

    length: int
    batch_size: int
    order: Order
    drop_last: bool = False
    rank: int = 0
    world_size: int = 1

    @property
    def global_batch_size(self) -> int:
        """The samples of a full step, on all ranks together."""
        return self.batch_size * self.world_size

    @property
    def steps(self) -> int:
        """The number of batches in an epoch, the same on every rank."""
        if self.drop_last:
            return self.length // self.global_batch_size
        return -(-self.length // self.global_batch_size)

    def indices(self, key: int, step: int) -> NDArray[np.int64]:
        """Return the samples of this rank's batch.

        A last step that does not divide by the ranks is filled up from the start of the epoch, as
        torch's DistributedSampler does, so that every rank gets as many samples.

        Args:
            key: the key of the epoch.
            step: the batch's number, 0 ... steps - 1.

        Returns:
            Indices, shape (n,), int64.

        >>> from headrace.sampling.permutation import Sequential
        >>> Plan(length=10, batch_size=4, order=Sequential()).indices(0, 2)
        array([8, 9])
        """
        first = step * self.global_batch_size
        share = -(-min(self.global_batch_size, self.length - first) // self.world_size)
        start = first + self.rank * share
        stop = start + share
        if stop <= self.length:
            return self.order.indices(key, start, stop)
        positions = [at % self.length for at in range(start, stop)]
        return np.concatenate([self.order.indices(key, at, at + 1) for at in positions])

    def several(self, key: int, first: int, stop: int) -> tuple[NDArray[np.int64], tuple[int, ...]]:
        """Return the samples of this rank's batches at the steps from `first` to before `stop`, and how many each has.

        >>> from headrace.sampling.permutation import Sequential
        >>> Plan(length=10, batch_size=4, order=Sequential()).several(0, 1, 3)
        (array([4, 5, 6, 7, 8, 9]), (4, 2))
        """
        if self.world_size > 1:
            batches = [self.indices(key, step) for step in range(first, stop)]
            return np.concatenate(batches), tuple(map(len, batches))
        start, end = first * self.batch_size, min(stop * self.batch_size, self.length)
        last = end - (stop - 1) * self.batch_size
        return self.order.indices(key, start, end), (*(self.batch_size,) * (stop - first - 1), last)
