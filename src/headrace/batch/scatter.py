"""Merging: batches read from several sources become one, each row where it belongs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import frameworks
from headrace.batch import tree as structure
from headrace.batch.arena import empty
from headrace.batch.promotion import promotable, promoted
from headrace.errors import CollateError, MixedSamplesError, RaggedSamplesError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from headrace.frameworks import Adapter

__all__ = ["merge"]


def merge(parts: list[Any], positions: list[NDArray[np.int64]]) -> Any:
    """Return one batch out of several of the same structure.

    Args:
        parts: the batches.
        positions: for each of them, where its rows stand in the result; together 0 ... n-1.

    Raises:
        MixedSamplesError: the batches differ in structure or dtype.
        RaggedSamplesError: their rows differ in shape.

    >>> merge([np.array([10, 12]), np.array([21])], [np.array([0, 2]), np.array([1])])
    array([10, 21, 12])
    """
    try:
        return _merge(parts, positions)
    except CollateError as error:
        error.names_samples = False  # they are batches, whose samples have no names here
        raise


def _merge(parts: list[Any], positions: list[NDArray[np.int64]]) -> Any:
    pairs = [structure.children(part) for part in parts]
    if all(pair is None for pair in pairs):
        return _merge_fields(parts, positions)
    columns: list[dict[Any, Any]] = [dict(pair or ()) for pair in pairs]
    for part, column in zip(parts, columns, strict=True):
        if type(part) is not type(parts[0]) or column.keys() != columns[0].keys():
            raise MixedSamplesError(
                f"batches of different structure cannot be merged: {parts[0]!r:.80} and {part!r:.80}"
            )
    items = [_merge([column[key] for column in columns], positions) for key in columns[0]]
    return structure.rebuild(parts[0], items)


def _merge_fields(parts: list[Any], positions: list[NDArray[np.int64]]) -> Any:
    if all(isinstance(part, list) for part in parts):
        return _merge_texts(parts, positions)
    adapter = frameworks.find(parts[0])
    if adapter is None or not all(map(adapter.owns, parts)):
        raise MixedSamplesError(f"batches of {_names(map(type, parts))} cannot be merged")
    arrays = [adapter.to_numpy(part) for part in parts]
    known = [array for array in arrays if array is not None and adapter.rebuilds(type(parts[0]))]
    seen: list[Any] = known if len(known) == len(parts) else parts
    if len({tuple(part.shape[1:]) for part in seen}) > 1:
        raise RaggedSamplesError(
            f"batches whose rows differ in shape cannot be merged: {[tuple(part.shape) for part in seen]}"
        )
    same = len({part.dtype for part in seen}) == 1
    if len(known) == len(parts) and (same or isinstance(parts[0], np.ndarray)):
        if len({promotable(array.dtype) for array in known}) > 1:
            raise MixedSamplesError(_mixed(known))
        return adapter.from_numpy(_merge_arrays(known, positions), parts[0])
    try:  # memory that NumPy cannot see, or dtypes of a framework's own: it stacks its rows itself
        return adapter.stack(_in_order([_rows(adapter, part) for part in parts], positions))
    except Exception as error:
        raise MixedSamplesError(_mixed(seen)) from error


def _merge_arrays(arrays: list[NDArray[Any]], positions: list[NDArray[np.int64]]) -> NDArray[Any]:
    out = empty((sum(map(len, positions)), *arrays[0].shape[1:]), promoted(array.dtype for array in arrays))
    for array, rows in zip(arrays, positions, strict=True):
        out[rows] = array
    return out


def _mixed(parts: list[Any]) -> str:
    return f"batches of {[str(part.dtype) for part in parts]} cannot be merged"


def _merge_texts(parts: list[list[Any]], positions: list[NDArray[np.int64]]) -> list[Any]:
    if not any(parts):  # no rows, or an empty list in every sample
        return parts[0]
    kinds = {str if isinstance(text, str) else bytes for part in parts for text in part[:1]}
    if len(kinds) > 1:
        raise MixedSamplesError(f"batches of {_names(kinds)} cannot be merged")
    return _in_order(parts, positions)


def _in_order(parts: list[list[Any]], positions: list[NDArray[np.int64]]) -> list[Any]:
    merged: list[Any] = [None] * sum(map(len, positions))
    for part, rows in zip(parts, positions, strict=True):
        for row, item in zip(rows.tolist(), part, strict=True):
            merged[row] = item
    return merged


def _rows(adapter: Adapter, part: Any) -> list[Any]:
    return [adapter.row(part, row) for row in range(len(part))]


def _names(types: Iterable[type]) -> list[str]:
    return sorted({kind.__name__ for kind in types})
