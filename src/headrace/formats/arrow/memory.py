"""Columns of Arrow in memory, as pandas and Polars hand them over."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headrace.formats.arrow.columns import DecodedColumn, Wanted
from headrace.formats.arrow.conversion import make_column

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ArrowColumn", "from_series"]


def from_series(series: Any) -> Any:
    """Return the values of a Series of pandas or Polars as an array of Arrow.

    Raises:
        TypeError: Arrow has no type for the values. So has ValueError, or NotImplementedError.
    """
    return series.to_arrow() if hasattr(series, "to_arrow") else pa.array(series, from_pandas=True)


class ArrowColumn:
    """The values of an array of Arrow, or of a chunked one.

    Args:
        values: the array.
        name: of their field, for errors.
    """

    array: NDArray[Any] | None = None
    gathers = False

    def __init__(self, values: Any, name: Any) -> None:
        chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
        chunks = chunks or [pa.array([], values.type)]
        self._chunks = [make_column(chunk) for chunk in chunks]
        self._starts = np.array([0, *accumulate(map(len, chunks))], np.int64)
        self._name = str(name)
        self.length = len(values)

    def wrap(self, array: NDArray[Any]) -> Any:
        """Return the array itself."""
        return array

    def row(self, index: int) -> Any:
        """Return the value at an index below the length."""
        chunk = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._chunks[chunk].row(index - int(self._starts[chunk]))

    def row_lengths(self) -> NDArray[np.int64] | None:
        """Return how many items each value has; None where not all are lists."""
        found = [chunk.row_lengths() for chunk in self._chunks]
        known = [lengths for lengths in found if lengths is not None]
        return np.concatenate(known) if len(known) == len(found) else None

    def gather(self, rows: NDArray[np.int64]) -> Any:
        """Return the batch of the values at the indices."""
        if len(rows) and not (rows.min() >= 0 and rows.max() < self.length):
            raise IndexError(f"{rows.min()} ... {rows.max()} of {self.length} rows")
        which = np.searchsorted(self._starts, rows, side="right") - 1
        return DecodedColumn.gather(self._chunks, Wanted(self._name, which, rows - self._starts[which], rows))
