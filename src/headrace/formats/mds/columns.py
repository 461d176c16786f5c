"""The columns of an MDS sample: how each is decoded.

The encodings are those of mosaicml-streaming's format version 2 (`streaming/base/format/mds/encodings.py`); numbers are
little-endian.
"""

from __future__ import annotations

import json
import pickle
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentError, CorruptDataError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.formats.item_shards import Counter, Read

__all__ = ["PICKLED", "find_counter", "find_decoder", "fixed_kind"]

PICKLED = "pkl"
_CODES = {8: "u1", 9: "i1", 16: "u2", 17: "i2", 18: "f2", 32: "u4", 33: "i4", 34: "f4", 64: "u8", 65: "i8", 66: "f8"}
_SCALARS = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
_CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}
_ENCODED = ("jpeg", "png")  # files of images, which stay as they are


def find_decoder(name: str, encoding: str, *, pickled: bool) -> Callable[[bytes], Any]:
    """Return the function that makes a value of the bytes of a column.

    Args:
        name: of the column, for the texts of errors.
        encoding: as the index has it.
        pickled: whether a pickle may be read, which runs what code it holds.

    Raises:
        ArgumentError: it is a pickle that may not be read.
        StorageError: there is no such encoding.
    """
    kind, _, rest = encoding.partition(":")
    if kind == PICKLED and not pickled:
        raise ArgumentError(
            f"column {name!r} is pickled, and reading a pickle runs what code it holds; if you trust the files, read "
            f"it with pickled=[{name!r}], else leave it out with columns="
        )
    if kind == "ndarray":
        return _array_decoder(name, *rest.split(":"))
    if kind in _SCALARS:
        dtype = np.dtype(kind).newbyteorder("<")
        return lambda data: _one(np.frombuffer(data, dtype), name)
    if kind not in _DECODERS:
        raise StorageError(f"column {name!r} is encoded as {encoding!r}, which is not known here; leave it out")
    return _DECODERS[kind]


def fixed_kind(encoding: str, size: int | None) -> tuple[np.dtype[Any], tuple[int, ...]] | None:
    """Return the dtype and shape of the values of a column, where all of its values have the same.

    Args:
        encoding: of the column.
        size: the bytes of a value; None where they differ.

    >>> fixed_kind("ndarray:uint8:2,3", 6)
    (dtype('uint8'), (2, 3))
    """
    kind, _, rest = encoding.partition(":")
    name, _, dims = rest.partition(":") if kind == "ndarray" else (kind if kind != "int" else "int64", "", "")
    if name not in _SCALARS or (kind == "ndarray" and not dims):
        return None
    dtype, shape = np.dtype(name).newbyteorder("<"), tuple(map(int, dims.split(","))) if dims else ()
    return (dtype, shape) if size == dtype.itemsize * int(np.prod(shape)) else None


def find_counter(encoding: str) -> Counter | None:
    """Return what counts the items of values without reading them, as `len` would; None where that cannot be.

    It is given a function that reads, and the begins and the sizes of values in bytes, each int64 of shape (n,), and
    returns as many numbers; None where values are not what they should be.
    """
    kind, _, rest = encoding.partition(":")
    if kind == "bytes" or kind in _ENCODED:
        return lambda _, __, sizes: sizes
    dtype, _, shape = rest.partition(":")
    if kind != "ndarray":
        return None
    if shape:
        return lambda _, __, sizes: np.full(len(sizes), int(shape.split(",")[0]))
    return partial(_first_dims, 0 if dtype else 1)


def _first_dims(
    before: int, read: Read, starts: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Return the first dimensions of arrays, which tell their shape behind so many bytes."""
    if (sizes < before + 2).any():
        return None
    told = read(starts + before, 1)
    widths, found = 1 << (told & 3).astype(np.int64), np.zeros(len(starts), np.int64)
    if (told >> 2 == 0).any() or (sizes < before + 1 + widths).any():
        return None
    for width in np.unique(widths).tolist():
        here = widths == width
        found[here] = read(starts[here] + before + 1, width).view(f"<u{width}")
    return found if (found <= sizes).all() and (found >= 0).all() else None


def _one(values: np.ndarray[Any, Any], name: str) -> Any:
    if len(values) != 1:
        raise CorruptDataError(f"column {name!r} has {len(values)} values where one must be")
    return values[0]


def _array_decoder(name: str, dtype: str = "", shape: str = "") -> Callable[[bytes], Any]:
    """Return the decoder of arrays, whose dtype and shape the encoding may tell, else the bytes do."""
    known = np.dtype(dtype).newbyteorder("<") if dtype else None
    sizes = tuple(map(int, shape.split(","))) if shape else None

    def decode(data: bytes) -> Any:
        place, found, dims = 0, known, sizes
        if found is None:
            found, place = np.dtype(f"<{_CODES[data[0]]}"), 1
        if dims is None:
            count, width = data[place] >> 2, 1 << (data[place] & 3)
            place += 1
            dims = tuple(np.frombuffer(data, f"<u{width}", count, place).tolist())
            place += count * width
        if len(data) - place != int(np.prod(dims)) * found.itemsize:
            raise CorruptDataError(
                f"column {name!r} has {len(data) - place} bytes, but {found} of shape {dims} takes "
                f"{int(np.prod(dims)) * found.itemsize}"
            )
        return np.frombuffer(data, found, offset=place).reshape(dims)

    return decode


def _pixels(data: bytes) -> Any:
    """Return an uncompressed image of Pillow, uint8 of shape (height, width, channels), or (height, width)."""
    width, height, length = np.frombuffer(data, "<u4", 3).tolist()
    mode = data[12 : 12 + length].decode()
    if mode not in _CHANNELS:
        raise StorageError(f"it is an image of Pillow's mode {mode!r}, of which {', '.join(_CHANNELS)} are read")
    shape = (height, width) if mode == "L" else (height, width, _CHANNELS[mode])
    return np.frombuffer(data, np.uint8, offset=12 + length).reshape(shape)


def _several(data: bytes, *, first: int = 0) -> list[bytes]:
    """Return several byte strings, whose number and sizes come before them."""
    count = int(np.frombuffer(data, "<u4", 1, first)[0])
    sizes = np.frombuffer(data, "<u4", count, first + 4).astype(np.int64)
    bounds = first + 4 + 4 * count + np.append(0, np.cumsum(sizes))
    if bounds[-1] != len(data):
        raise CorruptDataError(f"its parts end at byte {bounds[-1]} of {len(data)}")
    return [data[start:stop] for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)]


_DECODERS: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "str": lambda data: data.decode(),
    "int": lambda data: int(_one(np.frombuffer(data, "<i8"), "int")),
    "str_int": lambda data: int(data.decode()),
    "str_float": lambda data: float(data.decode()),
    "str_decimal": lambda data: Decimal(data.decode()),
    "json": json.loads,
    "pil": _pixels,
    PICKLED: pickle.loads,
    **dict.fromkeys(_ENCODED, bytes),
    **dict.fromkeys(("jpeg_array", "jpegarray"), _several),
    **{f"list[{name}]": lambda data: _several(data, first=4) for name in _ENCODED},
    "list[pil]": lambda data: [_pixels(part) for part in _several(data, first=4)],
}
