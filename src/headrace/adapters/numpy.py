"""NumPy's own arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["from_numpy", "owns", "row", "stack", "take", "to_numpy"]


def owns(value: object) -> bool:
    """Whether the value is an ndarray (a masked one is more than its elements)."""
    return type(value) is np.ndarray or (isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray))


def to_numpy(value: NDArray[Any]) -> NDArray[Any] | None:
    """The array itself."""
    return value


def from_numpy(array: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:  # noqa: ARG001 - an adapter's face
    """The array itself."""
    return array


def stack(values: list[NDArray[Any]]) -> NDArray[Any]:
    """The arrays along a new first dimension."""
    return np.stack(values)


def row(value: NDArray[Any], index: int) -> Any:
    """The row at the index, a view; a scalar where the array has one dimension."""
    return value[index]


def take(value: NDArray[Any], indices: NDArray[np.int64]) -> NDArray[Any]:
    """The rows at the indices."""
    rows: NDArray[Any] = value[indices]
    return rows
