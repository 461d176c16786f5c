"""Orders that draw samples: with replacement, by weights, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace import kernels
from headrace.sampling.permutation import Pieces

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Drawn", "WeightedShuffle"]

_DRAWS, _ARRIVALS = 0x48520008, 0x48520009  # what the draws of an epoch are for
_HALF = np.uint64(32)


class Drawn:
    """Samples drawn with replacement, each position on its own.

    Args:
        length: the number of samples, and of draws, below 2**32.
        weights: how much more often one sample is drawn than another, shape (length,); None for all alike.

    >>> Drawn(3, np.array([0.0, 0.0, 5.0])).indices(7, 0, 3)
    array([2, 2, 2])
    """

    def __init__(self, length: int, weights: NDArray[np.float64] | None = None) -> None:
        self._length = length
        self._pieces = Pieces(length)
        self._tables = None if weights is None else kernels.active().alias(_scaled(weights))

    def indices(self, key: int, start: int, stop: int) -> NDArray[np.int64]:
        """Return the samples at positions [start, stop), for the key of an epoch."""
        return self._pieces.indices(key, start, stop, self._compute)

    def _compute(self, key: int, start: int, stop: int) -> tuple[int, NDArray[np.int64]]:
        words = kernels.active().philox(key, np.arange(start, stop), _DRAWS).astype(np.uint64)
        size = np.uint64(self._length)
        drawn = ((words[:, 1] * size + (words[:, 0] * size >> _HALF)) >> _HALF).view(np.int64)
        if self._tables is not None:
            own, others = self._tables
            chance = (words[:, 2] | words[:, 3] << _HALF) >> np.uint64(11)
            drawn = np.where(chance * 2.0**-53 < own[drawn], drawn, others[drawn])
        return start, drawn


class WeightedShuffle:
    """All samples in random order, those of more weight sooner, as if drawn one after the other without replacement.

    Each sample arrives after a time that is exponentially distributed with its weight as the rate.

    Args:
        weights: of the samples, shape (n,); those without weight do not come.

    Efraimidis and Spirakis, "Weighted random sampling with a reservoir", Information Processing Letters 2006.

    >>> sorted(WeightedShuffle(np.array([1.0, 0.0, 3.0])).indices(7, 0, 2).tolist())
    [0, 2]
    """

    def __init__(self, weights: NDArray[np.float64]) -> None:
        self._weighted = np.flatnonzero(weights)
        self._weights = weights[self._weighted]
        self._latest: tuple[int, NDArray[np.int64]] = (0, np.empty(0, np.int64))  # replaced whole: threads may share it

    def __len__(self) -> int:
        return len(self._weighted)

    def indices(self, key: int, start: int, stop: int) -> NDArray[np.int64]:
        """Return the samples at positions [start, stop), for the key of an epoch."""
        known, order = self._latest
        if known != key or not len(order):
            order = self._order(key)
            self._latest = key, order
        return order[start:stop].copy()

    def _order(self, key: int) -> NDArray[np.int64]:
        words = kernels.active().philox(key, np.arange(len(self._weighted)), _ARRIVALS).astype(np.uint64)
        uniform = ((words[:, 0] | words[:, 1] << _HALF) >> np.uint64(11)) + 0.5
        # Weights may be so small, or large, that times lie outside of all floats: their exponents are taken apart.
        weights, exponents = np.frexp(self._weights)
        times, more = np.frexp(-np.log(uniform * 2.0**-53) / weights)
        # In half of the digits, so that it does not matter how the last one of a logarithm is rounded.
        rounded = times.astype(np.float32).astype(np.float64)
        order: NDArray[np.int64] = self._weighted[np.argsort(more - exponents + 2 * rounded, kind="stable")]
        return order


def _scaled(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weights as multiples of their mean, also where their sum is too large for a float, or the mean too small.

    >>> _scaled(np.array([1e308, 1.5e308, 0.5e308]))
    array([1. , 1.5, 0.5])
    """
    # A power of 2 changes no digit, so that weights of any scale give the same draws.
    weights = np.ldexp(weights, -np.frexp(weights.max())[1])
    scaled: NDArray[np.float64] = weights * (len(weights) / weights.sum())
    return scaled
