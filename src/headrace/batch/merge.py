"""Merging: batches read from several sources become one, each row where it belongs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace import adapters
from headrace.batch import structure
from headrace.batch.arena import empty
from headrace.errors import MixedSamplesError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["merge"]


def merge(parts: list[Any], positions: list[NDArray[np.int64]]) -> Any:
    """One batch out of several of the same structure.

    Args:
        parts: the batches.
        positions: for each of them, where its rows stand in the result; together 0 ... n-1.

    Raises:
        MixedSamplesError: the batches differ in structure, dtype or shape of rows.

    >>> merge([np.array([10, 12]), np.array([21])], [np.array([0, 2]), np.array([1])])
    array([10, 21, 12])
    """
    pairs = [structure.children(part) for part in parts]
    first = pairs[0]
    if first is None:
        return _merge_fields(parts, positions)
    keys = [key for key, _ in first]
    for part, other in zip(parts, pairs, strict=True):
        if other is None or type(part) is not type(parts[0]) or [key for key, _ in other] != keys:
            raise MixedSamplesError(
                f"batches of different structure cannot be merged: {parts[0]!r:.80} and {part!r:.80}"
            )
    columns = [[item for _, item in other or ()] for other in pairs]
    return structure.rebuild(parts[0], [merge(list(column), positions) for column in zip(*columns, strict=True)])


def _merge_fields(parts: list[Any], positions: list[NDArray[np.int64]]) -> Any:
    if all(isinstance(part, list) for part in parts):
        merged: list[Any] = [None] * sum(map(len, positions))
        for part, rows in zip(parts, positions, strict=True):
            for row, text in zip(rows.tolist(), part, strict=True):
                merged[row] = text
        return merged
    adapter = adapters.find(parts[0])
    arrays = [None if adapter is None or not adapter.owns(part) else adapter.to_numpy(part) for part in parts]
    known = [array for array in arrays if array is not None]
    if adapter is None or len(known) < len(parts):
        raise MixedSamplesError(f"batches of {sorted({type(part).__name__ for part in parts})} cannot be merged")
    if len({(array.dtype, array.shape[1:]) for array in known}) > 1:
        found = [f"{array.dtype} {array.shape[1:]}" for array in known]
        raise MixedSamplesError(f"batches whose rows differ cannot be merged: {', '.join(found)}")
    out = empty((sum(map(len, positions)), *known[0].shape[1:]), known[0].dtype)
    for array, rows in zip(known, positions, strict=True):
        out[rows] = array
    return adapter.from_numpy(out, parts[0])
