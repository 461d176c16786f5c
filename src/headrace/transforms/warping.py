"""Images whose pixels are taken from places of their own: what all transforms that do so share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace import kernels
from headrace.batch.arena import empty
from headrace.errors import ArgumentTypeError
from headrace.images.program import channels_last
from headrace.kernels.cores import threads
from headrace.kernels.images import Interpolation
from headrace.kernels.warp import Warp
from headrace.transforms.base import per_channel
from headrace.transforms.maps import IDENTITY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.images.layout import Axes
    from headrace.transforms.maps import Map

__all__ = ["INTERPOLATIONS", "Sampling", "sampling_of", "warp_images", "warp_planes"]

INTERPOLATIONS = ("nearest", "bilinear")


class Sampling(NamedTuple):
    """The way in which pixels are taken from an image that is moved.

    Attributes:
        fill: what lies around the image, shape (channels,), of its dtype.
        interpolation: "nearest" for the pixel that a middle falls on, "bilinear" for the four around it.
    """

    fill: NDArray[Any]
    interpolation: str = "nearest"


def sampling_of(fill: float | Sequence[float] | None, interpolation: str, images: NDArray[Any], axes: Axes) -> Sampling:
    """Return how pixels are taken from images, once it is clear that the fill is a value of theirs.

    Raises:
        ArgumentError: it is none, or there are neither one nor as many as channels.
    """
    channels = 1 if axes.channels is None else images.shape[axes.channels]
    values = per_channel("fill", 0 if fill is None else fill, images, axes).reshape(-1)
    return Sampling(np.ascontiguousarray(np.broadcast_to(values, channels)), interpolation)


def warp_images(
    images: NDArray[Any],
    axes: Axes,
    maps: Sequence[Map],
    sampling: Sampling,
    size: tuple[int, int] | None = None,
    shifts: NDArray[np.float64] | None = None,
) -> NDArray[Any]:
    """Return each of the images by its map; `images` itself where none of them is changed.

    Args:
        images: shape (n, ...).
        axes: which dimensions are height, width and channels.
        maps: one an image.
        sampling: how pixels are taken.
        size: height and width of the result; None for those of the images.
        shifts: what is added to the place of each pixel, shape (n, height, width, 2), or None.

    Raises:
        ArgumentTypeError: the images are no numbers that a pixel can be made of.
    """
    extent = images.shape[axes.height], images.shape[axes.width]
    size = size or extent
    moved = np.array([size != extent or shifts is not None or one != IDENTITY for one in maps], bool)
    if not moved.any() or not images.size:
        return images
    shape = list(images.shape)
    shape[axes.height], shape[axes.width] = size
    out = empty(tuple(shape), images.dtype)
    source, target, table = channels_last(images, axes), channels_last(out, axes), np.array(maps, np.float64)
    if moved.all():
        _warp(source, np.arange(len(images)), table, sampling, shifts, target)
        return out
    np.copyto(out, images)
    rows = np.flatnonzero(moved)
    some = np.empty((len(rows), *target.shape[1:]), images.dtype)
    _warp(source, rows, table[rows], sampling, None, some)
    target[rows] = some
    return out


def warp_planes(image: NDArray[Any], by: Map, sampling: Sampling) -> NDArray[Any]:
    """Return one image, shape (channels, height, width), by a map."""
    out = np.empty(image.shape, image.dtype)
    source, target = (planes[np.newaxis].transpose(0, 2, 3, 1) for planes in (image, out))
    _warp(source, np.zeros(1, np.int64), np.array([by], np.float64), sampling, None, target)
    return out


def _warp(
    source: NDArray[Any],
    rows: NDArray[np.int64],
    maps: NDArray[np.float64],
    sampling: Sampling,
    shifts: NDArray[np.float64] | None,
    out: NDArray[Any],
) -> None:
    """Write some of the images, shape (n, height, width, channels), by their maps into `out`."""
    nearest = sampling.interpolation == "nearest"
    between = source.dtype if nearest else _dtype_between(source.dtype)
    warp = Warp(
        maps,
        sampling.fill.astype(between, copy=False),
        Interpolation.NEAREST if nearest else Interpolation.BILINEAR,
        shifts,
    )
    if between == source.dtype:
        kernels.active().warp(source, rows, warp, out, threads())
        return
    made = np.empty(out.shape, between)
    kernels.active().warp(source.astype(between), rows, warp, made, threads())
    np.copyto(out, made if out.dtype.kind == "f" else np.rint(made), casting="unsafe")


def _dtype_between(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type in which a pixel is made of four."""
    if dtype.kind == "f" and dtype.itemsize <= 8:
        return np.dtype(np.float64 if dtype.itemsize == 8 else np.float32)
    if dtype.kind not in "iu":
        raise ArgumentTypeError(
            f"interpolation='bilinear' takes integers and floating-point images, but got {dtype}; 'nearest' takes all"
        )
    return dtype if dtype == np.uint8 else np.dtype(np.float64)
