"""NumPy's own arrays."""

from __future__ import annotations

from contextlib import suppress
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "explain",
    "from_numbers",
    "from_numpy",
    "join_plain",
    "own_all",
    "owns",
    "rebuilds",
    "row",
    "see_plain",
    "stack",
    "take",
    "to_numpy",
]

_dtype = attrgetter("dtype")


def owns(value: object) -> bool:
    """Return whether the value is an ndarray, and its elements are all that it is (a masked one is more)."""
    return type(value) is np.ndarray or (isinstance(value, np.ndarray) and not _more_than_elements(value))


def own_all(values: Sequence[object]) -> bool:
    """Return whether each of the values is such an array."""
    return all(map(owns, values))


def rebuilds(kind: type) -> bool:  # noqa: ARG001 - an adapter's face
    """Return whether `from_numpy` makes values of the class; of subclasses it makes ndarrays."""
    return True


def explain(value: object) -> str:
    """Return why a value of a subclass of ndarray is not taken for one; nothing for other values."""
    if not isinstance(value, np.ndarray) or owns(value):
        return ""
    name = type(value).__name__
    return f"a {name} is more than its elements; numpy.asarray(value) makes an array of them alone"


def _more_than_elements(value: NDArray[Any]) -> bool:
    """Return whether an array has a mask, a unit or other attributes that a batch of its elements would lose."""
    if isinstance(value, np.ma.MaskedArray):
        return True
    try:
        attributes = vars(value).values()
        return not isinstance(value, np.memmap) and any(item is not None for item in attributes)  # of a map, its file
    except Exception:  # TypeError of one without attributes, or whatever a property raises
        return False


def to_numpy(value: NDArray[Any]) -> NDArray[Any] | None:
    """Return the array itself."""
    return value


def from_numpy(array: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:  # noqa: ARG001 - an adapter's face
    """Return the array itself."""
    return array


def from_numbers(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array itself."""
    return array


def stack(values: list[NDArray[Any]]) -> NDArray[Any]:
    """Return the arrays along a new first dimension."""
    return np.stack(values)


def see_plain(values: list[NDArray[Any]]) -> tuple[NDArray[Any], None] | None:
    """Return the first of plain arrays of one dimension and one dtype of numbers, and None; only None of others.

    Numbers in another byte order than the machine's are among the others: they are padded in the machine's own.
    """
    first = values[0]
    dtype = first.dtype
    if first.ndim != 1 or dtype.hasobject or not dtype.isnative or set(map(type, values)) != {np.ndarray}:
        return None
    return (first, None) if len(set(map(_dtype, values))) == 1 else None


def join_plain(values: list[NDArray[Any]]) -> tuple[NDArray[Any], list[int]] | None:
    """Return plain arrays of one dimension and one dtype end to end, and their lengths; None for others."""
    if values[0].ndim == 1 and set(map(type, values)) == {np.ndarray} and len(set(map(_dtype, values))) == 1:
        with suppress(ValueError):  # others have more dimensions, or none
            return np.concatenate(values), list(map(len, values))
    return None


def row(value: NDArray[Any], index: int) -> Any:
    """Return the row at the index, a view; a scalar where the array has one dimension."""
    return value[index]


def take(value: NDArray[Any], indices: NDArray[np.int64]) -> NDArray[Any]:
    """Return the rows at the indices."""
    rows: NDArray[Any] = value[indices]
    return rows
