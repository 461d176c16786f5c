"""Rows of a table that were read together, and the batches that are gathered from them."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.formats.arrow.columns import ColumnParts, DecodedColumn, Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from headrace.formats.shard_bounds import Located

__all__ = ["RecordBatch", "RecordBatches"]


class RecordBatch:
    """Rows that were read together, which may lie in several pieces.

    Args:
        pieces: one at least, of the same columns, by the name of their field.
        rows: how many rows a piece has; the last one may have fewer.
    """

    def __init__(self, pieces: Sequence[Mapping[str, DecodedColumn]], rows: int) -> None:
        self.pieces = pieces
        self.rows = rows

    def row(self, row: int) -> dict[str, Any]:
        """Return the sample in a row."""
        piece, place = divmod(row, self.rows) if len(self.pieces) > 1 else (0, row)
        return {name: column.row(place) for name, column in self.pieces[piece].items()}

    @classmethod
    def gather(cls, batches: Sequence[RecordBatch], located: Located, indices: NDArray[np.int64]) -> dict[str, Any]:
        """Return the batch of some rows."""
        return RecordBatches(batches).gather(located, indices)


class RecordBatches:
    """Record batches that batches are gathered from.

    Args:
        batches: one at least, of the same columns.
    """

    def __init__(self, batches: Sequence[RecordBatch]) -> None:
        pieces = [piece for batch in batches for piece in batch.pieces]
        self._columns = {name: ColumnParts(piece[name] for piece in pieces) for name in pieces[0]}
        self._in_pieces = len(pieces) > len(batches)
        counts = [len(batch.pieces) for batch in batches]
        # Of each record batch, its first piece and the rows of one, which are more than it has where it is but one.
        self._first = np.array([0, *accumulate(counts[:-1])], np.int64)
        most = np.iinfo(np.int64).max
        self._rows = np.array([batch.rows if len(batch.pieces) > 1 else most for batch in batches], np.int64)

    def gather(self, located: Located, indices: NDArray[np.int64]) -> dict[str, Any]:
        """Return the batch of some rows."""
        which, rows = self._locate(located)
        return {
            name: DecodedColumn.gather(parts, Wanted(name, which, rows, indices))
            for name, parts in self._columns.items()
        }

    def gather_ragged(self, located: Located, indices: NDArray[np.int64]) -> dict[str, Any] | None:
        """Return the same with lists that differ in length as Ragged; None where samples must be read."""
        which, rows = self._locate(located)
        batch = {}
        for name, parts in self._columns.items():
            batch[name] = DecodedColumn.gather_ragged(parts, Wanted(name, which, rows, indices))
            if batch[name] is None:
                return None
        return batch

    def _locate(self, located: Located) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the piece of each row, among those of all record batches, and its place there."""
        if not self._in_pieces:
            return located.which, located.rows
        if len(self._first) == 1:
            return np.divmod(located.rows, self._rows)
        which, rows = np.divmod(located.rows, self._rows[located.which])
        which += self._first[located.which]
        return which, rows
