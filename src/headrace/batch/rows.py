"""Rows of several arrays, gathered at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from headrace import kernels
from headrace.batch.arena import empty
from headrace.batch.collate import default_collate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from headrace.kernels.checks import GatherShards

__all__ = ["gather_rows", "rows_differ"]

_LITTLE = 1 << 14  # bytes, which NumPy has gathered before a kernel would have been called


def gather_rows(
    arrays: Sequence[NDArray[Any]],
    which: NDArray[np.int64],
    rows: NDArray[np.int64],
    gather_shards: GatherShards | None = None,
) -> Any:
    """Return the batch of some rows, each of one of the arrays.

    Args:
        arrays: at least one, of the same dtype and of the same shape but for the first dimension.
        which: the place of each row's array, shape (n,), int64.
        rows: which of its rows, shape (n,), int64, in [0, len).
        gather_shards: what was prepared for these arrays, if it was.

    Returns:
        An array of shape (n, ...) in memory for batches; a list where a batch of such rows is one.

    >>> gather_rows([np.array([1, 2]), np.array([30])], np.array([1, 0]), np.array([0, 1]))
    array([30,  2])
    """
    first = arrays[0]
    if first.ndim == 1 and rows_differ(first.dtype):
        return default_collate([arrays[number][row] for number, row in zip(which, rows, strict=True)])
    shape = (len(rows), *first.shape[1:])
    if len(arrays) == 1 and math.prod(shape) * first.itemsize <= _LITTLE:
        return first.take(rows, axis=0)
    out = empty(shape, first.dtype)
    if gather_shards is not None:
        gather_shards(which, rows, out)
    elif len(arrays) == 1:
        kernels.active().gather(first, rows, out)
    else:
        kernels.active().prepare_gather_shards(arrays)(which, rows, out)
    return out


def rows_differ(dtype: np.dtype[Any]) -> bool:
    """Return whether the rows of a one-dimensional array are of another type than the array.

    They are Python objects, strings as wide as they are long, or numbers in native byte order.
    """
    return dtype.kind in "OSTU" or not dtype.isnative
