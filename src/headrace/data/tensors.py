"""Samples that lie in memory as rows of arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import adapters, kernels
from headrace.batch.arena import empty
from headrace.batch.collate import default_collate
from headrace.data.dataset import Dataset
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.pipeline.nodes import Node, Source
from headrace.pipeline.read_plan import Rows
from headrace.pipeline.reading import check_index, check_indices
from headrace.storage.rows import rows_differ
from headrace.transforms.layout import find_layout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from headrace.adapters import Adapter

__all__ = ["TensorDataset"]

_INT64 = np.dtype(np.int64)
# Bytes that NumPy has taken by the time that a kernel is called. More of them lie far apart, and the kernel alone
# fetches those ahead.
_FEW = 1 << 12


class TensorDataset(Dataset[tuple[Any, ...]]):
    """Tensors whose first dimension is the sample: sample i is the tuple of the i-th rows.

    Args:
        *tensors: ndarrays, torch tensors, JAX arrays, or objects that box an ndarray in `.data`, of
            any kinds together, all with the same size in the first dimension. They are kept, not
            copied.

    Raises:
        ArgumentError: there are no tensors, or their sizes differ (also a ValueError).
        ArgumentTypeError: one of them is no tensor (also a TypeError).

    >>> import numpy as np
    >>> dataset = TensorDataset(np.zeros((100, 28, 28)), np.arange(100))
    >>> image, label = dataset[7]
    >>> image.shape, label
    ((28, 28), np.int64(7))
    """

    def __init__(self, *tensors: Any) -> None:
        if not tensors:
            raise ArgumentError("TensorDataset needs at least one tensor, got none")
        self._columns = _columns(tensors)
        lengths = [column.length for column in self._columns]
        for position, length in enumerate(lengths):
            if length != lengths[0]:
                raise ArgumentError(
                    "All tensors must have same size in first dimension. "
                    f"Tensor 0: {lengths[0]}, Tensor {position}: {length} "
                    f"(shapes {', '.join(str(column.shape) for column in self._columns)})"
                )
        self.tensors = tensors
        self._length = lengths[0]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int, /) -> tuple[Any, ...]:
        position = check_index(index, self._length)
        return tuple(column.row(position) for column in self._columns)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_columns"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._columns = _columns(self.tensors)

    def node(self) -> Node:
        """Return the description of the dataset."""
        return Source(self, draws=False)

    def releases_gil(self) -> bool:
        """Whether all tensors lie where the kernels, or NumPy, gather them without the GIL."""
        return all(column.gathers for column in self._columns)

    def reads_together(self) -> bool:
        """Whether rows of several batches can be gathered at once."""
        return self.releases_gil()

    def get_batch(self, indices: NDArray[np.int64]) -> tuple[Any, ...]:
        """The rows at the indices, of each tensor, without a step through single samples.

        Args:
            indices: shape (n,), int64; negative ones count from the end.

        Raises:
            OutOfRangeError: an index lies outside the dataset.

        >>> import numpy as np
        >>> TensorDataset(np.arange(5) * 10).get_batch(np.array([3, 1]))
        (array([30, 10]),)
        """
        try:
            return tuple(column.gather(indices) for column in self._columns)
        except IndexError:  # negative ones are told apart from wrong ones only here, for speed
            rows = check_indices(indices, self._length)
        return tuple(column.gather(rows) for column in self._columns)

    def open_rows(self, indices: NDArray[np.int64], field: int | str | None) -> Rows | None:
        """Where the rows of a tensor lie, for a function that need not have them gathered.

        Args:
            indices: shape (n,), int64.
            field: the position of the tensor.

        Returns:
            The rows, or None if they are not in memory that NumPy sees, or there is no such tensor.
        """
        if not isinstance(field, int) or not -len(self._columns) <= field < len(self._columns):
            return None
        position = field % len(self._columns)
        column = self._columns[position]
        if column.array is None:
            return None
        rows = check_indices(indices, self._length)

        def complete(value: Any) -> tuple[Any, ...]:
            others = enumerate(self._columns)
            return tuple(value if number == position else other.gather(rows) for number, other in others)

        return Rows(column.array, rows, column.wrap, complete)

    def image_layout(self, field: int | str | None) -> str | None:
        """Return where the channels of a tensor's rows are, if they are images and their shape leaves no doubt."""
        if not isinstance(field, int) or not -len(self._columns) <= field < len(self._columns):
            return None
        layout = find_layout(self._columns[field].shape[1:])
        return layout if layout != "HW" else None


