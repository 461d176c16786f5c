"""Packing: which pieces of which sequences make up each row, from the lengths of the sequences alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace import kernels
from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RowTable", "pack_rows"]


@dataclass(frozen=True, eq=False)
class RowTable:
    """The pieces of all rows.

    Attributes:
        sequences: of which sequence each piece is, row by row, shape (pieces,).
        starts: its first item there, shape (pieces,); None where all pieces begin with their sequence.
        lengths: its items, shape (pieces,).
        bounds: where the pieces of each row begin, and those of the last one end, shape (rows + 1,), int64.
        blocks: where the rows of each window begin, and those of the last one end, shape (windows + 1,), int64.
    """

    sequences: NDArray[np.integer]
    starts: NDArray[np.integer] | None
    lengths: NDArray[np.integer]
    bounds: NDArray[np.int64]
    blocks: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def pieces(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return which pieces the rows have, one row after the other."""
        counts = self.counts(rows)
        skipped = self.bounds[rows] - np.cumsum(counts) + counts
        return np.arange(int(counts.sum())) + np.repeat(skipped, counts)

    def counts(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many pieces each of the rows has."""
        return self.bounds[rows + 1] - self.bounds[rows]

    @property
    def most(self) -> int:
        """The pieces of the row that has most of them."""
        return int(np.diff(self.bounds).max(initial=0))


def pack_rows(
    lengths: NDArray[np.int64],
    capacity: int,
    *,
    strategy: str = "best_fit",
    window: int = 4096,
    most: int | None = None,
    overflow: str = "truncate",
) -> RowTable:
    """Pack sequences into rows.

    Args:
        lengths: of the sequences, shape (n,), int64; empty ones are left out.
        capacity: items a row.
        strategy: "best_fit" (the longest first, each to the row with the least room), "first_fit" (each to the first
            row with room), "best_fit_split" (best fit, and overflow "split"), or "wrapped" (end to end, cut into rows).
        window: how many consecutive sequences are packed among each other.
        most: how many sequences a row has at most; None for any number.
        overflow: a sequence longer than a row is cut off ("truncate"), cut into several ("split"), left out ("drop"),
            or an "error".

    Raises:
        ArgumentError: a sequence is longer than a row, with overflow "error".

    >>> table = pack_rows(np.array([3, 6, 5, 2]), 8)
    >>> table.sequences.tolist(), table.bounds.tolist()
    ([1, 3, 2, 0], [0, 2, 4])
    """
    if strategy == "wrapped":
        return _wrap(lengths, capacity)
    overflow = "split" if strategy == "best_fit_split" else overflow
    sequences, starts, kept = _cut(lengths, capacity, overflow)
    members, ends = kernels.active().pack(
        kept, capacity, window, len(kept) + 1 if most is None else most, first_fit=strategy == "first_fit"
    )
    bounds = np.append(0, ends)
    windows = members[bounds[:-1]] // window
    blocks = np.concatenate([[0], np.flatnonzero(np.diff(windows)) + 1, [len(ends)]]) if len(ends) else np.zeros(1)
    begin = None if starts is None else _small(starts[members])
    return RowTable(_small(sequences[members]), begin, _small(kept[members]), bounds, blocks.astype(np.int64))


def _cut(
    lengths: NDArray[np.int64], capacity: int, overflow: str
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None, NDArray[np.int64]]:
    """Return the sequence, first item and length of each piece that fits a row."""
    long = lengths > capacity
    if overflow == "error" and long.any():
        first = int(long.argmax())
        raise ArgumentError(
            f"sequence {first} has {lengths[first]} items, more than a row of {capacity}; give longer rows, or "
            "overflow='truncate', 'split' or 'drop'"
        )
    if overflow == "split":
        counts = -(-lengths // capacity)
        sequences = np.repeat(np.arange(len(lengths)), counts)
        starts = (np.arange(len(sequences)) - np.repeat(np.cumsum(counts) - counts, counts)) * capacity
        return sequences, starts, np.minimum(capacity, lengths[sequences] - starts)
    sequences = np.flatnonzero((lengths > 0) & ~long if overflow == "drop" else lengths > 0)
    return sequences, None, np.minimum(lengths[sequences], capacity)


def _wrap(lengths: NDArray[np.int64], capacity: int) -> RowTable:
    """Return the rows of all sequences end to end; the last one may be short."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    cuts = np.union1d(ends[lengths > 0], np.arange(capacity, total, capacity))  # where pieces end
    begins = np.append(0, cuts)[: len(cuts)]
    sequences = np.searchsorted(ends, begins, side="right")
    starts = begins - (ends - lengths)[sequences]
    rows = -(-total // capacity)
    bounds = np.searchsorted(begins, np.arange(rows + 1) * capacity)
    blocks = np.arange(rows + 1)  # nothing ties rows to each other
    return RowTable(_small(sequences), _small(starts), _small(cuts - begins), bounds, blocks)


def _small(numbers: NDArray[np.int64]) -> NDArray[np.integer]:
    """Return non-negative numbers in half of the memory, where they allow it."""
    return numbers.astype(np.int32) if not len(numbers) or numbers.max() < 2**31 else numbers
