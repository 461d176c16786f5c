"""The kernels that make images, in C."""

from __future__ import annotations

from ctypes import POINTER, Array, Structure, addressof, c_char_p, c_int, c_int32, c_int64, c_void_p
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from headrace.kernels.checks import check_cut, check_cut_values
from headrace.kernels.images import Pixels, Scaling, check_decode, check_scale
from headrace.kernels.moves import check_move
from headrace.kernels.native.calls import LITTLE, address
from headrace.kernels.warp import check_warp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.kernels.native.calls import Library
    from headrace.kernels.warp import Warp

__all__ = ["ImageKernels"]

# Bytes of images that are made in several times as long as it takes to start a thread.
_MUCH = 1 << 21

# Headers of so many files are read in the time that it takes to hand the GIL over and back.
_MANY = 32
_MESSAGE = 200  # bytes, as native/common/headrace.h has it


class _SourceStruct(Structure):
    """headrace_source of native/common/headrace.h."""

    _fields_: ClassVar = [
        ("data", c_void_p),
        ("image_stride", c_int64),
        ("images", c_int64),
        ("grid", POINTER(c_int64)),
        ("indices", c_void_p),
        ("count", c_int64),
    ]


class _ScaledStruct(Structure):
    """headrace_scaled of native/common/headrace.h."""

    _fields_: ClassVar = [
        ("boxes", c_void_p),
        ("turns", c_void_p),
        ("sizes", c_void_p),
        ("interpolation", c_int32),
        ("antialias", c_int32),
    ]


class _PixelsStruct(Structure):
    """headrace_pixels of native/common/headrace.h."""

    _fields_: ClassVar = [
        ("places", c_void_p),
        ("rows", c_void_p),
        ("columns", c_void_p),
        ("row_count", c_int64),
        ("column_count", c_int64),
        ("table", c_void_p),
        ("fill", c_void_p),
        ("terms", c_void_p),
        ("channels", c_int64),
        ("item_bytes", c_int64),
        ("grid", POINTER(c_int64)),
        ("image_stride", c_int64),
        ("out", c_void_p),
    ]


class _WarpedStruct(Structure):
    """headrace_warped of native/common/headrace.h."""

    _fields_: ClassVar = [
        ("maps", c_void_p),
        ("shifts", c_void_p),
        ("fill", c_void_p),
        ("interpolation", c_int32),
        ("item_bytes", c_int64),
        ("grid", POINTER(c_int64)),
        ("image_stride", c_int64),
        ("out", c_void_p),
    ]


class _JpegsStruct(Structure):
    """headrace_jpegs of native/common/headrace.h."""

    _fields_: ClassVar = [
        ("files", c_void_p),
        ("lengths", c_void_p),
        ("count", c_int64),
        ("headers", c_void_p),
        ("denominators", c_void_p),
    ]


