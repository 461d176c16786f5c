"""Orders of the samples of an epoch, computed in pieces and never stored.

Below 4096 samples a shuffle is a real permutation (Fisher and Yates 1938, in Durstenfeld's form).
Above, it is a cipher: a Feistel network over the next power of two, walked until it lands inside
(Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002). Any position of any epoch
is then found at once, for any length up to 2**63, in no memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace import kernels

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    _Compute = Callable[[int, int, int], tuple[int, NDArray[np.int64]]]

__all__ = ["Pieces", "Sequential", "Shuffled", "draw_key", "permuted"]

# Below this a Feistel cipher is measurably not random, and a permutation costs next to nothing.
_EXACT_BELOW = 4096
# Positions computed at once, since a call costs as much as some dozens of them.
_PIECE = 4096


class Sequential:
    """The samples one after the other.

    >>> Sequential().indices(0, 3, 6)
    array([3, 4, 5])
    """

    def indices(self, key: int, start: int, stop: int) -> NDArray[np.int64]:  # noqa: ARG002 - an order's face
        """Return the samples at positions [start, stop)."""
        return np.arange(start, stop, dtype=np.int64)


class Shuffled:
    """The samples in random order, another one for each key.

    Args:
        length: the number of samples, up to 2**63.

    >>> sorted(Shuffled(5).indices(7, 0, 5).tolist())
    [0, 1, 2, 3, 4]
    >>> Shuffled(10**18).indices(7, 10**17, 10**17 + 2).shape
    (2,)
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._pieces = Pieces(length)

    def indices(self, key: int, start: int, stop: int) -> NDArray[np.int64]:
        """Return the samples at positions [start, stop).

        Args:
            key: which order, below 2**64.
            start: the first position.
            stop: the position after the last one, at most the length.
        """
        return self._pieces.indices(key, start, stop, self._compute)

    def _compute(self, key: int, start: int, stop: int) -> tuple[int, NDArray[np.int64]]:
        if self._length < _EXACT_BELOW:
            return 0, permuted(key, self._length, 0, self._length)
        return start, permuted(key, self._length, start, stop)


class Pieces:
    """Positions of an order, computed some thousands at once; the latest ones are kept.

    Args:
        length: the number of samples.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        # The pieces computed last, as (key, start, indices): replaced whole, so threads may share them. Who looks ahead
        # is at the end of one and at the start of the next by turns.
        none = (0, 0, np.empty(0, np.int64))
        self._latest: tuple[tuple[int, int, NDArray[np.int64]], ...] = (none, none)

    def indices(self, key: int, start: int, stop: int, compute: _Compute) -> NDArray[np.int64]:
        """Return the samples at positions [start, stop), in memory of their own.

        Args:
            key: which order.
            start: the first position.
            stop: the position after the last one.
            compute: what gives them, or more than them, with the position of the first.
        """
        for of_key, first, piece in self._latest:
            if of_key == key and first <= start <= stop <= first + len(piece):
                return piece[start - first : stop - first].copy()  # the piece serves others too
        first, piece = compute(key, start, min(max(stop, start + _PIECE), self._length))
        self._latest = (key, first, piece), self._latest[0]
        return piece[start - first : stop - first].copy()


def permuted(key: int, length: int, start: int, stop: int) -> NDArray[np.int64]:
    """Return positions [start, stop) of a random permutation of range(length), another one for each key."""
    if length < _EXACT_BELOW:
        return kernels.active().fisher_yates(key, length)[start:stop]
    return kernels.active().feistel(key, length, start, stop)


def draw_key(key: int, number: int, purpose: int) -> int:
    """Return a 64-bit number of an epoch, another one for each number and purpose."""
    words = kernels.active().philox(key, np.array([number]), purpose)[0]
    return int(words[0]) | int(words[1]) << 32
