"""Samples that lie in memory as rows of arrays."""

from __future__ import annotations

from typing import Any

from headrace import frameworks
from headrace.datasets.base import Dataset
from headrace.datasets.frames import array_of_series, is_series
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.pipeline.columns import ArrayColumn, TupleOfColumns

__all__ = ["TensorDataset"]


class TensorDataset(TupleOfColumns, Dataset[tuple[Any, ...]]):
    """Tensors whose first dimension is the sample: sample i is the tuple of the i-th rows.

    Args:
        *tensors: ndarrays, torch tensors, JAX arrays, or objects that box an ndarray in `.data`, of
            any kinds together, all with the same size in the first dimension. They are kept, not
            copied. A Series of pandas or Polars stands for its values in their order.

    Raises:
        ArgumentError: there are no tensors, or their sizes differ (also a ValueError).
        ArgumentTypeError: one of them is no tensor (also a TypeError).

    >>> import numpy as np
    >>> dataset = TensorDataset(np.zeros((100, 28, 28)), np.arange(100))
    >>> image, label = dataset[7]
    >>> image.shape, label
    ((28, 28), np.int64(7))
    """

    keeps_slots = True

    def __init__(self, *tensors: Any) -> None:
        if not tensors:
            raise ArgumentError("TensorDataset needs at least one tensor, got none")
        tensors = tuple(array_of_series(tensor) if is_series(tensor) else tensor for tensor in tensors)
        columns = _columns(tensors)
        lengths = [column.length for column in columns]
        for position, length in enumerate(lengths):
            if length != lengths[0]:
                raise ArgumentError(
                    "All tensors must have same size in first dimension. "
                    f"Tensor 0: {lengths[0]}, Tensor {position}: {length} "
                    f"(shapes {', '.join(str(column.shape) for column in columns)})"
                )
        self.tensors = tensors
        self._set_columns(columns)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._set_columns(_columns(self.tensors))


def _columns(tensors: tuple[Any, ...]) -> list[ArrayColumn]:
    return [_column(tensor, f"Tensor {position}") for position, tensor in enumerate(tensors)]


def _column(tensor: Any, name: str) -> ArrayColumn:
    adapter = frameworks.find(tensor)
    if adapter is None:
        reason = frameworks.explain(tensor)
        raise ArgumentTypeError(
            f"{name} is a {type(tensor).__name__}{f' ({reason})' if reason else ''}; allowed are ndarrays, torch "
            "tensors, JAX arrays and objects with an ndarray in .data: convert it with numpy.asarray, or use "
            "StackDataset"
        )
    return ArrayColumn(tensor, name, adapter)
