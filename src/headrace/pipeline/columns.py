"""Columns: the values of one field of many samples, and samples that are made of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np

from headrace import frameworks, kernels
from headrace.batch.arena import empty
from headrace.batch.collate import default_collate
from headrace.batch.ragged import find_token_field
from headrace.batch.rows import rows_differ
from headrace.errors import ArgumentError, CollateError
from headrace.images.layout import find_layout
from headrace.pipeline.nodes import Node, Source
from headrace.pipeline.read_plan import Rows
from headrace.pipeline.reading import check_index, check_indices

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from headrace.frameworks import Adapter
    from headrace.kernels.checks import Gather

__all__ = ["ArrayColumn", "Columns", "DatasetColumn", "SequenceColumn", "TupleOfColumns"]

T_co = TypeVar("T_co", covariant=True)

_INT64 = np.dtype(np.int64)
# Bytes that NumPy has taken by the time that a kernel is called. More of them lie far apart, and the kernel alone
# fetches those ahead.
_FEW = 1 << 12


class DatasetColumn(Protocol):
    """The values of a field.

    Attributes:
        length: how many.
        array: all of them in memory that NumPy sees; None where they are not there.
    """

    length: int
    array: NDArray[Any] | None

    @property
    def gathers(self) -> bool:
        """Whether rows are gathered without Python's lock."""

    def wrap(self, array: NDArray[Any]) -> Any:
        """Return rows of the array as a batch has them."""

    def row(self, index: int) -> Any:
        """Return the value at an index below the length."""

    def row_lengths(self) -> NDArray[np.int64] | None:
        """Return how many items each value has, where all are known to be sequences and need not be read; else None."""

    def gather(self, rows: NDArray[np.int64]) -> Any:
        """Return what a batch has of the values at the indices; an IndexError where there is none."""


class Columns(ABC, Generic[T_co]):
    """Samples whose fields lie in columns, all of one length: what a dataset of them does."""

    _columns: list[DatasetColumn]
    _length: int
    _gather: Callable[[NDArray[np.int64]], list[Any]]
    _movable: list[ArrayColumn]

    def _set_columns(self, columns: Sequence[DatasetColumn]) -> None:
        self._columns = list(columns)
        self._length = self._columns[0].length
        arrays = [column for column in self._columns if isinstance(column, ArrayColumn)]
        framework = frameworks.common_framework(column.tensor for column in arrays)
        for column in arrays:
            column.numbers_join(framework)
        plain = len(arrays) == len(self._columns) and all(column.is_gathered_plainly for column in arrays)
        self._gather = _PlainGather(arrays) if plain else self._gather_each
        self._movable = [column for column in arrays if column.address is not None]

    def _follow_memory(self) -> None:
        """Look at tensors anew that have got other memory since, as `share_memory_` and `.data = ...` give it to them.

        Raises:
            ArgumentError: they have no longer as many rows as others.
        """
        for column in self._movable:
            if column.has_moved():
                self._set_columns([each.anew() if isinstance(each, ArrayColumn) else each for each in self._columns])
                break

    def _gather_each(self, indices: NDArray[np.int64]) -> list[Any]:
        return [column.gather(indices) for column in self._columns]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_columns", "_gather", "_movable")}

    @abstractmethod
    def _join(self, values: list[Any]) -> Any:
        """Return the sample, or batch, of what the columns have of it."""

    @abstractmethod
    def _position(self, field: int | str | None) -> int | None:
        """Return which column a field is; None if there is no such field."""

    @abstractmethod
    def _token_field(self) -> int | str | None:
        """Return the field that has the tokens of a sequence, where nobody says; None for the sample itself."""

    def node(self) -> Node:
        """Return the description of the dataset."""
        return Source(self, draws=False)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int, /) -> T_co:
        position = check_index(index, self._length)
        sample: T_co = self._join([column.row(position) for column in self._columns])
        return sample

    def collates_as_torch(self) -> bool:
        """Return whether torch's `default_collate` makes the same of samples: all of their fields are plain tensors."""
        return all(isinstance(column, ArrayColumn) and column.stacks_as_torch() for column in self._columns)

    def releases_gil(self) -> bool:
        """Return whether all columns lie where the kernels, or NumPy, gather them without the GIL."""
        return all(column.gathers for column in self._columns)

    def reads_together(self) -> bool:
        """Return whether rows of several batches can be gathered at once."""
        return self.releases_gil()

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """Return the batch of the rows at the indices, without a step through single samples.

        Args:
            indices: shape (n,), int64; negative ones count from the end.

        Raises:
            OutOfRangeError: an index lies outside the dataset.

        >>> import numpy as np
        >>> from headrace import TensorDataset
        >>> TensorDataset(np.arange(5) * 10).get_batch(np.array([3, 1]))
        (array([30, 10]),)
        """
        self._follow_memory()
        try:
            return self._join(self._gather(indices))
        except IndexError:  # negative ones are told apart from wrong ones only here, for speed
            rows = check_indices(indices, self._length)
        return self._join(self._gather(rows))

    def open_rows(self, indices: NDArray[np.int64], field: int | str | None) -> Rows | None:
        """Return where the rows of a field lie, for a function that need not have them gathered.

        Args:
            indices: shape (n,), int64.
            field: which.

        Returns:
            The rows, or None if they are not in memory that NumPy sees, or there is no such field.
        """
        self._follow_memory()
        position = self._position(field)
        column = None if position is None else self._columns[position]
        if column is None or column.array is None:
            return None
        rows = check_indices(indices, self._length)

        def complete(value: Any) -> Any:
            others = enumerate(self._columns)
            return self._join([value if number == position else other.gather(rows) for number, other in others])

        return Rows(column.array, rows, column.wrap, complete)

    def field_lengths(self, field: int | str | None = None) -> NDArray[np.int64] | None:
        """Return how many items the sequence of each sample has; None where they would have to be read for it.

        Args:
            field: which has the sequence; None for "input_ids", "tokens", or the only one.
        """
        self._follow_memory()
        position = self._position(self._token_field() if field is None else field)
        return None if position is None else self._columns[position].row_lengths()

    def image_layout(self, field: int | str | None) -> str | None:
        """Return where the channels of a field are, if it holds images and their shape leaves no doubt."""
        position = self._position(field)
        column = None if position is None else self._columns[position]
        if not isinstance(column, ArrayColumn):
            return None
        layout = find_layout(column.shape[1:])
        return layout if layout != "HW" else None


