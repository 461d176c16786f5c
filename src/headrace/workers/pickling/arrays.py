"""NumPy arrays in a pickle: their memory may lie apart, and the order of their axes is kept."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.workers.processes.mapped_arrays import dtype_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["as_memmap", "reduce_array"]


def reduce_array(array: NDArray[Any]) -> Any:
    """Take an array apart in half of the time that NumPy takes, and keep the order of its axes in memory."""
    if array.dtype.hasobject or array.itemsize == 0:
        return NotImplemented
    if array.flags.c_contiguous:
        return _rebuild_array, (_buffer_of(array), dtype_name(array.dtype), array.shape)
    order = sorted(range(array.ndim), key=array.strides.__getitem__, reverse=True)
    dense = array.transpose(order)
    if not dense.flags.c_contiguous:
        order, dense = list(range(array.ndim)), array.copy("C")
        dense.flags.writeable = array.flags.writeable
    axes = tuple(map(order.index, range(array.ndim)))
    return _rebuild_array, (_buffer_of(dense), dtype_name(array.dtype), dense.shape, axes)


def _rebuild_array(
    buffer: Any, dtype: np.dtype[Any] | str, shape: tuple[int, ...], axes: tuple[int, ...] | None = None
) -> NDArray[Any]:
    # `frombuffer` keeps a memoryview, and with it the memory; `ndarray(buffer=...)` would not.
    array: NDArray[Any] = np.frombuffer(buffer, dtype).reshape(shape)
    return array if axes is None else array.transpose(axes)


def _buffer_of(array: Any) -> pickle.PickleBuffer:
    try:
        return pickle.PickleBuffer(array)
    except ValueError:  # dates, and types that are not NumPy's own, have no buffers
        return pickle.PickleBuffer(array.reshape(-1).view(np.uint8))


def as_memmap(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array as a `numpy.memmap` that no longer has a file."""
    return array.view(np.memmap)
