"""Files of JSON lines: a sample is a line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentError
from headrace.formats.writer import FileWriter, Records

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.formats.writer import Columns, State

__all__ = ["JsonlFormat"]


class JsonlFormat:
    """A file of JSON lines in UTF-8, not compressed. Arrays become lists, which have no dtype."""

    name = "jsonl"
    ending = ".jsonl"
    is_folder = False
    marks_any_time = True

    def encode(self, columns: Columns, first: int) -> Records:
        """Return the samples as lines: the values of those without fields, else objects of their fields."""
        values = [_plain(column) for column in columns.values()]
        names = list(columns)
        rows = values[0] if names == [""] else [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
        return Records.of(first, [_line(row, first + place) for place, row in enumerate(rows)])

    def open(self, path: Path, state: State | None) -> FileWriter:
        """Begin a file, or continue one."""
        return FileWriter(path, state)


def _plain(column: Any) -> list[Any]:
    """Return a column as values that JSON has, if there are such."""
    if isinstance(column, np.ndarray):
        found: list[Any] = column.tolist()
        return found
    return [value.tolist() if isinstance(value, np.ndarray | np.generic) else value for value in column]


def _line(row: Any, number: int) -> bytes:
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"sample {number} cannot be a line of JSON, which has text, numbers, lists and objects of them: {error}; "
            "convert it with map(...), or take another format"
        ) from error
