"""Tensors that box an ndarray in `.data` and are built from one, like TinyTorch's `Tensor`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["from_numpy", "owns", "row", "stack", "take", "to_numpy"]


class Boxed(Protocol):
    """An object around an ndarray."""

    data: NDArray[Any]

    def __init__(self, data: NDArray[Any], /) -> None: ...


B = TypeVar("B", bound=Boxed)


def owns(value: object) -> bool:
    """Whether the value has an ndarray in `.data`, and nothing else.

    Containers may have a field of that name, and a sparse matrix keeps its non-zero elements there.
    """
    data = getattr(value, "data", None)
    if not isinstance(data, np.ndarray) or getattr(value, "shape", data.shape) != data.shape:
        return False
    return not isinstance(value, np.ndarray | tuple | list | Mapping) and not is_dataclass(value)


def to_numpy(value: Boxed) -> NDArray[Any] | None:
    """The boxed array."""
    return value.data


def from_numpy(array: NDArray[Any], like: B) -> B:
    """The array in a box of the same class."""
    return type(like)(array)


def stack(values: list[B]) -> B:
    """The boxed arrays along a new first dimension, in one box."""
    return type(values[0])(np.stack([value.data for value in values]))


def row(value: B, index: int) -> B:
    """The row at the index, a view in a box of the same class."""
    return type(value)(value.data[index, ...])


def take(value: B, indices: NDArray[np.int64]) -> B:
    """The rows at the indices, in a box of the same class."""
    return type(value)(value.data[indices])
