"""The share of a rank in each step of a stream, which every rank reads from its start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.sampling.ranks import Shares

if TYPE_CHECKING:
    from headrace.sampling.ranks import Uneven

__all__ = ["StreamShares"]


@dataclass(frozen=True, slots=True)
class StreamShares:
    """The shares of a rank in the steps of a stream.

    A step is `batch_size * world_size` consecutive samples, whatever the ranks. Where the stream ends is found out by
    reading on.

    Args:
        batch_size: samples a batch, on each rank.
        rank: which of the ranks this is.
        world_size: how many ranks share the samples.
        uneven: what becomes of the samples after the last full step, as `Shares` has it; "repeat" fills up with the
            step's own samples.
        drop_last: leave them all out.
    """

    batch_size: int
    rank: int = 0
    world_size: int = 1
    uneven: Uneven = "even_split"
    drop_last: bool = False

    @property
    def size(self) -> int:
        """The samples of a full step, on all ranks together."""
        return self.batch_size * self.world_size

    @property
    def ahead(self) -> int:
        """The samples to read after a full step, before it is known whether all of them join it."""
        return self.world_size if self.world_size > 1 and self.uneven == "even_split" and not self.drop_last else 0

    def steps(self, length: int) -> int:
        """Return how many steps a stream of so many samples has."""
        return self._shares(length).steps

    def take(self, samples: list[Any]) -> tuple[list[Any], int]:
        """Return this rank's samples of a step, and how many of the step come before them.

        Args:
            samples: of all ranks; of another number than `size` if they are the last.

        Raises:
            ArgumentError: the stream has fewer samples than there are ranks, and "even_split" is to divide them.
        """
        if not samples or (self.world_size == 1 and len(samples) == self.batch_size):
            return samples, 0
        shares = self._shares(len(samples))
        if not shares.steps:
            return [], 0
        start, stop = shares.span(0)
        taken = samples[start:stop]
        taken += [samples[place % len(samples)] for place in range(start + len(taken), stop)]
        return taken, start

    def _shares(self, length: int) -> Shares:
        return Shares(length, self.batch_size, self.rank, self.world_size, self.uneven, self.drop_last)
