"""Samples that are their own numbers, of which there may be as many as one likes."""

from __future__ import annotations

__all__ = ["Numbers"]


class Numbers:
    """A dataset of any size whose samples are their numbers.

    Args:
        length: how many there are.

    >>> Numbers(10**9)[7]
    7
    """

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        return index
