"""Rows that lie in several shards: files, row groups, record batches."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["Located", "ShardBounds"]

# Shards for each row of a batch, from which on sorting the rows takes less time than a look at all shards.
_SORTED_FROM = 16


class Located(NamedTuple):
    """Rows by the shards that they lie in.

    Attributes:
        shards: the numbers of the shards, one at least.
        which: the place of each row's shard among them, shape (n,), int64.
        rows: which row of its shard it is, shape (n,), int64.
    """

    shards: list[int]
    which: NDArray[np.int64]
    rows: NDArray[np.int64]


class ShardBounds:
    """The bounds of shards, in rows of the whole dataset.

    Args:
        lengths: how many rows each has.

    Raises:
        StorageError: there are more than indices for them.

    >>> bounds = ShardBounds([3, 0, 2])
    >>> len(bounds), bounds.find(3)
    (5, (2, 0))
    >>> bounds.locate(np.array([4, 0, 3]))
    Located(shards=[0, 2], which=array([1, 0, 1]), rows=array([1, 0, 0]))
    """

    def __init__(self, lengths: Iterable[int]) -> None:
        counts = list(lengths)
        if sum(counts) > np.iinfo(np.int64).max:
            raise StorageError(f"there are {sum(counts)} rows, of which no index of 64 bits can tell one from another")
        self.lengths = np.array(counts, np.int64)
        self._stops = np.cumsum(self.lengths)
        self._starts = self._stops - self.lengths
        self._ends: list[int] = self._stops.tolist()
        self._total = sum(counts)

    def __len__(self) -> int:
        return self._total

    def find(self, index: int) -> tuple[int, int]:
        """Return the shard, and the row in it, of an index in [0, len)."""
        shard = bisect_right(self._ends, index)  # a tenth of what NumPy takes for one
        return shard, index - int(self._starts[shard])

    def locate(self, indices: NDArray[np.int64]) -> Located:
        """Return the shards, and the rows in them, of indices in [0, len), shape (n,), int64."""
        if len(self.lengths) < 2 or not len(indices):
            return Located([0], np.zeros(len(indices), np.int64), indices)
        shard = bisect_right(self._ends, int(indices[0]))
        start, length = self._starts[shard], self.lengths[shard]
        if start <= indices[-1] < start + length:  # as in an order that is not shuffled
            rows: NDArray[np.int64] = indices - start
            if rows.view(np.uint64).max() < length:  # in that view, rows before the shard are huge
                return Located([shard], np.zeros(len(indices), np.int64), rows)
        shards = np.searchsorted(self._stops, indices, side="right")
        numbers, which = _unique(shards, len(self.lengths))
        return Located(numbers.tolist(), which, indices - self._starts[shards])


def _unique(shards: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the different shards, of so many that there are, and the place of each shard among them."""
    if count > _SORTED_FROM * len(shards):
        numbers, which = np.unique(shards, return_inverse=True)
        return numbers, which.astype(np.int64, copy=False)
    occurs = np.zeros(count, np.int64)
    occurs[shards] = 1
    return occurs.nonzero()[0], (occurs.cumsum() - 1)[shards]
