"""The kernels that find and read records, in C."""

from __future__ import annotations

import ctypes
from ctypes import addressof, byref, c_int64, c_void_p
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.kernels.checks import WIDENED, check_ranges, check_room, check_widen, check_windows, range_error
from headrace.kernels.native.calls import LITTLE, address, range_arrays
from headrace.kernels.scans import RECORD, VALUE_DTYPES, check_bounds, check_crc32c, check_data, check_spans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.kernels.native.calls import Library
    from headrace.kernels.scans import FeatureScan, TarScan

__all__ = ["RecordKernels"]

_TAR_ARRAYS = ("out", "firsts", "key_text", "key_bounds", "field_text", "field_bounds", "last_sample")
_TAR_ROOM = ("capacity", "key_room", "field_capacity", "field_room")
_TAR_NUMBERS = ("position", "members", "samples", "fields", "skipped", "sample")


class _TarStruct(ctypes.Structure):
    """The headrace_tar of the header file."""

    _fields_ = [*((name, c_void_p) for name in _TAR_ARRAYS), *((name, c_int64) for name in _TAR_ROOM + _TAR_NUMBERS)]


_FEATURE_ARRAYS = ("text", "bounds", "table")


class _FeaturesStruct(ctypes.Structure):
    """The headrace_features of the header file."""

    _fields_ = [
        *((name, c_void_p) for name in _FEATURE_ARRAYS),
        *((name, c_int64) for name in ("capacity", "room", "records", "names")),
    ]


class _WindowsStruct(ctypes.Structure):
    """The headrace_windows of the header file."""

    _fields_ = [
        *((name, c_void_p) for name in ("sources", "sizes")),
        ("source_count", c_int64),
        *((name, c_void_p) for name in ("which", "offsets")),
        *((name, c_int64) for name in ("count", "length", "shifts", "item")),
    ]