class TupleOfColumns(Columns[tuple[Any, ...]]):
    """Samples that are tuples of what the columns have, in their order."""

    def _join(self, values: list[Any]) -> tuple[Any, ...]:
        return tuple(values)

    def _token_field(self) -> int | str | None:
        return find_token_field(range(len(self._columns)))

    def _position(self, field: int | str | None) -> int | None:
        known = isinstance(field, int) and -len(self._columns) <= field < len(self._columns)
        return field % len(self._columns) if isinstance(field, int) and known else None


class ArrayColumn:
    """An array or tensor whose rows are the values of samples, with what reading them needs to know.

    Args:
        tensor: an array of any framework.
        name: what errors call it.
        adapter: the one that owns it.

    Raises:
        ArgumentError: it has no first dimension.
    """

    def __init__(self, tensor: Any, name: str, adapter: Adapter) -> None:
        self.tensor = tensor
        self.name = name
        self._adapter = adapter
        self._framework: Adapter | None = None
        self.array = adapter.to_numpy(tensor) if adapter.rebuilds(type(tensor)) else None  # the same memory
        # Where that is, of a tensor that may be given other memory.
        find_address = None if self.array is None else getattr(adapter, "address", None)
        self.address: Callable[[], int] | None = None if find_address is None else partial(find_address, tensor)
        self._was_at = None if self.address is None else self.address()
        self.shape = tuple(tensor.shape if hasattr(tensor, "shape") else tensor.data.shape)
        if not self.shape:
            raise ArgumentError(f"{name} has shape () and so no first dimension to take samples from")
        self.length: int = self.shape[0]
        self._channels_last = frameworks.is_channels_last(tensor)
        self.is_plain = type(tensor) is np.ndarray  # a batch is as it is gathered
        # What NumPy takes rows from; of others it would copy all rows first.
        rows = None if self.array is None else np.asarray(self.array)
        self._rows = None if rows is None or not (rows.flags.c_contiguous and rows.flags.aligned) else rows
        self.row_bytes = 0 if rows is None or not self.length else rows[:1].nbytes

    def has_moved(self) -> bool:
        """Return whether the tensor has got other memory."""
        return self.address is not None and self.address() != self._was_at

    def anew(self) -> ArrayColumn:
        """Return the column of the tensor as it is now."""
        return ArrayColumn(self.tensor, self.name, self._adapter) if self.has_moved() else self

    @property
    def is_gathered_plainly(self) -> bool:
        """Whether a batch of its rows is what the kernel copies, with no more than a wrapper around it."""
        if not self.gathers or self._channels_last:
            return False
        return not (len(self.shape) == 1 and self.array is self.tensor and rows_differ(self.array.dtype))

    @property
    def gathers(self) -> bool:
        """Whether NumPy sees the memory, and numbers lie there."""
        return self.array is not None and not self.array.dtype.hasobject

    def stacks_as_torch(self) -> bool:
        """Return whether a batch is what torch stacks of the rows: they are plain tensors of its, contiguous."""
        found = frameworks.framework_of(self.tensor)
        return found is not None and found[0] == "torch" and not self._channels_last

    def numbers_join(self, framework: Adapter | None) -> None:
        """Let batches of numbers be tensors of the framework that other tensors of the dataset are of."""
        if framework is not None and len(self.shape) == 1 and isinstance(self.tensor, np.ndarray):
            self._framework = framework
            self.is_plain = False

    def wrap(self, array: NDArray[Any]) -> Any:
        """Return the array as one of the tensor's kind."""
        if self._framework is not None:
            return self._framework.from_numbers(array)
        return self._adapter.from_numpy(array, self.tensor)

    def row(self, index: int) -> Any:
        """Return the row at an index below the length."""
        return self._adapter.row(self.tensor, index)

    def row_lengths(self) -> NDArray[np.int64] | None:
        """Return how many items each row has; None where rows are no sequences."""
        return np.full(self.length, self.shape[1]) if len(self.shape) > 1 else None

    def gather(self, rows: NDArray[np.int64]) -> Any:
        """Return the rows at the indices, in new memory; an IndexError where there is none."""
        array = self.array
        if array is None:
            return self._adapter.take(self.tensor, check_indices(rows, self.length))
        if array.ndim == 1 and array is self.tensor and rows_differ(array.dtype):
            rows = check_indices(rows, self.length)
            return self.wrap(default_collate(list(array[rows]), rows))
        few = len(rows) * self.row_bytes <= _FEW and rows.dtype == _INT64 and rows.ndim == 1
        if few and self._rows is not None:
            return self._rows.take(rows, 0) if self.is_plain else self.wrap(self._rows.take(rows, 0))
        if self._channels_last:
            array = np.moveaxis(array, 1, -1)
        out = empty((len(rows), *array.shape[1:]), array.dtype)
        kernels.active().gather(array, rows, out)
        if self.is_plain:
            return out
        return self.wrap(np.moveaxis(out, -1, 1) if self._channels_last else out)


