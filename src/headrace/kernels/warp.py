"""The arguments of the kernel that warps images: where each of their pixels is taken from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace.errors import ArgumentError
from headrace.kernels.checks import check_indices, index_error
from headrace.kernels.images import Interpolation

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Warp", "check_warp"]

_ITEM_BYTES = (1, 2, 4, 8)
_BETWEEN = ("u1", "f4", "f8")  # the numbers of which a pixel can be made of four


class Warp(NamedTuple):
    """The places that pixels of n images are taken from.

    Places are in pixels: the image lies between 0 and its width and height, and the middle of its first
    pixel at (0.5, 0.5).

    Attributes:
        maps: of each image eight numbers a ... h, shape (n, 8), float64: the middle (x, y) of a pixel comes
            from ((a x + b y + c) / (g x + h y + 1), (d x + e y + f) / (g x + h y + 1)).
        fill: what lies around the images, one item of their dtype a channel, shape (channels,).
        interpolation: NEAREST for the pixel that a place lies in, BILINEAR for the four around it.
        shifts: what is added to the place of each pixel, x and y, shape (n, height, width, 2), float64; or None.
    """

    maps: NDArray[np.float64]
    fill: NDArray[Any]
    interpolation: Interpolation = Interpolation.NEAREST
    shifts: NDArray[np.float64] | None = None


def check_warp(source: NDArray[Any], indices: NDArray[np.int64], warp: Warp, out: NDArray[Any]) -> None:
    """Raise unless the arrays fit one another, and each index is an image."""
    check_indices(indices)
    if source.ndim != 4 or source.dtype != out.dtype or source.dtype.itemsize not in _ITEM_BYTES:
        raise ArgumentError(
            f"source is {source.dtype} of shape {source.shape}, and out is {out.dtype}; equal types of 1, 2, 4 or 8 "
            "bytes and (n, H, W, C) are needed"
        )
    if len(indices) and (indices.min() < 0 or indices.max() >= len(source)):
        raise index_error(int(indices[((indices < 0) | (indices >= len(source))).argmax()]), len(source))
    if warp.interpolation not in (Interpolation.NEAREST, Interpolation.BILINEAR):
        raise ArgumentError(f"interpolation is {warp.interpolation!r}, but NEAREST or BILINEAR is needed")
    if warp.interpolation == Interpolation.BILINEAR and source.dtype.str[1:] not in _BETWEEN:
        raise ArgumentError(f"pixels are made of four in uint8, float32 and float64, but images are {source.dtype}")
    if out.ndim != 4 or (len(out), out.shape[3]) != (len(indices), source.shape[3]):
        raise ArgumentError(f"out has shape {out.shape}, but ({len(indices)}, h, w, {source.shape[3]}) is needed")
    _check_arrays(warp, out)


def _check_arrays(warp: Warp, out: NDArray[Any]) -> None:
    arrays: list[tuple[str, NDArray[Any], tuple[int, ...], Any]] = [
        ("maps", warp.maps, (len(out), 8), np.float64),
        ("fill", warp.fill, (out.shape[3],), out.dtype),
    ]
    if warp.shifts is not None:
        arrays.append(("shifts", warp.shifts, (*out.shape[:3], 2), np.float64))
    for name, array, shape, dtype in arrays:
        if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
            found, wanted = f"{array.dtype} of shape {array.shape}", f"{np.dtype(dtype)} of {shape}, contiguous"
            raise ArgumentError(f"{name} is {found}, but {wanted}, is needed")
