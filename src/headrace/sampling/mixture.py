"""Mixtures: how several sources become one, and the order of their samples in an epoch."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from headrace.errors import ArgumentError
from headrace.sampling.blend import ENDLESS, LARGEST, Draws, Interleaving, Pattern, PerSource, Schedule, Stratified
from headrace.sampling.permutation import Pieces, draw_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.sampling.plan import Order

__all__ = ["MixedOrder", "Mixture", "Repeated"]

_SOURCES, _ROUNDS = 0x48520006, 0x48520007  # what the draws of an epoch are for


@dataclass(frozen=True)
class Mixture:
    """The sources of a mixture, and their shares.

    Attributes:
        names: of the sources.
        lengths: the samples of each.
        endless: whether each is a mixture itself, which has more samples than an epoch of it.
        weights: of the sources, for each phase of the schedule.
        steps: where the phases begin: steps of the loader, from 0 on.
        stop: when an epoch ends: "first_exhausted", "all_exhausted" or "never".
        batches: what the samples of a step are: "mixed", "stratified" or "per_source".
        counts: how often the samples of each source come in an epoch, in place of weights and stop.
    """

    names: tuple[str, ...]
    lengths: tuple[int, ...]
    endless: tuple[bool, ...]
    weights: tuple[tuple[float, ...], ...]
    steps: tuple[int, ...] = (0,)
    stop: str = "first_exhausted"
    batches: str = "mixed"
    counts: tuple[int, ...] | None = None

    @cached_property
    def pattern(self) -> Pattern:
        """The pattern of the indices, which has the mean of all weights where a schedule changes them."""
        if self.counts is None:
            return Pattern.of_weights(np.mean(self.weights, axis=0).tolist())
        pattern = Pattern.of_counts(self.counts)
        used = [(number, length) for number, length in enumerate(self.lengths) if self.counts[number]]
        if any(pattern.position(number, length - 1) >= ENDLESS for number, length in used):
            return Pattern.of_counts(self.counts, spread=True)  # else some samples would have no index
        return pattern

    @cached_property
    def length(self) -> int:
        """The samples of an epoch, of the pattern of the indices."""
        return self._end(self.pattern)

    def layout(self, batch: int) -> tuple[Interleaving, int]:
        """Return where the samples of the sources stand in an epoch, and how many samples it has.

        Args:
            batch: samples a step, on all ranks.
        """
        layout: Interleaving
        if self.counts is not None and self.length < ENDLESS:
            layout = self._of_counts(self.counts, batch)
        elif len(self.steps) == 1:
            layout = self._of_batches(self.pattern, batch)
        else:
            phases = [self._of_batches(Pattern.of_weights(weights), batch) for weights in self.weights]
            layout = Schedule([step * batch for step in self.steps], phases)
        return layout, self._end(layout)

    def find(self, indices: NDArray[np.int64]) -> Draws:
        """Return the source of each index, and which of its samples it is.

        Args:
            indices: shape (n,), int64; those beyond the end of an epoch have their samples, too.
        """
        which, draws = self.pattern.locate(indices)
        return which, draws % self._rounds[which]

    def find_one(self, index: int) -> tuple[int, int]:
        """Return the source of an index, and which of its samples it is."""
        source, draw = self.pattern.locate_one(index)
        return source, draw if self.endless[source] else draw % self.lengths[source]

    @cached_property
    def _rounds(self) -> NDArray[np.int64]:
        """The draws of each source before it begins anew."""
        return np.where(self.endless, LARGEST, self.lengths)

    def _of_batches(self, pattern: Pattern, batch: int) -> Interleaving:
        if self.batches == "mixed":
            return pattern
        return (Stratified if self.batches == "stratified" else PerSource)(pattern, batch)

    def _of_counts(self, counts: Sequence[int], batch: int) -> Interleaving:
        """Return a layout with exactly so many draws of each source: its last steps are mixed where that takes it."""
        starts, layouts, left = [0], [self._of_batches(self.pattern, batch)], np.array(counts, np.int64)
        while not np.array_equal(layouts[-1].counts(int(left.sum())), left):
            if self.batches == "per_source":
                layouts[-1] = self._of_batches(Pattern.of_counts((left // batch).tolist()), batch)
                steps = int((left // batch).sum())
            else:
                steps = _steps_within(layouts[-1], left, batch)
            if not steps:
                layouts[-1] = Pattern.of_counts(left.tolist())
                break
            left = left - layouts[-1].counts(steps * batch)
            if left.any():
                starts.append(starts[-1] + steps * batch)
                layouts.append(self._of_batches(Pattern.of_counts(left.tolist()), batch))
        return layouts[0] if len(layouts) == 1 else Schedule(starts, layouts)

    def _end(self, layout: Interleaving) -> int:
        if self.stop == "never":
            return ENDLESS
        if self.counts is not None:
            return sum(self.counts)
        used = [number for number, of_source in enumerate(zip(*self.weights, strict=True)) if any(of_source)]
        ends = {number: layout.position(number, self.lengths[number] - 1) + 1 for number in used}
        end = (min if self.stop == "first_exhausted" else max)(ends.values())
        if end > ENDLESS:
            name = self.names[max(ends, key=lambda number: ends[number])]
            raise ArgumentError(
                f"the mixture never ends, since source {name!r} is not exhausted before the schedule takes its weight "
                "away; give it a weight to the end, or use stop='first_exhausted' or 'never'"
            )
        return end


def _steps_within(layout: Interleaving, most: NDArray[np.int64], batch: int) -> int:
    """Return how many steps go by before one draws more from a source than so often."""
    steps = range(int(most.sum()) // batch + 1)
    return bisect_right(steps, 0, key=lambda step: int((layout.counts(step * batch) > most).any())) - 1


class Repeated:
    """An order that begins anew, with another key, each time that it has ended.

    Args:
        order: of one round.
        length: its samples.
    """

    def __init__(self, order: Order, length: int) -> None:
        self._order = order
        self._length = length

    def indices(self, key: int, start: int, stop: int) -> NDArray[np.int64]:
        """Return the samples at positions [start, stop), those of round r counted from r * length on."""
        parts = [np.empty(0, np.int64)]
        for number in range(start // self._length, -(-stop // self._length)):
            first = number * self._length
            inside = max(start - first, 0), min(stop - first, self._length)
            parts.append(first + self._order.indices(draw_key(key, number, _ROUNDS), *inside))
        return np.concatenate(parts)


class MixedOrder:
    """The samples of a mixture: the sources as their layout has them, the samples of each in an order of its own.

    Args:
        pattern: that of the mixture's indices.
        layout: which source has which positions.
        orders: of the samples of each source, without an end.
        length: the positions of an epoch.
    """

    def __init__(self, pattern: Pattern, layout: Interleaving, orders: Sequence[Order], length: int) -> None:
        self._pattern = pattern
        self._layout = layout
        self._orders = list(orders)
        self._pieces = Pieces(length)
        self.length = length

    def indices(self, key: int, start: int, stop: int) -> NDArray[np.int64]:
        """Return the samples at positions [start, stop).

        Args:
            key: which order, below 2**64.
            start: the first position.
            stop: the position after the last one.
        """
        return self._pieces.indices(key, start, stop, self._compute)

    def _compute(self, key: int, start: int, stop: int) -> tuple[int, NDArray[np.int64]]:
        which, draws = self._layout.locate(np.arange(start, stop))
        for source in np.unique(which).tolist():
            here = which == source
            of_source = draws[here]  # all of a range, perhaps not in its order
            first, last = int(of_source.min()), int(of_source.max())
            samples = self._orders[source].indices(draw_key(key, source, _SOURCES), first, last + 1)
            draws[here] = samples[of_source - first]
        return start, self._pattern.positions(which, draws)
