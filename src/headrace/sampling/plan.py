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

    from headrace.sampling.ranks import Shares

__all__ = ["BatchPlan", "Order", "Plan"]


class Order(Protocol):
    """An order of the samples of an epoch."""

    def indices(self, key: int, start: int, stop: int) -> NDArray[np.int64]:
        """Return the samples at positions [start, stop), for the key of an epoch."""


class BatchPlan(Protocol):
    """The samples of each batch of an epoch."""

    @property
    def shares(self) -> Shares | None:
        """The positions of an order that the batches have; None where they are no ranges of one."""

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
        order: in which order the samples come.
        shares: which positions of it are this rank's at each step.
    """

    order: Order
    shares: Shares

    @property
    def steps(self) -> int:
        """The number of batches in an epoch, the same on every rank."""
        return self.shares.steps

    def indices(self, key: int, step: int) -> NDArray[np.int64]:
        """Return the samples of this rank's batch.

        Args:
            key: the key of the epoch.
            step: the batch's number, 0 ... steps - 1.

        Returns:
            Indices, shape (n,), int64.

        >>> from headrace.sampling.permutation import Sequential
        >>> from headrace.sampling.ranks import Shares
        >>> Plan(Sequential(), Shares(length=10, batch_size=4)).indices(0, 2)
        array([8, 9])
        """
        start, stop = self.shares.span(step)
        if stop <= self.shares.length:
            return self.order.indices(key, start, stop)
        return np.concatenate([self.order.indices(key, *part) for part in _wrapped(start, stop, self.shares.length)])

    def several(self, key: int, first: int, stop: int) -> tuple[NDArray[np.int64], tuple[int, ...]]:
        """Return the samples of this rank's batches at the steps from `first` to before `stop`, and how many each has.

        >>> from headrace.sampling.permutation import Sequential
        >>> from headrace.sampling.ranks import Shares
        >>> Plan(Sequential(), Shares(length=10, batch_size=4)).several(0, 1, 3)
        (array([4, 5, 6, 7, 8, 9]), (4, 2))
        """
        start, end = self.shares.span(first)[0], self.shares.span(stop - 1)[1]
        if self.shares.world_size > 1 or end > self.shares.length:
            batches = [self.indices(key, step) for step in range(first, stop)]
            return np.concatenate(batches), tuple(map(len, batches))
        size = self.shares.batch_size
        last = end - start - size * (stop - first - 1)
        return self.order.indices(key, start, end), (*(size,) * (stop - first - 1), last)


def _wrapped(start: int, stop: int, length: int) -> list[tuple[int, int]]:
    """Return the ranges of positions that are met from `start` to `stop`, where the end is followed by the start."""
    parts = []
    while start < stop:
        at = start % length
        size = min(stop - start, length - at)
        parts.append((at, at + size))
        start += size
    return parts