class _PlainGather:
    """Gathers the rows of all columns in one call of the kernel, or by NumPy, which has few rows sooner.

    Args:
        columns: those of a dataset.
    """

    def __init__(self, columns: list[ArrayColumn]) -> None:
        self._columns = columns
        self._wraps = [None if column.is_plain else column.wrap for column in columns]
        self._is_plain = not any(self._wraps)
        self._few = _FEW // max([1, *(column.row_bytes for column in columns)])
        self._kernel: Gather | None = None  # there is none before it is needed

    def __call__(self, indices: NDArray[np.int64]) -> list[Any]:
        if len(indices) <= self._few:
            return [column.gather(indices) for column in self._columns]
        kernel = self._kernel
        if kernel is None:
            arrays = [column.array for column in self._columns if column.array is not None]
            self._kernel = kernel = kernels.active().prepare_gather(arrays, empty)
        found = kernel(indices)
        if self._is_plain:
            return found
        return [array if wrap is None else wrap(array) for wrap, array in zip(self._wraps, found, strict=True)]


class SequenceColumn:
    """Values of any kind, such as strings, in a list.

    Args:
        values: a sequence of them.
        name: of their field, for errors.
    """

    array: NDArray[Any] | None = None
    gathers = False

    def __init__(self, values: Sequence[Any], name: Any) -> None:
        self._values = values
        self._name = name
        self.length = len(values)

    def wrap(self, array: NDArray[Any]) -> Any:
        """Return the array itself."""
        return array

    def row(self, index: int) -> Any:
        """Return the value at an index below the length."""
        return self._values[index]

    def row_lengths(self) -> NDArray[np.int64] | None:
        """Return how many items each value has; None where not all are lists."""
        if set(map(type, self._values)) != {list}:
            return None
        return np.fromiter(map(len, self._values), np.int64, self.length)

    def gather(self, rows: NDArray[np.int64]) -> Any:
        """Return the batch of the values at the indices."""
        rows = check_indices(rows, self.length)
        values = [self._values[row] for row in rows.tolist()]
        if not values:
            return []
        try:
            return default_collate(values, rows)
        except CollateError:  # told once more, with the name of the field
            return default_collate([{self._name: value} for value in values], rows)[self._name]
