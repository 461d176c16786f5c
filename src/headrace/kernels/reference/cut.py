"""The kernels that move and cut images, in NumPy; `headrace.kernels.reference` offers them with the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.kernels.checks import check_cut, check_cut_values
from headrace.kernels.moves import Kind, check_move
from headrace.kernels.reference.images import show
from headrace.kernels.reference.order import philox

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["cut", "move"]


def cut(
    source: NDArray[np.uint8],
    indices: NDArray[np.int64],
    places: NDArray[np.int32],
    table: NDArray[Any],
    fill: NDArray[Any],
    out: NDArray[Any],
    terms: NDArray[np.float32] | None = None,  # noqa: ARG001 - for kernels that compute quicker than they look up
    lines: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None,
    threads: int = 1,  # noqa: ARG001 - for kernels that have some
) -> None:
    """Cut crop boxes out of images, mirror them, and look each value up in a table.

    Output pixel (y, x) of image i shows source pixel (y0 + down * y, x0 + right * x) of image indices[i],
    where that lies in [top, bottom) x [left, end), else the fill.

    Args:
        source: The images, shape (n, H, W, C), uint8, in any layout of memory.
        indices: int64 of shape (m,), each in [0, n).
        places: int32 of shape (m, 8): y0, x0, down, right, top, bottom, left, end for each image; down and
            right are 1 or -1, and the part that is seen lies inside the source.
        table: What becomes of each value, shape (C, 256), any dtype of 1, 2 or 4 bytes.
        fill: What is around the part that is seen, shape (C,), of the table's dtype.
        out: Array of shape (m, h, w, C) and the table's dtype, in any layout of memory.
        terms: Three rows d, m, s of C float32 from which the table may have been made: (v / d - m) / s.
        lines: Which rows and which columns of the image stand for those that places speak of, each int32;
            None for themselves.
        threads: How many threads may share the images.

    Raises:
        OutOfRangeError: An index is outside [0, n); nothing is written then.
        ArgumentTypeError: A dtype does not match.
        ArgumentError: A shape, a place or a line does not match.

    >>> out = np.empty((1, 2, 3, 1), np.uint8)
    >>> place = np.array([[0, 1, 1, -1, 0, 2, 0, 2]], np.int32)  # mirrored
    >>> image = np.array([[[[1], [2]], [[3], [4]]]], np.uint8)
    >>> cut(image, np.array([0]), place, np.arange(256, dtype=np.uint8)[np.newaxis], np.zeros(1, np.uint8), out)
    >>> out[0, ..., 0].tolist()
    [[2, 1, 0], [4, 3, 0]]
    """
    check_cut(source, indices, places, table, fill, out, lines)
    check_cut_values(source, indices, places, lines)
    for place, index, image in zip(places.tolist(), indices.tolist(), out, strict=True):
        show(source[index], place, table, fill, image, lines)


def move(
    indices: NDArray[np.int64], sizes: NDArray[np.int64], moves: NDArray[np.int64], places: NDArray[np.int32]
) -> None:
    """Find where images come from once they are moved.

    Args:
        indices: To which draws belong, int64 of shape (m,).
        sizes: The height and width of each image before the first move, int64 of shape (m, 2).
        moves: The rows of `headrace.kernels.moves.Move`, shape (k, 8), one after the other.
        places: As for `cut`, shape (m, 8); the moves begin from them, and change them.

    Raises:
        ArgumentTypeError: A dtype does not match.
        ArgumentError: A shape does not match.

    >>> from headrace.kernels.moves import Move
    >>> moves = [Move(Kind.WHOLE), Move(Kind.BOX, numbers=(1, 2, 5, 4)), Move(Kind.MIRROR, numbers=(1, 2**32, 0, 0))]
    >>> places = np.empty((1, 8), np.int32)
    >>> move(np.array([0]), np.array([[9, 9]]), np.array([each.row() for each in moves]), places)
    >>> places[0].tolist()
    [1, 5, 1, -1, 0, 9, 0, 9]
    """
    check_move(indices, sizes, moves, places)
    size = sizes.astype(np.int32)
    for kind, key, stream, block, *numbers in moves.tolist():
        four = np.array(numbers, np.int64)
        if kind == Kind.WHOLE:
            places[...] = (0, 0, 1, 1, 0, 0, 0, 0)
            places[:, 5::2] = size
        elif kind in (Kind.BOX, Kind.PAD):
            places[:, :2] += places[:, 2:4] * (four[:2] if kind == Kind.BOX else -four[:2])
            size[...] = four[2:] if kind == Kind.BOX else size + four[2:]
        elif kind == Kind.CROP:
            words = philox(key, indices, stream, block)[:, :2]
            places[:, :2] += places[:, 2:4] * (words * (size - four[:2] + 1) >> 32)
            size[...] = four[:2]
        elif kind == Kind.MIRROR:
            _mirror(places, size, numbers[0], philox(key, indices, stream, block)[:, 0] < four[1])
        elif kind == Kind.HIDE:
            _hide(places, size)
        else:
            places[:, :2] += four[:2].astype(np.int32)
            places[:, 4:] = (0, numbers[2], 0, numbers[3])


def _mirror(places: NDArray[np.int32], size: NDArray[np.int32], axis: int, mirrored: NDArray[np.bool_]) -> None:
    start, step = places[:, axis], places[:, 2 + axis]
    start += step * (size[:, axis] - 1) * mirrored
    np.negative(step, out=step, where=mirrored)


def _hide(places: NDArray[np.int32], size: NDArray[np.int32]) -> None:
    first = places[:, :2]
    last = first + places[:, 2:4] * (size - 1)
    begins, ends = places[:, 4::2].copy(), places[:, 5::2].copy()
    places[:, 4::2] = np.clip(np.minimum(first, last), begins, ends)
    places[:, 5::2] = np.clip(np.maximum(first, last) + 1, begins, ends)
