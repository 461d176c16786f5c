"""The counters of a cache, its size and how often it was asked, as a snapshot."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CacheStats"]


@dataclass(frozen=True, slots=True)
class CacheStats:
    """A snapshot of a cache, over all processes that use it.

    Attributes:
        hits: samples that were found in it.
        misses: samples that had to be read.
        samples: samples that are in it.
        bytes: how much they take.
        limit: how much they may take, in bytes; None for no limit.

    >>> CacheStats(hits=9, misses=1, samples=1, bytes=64).hit_share
    0.9
    """

    hits: int = 0
    misses: int = 0
    samples: int = 0
    bytes: int = 0
    limit: int | None = None

    @property
    def room(self) -> float:
        """The bytes that it may still take."""
        return float("inf") if self.limit is None else self.limit - self.bytes

    @property
    def hit_share(self) -> float:
        """The share of samples that were found, 0 ... 1."""
        total = self.hits + self.misses
        return self.hits / total if total else 0.0
