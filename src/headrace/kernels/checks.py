"""The argument checks that every implementation of the kernels shares, so that their errors are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentError, ArgumentTypeError, OutOfRangeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    # Makes an array, of a shape and dtype, whose values mean nothing yet.
    Empty = Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]]
    # Returns the rows at indices, int64 of shape (n,), of some arrays.
    Gather = Callable[[NDArray[np.int64]], list[NDArray[Any]]]
    # Returns the rows at indices, int64 of shape (n,), of arrays end to end.
    GatherJoined = Callable[[NDArray[np.int64]], NDArray[Any]]
    # Copies to an array the rows of arrays, each told by the place of its array, and its place in that.
    GatherShards = Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[Any]], None]

__all__ = [
    "MAX_FEISTEL_LENGTH",
    "MAX_SHUFFLE_LENGTH",
    "WIDENED",
    "check_columns",
    "check_cut",
    "check_cut_values",
    "check_feistel",
    "check_gather",
    "check_gather_shards",
    "check_indices",
    "check_lines",
    "check_ranges",
    "check_room",
    "check_shards",
    "check_shuffle_length",
    "check_widen",
    "check_windows",
    "index_error",
    "range_error",
    "shard_error",
]

MAX_SHUFFLE_LENGTH = 2**32
MAX_FEISTEL_LENGTH = 2**63

_INT64 = np.dtype(np.int64)

# The dtypes of `widen_ranges`, by the bytes of an item, negative where it is signed.
WIDENED = {"|u1": 1, "|i1": -1, "<u2": 2, "<i2": -2, "<u4": 4, "<i4": -4, "<i8": -8}


def check_indices(indices: NDArray[np.int64]) -> None:
    """Raise unless `indices` is a one-dimensional int64 array."""
    if indices.dtype != _INT64:
        raise ArgumentTypeError(f"indices has dtype {indices.dtype}, but int64 is needed: convert it first")
    if indices.ndim != 1:
        raise ArgumentError(f"indices has shape {indices.shape}, but one dimension is needed: ravel it first")


def check_shuffle_length(length: int) -> None:
    """Raise unless `length` is one that `fisher_yates` permutes."""
    if not 0 <= length <= MAX_SHUFFLE_LENGTH:
        raise ArgumentError(f"length is {length}, but fisher_yates permutes 0 to {MAX_SHUFFLE_LENGTH} elements")


def check_feistel(length: int, start: int, stop: int) -> None:
    """Raise unless [start, stop) lies inside a permutation that `feistel` can make."""
    if not 2 <= length <= MAX_FEISTEL_LENGTH:
        raise ArgumentError(f"length is {length}, but feistel permutes 2 to {MAX_FEISTEL_LENGTH} elements")
    if not 0 <= start <= stop <= length:
        raise ArgumentError(
            f"positions [{start}, {stop}) do not lie in [0, {length}): 0 <= start <= stop <= length is needed"
        )


def check_gather(source: NDArray[Any], indices: NDArray[np.int64], out: NDArray[Any]) -> None:
    """Raise unless rows of `source` at `indices` fit `out`; the index values are not looked at."""
    check_indices(indices)
    if source.ndim == 0:
        raise ArgumentError("source is a single value, but an array with rows is needed")
    if out.dtype != source.dtype:
        raise ArgumentTypeError(f"out has dtype {out.dtype}, but source has {source.dtype}: they must be the same")
    shape = indices.shape + source.shape[1:]
    if out.shape != shape:
        raise ArgumentError(f"out has shape {out.shape}, but {shape} is needed: one row for each index")
    flags = out.flags
    if not flags.c_contiguous:
        raise ArgumentError(f"out has strides {out.strides}, but a C-contiguous array is needed")
    if not flags.writeable:
        raise ArgumentError("out is read-only, but rows are to be written to it")


def check_columns(sources: Sequence[NDArray[Any]]) -> None:
    """Raise unless there are arrays, and all have rows, as many in each."""
    if not sources or not all(source.ndim for source in sources):
        raise ArgumentError(
            f"sources are {len(sources)} arrays, but one or more, each of one dimension or more, are needed"
        )
    lengths = {len(source) for source in sources}
    if len(lengths) > 1:
        raise ArgumentError(f"sources have {sorted(lengths)} rows, but all must have as many")


def check_shards(sources: Sequence[NDArray[Any]]) -> None:
    """Raise unless there are arrays, and their rows are alike."""
    kinds = {(source.dtype, source.shape[1:]) for source in sources if source.ndim}
    if len(kinds) != 1 or not all(source.ndim for source in sources):
        raise ArgumentError(
            f"sources have rows of {len(kinds)} kinds, but arrays whose rows are of one kind are needed"
        )


def check_gather_shards(
    source: NDArray[Any], which: NDArray[np.int64], rows: NDArray[np.int64], out: NDArray[Any]
) -> None:
    """Raise unless rows of arrays like `source` fit `out`; the values of the indices are not looked at."""
    check_gather(source, rows, out)
    check_indices(which)
    if len(which) != len(rows):
        raise ArgumentError(f"which and rows have {len(which)} and {len(rows)} items, but one each a row is needed")


def shard_error(
    sources: Sequence[NDArray[Any]], which: NDArray[np.int64], rows: NDArray[np.int64], bad: int
) -> OutOfRangeError:
    """Return the error for a row that there is not, or of an array that there is not."""
    number, row = int(which[bad]), int(rows[bad])
    if not 0 <= number < len(sources):
        return index_error(number, len(sources))
    return index_error(row, len(sources[number]))


def check_ranges(
    sources: Sequence[NDArray[np.uint8]],
    which: NDArray[np.int64],
    offsets: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> None:
    """Raise unless the arrays fit one another; where the ranges lie is not looked at."""
    for array in (which, offsets, lengths):
        check_indices(array)
    if not len(which) == len(offsets) == len(lengths):
        raise ArgumentError(f"which, offsets and lengths have {len(which)}, {len(offsets)} and {len(lengths)} items")
    if not all(map(_is_bytes, sources)):
        raise ArgumentError("sources must be contiguous uint8 arrays of one dimension")
    if len(which) and (which.min() < 0 or which.max() >= len(sources)):
        raise index_error(int(which[((which < 0) | (which >= len(sources))).argmax()]), len(sources))


def check_room(lengths: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
    """Raise unless ranges of the lengths fill `out`."""
    if not _is_bytes(out):
        raise ArgumentError("out must be a contiguous uint8 array of one dimension")
    total = int(lengths.sum())
    if len(out) != total or not out.flags.writeable:
        raise ArgumentError(f"out has {len(out)} bytes, but {total}, writable, are needed: the sum of the lengths")


def check_widen(lengths: NDArray[np.int64], dtype: np.dtype[Any], out: NDArray[np.int64]) -> None:
    """Raise unless ranges of the lengths are integers of a dtype, and fill `out`."""
    if dtype.str not in WIDENED:
        raise ArgumentTypeError(f"dtype is {dtype}, but one of integers that int64 can hold is needed, little-endian")
    if out.dtype != _INT64 or out.ndim != 1 or not out.flags.c_contiguous or not out.flags.writeable:
        raise ArgumentError("out must be a contiguous int64 array of one dimension, writable")
    total = int(lengths.sum())
    if total != len(out):
        raise ArgumentError(f"out has {len(out)} items, but {total} are needed: the sum of the lengths")


def check_windows(
    sources: Sequence[NDArray[np.uint8]],
    which: NDArray[np.int64],
    offsets: NDArray[np.int64],
    dtype: np.dtype[Any],
    out: NDArray[np.int64],
) -> None:
    """Raise unless the arrays fit one another, and the dtype is one of integers; where windows lie is not looked at."""
    check_indices(which)
    check_indices(offsets)
    if dtype.str not in WIDENED:
        raise ArgumentTypeError(f"dtype is {dtype}, but one of integers that int64 can hold is needed, little-endian")
    if not all(map(_is_bytes, sources)):
        raise ArgumentError("sources must be contiguous uint8 arrays of one dimension")
    if out.dtype != _INT64 or out.ndim != 3 or not out.flags.c_contiguous or not out.flags.writeable:
        raise ArgumentError("out must be a contiguous int64 array of three dimensions, writable")
    if not (len(which) == len(offsets) == out.shape[1] and len(out)):
        raise ArgumentError(
            f"which, offsets and out have {len(which)}, {len(offsets)} and {out.shape[1]} windows, shifted "
            f"{len(out)} times; all must have as many, and be there once or more"
        )


def _is_bytes(array: NDArray[Any]) -> bool:
    return array.dtype == np.uint8 and array.ndim == 1 and array.flags.c_contiguous


def range_error(
    sources: Sequence[NDArray[np.uint8]],
    which: NDArray[np.int64],
    offsets: NDArray[np.int64],
    lengths: NDArray[np.int64],
    bad: int,
) -> ArgumentError:
    """Return the error for a range outside of its source."""
    return ArgumentError(
        f"range {bad} is {lengths[bad]} bytes at {offsets[bad]}, but its source has {len(sources[which[bad]])} bytes"
    )


def check_cut(
    source: NDArray[np.uint8],
    indices: NDArray[np.int64],
    places: NDArray[np.int32],
    table: NDArray[Any],
    fill: NDArray[Any],
    out: NDArray[Any],
    lines: tuple[NDArray[np.int32], NDArray[np.int32]] | None,
) -> None:
    """Raise unless the arrays fit one another; what indices, places and lines say is not looked at."""
    check_indices(indices)
    if source.ndim != 4 or source.dtype != np.uint8:
        raise ArgumentError(f"source is {source.dtype} of shape {source.shape}, but uint8 of (n, H, W, C) is needed")
    count, channels = len(indices), source.shape[3]
    wanted = {"places": (count, 8), "table": (channels, 256), "fill": (channels,)}
    for (name, shape), array in zip(wanted.items(), (places, table, fill), strict=True):
        if array.shape != shape or not array.flags.c_contiguous:
            raise ArgumentError(f"{name} has shape {array.shape}, but {shape}, contiguous, is needed")
    if places.dtype != np.int32 or not table.dtype == fill.dtype == out.dtype or table.itemsize not in (1, 2, 4):
        raise ArgumentTypeError(
            f"places, table, fill and out have dtypes {places.dtype}, {table.dtype}, {fill.dtype} and {out.dtype}, but "
            "int32 and three times the same of 1, 2 or 4 bytes are needed"
        )
    if out.ndim != 4 or len(out) != count or out.shape[3] != channels or not out.flags.writeable:
        raise ArgumentError(f"out has shape {out.shape}, but ({count}, h, w, {channels}), writable, is needed")
    if lines is not None:
        check_lines(lines)


def check_lines(lines: tuple[NDArray[np.int32], NDArray[np.int32]]) -> None:
    """Raise unless these are arrays that may say which lines stand for which; what they say is not looked at."""
    for numbers in lines:
        if numbers.ndim != 1 or numbers.dtype != np.int32 or not numbers.flags.c_contiguous:
            raise ArgumentError(f"lines are {numbers.dtype} of shape {numbers.shape}, but int32, contiguous, is needed")


def check_cut_values(
    source: NDArray[np.uint8],
    indices: NDArray[np.int64],
    places: NDArray[np.int32],
    lines: tuple[NDArray[np.int32], NDArray[np.int32]] | None,
) -> None:
    """Raise unless each index is an image, and each place and each line lies inside."""
    length, height, width, _ = source.shape
    if lines is not None:
        for numbers, limit in zip(lines, (height, width), strict=True):
            if len(numbers) and (numbers.min() < 0 or numbers.max() >= limit):
                raise ArgumentError(f"a line lies outside of images of {height} x {width}")
        height, width = len(lines[0]), len(lines[1])
    if not len(indices):
        return
    if indices.min() < 0 or indices.max() >= length:
        raise index_error(int(indices[((indices < 0) | (indices >= length)).argmax()]), length)
    limits = places[:, 4:]
    if (np.abs(places[:, 2:4]) != 1).any() or limits.min() < 0 or (limits > (height, height, width, width)).any():
        raise ArgumentError(f"a place shows what lies outside of images of {height} x {width}, or does not step by one")


def index_error(index: int, length: int) -> OutOfRangeError:
    """Return the error for an index outside [0, length)."""
    return OutOfRangeError(f"Index {index} out of range for dataset of size {length}")
