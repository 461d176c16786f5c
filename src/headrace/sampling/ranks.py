"""Ranks: which positions of an epoch each of them has at each step, as arithmetic on a few integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Shares", "Uneven", "check_shares"]

# What becomes of a last step that is smaller than the others.
Uneven: TypeAlias = Literal["even_split", "drop", "pad", "repeat"]


@dataclass(frozen=True, slots=True)
class Shares:
    """The shares of a rank: a range of positions of the epoch's order at each step.

    A global step is `batch_size * world_size` consecutive positions, whatever the ranks, of which each rank has a
    part. All ranks make equally many steps.

    Args:
        length: the number of samples of an epoch.
        batch_size: samples a batch, on each rank.
        rank: which of the ranks this is.
        world_size: how many ranks share the samples.
        uneven: what becomes of the samples after the last full step: "even_split" divides them as evenly as it goes,
            and lets fewer samples than ranks join the step before; "drop" leaves out those that the ranks cannot share
            equally; "repeat" fills the shares up from the start of the epoch until they are equal, and "pad" until they
            are full.
        drop_last: leave them all out.
        shift: so many positions at the start are nobody's.

    Raises:
        ArgumentError: "even_split" is to divide fewer samples than there are ranks, and there is no step before.

    >>> [Shares(11, 2, rank, 3).span(1) for rank in range(3)]
    [(6, 8), (8, 10), (10, 11)]
    """

    length: int
    batch_size: int
    rank: int = 0
    world_size: int = 1
    uneven: Uneven = "even_split"
    drop_last: bool = False
    shift: int = 0

    def __post_init__(self) -> None:
        check_shares(self.length - self.shift, self)

    @property
    def global_batch_size(self) -> int:
        """The samples of a full step, on all ranks together."""
        return self.batch_size * self.world_size

    @property
    def steps(self) -> int:
        """The number of steps, the same on every rank."""
        full, rest = divmod(self.length - self.shift, self.global_batch_size)
        if self.drop_last or (self.uneven in ("even_split", "drop") and rest < self.world_size):
            return full
        return full + (rest > 0)

    @property
    def remainder(self) -> int:
        """The samples of the last step on all ranks together, if it is not a full one; else 0."""
        steps = self.steps
        count = self.count(steps - 1) if steps else 0
        return 0 if count == self.global_batch_size else count

    def start(self, step: int) -> int:
        """Return how many positions come before a step."""
        return self.length if step >= self.steps and not self.drop_last else self._first(step)

    def seen(self, step: int) -> int:
        """Return how many samples all ranks have had before a step, each counted once."""
        steps = self.steps
        if step < steps or not steps:
            return self._first(min(step, steps))
        return self._first(steps - 1) + self.count(steps - 1)

    def count(self, step: int) -> int:
        """Return how many samples all ranks have together at a step, each counted once."""
        left, full = self.length - self._first(step), self.global_batch_size
        if left >= 2 * full or self.drop_last or step < self.steps - 1:
            return full
        if self.uneven == "even_split":
            return left
        return min(full, left - left % self.world_size if self.uneven == "drop" else left)

    def span(self, step: int) -> tuple[int, int]:
        """Return the first position of this rank's share, and the one after its last; it may lie beyond the length."""
        size = self.batch_size
        full = size * self.world_size
        first = self.shift + step * full
        if self.length - first >= 2 * full:  # before the last steps all shares are full
            start = first + self.rank * size
            return start, start + size
        count = self.count(step)
        if self.uneven in ("pad", "repeat"):
            size = self.batch_size if self.uneven == "pad" else -(-count // self.world_size)
            start = first + self.rank * size
            return start, start + size
        size, more = divmod(count, self.world_size)
        start = first + self.rank * size + min(self.rank, more)
        return start, start + size + (self.rank < more)

    def valid(self, step: int) -> NDArray[np.bool_]:
        """Return which samples of this rank's share are no filling, shape (n,), bool.

        >>> Shares(11, 2, 2, 3, uneven="pad").valid(1)
        array([ True, False])
        """
        start, stop = self.span(step)
        return np.arange(stop - start) < self.length - start

    def _first(self, step: int) -> int:
        return self.shift + step * self.global_batch_size


def check_shares(count: int, shares: Shares) -> None:
    """Refuse to divide fewer samples than there are ranks.

    Raises:
        ArgumentError: it is to be done by "even_split", and some ranks would have none.
    """
    ranks = shares.world_size
    if shares.uneven == "even_split" and not shares.drop_last and 0 < count < ranks:
        raise ArgumentError(
            f"{count} sample{'s' * (count > 1)} cannot be split among world_size={ranks} ranks, since each needs one "
            'in every step; take no more ranks than samples, or uneven="repeat" or "pad", which fill up, or "drop"'
        )
