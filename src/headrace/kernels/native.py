"""The kernels in C, called through ctypes, which releases the GIL while they run."""

from __future__ import annotations

import ctypes
import sys
from ctypes import (
    Array,
    addressof,
    byref,
    c_char,
    c_char_p,
    c_int,
    c_int32,
    c_int64,
    c_uint32,
    c_uint64,
    c_void_p,
    cast,
    py_object,
    pythonapi,
)
from functools import cache, lru_cache
from itertools import accumulate
from operator import index as as_int
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.kernels import reference
from headrace.kernels.checks import (
    check_cut,
    check_cut_values,
    check_feistel,
    check_gather,
    check_indices,
    check_ranges,
    check_room,
    check_shuffle_length,
    index_error,
    range_error,
)
from headrace.kernels.images import Pixels, Scaling, check_decode, check_scale
from headrace.kernels.moves import check_move
from headrace.kernels.scans import RECORD, VALUE_DTYPES, check_bounds, check_crc32c, check_data, check_spans

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from headrace.kernels.scans import TarScan

__all__ = ["ABI", "LIBRARY", "NativeKernels", "find_library", "load"]

ABI = 13
LIBRARY = "headrace_kernels" + {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")

# Bytes that a kernel makes in the time that it takes to hand the GIL over and back.
_LITTLE = 1 << 14

# Bytes of images that are made in several times as long as it takes to start a thread.
_MUCH = 1 << 21

# Headers of so many files are read in that time.
_MANY = 32
_MESSAGE = 200  # bytes, as native/headrace.h has it

# Typed Any because NumPy's stubs know of an array as a buffer only from Python 3.12 on.
_no_bytes_of: Any = (c_char * 0).from_buffer


_TAR_ARRAYS = ("out", "firsts", "key_text", "key_bounds", "field_text", "field_bounds", "last_sample")
_TAR_ROOM = ("capacity", "key_room", "field_capacity", "field_room")
_TAR_NUMBERS = ("position", "members", "samples", "fields", "skipped", "sample")


class _Tar(ctypes.Structure):
    """The headrace_tar of the header file."""

    _fields_ = [*((name, c_void_p) for name in _TAR_ARRAYS), *((name, c_int64) for name in _TAR_ROOM + _TAR_NUMBERS)]


class NativeKernels:
    """The kernels of one loaded library; `headrace.kernels.reference` documents each function."""

    name = "native"

    def __init__(self, path: Path) -> None:
        """Load the library at `path`; an OSError or AttributeError says why it cannot be used."""
        long, brief = ctypes.CDLL(str(path)), ctypes.PyDLL(str(path))
        version = _declare(long.headrace_abi, [], c_int)()
        if version != ABI:
            raise OSError(f"it has ABI {version}, but {ABI} is needed")

        def both(name: str, arguments: list[Any], result: Any = None) -> tuple[Any, Any]:
            return _declare(getattr(brief, name), arguments, result), _declare(getattr(long, name), arguments, result)

        # Of each the version that keeps the GIL, and the one that leaves it to other threads. To get it back
        # from them takes longer than little work does.
        self._philox = both("headrace_philox", [c_uint64, c_void_p, c_int64, c_uint32, c_uint32, c_void_p])
        self._fisher_yates = both("headrace_fisher_yates", [c_uint64, c_int64, c_void_p])
        self._feistel = both("headrace_feistel", [c_uint64, c_uint64, c_uint64, c_uint64, c_void_p])
        self._gather = both(
            "headrace_gather", [c_void_p, c_int64, c_int64, c_int64, c_void_p, c_int64, c_void_p], c_int64
        )
        ranges = [*[c_void_p] * 5, c_int64]
        self._gather_ranges = both("headrace_gather_ranges", [*ranges, c_void_p], c_int64)
        self._crc32c = both("headrace_crc32c", [*ranges, c_void_p], c_int64)
        _, self._touch_ranges = both("headrace_touch_ranges", ranges, c_int64)
        self._slice_ranges, _ = both("headrace_slice_ranges", [*ranges, c_void_p, c_void_p, py_object], c_int64)
        makers = pythonapi.PyBytes_FromStringAndSize, pythonapi.PyList_SetItem
        self._makers = [cast(function, c_void_p) for function in makers]
        tfrecord = [c_void_p, c_int64, c_void_p, c_void_p, c_int64, c_void_p]
        self._find_features = both(
            "headrace_find_features", [c_void_p, c_void_p, c_int64, c_void_p, c_void_p, c_int64, c_void_p], c_int64
        )
        self._read_features = both("headrace_read_features", [c_void_p, c_void_p, *[c_int64] * 4, c_void_p], c_int64)
        _, self._scan_tfrecord = both("headrace_scan_tfrecord", tfrecord, c_int64)
        _, self._scan_tar = both("headrace_scan_tar", [c_void_p, c_int64, c_void_p], c_int64)
        self._move = both("headrace_move", [c_void_p, c_int64, c_void_p, c_int64, c_void_p, c_int64, c_void_p])
        images = [c_void_p, c_int64, c_int64, c_void_p, c_void_p, c_int64]
        places = [c_void_p, c_void_p, c_int64, c_void_p, c_int64]
        values = [c_void_p, c_void_p, c_void_p, c_int64]
        self._cut = both("headrace_cut", [*images, *places, *values, c_void_p, c_int64, c_void_p, c_int32], c_int64)
        finish = [*[c_void_p] * 6, c_int64, c_void_p, c_int64, c_void_p, c_int32, c_void_p]
        scale = [c_void_p, c_int64, c_int64, c_void_p, c_void_p, c_int64, *[c_void_p] * 3, c_int32, c_int32, *finish]
        self._scale = _declare(long.headrace_scale, scale)
        self._jpeg_headers = both("headrace_jpeg_headers", [c_void_p, c_void_p, c_int64, c_void_p])
        decode = [c_void_p, c_void_p, c_int64, c_void_p, c_void_p, c_int64, *[c_void_p] * 3, c_int32, c_int32, *finish]
        self._decode = _declare(long.headrace_decode, decode)
        self.decodes = True
        self.has_libjpeg = _declare(long.headrace_decodes, [], c_int)() > 1

    def philox(self, key: int, indices: NDArray[np.int64], stream: int, block: int = 0) -> NDArray[np.uint32]:
        """Return four random 32-bit words for each index."""
        check_indices(indices)
        indices = np.ascontiguousarray(indices)
        out = np.empty((len(indices), 4), dtype=np.uint32)
        philox = self._philox[out.nbytes > _LITTLE]
        philox(as_int(key), _address(indices), len(indices), as_int(stream), as_int(block), _address(out))
        return out

    def fisher_yates(self, key: int, length: int) -> NDArray[np.int64]:
        """Return a random permutation of range(length)."""
        length = as_int(length)
        check_shuffle_length(length)
        out = np.empty(length, dtype=np.int64)
        self._fisher_yates[out.nbytes > _LITTLE](as_int(key), length, _address(out))
        return out

    def feistel(self, key: int, length: int, start: int, stop: int) -> NDArray[np.int64]:
        """Return positions [start, stop) of a pseudo-random permutation of range(length)."""
        length, start, stop = as_int(length), as_int(start), as_int(stop)
        check_feistel(length, start, stop)
        out = np.empty(stop - start, dtype=np.int64)
        self._feistel[out.nbytes > _LITTLE](as_int(key), length, start, stop, _address(out))
        return out

    def gather(self, source: NDArray[Any], indices: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Copy the rows of `source` at `indices` into `out`."""
        check_gather(source, indices, out)
        if source.dtype.hasobject or not source[:1].flags.c_contiguous:  # the rows themselves may lie apart
            reference.gather(source, indices, out)
            return
        indices = np.ascontiguousarray(indices)
        row_bytes = out.nbytes // (len(out) or 1)
        bad = self._gather[out.nbytes > _LITTLE](
            _address(source),
            source.strides[0],
            row_bytes,
            len(source),
            _address(indices),
            len(indices),
            _address(out),
        )
        if bad >= 0:
            raise index_error(int(indices[bad]), len(source))

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
        arrays = _range_arrays(sources, which, offsets, lengths)
        bad = self._gather_ranges[out.nbytes > _LITTLE](*map(_address, arrays), len(which), _address(out))
        if bad >= 0:
            raise range_error(sources, which, offsets, lengths, bad)

    def slice_ranges(
        self,
        sources: Sequence[NDArray[np.uint8]],
        which: NDArray[np.int64],
        offsets: NDArray[np.int64],
        lengths: NDArray[np.int64],
    ) -> list[bytes]:
        """Return ranges of bytes of several sources, each as an object of its own."""
        check_ranges(sources, which, offsets, lengths)
        arrays = _range_arrays(sources, which, offsets, lengths)
        out: list[Any] = [None] * len(which)
        addresses = [*map(_address, arrays), len(which)]
        # Objects are made under the GIL, under which nobody should wait for pages from a disk.
        bad = self._touch_ranges(*addresses) if int(lengths.sum()) > _LITTLE else -1
        if bad < 0:
            bad = self._slice_ranges(*addresses, *self._makers, out)
        if bad >= 0:
            raise range_error(sources, which, offsets, lengths, bad)
        return out

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
        arrays = _range_arrays(sources, which, offsets, lengths)
        out = np.empty(len(which), np.uint32)
        crc32c = self._crc32c[int(lengths.sum()) > _LITTLE]
        bad = crc32c(*map(_address, arrays), len(which), _address(out))
        if bad >= 0:
            raise range_error(sources, which, offsets, lengths, bad)
        return out

    def scan_tfrecord(self, data: NDArray[np.uint8], position: int, capacity: int) -> tuple[NDArray[Any], int, int]:
        """List the records of a TFRecord file."""
        check_data(data, position)
        out = np.empty(capacity, RECORD)
        at, problem = c_int64(position), c_int64(0)
        count = self._scan_tfrecord(_address(data), len(data), byref(at), _address(out), capacity, byref(problem))
        return out[:count], at.value, problem.value

    def scan_tar(self, data: NDArray[np.uint8], scan: TarScan) -> int:
        """List the members of a tar that are files of a sample."""
        check_data(data, scan.position)
        arrays = [getattr(scan, name) for name in _TAR_ARRAYS]
        numbers = [getattr(scan, name) for name in _TAR_NUMBERS]
        room = (scan.capacity, scan.key_room, len(scan.last_sample), len(scan.field_text))
        state = _Tar(*map(_address, arrays), *room, *numbers)
        ended = int(self._scan_tar(_address(data), len(data), byref(state)))
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
        find = self._find_features[len(data) > _LITTLE]
        bad = find(
            _address(data), _address(bounds), len(spans), _address(text), _address(ends), len(names), _address(spans)
        )
        return spans, int(bad)

    def read_features(self, data: NDArray[np.uint8], spans: NDArray[np.int64], kind: int) -> tuple[NDArray[Any], int]:
        """Read the values of one feature of each record."""
        check_spans(data, spans, kind)
        if spans.strides[1] != spans.itemsize:
            spans = np.ascontiguousarray(spans)
        shape = (int(spans[:, 3].sum()), 2) if kind == 1 else (int(spans[:, 3].sum()),)
        out = np.empty(shape, VALUE_DTYPES[kind])
        read = self._read_features[out.nbytes > _LITTLE]
        stride, width = spans.strides[0] // spans.itemsize, out.itemsize * (2 if kind == 1 else 1)
        bad = read(_address(data), _address(spans), stride, len(spans), kind, width, _address(out))
        return out, int(bad)

    def move(
        self,
        indices: NDArray[np.int64],
        sizes: NDArray[np.int64],
        moves: NDArray[np.int64],
        places: NDArray[np.int32],
    ) -> None:
        """Find where images come from once they are moved."""
        check_move(indices, sizes, moves, places)
        indices = np.ascontiguousarray(indices)
        stride = sizes.strides[0] // sizes.itemsize
        start, count = _address(indices), len(indices)
        move = self._move[places.nbytes > _LITTLE]
        move(start, count, _address(sizes), stride, _address(moves), len(moves), _address(places))

    def cut(
        self,
        source: NDArray[np.uint8],
        indices: NDArray[np.int64],
        places: NDArray[np.int32],
        table: NDArray[Any],
        fill: NDArray[Any],
        out: NDArray[Any],
        terms: NDArray[np.float32] | None = None,
        lines: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None,
        threads: int = 1,
    ) -> None:
        """Cut windows out of images, mirror them, and look each value up in a table."""
        check_cut(source, indices, places, table, fill, out, lines)
        indices = np.ascontiguousarray(indices)
        rows, columns = lines or (None, None)
        source_grid, out_grid = _grid(source.shape, source.strides, 1), _grid(out.shape, out.strides, out.itemsize)
        bad = self._cut[out.nbytes > _LITTLE](
            _address(source),
            source.strides[0],
            len(source),
            source_grid,
            _address(indices),
            len(indices),
            _address(places),
            None if rows is None else _address(rows),
            source.shape[1] if rows is None else len(rows),
            None if columns is None else _address(columns),
            source.shape[2] if columns is None else len(columns),
            _address(table),
            _address(fill),
            None if terms is None else _address(terms),
            out.itemsize,
            out_grid,
            out.strides[0] // out.itemsize,
            _address(out),
            threads if out.nbytes > _MUCH else 1,
        )
        if bad >= 0:
            check_cut_values(source, indices, places, lines)

    def scale(
        self,
        source: NDArray[np.uint8],
        indices: NDArray[np.int64],
        scaling: Scaling,
        pixels: Pixels,
        out: NDArray[Any],
        threads: int = 1,
    ) -> None:
        """Scale a part of each image, then cut windows out of these as `cut` does."""
        check_scale(source, indices, scaling, pixels, out)
        indices = np.ascontiguousarray(indices)
        source_grid, out_grid = _grid(source.shape, source.strides, 1), _grid(out.shape, out.strides, out.itemsize)
        failures = np.zeros(len(indices), np.int32)
        self._scale(
            _address(source),
            source.strides[0],
            len(source),
            source_grid,
            _address(indices),
            len(indices),
            *_scaling_arguments(scaling),
            *_pixels_arguments(pixels, out, out_grid),
            threads,
            _address(failures),
        )
        if failures.any():
            raise MemoryError(f"there is no memory to scale an image of {source.shape[1]} x {source.shape[2]} pixels")

    def jpeg_headers(self, files: Sequence[bytes]) -> NDArray[np.int32]:
        """Return what the headers of JPEG images say."""
        pointers, lengths = _files(files)
        out = np.empty((len(files), 4), np.int32)
        self._jpeg_headers[len(files) > _MANY](pointers, _address(lengths), len(files), _address(out))
        return out

    def decode(
        self,
        files: Sequence[bytes],
        headers: NDArray[np.int32],
        denominators: NDArray[np.int32],
        scaling: Scaling,
        pixels: Pixels,
        out: NDArray[Any],
        threads: int = 1,
    ) -> list[tuple[int, str]]:
        """Decode JPEG images, of each no more than the part that is scaled and shown; then as `scale`."""
        check_decode(files, headers, denominators, scaling, pixels, out)
        pointers, lengths = _files(files)
        out_grid = _grid(out.shape, out.strides, out.itemsize)
        messages = np.zeros((len(files), _MESSAGE), np.uint8)
        self._decode(
            pointers,
            _address(lengths),
            len(files),
            _address(headers),
            _address(denominators),
            len(pixels.table),
            *_scaling_arguments(scaling),
            *_pixels_arguments(pixels, out, out_grid),
            threads,
            _address(messages),
        )
        return [(row, _text(messages[row])) for row in np.flatnonzero(messages[:, 0]).tolist()]


def _range_arrays(
    sources: Sequence[NDArray[np.uint8]],
    which: NDArray[np.int64],
    offsets: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> list[NDArray[Any]]:
    """Ranges of sources as C reads them: where each source lies and how large it is, then the ranges."""
    addresses = np.array([_address(source) for source in sources], np.uint64)
    sizes = np.array([len(source) for source in sources], np.int64)
    return [addresses, sizes, *map(np.ascontiguousarray, (which, offsets, lengths))]


def _scaling_arguments(scaling: Scaling) -> tuple[Any, ...]:
    turns, boxes, sizes, antialias, interpolation = scaling
    return _address(boxes), _address(turns), _address(sizes), interpolation, antialias


def _pixels_arguments(pixels: Pixels, out: NDArray[Any], out_grid: Array[c_int64]) -> tuple[Any, ...]:
    places, table, fill, terms, lines = pixels
    rows, columns = (None, None) if lines is None else map(_address, lines)
    values = _address(table), _address(fill), None if terms is None else _address(terms)
    stride = out.strides[0] // out.itemsize
    return _address(places), rows, columns, *values, out.itemsize, out_grid, stride, _address(out)


def _files(files: Sequence[bytes]) -> tuple[Any, NDArray[np.int64]]:
    """Where the bytes of files lie, as C reads it, and how many there are of each."""
    return (c_char_p * len(files))(*files), np.array([len(data) for data in files], np.int64)


def _text(message: NDArray[np.uint8]) -> str:
    return message.tobytes().partition(b"\0")[0].decode("utf-8", "replace")


@lru_cache(64)
def _grid(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> Array[c_int64]:
    """The height, width and channels of images, and the strides of each, in items."""
    return (c_int64 * 6)(*shape[1:], *(stride // itemsize for stride in strides[1:]))


def _declare(function: Any, arguments: list[Any], result: Any = None) -> Any:
    """Fix the types of a C function, so that no call has to guess them."""
    function.argtypes = arguments
    function.restype = result
    return function


def _address(array: NDArray[Any]) -> int:
    """Return where the first element lies; an array without elements may give any address.

    The array interface serves every array, but takes as long as a small kernel; a buffer takes a third.
    """
    if array.flags.writeable:
        try:
            return addressof(_no_bytes_of(array))
        except (TypeError, ValueError):  # its rows lie apart, or its dtype has no buffer
            pass
    if array.dtype.names:  # whose description would be written out, which takes long
        array = array.view((np.void, array.itemsize))
    start: int = array.__array_interface__["data"][0]
    return start


def _candidates() -> Iterator[Path]:
    """Yield the places of the library: beside this file, then where the installed files say.

    An editable install leaves the sources where they are and puts the built library elsewhere.
    """
    yield Path(__file__).with_name(LIBRARY)
    from importlib import metadata  # a third of the time that importing headrace takes, and seldom needed

    try:
        files = metadata.files("headrace") or []
    except metadata.PackageNotFoundError:
        return
    for file in files:
        if file.name == LIBRARY:
            yield Path(str(file.locate()))


def find_library() -> Path | None:
    """Return the path of the built library, or None where it was not built."""
    return next((path for path in _candidates() if path.is_file()), None)


@cache
def load() -> NativeKernels | str:
    """Return the native kernels, or in one line why they cannot be used."""
    path = find_library()
    if path is None:
        return f"{LIBRARY} is not installed"
    try:
        return NativeKernels(path)
    except (OSError, AttributeError) as error:
        return f"{path} cannot be used: {error}"
