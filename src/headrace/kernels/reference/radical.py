"""The van der Corput sequence, from which mixtures take their order, in NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RADICAL_BITS", "radical_count", "radical_find"]

RADICAL_BITS = 62


def radical_count(positions: NDArray[np.int64], bounds: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Count the earlier positions of the van der Corput sequence with a value below a bound.

    The value of position t is its 62 bits in reverse. The positions before one are a few blocks of 2**bits positions,
    one for each bit that is set; the values of a block lie at equal distances, so they are counted by a division.

    Args:
        positions: int64 of shape (n,), each in [0, 2**62).
        bounds: uint64 of shape (n,), each in [0, 2**62].

    Returns:
        int64 of shape (n,).

    Van der Corput, "Verteilungsfunktionen", Proc. Akad. Amsterdam 1935.

    >>> radical_count(np.array([4, 5]), np.array([2**61, 2**61], np.uint64))
    array([2, 3])
    """
    found = np.zeros(len(positions), np.int64)
    offsets = np.zeros(len(positions), np.uint64)
    for bits in range(RADICAL_BITS - 1, -1, -1):
        has = (positions >> bits & 1).astype(np.bool_)
        found += np.where(has, _below(bounds, offsets, bits), 0)
        offsets |= np.where(has, np.uint64(1 << (RADICAL_BITS - 1 - bits)), np.uint64(0))
    return found


def radical_find(lows: NDArray[np.uint64], highs: NDArray[np.uint64], ranks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return positions of the van der Corput sequence by their rank among those with a value in a range.

    Args:
        lows: uint64 of shape (n,): the least values.
        highs: uint64 of shape (n,): the ends of the ranges, each above its low and at most 2**62.
        ranks: int64 of shape (n,): how many positions before it have a value in the range.

    Returns:
        int64 of shape (n,), each in [0, 2**62).

    >>> radical_find(np.array([0], np.uint64), np.array([2**61], np.uint64), np.array([2]))
    array([4])
    """
    positions = np.zeros(len(ranks), np.int64)
    offsets = np.zeros(len(ranks), np.uint64)
    left = ranks.copy()
    for bits in range(RADICAL_BITS - 1, -1, -1):
        here = _below(highs, offsets, bits) - _below(lows, offsets, bits)
        later = left >= here
        left -= np.where(later, here, 0)
        positions |= np.where(later, np.int64(1 << bits), np.int64(0))
        offsets |= np.where(later, np.uint64(1 << (RADICAL_BITS - 1 - bits)), np.uint64(0))
    return positions


def _below(bounds: NDArray[np.uint64], offsets: NDArray[np.uint64], bits: int) -> NDArray[np.int64]:
    """Return how many of the values offset + j * 2**(62 - bits), j >= 0, lie below the bound."""
    distance = RADICAL_BITS - bits
    span = np.where(bounds > offsets, bounds - offsets, np.uint64(0))
    return (span + np.uint64((1 << distance) - 1) >> np.uint64(distance)).astype(np.int64)
