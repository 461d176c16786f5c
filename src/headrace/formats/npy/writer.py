"""Columns as `.npy` files in a folder, one a field: what `numpy.load(..., mmap_mode="r")` maps."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy

from headrace.errors import ArgumentError
from headrace.formats.writer import TableChunk, call_lone_values_data, check_dtype, name_kinds, payload

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.formats.writer import Columns, State

__all__ = ["NpyFormat"]

_LONGEST_NAME = 255 - len(".npy")  # bytes


class NpyFormat:
    """A folder of `.npy` files of equal length."""

    name = "npy"
    ending = ""
    is_folder = True
    marks_any_time = True

    def encode(self, columns: Columns, first: int) -> TableChunk:
        """Return the columns, if each is an array of numbers."""
        for name, column in columns.items():
            if not isinstance(column, np.ndarray) or column.dtype.hasobject:
                raise ArgumentError(_refusal(name, column, first))
            check_dtype(name, column.dtype)
        named = call_lone_values_data(columns)
        for name in named:
            _check_name(name)
        kinds = {name: f"{column.dtype} of shape {column.shape[1:]}" for name, column in named.items()}
        return TableChunk(first, payload(columns), named, name_kinds(kinds))

    def open(self, path: Path, state: State | None) -> _FolderWriter:
        """Begin a folder, or continue one."""
        return _FolderWriter(path, state)


def _check_name(name: str) -> None:
    """Refuse a field that would not be a file of its own in the folder, or not be read from it."""
    if name.startswith(".") or any(mark in name for mark in "/\\\0") or len(os.fsencode(name)) > _LONGEST_NAME:
        raise ArgumentError(
            f"field {name!r} would be the file {name + '.npy'!r}, but a field of format 'npy' is a file in the folder "
            f"itself: its name begins with no dot, holds no slash, and takes {_LONGEST_NAME} bytes at most; rename it "
            "with dataset.map(...), or take another format"
        )


def _refusal(name: str, column: Any, first: int) -> str:
    what = next((type(value).__name__ for value in column if value is not None), "nothing")
    shape = f"{what} of different shapes" if what == "ndarray" else what
    return (
        f"field {name!r} holds {shape} (samples from {first} on), but a column of format 'npy' is an array of numbers "
        "of one shape; take 'tar', 'tfrecord', 'lmdb' or 'parquet', or convert the field with dataset.map(...)"
    )


class _FolderWriter:
    """A folder of columns that grow together."""

    def __init__(self, path: Path, state: State | None) -> None:
        self._path = path
        self._columns: dict[str, _GrowingNpyFile] = {}
        self.samples = 0 if state is None else int(state["samples"])
        path.mkdir(exist_ok=True)
        for name in [] if state is None else state["columns"]:
            self._columns[name] = _GrowingNpyFile.reopen(path / f"{name}.npy", self.samples)

    def write(self, chunk: TableChunk) -> None:
        """Append the samples of a chunk."""
        if not self._columns:
            for name, column in chunk.columns.items():
                self._columns[name] = _GrowingNpyFile(self._path / f"{name}.npy", column.dtype, column.shape[1:])
        if self._columns.keys() != chunk.columns.keys():
            raise ArgumentError(
                f"sample {chunk.first} has the fields {list(chunk.columns)}, those before it {list(self._columns)}; "
                "give all samples the same fields"
            )
        for name, column in chunk.columns.items():
            self._columns[name].append(column, chunk.first)
        self.samples += len(chunk.sizes)

    def checkpoint(self) -> State:
        """Make what is written survive, and say what to continue from."""
        for column in self._columns.values():
            column.sync()
        return {"samples": self.samples, "columns": list(self._columns)}

    def finish(self) -> int:
        """Write the columns' lengths into their headers, and give the size of all files."""
        return sum(column.finish(self.samples) for column in self._columns.values())

    def close(self) -> None:
        """Close the files."""
        for column in self._columns.values():
            column.close()


class _GrowingNpyFile:
    """A `.npy` file whose length is known only in the end."""

    def __init__(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], *, rows: int | None = None) -> None:
        self._dtype = dtype
        self._shape = shape
        self._path = path
        self._file = _create(path) if rows is None else path.open("r+b")
        self._file.write(self._header(0))
        if rows is not None:
            self._file.truncate(self._file.tell() + rows * dtype.itemsize * int(np.prod(shape, dtype=np.int64)))
            self._file.seek(0, os.SEEK_END)

    @classmethod
    def reopen(cls, path: Path, rows: int) -> _GrowingNpyFile:
        """Return the column as it was when it had so many rows."""
        with path.open("rb") as file:
            npy.read_magic(file)
            shape, _, dtype = npy.read_array_header_1_0(file)
        return cls(path, dtype, shape[1:], rows=rows)

    def append(self, column: Any, first: int) -> None:
        """Append rows."""
        if column.shape[1:] != self._shape or column.dtype != self._dtype:
            raise ArgumentError(
                f"field {self._path.stem!r} is {self._dtype} of shape {self._shape}, but from sample {first} on "
                f"{column.dtype} of shape {column.shape[1:]}; crop, pad or convert the samples with dataset.map(...)"
            )
        self._file.write(np.ascontiguousarray(column).view(np.uint8).data if column.size else b"")

    def sync(self) -> None:
        """Make what is written survive."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def finish(self, rows: int) -> int:
        """Complete the file and give its size."""
        size = self._file.tell()
        self._file.seek(0)
        self._file.write(self._header(rows))  # as long as the one of no rows: NumPy leaves room for any number
        self.sync()
        return size

    def close(self) -> None:
        """Close the file; after an error it has nothing left to say."""
        with suppress(OSError):
            self._file.close()

    def _header(self, rows: int) -> bytes:
        file = io.BytesIO()
        description = {"descr": npy.dtype_to_descr(self._dtype), "fortran_order": False, "shape": (rows, *self._shape)}
        npy.write_array_header_1_0(file, description)
        return file.getvalue()


def _create(path: Path) -> Any:
    try:
        return path.open("xb")
    except FileExistsError:  # the folder of a shard was empty before
        raise ArgumentError(
            f"field {path.stem!r} would be the same file as another one, since the file system of {path.parent} does "
            "not tell their names apart; rename it with dataset.map(...), or take another format"
        ) from None
