"""The order of mixtures: at each position a source and one of its draws, computed in closed form.

Position t has a value in [0, 2**62): its bits in reverse, which is the van der Corput sequence. Each source owns a
range of values as wide as its share. Any 2**k consecutive positions, the first a multiple of 2**k, have values at equal
distances, so each source has its share of them, rounded down or up, however small or large k is. A position's rank
among those of its source is the number of the draw, which a kernel counts from the bits of t.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from headrace import kernels

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["Interleaving", "Pattern", "PerSource", "Schedule", "Stratified"]

# As good as without an end: at a million samples a second it takes 285 years.
ENDLESS = 2**53
_BITS = 62
_ONE = 1 << _BITS
LARGEST = _ONE  # positions lie below it
# The source of each position, and the numbers of its draws.
Draws: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]


class Interleaving(ABC):
    """The positions of the draws of each source."""

    @abstractmethod
    def locate(self, positions: NDArray[np.int64]) -> Draws:
        """Return which source each position belongs to, and which of its draws it is, counted from 0."""

    @abstractmethod
    def counts(self, position: int) -> NDArray[np.int64]:
        """Return how many of the positions before this one each source has, shape (sources,)."""

    @abstractmethod
    def position(self, source: int, draw: int) -> int:
        """Return the position of a draw of a source; ENDLESS where it never comes."""


class Pattern(Interleaving):
    """Sources whose shares hold in every aligned block of 2**k positions.

    Args:
        bounds: where the ranges of the sources begin, and the last one ends: from 0 to 2**62, shape (sources + 1,),
            uint64.

    >>> Pattern.of_weights([0.5, 0.25, 0.25]).locate(np.arange(8))[0]
    array([0, 1, 0, 2, 0, 1, 0, 2])
    """

    def __init__(self, bounds: NDArray[np.uint64]) -> None:
        self.bounds = bounds
        self._edges: list[int] = bounds.tolist()

    @classmethod
    def of_weights(cls, weights: Sequence[float]) -> Pattern:
        """Return the pattern of weights, which need not add up to 1."""
        from fractions import Fraction  # of which loaders without mixtures have no need

        sums = list(accumulate(map(Fraction, weights), initial=Fraction(0)))
        return cls(np.array([int(part * _ONE / sums[-1]) for part in sums], np.uint64))

    @classmethod
    def of_counts(cls, counts: Sequence[int], *, spread: bool = False) -> Pattern:
        """Return the pattern that has each source exactly so often among the first sum(counts) positions.

        Args:
            counts: of the sources.
            spread: whether each source that comes has also its share of the positions after these, about. Else one that
                comes once may have none of them.
        """
        sums = list(accumulate(counts, initial=0))
        if sums[-1] >= ENDLESS:
            return cls.of_weights(counts)
        below = [_value_of_rank(part, sums[-1]) for part in sums[1:-1]]
        if spread:  # any bound up to the next value leaves the first positions as they are
            above = [_value_of_rank(part + 1, sums[-1]) if part < sums[-1] else _ONE for part in sums[1:-1]]
            below = [(low + high) // 2 for low, high in zip(below, above, strict=True)]
        return cls(np.array([0, *below, _ONE], np.uint64))

    def locate(self, positions: NDArray[np.int64]) -> Draws:
        """Return which source each position belongs to, and which of its draws it is."""
        which = np.searchsorted(self.bounds, _values(positions), side="right") - 1
        count = kernels.active().radical_count
        return which, count(positions, self.bounds[which + 1]) - count(positions, self.bounds[which])

    def locate_one(self, position: int) -> tuple[int, int]:
        """Return which source a position belongs to, and which of its draws it is."""
        value = int(f"{position:0{_BITS}b}"[::-1], 2)
        source = bisect_right(self._edges, value) - 1
        low, high = self._edges[source : source + 2]
        draw = offset = 0
        for bits in range(position.bit_length() - 1, -1, -1):  # as the kernel does
            if position >> bits & 1:
                distance = _BITS - bits
                draw += -(-max(high - offset, 0) >> distance) - -(-max(low - offset, 0) >> distance)
                offset |= 1 << (distance - 1)
        return source, draw

    def counts(self, position: int) -> NDArray[np.int64]:
        """Return how many of the positions before this one each source has."""
        places = np.full(len(self.bounds), position, np.int64)
        return np.diff(kernels.active().radical_count(places, self.bounds))

    def position(self, source: int, draw: int) -> int:
        """Return the position of a draw of a source; ENDLESS where it never comes."""
        share = int(self.bounds[source + 1]) - int(self.bounds[source])
        if draw * _ONE >= ENDLESS * share:
            return ENDLESS
        return int(self.positions(np.array([source]), np.array([draw]))[0])

    def positions(self, which: NDArray[np.int64], draws: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions of draws of the sources, shape (n,)."""
        return kernels.active().radical_find(self.bounds[which], self.bounds[which + 1], draws)


