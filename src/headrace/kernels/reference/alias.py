"""The tables of the alias method, in plain Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["alias"]


def alias(chances: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return tables by which one of n numbers is drawn in constant time.

    A number i is drawn from all alike; it stays with its own chance, else the other number of its place is taken.

    Args:
        chances: how often each number comes in n draws, float64 of shape (n,), with a sum of n.

    Returns:
        Own chances, float64, and other numbers, int64, both of shape (n,).

    Walker, "An Efficient Method for Generating Discrete Random Variables with General Distributions", ACM TOMS 1977;
    Vose, "A Linear Algorithm for Generating Random Numbers with a Given Distribution", IEEE TSE 1991.

    >>> alias(np.array([0.5, 1.5]))
    (array([0.5, 1. ]), array([1, 1]))
    """
    own, others = chances.tolist(), list(range(len(chances)))
    small = [number for number in others if own[number] < 1]
    large = [number for number in reversed(others) if own[number] >= 1]
    while small and large:
        low, high = small.pop(), large[-1]
        others[low] = high
        own[high] -= 1 - own[low]
        if own[high] < 1:
            small.append(large.pop())
    for number in small:
        own[number] = 1.0
    return np.array(own, np.float64), np.array(others, np.int64)
