"""Spans of bytes of a file far away: which of them ranges are asked for in, and which were asked for early."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

__all__ = ["AHEAD", "SpansAhead", "join_ranges"]

AHEAD = 1 << 26  # bytes of a file that are kept because they will be needed
_GAP = 1 << 16  # ranges that lie so near to each other are asked for together, in bytes
_LARGEST = 1 << 23  # a request asks for no more

F = TypeVar("F")


def join_ranges(offsets: NDArray[np.int64], lengths: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return spans that hold all of the ranges, in order; ranges that are near to each other share one.

    >>> join_ranges(np.array([200_000, 0, 10]), np.array([5, 7, 20]))
    [(0, 30), (200000, 200005)]
    """
    order = np.argsort(offsets, kind="stable")
    spans: list[tuple[int, int]] = []
    for start, length in zip(offsets[order].tolist(), lengths[order].tolist(), strict=True):
        stop = start + length
        if not length:
            continue
        first, last = spans[-1] if spans else (start, start)
        if spans and (start < last or (start <= last + _GAP and stop - first <= _LARGEST)):
            spans[-1] = first, max(stop, last)
        else:
            spans.append((start, stop))
    return spans


class SpansAhead(Generic[F]):
    """The spans of a file that were asked for early, each with what holds its bytes, or will.

    They stay until there are too many bytes of later ones, also when they have been read.

    Args:
        limit: how many bytes they may have together; there may always be one span.

    >>> ahead = SpansAhead(limit=100)
    >>> ahead.add(0, 60, lambda: "first"), ahead.add(20, 40, lambda: "is there"), ahead.find(10, 20)
    ([], [], ('first', 10))
    >>> ahead.add(200, 260, lambda: "second"), ahead.find(10, 20)
    (['first'], None)
    """

    def __init__(self, limit: int = AHEAD) -> None:
        self._limit = limit
        self._spans: OrderedDict[tuple[int, int], F] = OrderedDict()

    def __len__(self) -> int:
        return len(self._spans)

    @property
    def nbytes(self) -> int:
        """The bytes of all spans."""
        return sum(last - first for first, last in self._spans)

    def __iter__(self) -> Iterator[F]:
        return iter(list(self._spans.values()))

    def add(self, start: int, stop: int, begin: Callable[[], F]) -> list[F]:
        """Ask for a span, unless one that holds it is there or it is too large.

        Args:
            start: its first byte.
            stop: the byte after the last one.
            begin: asks for it, and returns what will hold it.

        Returns:
            Those that are given up for it, the oldest first.
        """
        if stop - start > self._limit or self.find(start, stop) is not None:
            return []
        self._spans[start, stop] = begin()
        given_up = []
        while len(self._spans) > 1 and self.nbytes > self._limit:
            given_up.append(self._spans.popitem(last=False)[1])
        return given_up

    def find(self, start: int, stop: int) -> tuple[F, int] | None:
        """Return what holds a span, and where in it the span begins; None if nothing does."""
        for (first, last), held in self._spans.items():
            if first <= start and stop <= last:
                return held, start - first
        return None

    def forget(self, held: F) -> None:
        """Give up the span of one that holds nothing after all."""
        for key in [key for key, other in self._spans.items() if other is held]:
            del self._spans[key]

    def clear(self) -> None:
        """Give up all."""
        self._spans.clear()