def _columns(tensors: Iterable[Any]) -> list[_Column]:
    columns = [_Column(tensor, position) for position, tensor in enumerate(tensors)]
    framework = adapters.common_framework(tensors)
    for column in columns:
        column.numbers_join(framework)
    return columns


class _Column:
    """One of the tensors, with what reading its rows needs to know."""

    def __init__(self, tensor: Any, position: int) -> None:
        adapter = adapters.find(tensor)
        if adapter is None:
            raise ArgumentTypeError(
                f"Tensor {position} is a {type(tensor).__name__}; allowed are ndarrays, torch tensors, JAX arrays and "
                "objects with an ndarray in .data: convert it with numpy.asarray, or use StackDataset"
            )
        self._tensor = tensor
        self._adapter = adapter
        self._framework: Adapter | None = None
        self.array = adapter.to_numpy(tensor) if adapter.rebuilds(type(tensor)) else None  # the same memory
        self.shape = tuple(tensor.shape if hasattr(tensor, "shape") else tensor.data.shape)
        if not self.shape:
            raise ArgumentError(f"Tensor {position} has shape () and so no first dimension to take samples from")
        self.length: int = self.shape[0]
        self._channels_last = adapters.is_channels_last(tensor)
        # What NumPy takes rows from; of others it would copy all rows first.
        rows = None if self.array is None else np.asarray(self.array)
        self._rows = None if rows is None or not (rows.flags.c_contiguous and rows.flags.aligned) else rows
        self._row_bytes = 0 if rows is None or not self.length else rows[:1].nbytes

    @property
    def gathers(self) -> bool:
        """Whether NumPy sees the memory, and numbers lie there."""
        return self.array is not None and not self.array.dtype.hasobject

    def numbers_join(self, framework: Adapter | None) -> None:
        """Let batches of numbers be tensors of the framework that other tensors of the dataset are of."""
        if framework is not None and len(self.shape) == 1 and isinstance(self._tensor, np.ndarray):
            self._framework = framework

    def wrap(self, array: NDArray[Any]) -> Any:
        """The array as one of the tensor's kind."""
        if self._framework is not None:
            return self._framework.from_numbers(array)
        return self._adapter.from_numpy(array, self._tensor)

    def row(self, index: int) -> Any:
        """The row at an index below the length."""
        return self._adapter.row(self._tensor, index)

    def gather(self, rows: NDArray[np.int64]) -> Any:
        """The rows at the indices, in new memory; an IndexError where there is none."""
        array = self.array
        if array is None:
            return self._adapter.take(self._tensor, check_indices(rows, self.length))
        if array.ndim == 1 and array is self._tensor and rows_differ(array.dtype):
            rows = check_indices(rows, self.length)
            return self.wrap(default_collate(list(array[rows]), rows))
        few = len(rows) * self._row_bytes <= _FEW and rows.dtype == _INT64 and rows.ndim == 1
        if few and self._rows is not None:
            return self.wrap(self._rows.take(rows, 0))
        if self._channels_last:
            array = np.moveaxis(array, 1, -1)
        out = empty((len(rows), *array.shape[1:]), array.dtype)
        kernels.active().gather(array, rows, out)
        return self.wrap(np.moveaxis(out, -1, 1) if self._channels_last else out)
