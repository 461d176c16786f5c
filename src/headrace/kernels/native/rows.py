"""The kernel that gathers rows of arrays, in C."""

from __future__ import annotations

import math
from ctypes import Structure, byref, c_int64, c_void_p
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.kernels.checks import (
    check_columns,
    check_gather,
    check_gather_shards,
    check_indices,
    check_shards,
    index_error,
    shard_error,
)
from headrace.kernels.native.calls import LITTLE, address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.kernels.checks import Empty, Gather, GatherJoined, GatherShards
    from headrace.kernels.native.calls import Library

__all__ = ["RowKernels"]

_INT64 = np.dtype(np.int64)
_ONE_ADDRESS = c_void_p * 1


class _RowsStruct(Structure):
    """The headrace_rows of the header file."""

    _fields_ = [("source", c_void_p), ("stride", c_int64), ("bytes", c_int64)]


class RowKernels:
    """Rows of arrays; `headrace.kernels.reference` documents each function."""

    def __init__(self, library: Library) -> None:
        arguments = [c_void_p, c_int64, c_int64, c_void_p, c_int64, c_void_p]
        self._gather = library.both("headrace_gather", arguments, c_int64)
        arguments = [c_void_p, c_void_p, c_int64, c_void_p, c_int64, c_void_p]
        self._gather_joined = library.both("headrace_gather_joined", arguments, c_int64)
        arguments = [c_void_p, c_void_p, c_int64, c_void_p, c_void_p, c_int64, c_void_p]
        self._gather_shards = library.both("headrace_gather_shards", arguments, c_int64)

    def gather(self, source: NDArray[Any], indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Copy the rows of `source` at `indices` into `out`."""
        check_gather(source, indices, out)
        if not _has_whole_rows(source):
            from headrace.kernels import reference  # which few arrays need

            reference.gather(source, indices, out)
            return
        indices = np.ascontiguousarray(indices)
        rows = _RowsStruct(address(source), source.strides[0], out.nbytes // (len(out) or 1))
        gather = self._gather[out.nbytes > LITTLE]
        bad = gather(byref(rows), 1, len(source), address(indices), len(indices), _ONE_ADDRESS(address(out)))
        if bad >= 0:
            raise index_error(int(indices[bad]), len(source))

    def prepare_gather(self, sources: Sequence[NDArray[Any]], empty: Empty) -> Gather:
        """Return a function that gathers the rows at indices of all arrays at once."""
        check_columns(sources)
        if not all(map(_has_whole_rows, sources)):
            from headrace.kernels import reference  # which few arrays need

            return reference.prepare_gather(sources, empty)
        return _ColumnGather(self._gather, list(sources), empty)

    def prepare_gather_joined(self, sources: Sequence[NDArray[Any]], empty: Empty) -> GatherJoined:
        """Return a function that gathers the rows at indices of arrays end to end."""
        check_shards(sources)
        if not all(map(_has_whole_rows, sources)):
            from headrace.kernels import reference  # which few arrays need

            return reference.prepare_gather_joined(sources, empty)
        return _JoinedGather(self._gather_joined, list(sources), empty)

    def prepare_gather_shards(self, sources: Sequence[NDArray[Any]]) -> GatherShards:
        """Return a function that gathers rows, each of one of the arrays."""
        check_shards(sources)
        if not all(map(_has_whole_rows, sources)):
            from headrace.kernels import reference  # which few arrays need

            return reference.prepare_gather_shards(sources)
        return _ShardGather(self._gather_shards, list(sources))


class _ColumnGather:
    """Gathers the rows of arrays; what the kernel is told of these is found once.

    Args:
        functions: the kernel's, with the GIL and without it.
        sources: the arrays, of one length.
        empty: makes the arrays that rows are copied to.
    """

    def __init__(self, functions: tuple[Any, Any], sources: list[NDArray[Any]], empty: Empty) -> None:
        self._brief, self._long = functions
        self._sources, self._empty = sources, empty  # the former so that their memory stays
        self._length, self._width = len(sources[0]), len(sources)
        self._shapes = [(source.shape[1:], source.dtype) for source in sources]
        rows = [_RowsStruct(address(source), source.strides[0], _row_bytes(source)) for source in sources]
        self._rows = (_RowsStruct * self._width)(*rows)
        self._row_bytes = sum(map(_row_bytes, sources))
        self._addresses = c_void_p * self._width

    def __call__(self, indices: NDArray[np.int64]) -> list[NDArray[Any]]:
        if indices.dtype is not _INT64 or indices.ndim != 1 or not indices.flags.c_contiguous:
            check_indices(indices)
            indices = np.ascontiguousarray(indices)
        count, empty = len(indices), self._empty
        out = [empty((count, *shape), dtype) for shape, dtype in self._shapes]
        gather = self._long if count * self._row_bytes > LITTLE else self._brief
        places = self._addresses(*map(address, out))
        bad = gather(self._rows, self._width, self._length, address(indices), count, places)
        if bad >= 0:
            raise index_error(int(indices[bad]), self._length)
        return out


class _JoinedGather:
    """Gathers rows of arrays end to end; what the kernel is told of these is found once.

    Args:
        functions: the kernel's, with the GIL and without it.
        sources: the arrays, of one dtype and of one shape but for the first dimension.
        empty: makes the array that rows are copied to.
    """

    def __init__(self, functions: tuple[Any, Any], sources: list[NDArray[Any]], empty: Empty) -> None:
        self._brief, self._long = functions
        self._sources, self._empty = sources, empty  # the former so that their memory stays
        rows = [_RowsStruct(address(source), source.strides[0], _row_bytes(source)) for source in sources]
        self._rows = (_RowsStruct * len(rows))(*rows)
        self._bounds = (c_int64 * (len(rows) + 1))(0, *accumulate(map(len, sources)))
        self._shape, self._dtype, self._row_bytes = sources[0].shape[1:], sources[0].dtype, _row_bytes(sources[0])

    def __call__(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        if indices.dtype is not _INT64 or indices.ndim != 1 or not indices.flags.c_contiguous:
            check_indices(indices)
            indices = np.ascontiguousarray(indices)
        count = len(indices)
        out = self._empty((count, *self._shape), self._dtype)
        gather = self._long if count * self._row_bytes > LITTLE else self._brief
        bad = gather(self._rows, self._bounds, len(self._sources), address(indices), count, address(out))
        if bad >= 0:
            raise index_error(int(indices[bad]), self._bounds[len(self._sources)])
        return out


class _ShardGather:
    """Gathers rows of several arrays; what the kernel is told of these is found once.

    Args:
        functions: the kernel's, with the GIL and without it.
        sources: the arrays, of one dtype and of one shape but for the first dimension.
    """

    def __init__(self, functions: tuple[Any, Any], sources: list[NDArray[Any]]) -> None:
        self._functions = functions
        self._sources = sources
        rows = [_RowsStruct(address(source), source.strides[0], _row_bytes(source)) for source in sources]
        self._rows = (_RowsStruct * len(rows))(*rows)
        self._lengths = (c_int64 * len(rows))(*map(len, sources))

    def __call__(self, which: NDArray[np.int64], rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        check_gather_shards(self._sources[0], which, rows, out)
        gather = self._functions[out.nbytes > LITTLE]
        which, rows = np.ascontiguousarray(which), np.ascontiguousarray(rows)
        places = address(which), address(rows), len(rows), address(out)
        bad = gather(self._rows, self._lengths, len(self._sources), *places)
        if bad >= 0:
            raise shard_error(self._sources, which, rows, bad)


def _row_bytes(source: NDArray[Any]) -> int:
    return math.prod(source.shape[1:]) * source.itemsize


def _has_whole_rows(source: NDArray[Any]) -> bool:
    """Return whether each row is bytes that lie side by side, in an array of any order of rows."""
    return not source.dtype.hasobject and source[:1].flags.c_contiguous
