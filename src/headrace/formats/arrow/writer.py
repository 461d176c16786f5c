"""Parquet: a column for each field, vectors as lists, other arrays as Arrow's fixed_shape_tensor.

Row groups are small, about a megabyte, since a group is what must be read for one of its rows.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from headrace.errors import ArgumentError
from headrace.formats.writer import TableChunk, call_lone_values_data, name_kinds, payload

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.formats.writer import Column, Columns, State

__all__ = ["ParquetFormat"]

_GROUP = 1 << 20  # bytes of values in a row group


class ParquetFormat:
    """A Parquet file."""

    name = "parquet"
    ending = ".parquet"
    is_folder = False
    marks_any_time = False

    def encode(self, columns: Columns, first: int) -> TableChunk:
        """Return the columns in Arrow's types."""
        arrays = {name: _arrow(name, column, first) for name, column in call_lone_values_data(columns).items()}
        kinds = {name: str(array.type) for name, array in arrays.items()}
        return TableChunk(first, payload(columns), arrays, name_kinds(kinds))

    def open(self, path: Path, state: State | None) -> _TableWriter:  # noqa: ARG002 - it is always None
        """Begin a file."""
        return _TableWriter(path)


def _arrow(name: str, column: Column, first: int) -> pa.Array:
    try:
        if isinstance(column, np.ndarray):
            _check_times(column)
            return _array(column)
        if len(set(map(type, column)) - {type(None)}) <= 1 and type(_first(column)) in (bytes, str):
            return pa.array(column)
        for value in column:
            _check_times(value)
        return _list(column)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise ArgumentError(
            f"field {name!r} of the samples from {first} on has no column in Parquet: {error}; convert it with "
            "dataset.map(...), or take 'tar' or 'lmdb'"
        ) from error


def _array(column: Any) -> pa.Array:
    if column.ndim == 1:
        return pa.array(column)
    if column.ndim > 2 and 0 in column.shape[1:]:  # pyarrow divides by the size of such an array
        raise ValueError(f"its arrays, of shape {column.shape[1:]}, are empty")
    if column.ndim > 2 and column.dtype.kind in "US":
        raise TypeError("it holds texts in arrays of several axes, which would come back as one list")
    flat = pa.array(np.ascontiguousarray(column).reshape(-1))
    if column.ndim == 2:  # always of any length, since those of the next samples may have another
        return pa.ListArray.from_arrays(np.arange(len(column) + 1, dtype=np.int32) * column.shape[1], flat)
    kind = pa.fixed_shape_tensor(flat.type, column.shape[1:])
    return pa.ExtensionArray.from_storage(kind, pa.FixedSizeListArray.from_arrays(flat, type=kind.storage_type))


def _first(column: list[Any]) -> Any:
    """Return the first value that a sample has; None if none has one."""
    return next((value for value in column if value is not None), None)


def _list(column: list[Any]) -> pa.Array:
    """Return values that may be None, of any length or size, as an array of Arrow."""
    found = [value for value in column if value is not None]
    if any(isinstance(value, np.ndarray) and value.ndim > 1 for value in found):
        raise TypeError("it holds arrays of different shapes")
    kinds = {_kind(value) for value in found}
    if len(kinds) > 1:
        raise TypeError(f"it holds {' and '.join(sorted(kinds))}")
    return pa.array(column)


def _check_times(value: Any) -> None:
    """Refuse what Arrow would turn into other times, without a word."""
    if not isinstance(value, np.ndarray | np.generic) or value.dtype.kind not in "mM":
        return
    if np.isnat(value).any():
        raise ValueError("it holds NaT, which would be read as None")
    days = np.asarray(value).view(np.int64) if value.dtype == np.dtype("M8[D]") else np.zeros(0, np.int64)
    if days.size and (days.min() < -(2**31) or days.max() >= 2**31):
        raise ValueError(f"it holds the date {value!s:.40}, beyond the 32 bits that Parquet has for days")


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"arrays of {value.dtype}"
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return "numbers" if is_number else f"values of {type(value).__name__}"


class _TableWriter:
    """A file whose row groups depend on its rows alone."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._writer: Any = None
        self._waiting: list[pa.Table] = []
        self._bytes = 0  # of the values so far
        self.samples = 0

    def write(self, chunk: TableChunk) -> None:
        """Append the samples of a chunk."""
        table = pa.table(chunk.columns)
        self._begin(table.schema, chunk.first)
        ends = self._bytes + np.cumsum(chunk.sizes)
        start = 0
        for stop in (np.flatnonzero(np.diff(ends // _GROUP, prepend=self._bytes // _GROUP)) + 1).tolist():
            self._waiting.append(table.slice(start, stop - start))
            self._write_group()
            start = stop
        self._waiting.append(table.slice(start))
        self._bytes = int(ends[-1])
        self.samples += len(ends)

    def checkpoint(self) -> None:
        """Do nothing: a Parquet file cannot be continued, since what describes it stands at its end."""

    def finish(self) -> int:
        """Complete the file on disk and give its size in bytes."""
        self._write_group()
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Close the file; after an error nothing is added to it."""
        if self._writer is not None:
            self._writer.is_open = False  # or it would write the end of the file when it is collected
        with suppress(OSError):
            self._file.close()

    def _begin(self, schema: pa.Schema, first: int) -> None:
        """Open the file for columns of these types, or see that they are those of the samples before."""
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._file, schema, use_dictionary=_repetitive(schema))
        elif schema != self._writer.schema:
            raise ArgumentError(
                f"the samples from {first} on are {_types(schema)}, those before them {_types(self._writer.schema)}; "
                "give all samples the same fields and types, and arrays the same shape, with dataset.map(...)"
            )

    def _write_group(self) -> None:
        table = pa.concat_tables(self._waiting)
        if table.num_rows:
            self._writer.write_table(table, row_group_size=table.num_rows)
        self._waiting = []


def _repetitive(schema: pa.Schema) -> list[str]:
    """Return the columns worth a dictionary: texts, and small integers, each of which would else take four bytes."""
    found = []
    for field in schema:
        kind = field.type.storage_type if isinstance(field.type, pa.BaseExtensionType) else field.type
        nested = pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)
        value = kind.value_type if nested else kind
        if pa.types.is_string(value) or (pa.types.is_integer(value) and value.bit_width <= 16):
            found.append(f"{field.name}.list.element" if nested else field.name)
    return found


def _types(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)