class ImageKernels:
    """Crops, scaling, warping and JPEG; `headrace.kernels.reference` documents each function."""

    decodes = True

    def __init__(self, library: Library) -> None:
        self._move = library.both("headrace_move", [c_void_p, c_int64, c_void_p, c_int64, c_void_p, c_int64, c_void_p])
        source, scaled, pixels = map(POINTER, (_SourceStruct, _ScaledStruct, _PixelsStruct))
        self._cut = library.both("headrace_cut", [source, pixels, c_int32], c_int64)
        self._scale = library.long("headrace_scale", [source, scaled, pixels, c_int32, c_void_p])
        self._warp = library.both("headrace_warp", [source, POINTER(_WarpedStruct), c_int32])
        self._jpeg_headers = library.both("headrace_jpeg_headers", [c_void_p, c_void_p, c_int64, c_void_p])
        self._decode = library.long("headrace_decode", [POINTER(_JpegsStruct), scaled, pixels, c_int32, c_void_p])
        self.has_libjpeg = library.brief("headrace_decodes", [], c_int)() > 1

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
        start, count = address(indices), len(indices)
        move = self._move[places.nbytes > LITTLE]
        move(start, count, address(sizes), stride, address(moves), len(moves), address(places))

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
        """Cut crop boxes out of images, mirror them, and look each value up in a table."""
        check_cut(source, indices, places, table, fill, out, lines)
        indices = np.ascontiguousarray(indices)
        images = _source(source, indices)
        pixels = _pixels(Pixels(places, table, fill, terms, lines), out, source.shape[1:3])
        bad = self._cut[out.nbytes > LITTLE](images, pixels, threads if out.nbytes > _MUCH else 1)
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
        """Scale a part of each image, then cut crop boxes out of these as `cut` does."""
        check_scale(source, indices, scaling, pixels, out)
        indices = np.ascontiguousarray(indices)
        failures = np.zeros(len(indices), np.int32)
        self._scale(_source(source, indices), _scaled(scaling), _pixels(pixels, out), threads, address(failures))
        if failures.any():
            raise MemoryError(f"there is no memory to scale an image of {source.shape[1]} x {source.shape[2]} pixels")

    def warp(
        self, source: NDArray[Any], indices: NDArray[np.int64], warp: Warp, out: NDArray[Any], threads: int = 1
    ) -> None:
        """Make images of others by maps: each pixel is taken from a place of its own."""
        check_warp(source, indices, warp, out)
        indices = np.ascontiguousarray(indices)
        call = self._warp[out.nbytes > LITTLE]
        call(_source(source, indices), _warped(warp, out), threads if out.nbytes > _MUCH else 1)

    def jpeg_headers(self, files: Sequence[bytes]) -> NDArray[np.int32]:
        """Return what the headers of JPEG images say."""
        pointers, lengths = _files(files)
        out = np.empty((len(files), 4), np.int32)
        self._jpeg_headers[len(files) > _MANY](pointers, address(lengths), len(files), address(out))
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
        jpegs = _JpegsStruct(addressof(pointers), address(lengths), len(files), address(headers), address(denominators))
        messages = np.zeros((len(files), _MESSAGE), np.uint8)
        self._decode(jpegs, _scaled(scaling), _pixels(pixels, out), threads, address(messages))
        return [(row, _text(messages[row])) for row in np.flatnonzero(messages[:, 0]).tolist()]


def _source(images: NDArray[np.uint8], indices: NDArray[np.int64]) -> _SourceStruct:
    grid = _grid(images.shape, images.strides, 1)
    return _SourceStruct(address(images), images.strides[0], len(images), grid, address(indices), len(indices))


def _scaled(scaling: Scaling) -> _ScaledStruct:
    turns, boxes, sizes, antialias, interpolation = scaling
    return _ScaledStruct(address(boxes), address(turns), address(sizes), interpolation, antialias)


def _pixels(pixels: Pixels, out: NDArray[Any], size: Sequence[int] = (0, 0)) -> _PixelsStruct:
    """Return what becomes of pixels, of images of a height and width, which count where no lines stand for others."""
    places, table, fill, terms, lines = pixels
    rows, columns = (None, None) if lines is None else map(address, lines)
    return _PixelsStruct(
        address(places),
        rows,
        columns,
        *(size if lines is None else map(len, lines)),
        address(table),
        address(fill),
        None if terms is None else address(terms),
        len(table),
        out.itemsize,
        _grid(out.shape, out.strides, out.itemsize),
        out.strides[0] // out.itemsize,
        address(out),
    )


def _warped(warp: Warp, out: NDArray[Any]) -> _WarpedStruct:
    maps, fill, interpolation, shifts = warp
    return _WarpedStruct(
        address(maps),
        None if shifts is None else address(shifts),
        address(fill),
        interpolation,
        out.itemsize,
        _grid(out.shape, out.strides, 1),
        out.strides[0],
        address(out),
    )


def _files(files: Sequence[bytes]) -> tuple[Any, NDArray[np.int64]]:
    """Return pointers to the bytes of files, for C, and the length of each file."""
    return (c_char_p * len(files))(*files), np.array([len(data) for data in files], np.int64)


def _text(message: NDArray[np.uint8]) -> str:
    return message.tobytes().partition(b"\0")[0].decode("utf-8", "replace")


@lru_cache(64)
def _grid(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> Array[c_int64]:
    """Return the height, width and channels of images, and the strides of each, in items."""
    return (c_int64 * 6)(*shape[1:], *(stride // itemsize for stride in strides[1:]))
