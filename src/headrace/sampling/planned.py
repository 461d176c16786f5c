"""Batches of indices that a plan computes, from any step on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.sampling.plan import BatchPlan

__all__ = ["PlanSampling", "PlannedBatches"]

_SAMPLES_AT_ONCE, _MOST_AT_ONCE = 2048, 64  # so many samples, and batches, are found at once


class PlanSampling:
    """Batches computed by a plan.

    Attributes:
        shares: the positions of each batch; None where they are no ranges of an order.
    """

    name = "plan of batches by tokens"  # where it has no shares

    def __init__(self, plan: BatchPlan) -> None:
        self._plan = plan
        self.shares = plan.shares

    def steps(self) -> int:
        """Return the number of batches."""
        return self._plan.steps

    def start(self, key: int, step: int) -> PlannedBatches:
        """Return the indices of the batches from `step` on."""
        return PlannedBatches(self._plan, key, step)

    def at(self, key: int, step: int) -> NDArray[np.int64]:
        """Return the indices of the batch at `step`."""
        return self._plan.indices(key, step)


class PlannedBatches(Iterator["NDArray[np.int64]"]):
    """The indices of the batches of an epoch from one step on.

    Args:
        plan: computes them.
        key: the key of the epoch.
        step: the first one's number.
    """

    def __init__(self, plan: BatchPlan, key: int, step: int) -> None:
        self._plan = plan
        self._key = key
        self._step = step
        self._steps = plan.steps
        self._begun = self._first = step  # the first of those that were given last, and of all
        shares = plan.shares
        # Batches are computed several at once, as a call costs as much as some dozens of samples.
        self._at_once = 1 if shares is None else min(_MOST_AT_ONCE, max(1, _SAMPLES_AT_ONCE // shares.batch_size))
        self._computed: list[NDArray[np.int64]] = []  # those from this step on
        self._computed_from = step
        self._told: dict[int, int] = {}  # for each of those who take turns, the first batch that it was not told of

    def __next__(self) -> NDArray[np.int64]:
        if self._step >= self._steps:
            raise StopIteration
        self._begun = step = self._step
        self._step = step + 1
        place = step - self._computed_from
        if place >= len(self._computed):
            self._compute_from(step)
            place = 0
        return self._computed[place]

    def _compute_from(self, step: int) -> None:
        indices, sizes = self._plan.several(self._key, step, min(step + self._at_once, self._steps))
        bounds = pairwise(accumulate(sizes, initial=0))
        self._computed, self._computed_from = [indices[start:stop] for start, stop in bounds], step

    def ahead(self, distance: int, every: int = 1) -> NDArray[np.int64] | None:
        """Return the indices of the batches up to a distance behind the last one, end to end, but each only once.

        The first one is left out, and others that were given before they were told of are not. Of several who take
        turns, each is told of its own batches.

        >>> from headrace.sampling.permutation import Sequential
        >>> from headrace.sampling.plan import Plan
        >>> from headrace.sampling.ranks import Shares
        >>> batches = PlannedBatches(Plan(Sequential(), Shares(length=8, batch_size=2)), 0, 0)
        >>> [(now.tolist(), batches.ahead(2)) for now in batches]
        [([0, 1], array([2, 3, 4, 5])), ([2, 3], array([6, 7])), ([4, 5], None), ([6, 7], None)]

        >>> batches = PlannedBatches(Plan(Sequential(), Shares(length=8, batch_size=2)), 0, 0)
        >>> [(now.tolist(), batches.ahead(2, every=2)) for now in batches]
        [([0, 1], array([4, 5])), ([2, 3], array([6, 7])), ([4, 5], None), ([6, 7], None)]

        Args:
            distance: how many batches.
            every: how many take turns, who is told being the one who has the last one.

        Returns:
            Shape (n,), int64; None if there are none.
        """
        turn = self._begun % every
        left_out = self._first + (turn - self._first) % every
        first = max(self._told.get(turn, left_out + every), self._begun)
        steps = range(first, min(self._step + distance, self._steps), every)
        if not steps:
            return None
        self._told[turn] = steps[-1] + every
        if every == 1:
            return self._plan.several(self._key, first, steps.stop)[0]
        return np.concatenate([self._plan.indices(self._key, step) for step in steps])

    def several(self, most: int) -> tuple[NDArray[np.int64], tuple[int, ...]]:
        """Return the indices of the next batches, end to end, and how many each has; StopIteration after the last."""
        if self._step >= self._steps:
            raise StopIteration
        self._begun, self._step = self._step, min(self._step + most, self._steps)
        return self._plan.several(self._key, self._begun, self._step)
