"""The kernel that warps images, in NumPy; `headrace.kernels.reference` offers it with the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.kernels.images import Interpolation
from headrace.kernels.warp import Warp, check_warp

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["warp"]


def warp(
    source: NDArray[Any],
    indices: NDArray[np.int64],
    warp: Warp,
    out: NDArray[Any],
    threads: int = 1,  # noqa: ARG001 - for kernels that have some
) -> None:
    """Make images of others by maps: each pixel is taken from a place of its own.

    Between pixels, those of the four that lie outside are fill, and bytes are rounded to the nearest, half to
    even. A place that is no number lies outside.

    Args:
        source: The images, shape (n, H, W, C), of items of 1, 2, 4 or 8 bytes, in any layout of memory.
        indices: int64 of shape (m,), each in [0, n).
        warp: The places that the pixels of m images are taken from.
        out: Array of shape (m, h, w, C) and the same dtype, in any layout of memory.
        threads: How many threads of this process may be at work on images, those of all calls together;
            the calling one always is.

    Raises:
        OutOfRangeError: An index is outside [0, n); nothing is written then.
        ArgumentError: A shape or dtype does not match.

    >>> image = np.arange(4, dtype=np.uint8).reshape(1, 2, 2, 1)
    >>> turned = Warp(np.array([[0.0, -1, 2, 1, 0, 0, 0, 0]]), np.zeros(1, np.uint8))
    >>> out = np.empty((1, 2, 2, 1), np.uint8)
    >>> warp(image, np.array([0]), turned, out)
    >>> out[0, ..., 0].tolist()
    [[1, 3], [0, 2]]
    """
    check_warp(source, indices, warp, out)
    take = _nearest if warp.interpolation == Interpolation.NEAREST else _bilinear
    for row, index in enumerate(indices.tolist()):
        x, y = _places(warp.maps[row].tolist(), out.shape[1:3])
        if warp.shifts is not None:
            x, y = x + warp.shifts[row, ..., 0], y + warp.shifts[row, ..., 1]
        out[row] = take(source[index], x, y, warp.fill)


def _places(by: list[float], size: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y of the place of each pixel, shape (height, width)."""
    along, down = np.arange(size[1]) + 0.5, np.arange(size[0])[:, np.newaxis] + 0.5
    x, y = by[0] * along + by[1] * down + by[2], by[3] * along + by[4] * down + by[5]
    if by[6] == 0 == by[7]:
        return x, y
    depth = by[6] * along + by[7] * down + 1
    with np.errstate(all="ignore"):
        return x / depth, y / depth


def _nearest(image: NDArray[Any], x: NDArray[np.float64], y: NDArray[np.float64], fill: NDArray[Any]) -> NDArray[Any]:
    height, width, channels = image.shape
    seen = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    out = np.empty((*x.shape, channels), image.dtype)
    out[...] = fill
    out[seen] = image[y[seen].astype(np.int64), x[seen].astype(np.int64)]
    return out


def _bilinear(image: NDArray[Any], x: NDArray[np.float64], y: NDArray[np.float64], fill: NDArray[Any]) -> NDArray[Any]:
    height, width, channels = image.shape
    with np.errstate(all="ignore"):
        left, upper = np.floor(x - 0.5), np.floor(y - 0.5)
        near = (left >= -1) & (left < width) & (upper >= -1) & (upper < height)
    left, upper = left[near], upper[near]
    right, below = x[near] - 0.5 - left, y[near] - 0.5 - upper
    total = np.zeros((len(left), channels), np.result_type(image.dtype, np.float32))
    for down, of_row in enumerate((1 - below, below)):
        for along, of_column in enumerate((1 - right, right)):
            corner = _corner(image, upper.astype(np.int64) + down, left.astype(np.int64) + along, fill)
            total += corner * (of_row * of_column).astype(total.dtype)[:, np.newaxis]
    out = np.empty((*x.shape, channels), image.dtype)
    out[...] = fill
    out[near] = np.rint(total) if image.dtype == np.uint8 else total
    return out


def _corner(image: NDArray[Any], rows: NDArray[np.int64], columns: NDArray[np.int64], fill: NDArray[Any]) -> Any:
    """Return the pixels at rows and columns, or the fill where these lie outside; shape (n, channels)."""
    height, width, channels = image.shape
    seen = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    out = np.empty((len(rows), channels), image.dtype)
    out[...] = fill
    out[seen] = image[rows[seen], columns[seen]]
    return out
