"""Block shuffle: an order that reads storage in pieces, and is still computed and never stored.

Blocks of consecutive samples come in random order. So many of them at a time are a window, and the
samples of a window are shuffled among each other. A reader that keeps the blocks of one
window in memory reads each block once.

Any position of any epoch is found at once: its block's place in the order tells the window, the window
has a permutation of its own, and that gives the sample. Blocks of equal size take no memory; the last,
shorter one has a place drawn for itself, beyond which all positions are shifted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from headrace.sampling.permutation import Pieces, Shuffled, draw_key, permuted

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BlockShuffled", "Blocks", "EqualBlocks", "GivenBlocks"]

# What the draws of an epoch are for, beside those of the kernels.
_WINDOWS, _LAST_BLOCK = 0x48520003, 0x48520004


class _Arrangement(Protocol):
    """The blocks of one epoch, in random order."""

    def place(self, position: int) -> int:
        """Return which of the blocks in order a position lies in."""

    def begin(self, place: int) -> int:
        """Return the position at which the block at a place begins."""

    def blocks(self, first: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first samples, and the sizes, of the blocks at places [first, stop)."""


class Blocks(Protocol):
    """The blocks of a dataset."""

    length: int  # samples in all of them
    count: int
    identity: int  # the same for the same blocks

    def arrange(self, key: int) -> _Arrangement:
        """Their order in the epoch of a key."""


class EqualBlocks:
    """Blocks of one size, but for the last.

    Args:
        length: the number of samples, up to 2**63.
        size: samples a block.
    """

    def __init__(self, length: int, size: int) -> None:
        self.length = length
        self.count = -(-length // size)
        self.identity = size
        self._size = size
        self._order = Shuffled(length // size)

    def arrange(self, key: int) -> _Arrangement:
        """Their order in the epoch of a key: that of the full ones, and the place of the last one between them."""
        shorter = self.count - self.length // self._size
        last = draw_key(key, 0, _LAST_BLOCK) * self.count >> 64 if shorter else self.count
        return _EqualArrangement(self._order, key, self._size, self.length, last)


class _EqualArrangement:
    """Args: the order of the full blocks, its key, their size, all samples, and the place of the shorter block."""

    def __init__(self, order: Shuffled, key: int, size: int, length: int, last: int) -> None:
        self._order = order
        self._key = key
        self._size = size
        self._last = last
        self._rest = length % size
        self._last_start = length - self._rest

    def place(self, position: int) -> int:
        after_last = position - self._last * self._size - self._rest
        if after_last >= 0:
            return self._last + 1 + after_last // self._size
        return position // self._size

    def begin(self, place: int) -> int:
        return place * self._size - (self._size - self._rest if place > self._last else 0)

    def blocks(self, first: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        full = self._order.indices(self._key, first - (first > self._last), stop - (stop > self._last))
        starts, sizes = full * self._size, np.full(len(full), self._size)
        if first <= self._last < stop:
            starts = np.insert(starts, self._last - first, self._last_start)
            sizes = np.insert(sizes, self._last - first, self._rest)
        return starts, sizes


class GivenBlocks:
    """Blocks of any sizes; it takes some memory for each.

    Args:
        bounds: where they begin, and the last one ends: rising from 0, shape (blocks + 1,), int64.
    """

    def __init__(self, bounds: NDArray[np.int64]) -> None:
        self.length = int(bounds[-1])
        self.count = len(bounds) - 1
        from hashlib import blake2b  # which few orders need

        self.identity = int.from_bytes(blake2b(bounds.tobytes(), digest_size=8).digest(), "little")
        self._bounds = bounds
        self._order = Shuffled(self.count)

    def arrange(self, key: int) -> _Arrangement:
        """Their order in the epoch of a key."""
        order = self._order.indices(key, 0, self.count)
        return _GivenArrangement(self._bounds[order], np.diff(self._bounds)[order])


class _GivenArrangement:
    """Args: the first samples, and the sizes, of all blocks in order."""

    def __init__(self, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
        self._starts = starts
        self._sizes = sizes
        self._begins = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])

    def place(self, position: int) -> int:
        return int(np.searchsorted(self._begins, position, side="right")) - 1

    def begin(self, place: int) -> int:
        return int(self._begins[place])

    def blocks(self, first: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self._starts[first:stop], self._sizes[first:stop]


class BlockShuffled:
    """The samples in blocks that come in random order, shuffled over a window of blocks.

    Args:
        blocks: how the samples lie.
        window: how many blocks are shuffled among each other.

    >>> order = BlockShuffled(EqualBlocks(length=10, size=3), window=2)
    >>> sorted(order.indices(7, 0, 10).tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    def __init__(self, blocks: Blocks, window: int) -> None:
        self._blocks = blocks
        self._window = window
        self._pieces = Pieces(blocks.length)

    def indices(self, key: int, start: int, stop: int) -> NDArray[np.int64]:
        """Return the samples at positions [start, stop).

        Args:
            key: which order, below 2**64.
            start: the first position.
            stop: the position after the last one, at most the length.
        """
        return self._pieces.indices(key, start, stop, self._compute)

    def _compute(self, key: int, start: int, stop: int) -> tuple[int, NDArray[np.int64]]:
        arrangement = self._blocks.arrange(key)
        parts = [np.empty(0, np.int64)]
        at = start
        while at < stop:
            part = self._of_one_window(arrangement, key, at, stop)
            parts.append(part)
            at += len(part)
        return start, np.concatenate(parts)

    def _of_one_window(self, arrangement: _Arrangement, key: int, start: int, stop: int) -> NDArray[np.int64]:
        """Return the samples from position `start` on, to `stop` or the end of the window."""
        window = arrangement.place(start) // self._window
        first = window * self._window
        starts, sizes = arrangement.blocks(first, min(first + self._window, self._blocks.count))
        ends = np.cumsum(sizes)
        begin, length = arrangement.begin(first), int(ends[-1])
        offsets = permuted(draw_key(key, window, _WINDOWS), length, start - begin, min(stop - begin, length))
        block = np.searchsorted(ends, offsets, side="right")
        samples: NDArray[np.int64] = offsets + (starts - ends + sizes)[block]
        return samples
