"""Arrow's types: what arrays of each become as columns, and what they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headrace.formats.arrow.columns import (
    BinaryColumn,
    DecodedColumn,
    FixedSizeColumn,
    NestedColumn,
    ObjectColumn,
    RaggedColumn,
    StructColumn,
    TextColumn,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["describe_type", "is_flat", "make_column"]


_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_list_view, pa.types.is_large_list_view)


def make_column(array: pa.Array) -> DecodedColumn:
    """Return the column of an Arrow array."""
    array = _plain(array)
    column = _make(array)
    if array.null_count:
        column.nulls = array.is_null().to_numpy(zero_copy_only=False)
    return column


def describe_type(kind: pa.DataType) -> str:
    """Return the name of a type, the same for all whose values samples have alike.

    So how a text or a dictionary is stored, how the item of a list is called, and what may be null makes no difference.

    >>> describe_type(pa.list_(pa.field("element", pa.large_string(), nullable=False)))
    'list<string>'
    """
    if isinstance(kind, pa.BaseExtensionType):
        return str(kind)
    if pa.types.is_dictionary(kind):
        return describe_type(kind.value_type)
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(sorted(f'{field.name}: {describe_type(field.type)}' for field in kind))}>"
    if pa.types.is_fixed_size_list(kind):
        return f"list<{describe_type(kind.value_type)}>[{kind.list_size}]"
    if any(each(kind) for each in _LISTS):
        return f"list<{describe_type(kind.value_type)}>"
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "string"
    return "binary" if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) else str(kind)


def is_flat(kind: pa.DataType) -> bool:
    """Return whether values of a type are numbers, texts or bytes, of which each row is read as if it were alone."""
    texts = pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary
    return pa.types.is_primitive(kind) or any(each(kind) for each in texts)


def _plain(array: pa.Array) -> pa.Array:
    """Return the array in one of the layouts that are read here, where it only stands for one of them."""
    if pa.types.is_dictionary(array.type):
        return array.dictionary_decode()
    if pa.types.is_string_view(array.type):
        return array.cast(pa.large_string())
    if pa.types.is_list_view(array.type) or pa.types.is_large_list_view(array.type):
        return _in_order(array)
    return array.cast(pa.large_binary()) if pa.types.is_binary_view(array.type) else array


def _in_order(views: pa.Array) -> pa.Array:
    """Return views of lists as lists that lie one after the other."""
    nulls = views.is_null()
    sizes = np.where(nulls.to_numpy(zero_copy_only=False), 0, views.sizes.to_numpy(zero_copy_only=False))
    offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]), pa.int64())
    return pa.LargeListArray.from_arrays(offsets, views.flatten(), mask=nulls if views.null_count else None)


def _make(array: pa.Array) -> DecodedColumn:
    kind = array.type
    if isinstance(kind, pa.FixedShapeTensorType):
        return _make_tensors(array)
    if isinstance(kind, pa.BaseExtensionType):
        return _make(_plain(array.storage))
    values = _values(array)
    if values is not None:
        return FixedSizeColumn(values)
    if pa.types.is_struct(kind):
        children = zip(kind, array.flatten(), strict=True)  # a null of the struct is one of each field
        return StructColumn({field.name: make_column(child) for field, child in children})
    if pa.types.is_fixed_size_binary(kind):
        return BinaryColumn(_content(array, 1), (np.arange(len(array) + 1) + array.offset) * kind.byte_width)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return TextColumn(_content(array, 2), _offsets(array))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return BinaryColumn(_content(array, 2), _offsets(array))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _make_lists(array)
    return ObjectColumn(array)


def _make_lists(array: pa.Array) -> DecodedColumn:
    items = None if array.values.null_count else _values(array.values)
    if items is not None:
        return RaggedColumn(items, _offsets(array))
    inner = _plain(array.values)
    if inner.null_count or not (pa.types.is_list(inner.type) or pa.types.is_large_list(inner.type)):
        return ObjectColumn(array)
    column = _make_lists(inner)
    if isinstance(column, RaggedColumn):
        return NestedColumn(column, _offsets(array), np.empty((0, 0, *column.items.shape[1:]), column.items.dtype))
    if isinstance(column, NestedColumn):
        return NestedColumn(column, _offsets(array), np.empty((0, *column.empty.shape), column.empty.dtype))
    return ObjectColumn(array)


def _values(array: pa.Array) -> NDArray[Any] | None:
    """Return the values as an array of as many rows, where they are of one size; anything where they are null."""
    kind = array.type
    if pa.types.is_fixed_size_list(kind):
        items = array.values[array.offset * kind.list_size : (array.offset + len(array)) * kind.list_size]
        inner = None if _has_nulls(items, array) else _values(items)
        return None if inner is None else inner.reshape(len(array), kind.list_size, *inner.shape[1:])
    if not pa.types.is_primitive(kind) or pa.types.is_time(kind) or pa.types.is_interval(kind):
        return None
    buffers = [None, *array.buffers()[1:]]  # without the nulls, which would turn integers into floats
    values: NDArray[Any] = pa.Array.from_buffers(kind, len(array), buffers, 0, array.offset).to_numpy(
        zero_copy_only=False
    )
    return values


def _has_nulls(items: pa.Array, lists: pa.Array) -> bool:
    """Return whether an item is null of a list that is not."""
    if not items.null_count:
        return False
    nulls = items.is_null().to_numpy(zero_copy_only=False).reshape(len(lists), -1)
    return bool(nulls[lists.is_valid().to_numpy(zero_copy_only=False)].any())


def _make_tensors(array: pa.Array) -> DecodedColumn:
    column = _make(array.storage)
    if not isinstance(column, FixedSizeColumn):  # some of its numbers are null
        return column
    kind = array.type
    tensors = column.array.reshape(len(array), *kind.shape)
    if kind.permutation:
        tensors = tensors.transpose(0, *(axis + 1 for axis in kind.permutation))
    return FixedSizeColumn(tensors)


def _offsets(array: pa.Array) -> NDArray[Any]:
    """Return where each value begins and the last one ends in the child array."""
    if not len(array):
        return np.zeros(1, np.int64)
    kind = array.type
    wide = pa.types.is_large_string(kind) or pa.types.is_large_binary(kind) or pa.types.is_large_list(kind)
    dtype = np.dtype(np.int64 if wide else np.int32)
    return np.frombuffer(array.buffers()[1], dtype, len(array) + 1, array.offset * dtype.itemsize)


def _content(array: pa.Array, place: int) -> NDArray[np.uint8]:
    buffer = array.buffers()[place]
    return np.empty(0, np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8)