class RecordKernels:
    """Ranges of bytes, TFRecord, tar and tf.train.Example; `headrace.kernels.reference` documents each function."""

    def __init__(self, library: Library) -> None:
        ranges = [*[c_void_p] * 5, c_int64]
        self._gather_ranges = library.both("headrace_gather_ranges", [*ranges, c_void_p], c_int64)
        self._widen_ranges = library.both("headrace_widen_ranges", [*ranges, c_int64, c_void_p], c_int64)
        self._widen_windows = library.both("headrace_widen_windows", [c_void_p] * 2, c_int64)
        self._crc32c = library.both("headrace_crc32c", [*ranges, c_void_p], c_int64)
        tfrecord = [c_void_p, c_int64, c_void_p, c_void_p, c_int64, c_void_p]
        self._scan_tfrecord = library.long("headrace_scan_tfrecord", tfrecord, c_int64)
        self._scan_tar = library.long("headrace_scan_tar", [c_void_p, c_int64, c_void_p], c_int64)
        find = [c_void_p, c_void_p, c_int64, c_void_p, c_void_p, c_int64, c_void_p]
        self._find_features = library.both("headrace_find_features", find, c_int64)
        note = [c_void_p, c_void_p, c_void_p, c_int64, c_void_p]
        self._note_features = library.long("headrace_note_features", note, c_int64)
        read = [c_void_p, c_void_p, *[c_int64] * 4, c_void_p]
        self._read_features = library.both("headrace_read_features", read, c_int64)

    def gather_ranges(
        self,
        sources: Sequence[NDArray[np.uint8]],
        which: NDArray[np.int64],
        offsets: NDArray[np.int64],
        lengths: NDArray[np.int64],
        out: NDArray[np.uint8],
    ) -> None:
        """Copy ranges of bytes of several sources into `out`, end to end."""
        check_ranges(sources, which, offsets, lengths)
        check_room(lengths, out)
        arrays = range_arrays(sources, which, offsets, lengths)
        bad = self._gather_ranges[out.nbytes > LITTLE](*map(address, arrays), len(which), address(out))
        if bad >= 0:
            raise range_error(sources, which, offsets, lengths, bad)

    def widen_ranges(
        self,
        sources: Sequence[NDArray[np.uint8]],
        which: NDArray[np.int64],
        offsets: NDArray[np.int64],
        lengths: NDArray[np.int64],
        dtype: np.dtype[Any],
        out: NDArray[np.int64],
    ) -> None:
        """Copy ranges of integers of several sources into `out`, end to end, as int64."""
        check_ranges(sources, which, offsets, lengths)
        check_widen(lengths, dtype, out)
        arrays = range_arrays(sources, which, offsets, lengths)
        widen = self._widen_ranges[out.nbytes > LITTLE]
        bad = widen(*map(address, arrays), len(which), WIDENED[dtype.str], address(out))
        if bad >= 0:
            raise range_error(sources, which, offsets, lengths * dtype.itemsize, bad)

    def widen_windows(
        self,
        sources: Sequence[NDArray[np.uint8]],
        which: NDArray[np.int64],
        offsets: NDArray[np.int64],
        dtype: np.dtype[Any],
        out: NDArray[np.int64],
    ) -> None:
        """Copy windows of integers of several sources, once or shifted, as int64."""
        check_windows(sources, which, offsets, dtype, out)
        begins = (c_void_p * len(sources))(*map(address, sources))
        sizes = (c_int64 * len(sources))(*map(len, sources))
        places = np.ascontiguousarray(which), np.ascontiguousarray(offsets)
        shifts, count, length = out.shape
        windows = _WindowsStruct(
            addressof(begins),
            addressof(sizes),
            len(sources),
            *map(address, places),
            *(count, length, shifts, WIDENED[dtype.str]),
        )
        bad = self._widen_windows[out.nbytes > LITTLE](byref(windows), address(out))
        if bad >= 0:
            lengths = np.full(count, (length + shifts - 1) * dtype.itemsize)
            check_ranges(sources, which, offsets, lengths)
            raise range_error(sources, which, offsets, lengths, bad)

    def crc32c(
        self, data: NDArray[np.uint8], offsets: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.uint32]:
        """Return the CRC32C of ranges of bytes."""
        check_crc32c(data, offsets, lengths)
        return self.crc32c_ranges([data], np.zeros(len(offsets), np.int64), offsets, lengths)

    def crc32c_ranges(
        self,
        sources: Sequence[NDArray[np.uint8]],
        which: NDArray[np.int64],
        offsets: NDArray[np.int64],
        lengths: NDArray[np.int64],
    ) -> NDArray[np.uint32]:
        """Return the CRC32C of ranges of bytes of several sources."""
        check_ranges(sources, which, offsets, lengths)
        arrays = range_arrays(sources, which, offsets, lengths)
        out = np.empty(len(which), np.uint32)
        crc32c = self._crc32c[int(lengths.sum()) > LITTLE]
        bad = crc32c(*map(address, arrays), len(which), address(out))
        if bad >= 0:
            raise range_error(sources, which, offsets, lengths, bad)
        return out

    def scan_tfrecord(self, data: NDArray[np.uint8], position: int, capacity: int) -> tuple[NDArray[Any], int, int]:
        """List the records of a TFRecord file."""
        check_data(data, position)
        out = np.empty(capacity, RECORD)
        at, problem = c_int64(position), c_int64(0)
        count = self._scan_tfrecord(address(data), len(data), byref(at), address(out), capacity, byref(problem))
        return out[:count], at.value, problem.value

    def scan_tar(self, data: NDArray[np.uint8], scan: TarScan) -> int:
        """List the members of a tar that are files of a sample."""
        check_data(data, scan.position)
        arrays = [getattr(scan, name) for name in _TAR_ARRAYS]
        numbers = [getattr(scan, name) for name in _TAR_NUMBERS]
        room = (scan.capacity, scan.key_room, len(scan.last_sample), len(scan.field_text))
        state = _TarStruct(*map(address, arrays), *room, *numbers)
        ended = int(self._scan_tar(address(data), len(data), byref(state)))
        for name in _TAR_NUMBERS:
            setattr(scan, name, getattr(state, name))
        return ended

    def find_features(
        self, data: NDArray[np.uint8], bounds: NDArray[np.int64], names: Sequence[bytes]
    ) -> tuple[NDArray[np.int64], int]:
        """Find features by name in records that are tf.train.Example."""
        check_bounds(data, bounds)
        bounds = np.ascontiguousarray(bounds)
        text = np.frombuffer(b"".join(names), np.uint8)
        ends = np.array([0, *accumulate(map(len, names))], np.int64)
        spans = np.empty((len(bounds) - 1, len(names), 4), np.int64)
        find = self._find_features[len(data) > LITTLE]
        bad = find(address(data), address(bounds), len(spans), address(text), address(ends), len(names), address(spans))
        return spans, int(bad)

    def note_features(
        self, data: NDArray[np.uint8], offsets: NDArray[np.int64], lengths: NDArray[np.int64], scan: FeatureScan
    ) -> int:
        """Note which features records have that are tf.train.Example."""
        check_crc32c(data, offsets, lengths)
        offsets, lengths = np.ascontiguousarray(offsets), np.ascontiguousarray(lengths)
        arrays = [address(getattr(scan, name)) for name in _FEATURE_ARRAYS]
        state = _FeaturesStruct(*arrays, len(scan.table), len(scan.text), scan.records, scan.names)
        ended = self._note_features(address(data), address(offsets), address(lengths), len(offsets), byref(state))
        scan.records, scan.names = state.records, state.names
        return int(ended)

    def read_features(self, data: NDArray[np.uint8], spans: NDArray[np.int64], kind: int) -> tuple[NDArray[Any], int]:
        """Read the values of one feature of each record."""
        check_spans(data, spans, kind)
        if spans.strides[1] != spans.itemsize:
            spans = np.ascontiguousarray(spans)
        shape = (int(spans[:, 3].sum()), 2) if kind == 1 else (int(spans[:, 3].sum()),)
        out = np.empty(shape, VALUE_DTYPES[kind])
        read = self._read_features[out.nbytes > LITTLE]
        stride, width = spans.strides[0] // spans.itemsize, out.itemsize * (2 if kind == 1 else 1)
        bad = read(address(data), address(spans), stride, len(spans), kind, width, address(out))
        return out, int(bad)
