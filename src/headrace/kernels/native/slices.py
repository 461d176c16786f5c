"""The kernels that make bytes objects of ranges and records, in C."""

from __future__ import annotations

from ctypes import Structure, addressof, byref, c_int, c_int64, c_void_p, cast, py_object, pythonapi
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.kernels.checks import check_ranges, range_error
from headrace.kernels.native.calls import address, range_arrays
from headrace.kernels.scans import check_files, check_places, check_rows, record_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.kernels.native.calls import Library
    from headrace.kernels.scans import SliceRecords

__all__ = ["SliceKernels"]

# The headrace_copy of the header file.
_COPY = np.dtype([("from", np.intp), ("to", np.intp), ("length", "<i8"), ("crc", "<u4")], align=True)


class _PythonStruct(Structure):
    """The headrace_python of the header file."""

    _fields_ = [("make", c_void_p), ("content", c_void_p), ("set_item", c_void_p)]


class _FileStruct(Structure):
    """The headrace_file of the header file."""

    _fields_ = [("data", c_void_p), ("size", c_int64), ("records", c_void_p), ("count", c_int64)]


class _FilesStruct(Structure):
    """The headrace_files of the header file."""

    _fields_ = [("all", c_void_p), ("count", c_int64)]


class SliceKernels:
    """Ranges and records as bytes objects; `headrace.kernels.reference` documents each function."""

    def __init__(self, library: Library) -> None:
        python = pythonapi.PyBytes_FromStringAndSize, pythonapi.PyBytes_AsString, pythonapi.PyList_SetItem
        self._python = _PythonStruct(*[cast(function, c_void_p).value for function in python])
        out = [c_int64, c_void_p, c_void_p, py_object]
        self._begin_ranges = library.brief("headrace_begin_ranges", [*[c_void_p] * 5, *out], c_int64)
        self._begin_records = library.brief("headrace_begin_records", [*[c_void_p] * 3, *out], c_int64)
        self._fill_bytes = library.both("headrace_fill_bytes", [c_void_p, c_int64, c_int], c_int64)

    def slice_ranges(
        self,
        sources: Sequence[NDArray[np.uint8]],
        which: NDArray[np.int64],
        offsets: NDArray[np.int64],
        lengths: NDArray[np.int64],
    ) -> list[bytes]:
        """Return ranges of bytes of several sources, each as an object of its own."""
        check_ranges(sources, which, offsets, lengths)
        arrays = range_arrays(sources, which, offsets, lengths)
        out: list[Any] = [None] * len(which)
        copies = np.empty(len(out), _COPY)
        bad = self._begin_ranges(*map(address, arrays), len(out), address(copies), byref(self._python), out)
        if bad >= 0:
            raise range_error(sources, which, offsets, lengths, bad)
        self.fill(copies, verify=False)
        return out

    def prepare_slices(self, sources: Sequence[NDArray[np.uint8]], tables: Sequence[NDArray[Any]]) -> SliceRecords:
        """Return a function that returns records of files, each as an object of its own."""
        check_files(sources, tables)
        return _RecordSlices(self, sources, tables)

    def begin_records(self, files: Any, arrays: Sequence[NDArray[Any]], out: list[Any]) -> int:
        """Make the objects of records, in the list; return the place of the first that there cannot be, or -1."""
        which, rows, copies = map(address, arrays)
        bad: int = self._begin_records(files, which, rows, len(out), copies, byref(self._python), out)
        return bad

    def fill(self, copies: NDArray[Any], *, verify: bool) -> int:
        """Copy what bytes objects wait for; return the place of the first one with another CRC32C, or -1."""
        # Without the GIL, under which nobody should wait for pages from a disk.
        wrong: int = self._fill_bytes[len(copies) > 1](address(copies), len(copies), verify)
        return wrong


class _RecordSlices:
    """Returns records of files; what the kernel is told of these is found once.

    Args:
        kernels: the ones to call.
        sources: the bytes of the files.
        tables: their records.
    """

    def __init__(
        self, kernels: SliceKernels, sources: Sequence[NDArray[np.uint8]], tables: Sequence[NDArray[Any]]
    ) -> None:
        self._kernels = kernels
        self._sources, self._tables = list(sources), [np.ascontiguousarray(table) for table in tables]
        pairs = zip(self._sources, self._tables, strict=True)
        found = [_FileStruct(address(data), len(data), address(table), len(table)) for data, table in pairs]
        self._array = (_FileStruct * len(found))(*found)
        self._files = byref(_FilesStruct(addressof(self._array), len(found)))

    def __call__(
        self, which: NDArray[np.int64], rows: NDArray[np.int64], *, verify: bool = True
    ) -> tuple[list[bytes], int, int, int]:
        check_places(which, rows)
        out: list[Any] = [None] * len(rows)
        copies = np.empty(len(rows), _COPY)
        arrays = np.ascontiguousarray(which), np.ascontiguousarray(rows), copies
        bad = self._kernels.begin_records(self._files, arrays, out)
        if bad >= 0:
            check_rows(self._tables, which, rows)
            raise record_error(self._sources, self._tables, which, rows, bad)
        wrong = self._kernels.fill(copies, verify=verify)
        nbytes = int(np.add.reduce(copies["length"]))  # a fourth of the time that a look at each object takes
        return out, nbytes, wrong, int(copies["crc"][wrong]) if wrong >= 0 else 0