class PerSource(Interleaving):
    """Steps whose samples are all of one source; the shares hold for the steps.

    Args:
        pattern: the sources of the steps.
        batch: samples a step.
    """

    def __init__(self, pattern: Pattern, batch: int) -> None:
        self._pattern = pattern
        self._batch = batch

    def locate(self, positions: NDArray[np.int64]) -> Draws:
        """Return which source each position belongs to, and which of its draws it is."""
        steps, places = np.divmod(positions, self._batch)
        which, draws = self._pattern.locate(steps)
        return which, draws * self._batch + places

    def counts(self, position: int) -> NDArray[np.int64]:
        """Return how many of the positions before this one each source has."""
        step, rest = divmod(position, self._batch)
        found = self._pattern.counts(step) * self._batch
        found[self._pattern.locate(np.array([step]))[0]] += rest
        return found

    def position(self, source: int, draw: int) -> int:
        """Return the position of a draw of a source; ENDLESS where it never comes."""
        step, place = divmod(draw, self._batch)
        return min(ENDLESS, self._pattern.position(source, step) * self._batch + place)


class Stratified(Interleaving):
    """Steps in each of which every source has its share of the samples, rounded down or up.

    The samples of a step have values at equal distances, shifted by the step's own value.

    Args:
        pattern: the shares of the sources.
        batch: samples a step.
    """

    def __init__(self, pattern: Pattern, batch: int) -> None:
        edges = [divmod(int(bound) * batch, _ONE) for bound in pattern.bounds]
        self._pattern = pattern
        self._batch = batch
        self._whole = np.array([whole for whole, _ in edges], np.int64)
        self._rest = np.array([rest for _, rest in edges], np.uint64)
        # Ranks share a step in pieces, so the sources are spread over it.
        self._slots = np.argsort(_values(np.arange(batch)), kind="stable")

    def locate(self, positions: NDArray[np.int64]) -> Draws:
        """Return which source each position belongs to, and which of its draws it is."""
        steps, places = np.divmod(positions, self._batch)
        steps, rows = np.unique(steps, return_inverse=True)
        ends = self._whole + (_values(steps)[:, np.newaxis] < self._rest)
        which = np.count_nonzero(ends[:, np.newaxis] <= self._slots[:, np.newaxis], axis=2) - 1
        by_source, ranks = np.argsort(which, axis=1, kind="stable"), np.empty_like(which)
        np.put_along_axis(ranks, by_source, np.arange(self._batch)[np.newaxis], axis=1)
        which, ranks = which[rows, places], ranks[rows, places]
        return which, self._before(steps)[rows, which] + ranks - ends[rows, which]

    def counts(self, position: int) -> NDArray[np.int64]:
        """Return how many of the positions before this one each source has."""
        step, rest = divmod(position, self._batch)
        which, _ = self.locate(step * self._batch + np.arange(rest))
        found: NDArray[np.int64] = self._before(np.array([step]))[0]
        return found + np.bincount(which, minlength=len(found))

    def position(self, source: int, draw: int) -> int:
        """Return the position of a draw of a source; ENDLESS where it never comes."""
        step = min(self._pattern.position(source, draw), ENDLESS) // self._batch  # which is near
        if step >= ENDLESS // self._batch:
            return ENDLESS
        low, high, reach = step, step + 1, 1
        while self._drawn(high, source) <= draw:
            high, reach = high + reach, 2 * reach
        while self._drawn(low, source) > draw:
            low, reach = max(0, low - reach), 2 * reach
        while high - low > 1:  # the draw is not before step `low`, but before step `high`
            middle = (low + high) // 2
            low, high = (low, middle) if self._drawn(middle, source) > draw else (middle, high)
        positions = low * self._batch + np.arange(self._batch)
        which, draws = self.locate(positions)
        return int(positions[(which == source) & (draws == draw)][0])

    def _drawn(self, step: int, source: int) -> int:
        return int(self._before(np.array([step]))[0, source])

    def _before(self, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many draws each source has before the steps, shape (steps, sources)."""
        size = len(self._rest)
        count = kernels.active().radical_count(np.repeat(steps, size), np.tile(self._rest, len(steps)))
        return np.diff(steps[:, np.newaxis] * self._whole + count.reshape(len(steps), size), axis=1)


class Schedule(Interleaving):
    """Layouts that follow one another.

    Args:
        starts: the positions where they begin, rising from 0.
        layouts: the layouts.
    """

    def __init__(self, starts: Sequence[int], layouts: Sequence[Interleaving]) -> None:
        self._starts = np.array(starts, np.int64)
        self._layouts = list(layouts)
        drawn = [layout.counts(stop - start) for layout, start, stop in zip(layouts, starts, starts[1:], strict=False)]
        self._drawn = np.cumsum([np.zeros_like(layouts[0].counts(0)), *drawn], axis=0)  # before each layout

    def locate(self, positions: NDArray[np.int64]) -> Draws:
        """Return which source each position belongs to, and which of its draws it is."""
        phases = np.searchsorted(self._starts, positions, side="right") - 1
        sources, draws = np.empty_like(positions), np.empty_like(positions)
        for phase in np.unique(phases).tolist():
            here = phases == phase
            which, inner = self._layouts[phase].locate(positions[here] - self._starts[phase])
            sources[here], draws[here] = which, inner + self._drawn[phase][which]
        return sources, draws

    def counts(self, position: int) -> NDArray[np.int64]:
        """Return how many of the positions before this one each source has."""
        phase = int(np.searchsorted(self._starts, position, side="right")) - 1
        found: NDArray[np.int64] = self._drawn[phase] + self._layouts[phase].counts(position - int(self._starts[phase]))
        return found

    def position(self, source: int, draw: int) -> int:
        """Return the position of a draw of a source; ENDLESS where it never comes."""
        phase = int(np.searchsorted(self._drawn[1:, source], draw, side="right"))
        inner = self._layouts[phase].position(source, draw - int(self._drawn[phase, source]))
        return min(ENDLESS, int(self._starts[phase]) + inner)


def _values(positions: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the bits of positions below 2**62 in reverse."""
    swapped = np.ascontiguousarray(positions).view(np.uint64).byteswap()
    for shift, mask in ((4, 0x0F0F0F0F0F0F0F0F), (2, 0x3333333333333333), (1, 0x5555555555555555)):
        low = np.uint64(mask)
        swapped = (swapped >> np.uint64(shift) & low) | (swapped & low) << np.uint64(shift)
    found: NDArray[np.uint64] = swapped >> np.uint64(64 - _BITS)
    return found


def _value_of_rank(rank: int, positions: int) -> int:
    """Return a bound below which exactly `rank` of the first positions have their values."""
    low, high = 0, _ONE
    while low < high:
        middle = (low + high) // 2
        if kernels.active().radical_count(np.array([positions]), np.array([middle], np.uint64))[0] >= rank:
            high = middle
        else:
            low = middle + 1
    return low
