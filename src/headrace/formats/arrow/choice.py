"""The columns of a table that are read, of all that it has."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.formats.arrow.conversion import describe_type, is_flat, make_column
from headrace.formats.arrow.record_batches import RecordBatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from headrace.formats.arrow.columns import DecodedColumn

__all__ = ["ColumnChoice"]


class ColumnChoice:
    """The columns of a table that are read, and the names of their fields.

    Args:
        schema: of the table.
        columns: their names; "a.b" is the field b of a column a of structs. None for all.
        name: of the table, for the texts of errors.

    Attributes:
        names: of the fields.
        types: of the fields, alike where samples are alike.
        is_flat: whether all have one value a row, and no lists or structs of them.
    """

    def __init__(self, schema: pa.Schema, columns: Sequence[str] | None, name: str) -> None:
        self.names = _checked(schema.names if columns is None else columns, name)
        self._paths = [_path(schema, column, name) for column in self.names]
        self.types = {
            column: describe_type(_type(schema, path)) for column, path in zip(self.names, self._paths, strict=True)
        }
        self.is_flat = all(is_flat(_type(schema, path)) for path in self._paths)

    @property
    def tops(self) -> list[str]:
        """The columns of the table that have the fields in them."""
        return list(dict.fromkeys(path[0] for path in self._paths))

    def top_of(self, name: str) -> str:
        """Return the column of the table that has a field in it."""
        return self._paths[self.names.index(name)][0]

    def decode(self, *pieces: pa.RecordBatch | pa.Table) -> RecordBatch:
        """Return the chosen columns of rows, which may lie in several pieces, all as long as the first but the last."""
        decoded = [{name: self.decode_column(piece, name) for name in self.names} for piece in pieces]
        return RecordBatch(decoded, max(len(pieces[0]), 1))

    def decode_column(self, batch: pa.RecordBatch | pa.Table, name: str) -> DecodedColumn:
        """Return one of the chosen columns of rows."""
        top, *inner = self._paths[self.names.index(name)]
        return make_column(_nested(_whole(batch.column(top)), inner))


def _checked(columns: Any, name: str) -> list[str]:
    if isinstance(columns, str) or not all(isinstance(column, str) for column in columns):
        raise ArgumentTypeError(f"columns must be a list of names, or None for all, but got {columns!r}")
    twice = [column for column, count in Counter(columns).items() if count > 1]
    if twice:
        raise ArgumentError(f"{name}: the columns {twice} are there twice; a sample has each field once")
    if not columns:
        raise ArgumentError(f"{name}: at least one column is needed, got none")
    return list(columns)


def _path(schema: pa.Schema, column: str, name: str) -> list[str]:
    """Return the path to a column: its own name, after those of the structs around it."""
    if column in schema.names:
        return [column]
    path = column.split(".")
    if path[0] in schema.names and _type(schema, path) is not None:
        return path
    raise ArgumentError(f"{name} has no column {column!r}; it has {schema.names}")


def _type(schema: pa.Schema, path: Iterable[str]) -> pa.DataType | None:
    found: Any = schema
    for name in path:
        if isinstance(found, pa.DataType) and not pa.types.is_struct(found):
            return None
        number = found.get_field_index(name)
        if number < 0:
            return None
        found = found.field(number).type
    return found


def _whole(column: Any) -> pa.Array:
    """Return a column that may lie in several pieces as one array."""
    if isinstance(column, pa.Array):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    wide = {"string": pa.large_string(), "binary": pa.large_binary()}.get(str(column.type))
    return (
        pa.concat_arrays((column if wide is None else column.cast(wide)).chunks)
        if column.num_chunks
        else pa.array([], column.type)
    )


def _nested(array: pa.Array, path: Sequence[str]) -> pa.Array:
    for name in path:
        array = pc.struct_field(array, name)
    return array
