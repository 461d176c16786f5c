"""Batches that are loaded once and handed out again and again: a loader that takes no time."""

from __future__ import annotations

from itertools import cycle, islice
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Replay"]

B_co = TypeVar("B_co", covariant=True)


class Replay(Generic[B_co]):
    """Some batches, as an epoch of them again and again.

    Args:
        batches: the batches. The same objects come again, so a consumer that writes to them sees what it wrote.
        length: how many an epoch has; None for as many as there are.

    >>> list(Replay("ab", 3)), len(Replay("ab", None))
    (['a', 'b', 'a'], 2)
    """

    def __init__(self, batches: Sequence[B_co], length: int | None) -> None:
        self._batches = batches
        self._length = len(batches) if length is None else length

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return self._length

    def __iter__(self) -> Iterator[B_co]:
        """Return an iterator over an epoch."""
        return islice(cycle(self._batches), self._length)
