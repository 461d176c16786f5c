"""Rows that lie in several parts: shards, row groups, record batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["Parts", "Piece"]


class Piece(NamedTuple):
    """Some rows of one part.

    Attributes:
        part: the number of the part.
        rows: which of its rows, shape (n,), int64, counted from its first.
        positions: where they stand among what was asked for, shape (n,), int64.
    """

    part: int
    rows: NDArray[np.int64]
    positions: NDArray[np.int64]


class Parts:
    """Where each part begins.

    Args:
        lengths: how many rows each has.

    >>> parts = Parts([3, 0, 2])
    >>> len(parts), parts.find(3)
    (5, (2, 0))
    >>> [(piece.part, piece.rows.tolist()) for piece in parts.split(np.array([4, 0, 3]))]
    [(0, [0]), (2, [1, 0])]
    """

    def __init__(self, lengths: Iterable[int]) -> None:
        self.lengths = np.array(list(lengths), np.int64)
        self._stops = np.cumsum(self.lengths)
        self._starts = self._stops - self.lengths

    def __len__(self) -> int:
        return int(self._stops[-1]) if len(self._stops) else 0

    def find(self, index: int) -> tuple[int, int]:
        """The part and the row in it of an index in [0, len)."""
        part = int(np.searchsorted(self._stops, index, side="right"))
        return part, index - int(self._starts[part])

    def split(self, indices: NDArray[np.int64]) -> list[Piece]:
        """The indices, each in [0, len), by the parts that they fall in; one piece at least."""
        if len(self.lengths) < 2 or not len(indices):
            return [Piece(0, indices, np.arange(len(indices)))]
        parts = np.searchsorted(self._stops, indices, side="right")
        order = np.argsort(parts, kind="stable")
        sorted_parts = parts[order]
        rows = (indices - self._starts[parts])[order]
        cuts = np.flatnonzero(np.diff(sorted_parts)) + 1
        starts, stops = [0, *cuts.tolist()], [*cuts.tolist(), len(order)]
        numbers = sorted_parts[starts].tolist()
        return [
            Piece(number, rows[start:stop], order[start:stop])
            for number, start, stop in zip(numbers, starts, stops, strict=True)
        ]
