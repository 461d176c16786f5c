"""The arguments of the kernels of images: how images are scaled, and what becomes of their pixels."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.kernels.checks import check_indices, check_lines, index_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Interpolation", "Pixels", "Scaling", "Turn", "check_decode", "check_scale"]


class Turn(IntFlag):
    """The turn of an image before it is scaled: transposed, then its rows mirrored, then its columns."""

    COLUMNS_MIRRORED = 1
    ROWS_MIRRORED = 2
    TRANSPOSED = 4


class Interpolation(IntEnum):
    """The interpolation by which a pixel of a scaled image is made."""

    NEAREST = 0
    """The pixel that its centre lies in."""
    BILINEAR = 1
    """The pixels around it, by a triangle."""
    BICUBIC = 2
    """The pixels around it, by Keys' cubic curve with a = -0.5."""


class Scaling(NamedTuple):
    """The part of each of n images that is scaled, and the size that it is scaled to.

    Attributes:
        turns: a Turn of each, shape (n,), int32.
        boxes: top, left, bottom and right of the part in the turned image, in pixels and parts of
            them, shape (n, 4), float64.
        sizes: height and width to which it is scaled, shape (n, 2), int32.
        antialias: whether all pixels count where it shrinks, rather than the four (bicubic: sixteen)
            nearest ones; nothing to the nearest one alone.
        interpolation: what each pixel is made of.
    """

    turns: NDArray[np.int32]
    boxes: NDArray[np.float64]
    sizes: NDArray[np.int32]
    antialias: bool = True
    interpolation: Interpolation = Interpolation.BILINEAR

    def part(self, rows: slice | NDArray[np.int64]) -> Scaling:
        """Return the scaling of some of the images."""
        return self._replace(turns=self.turns[rows], boxes=self.boxes[rows], sizes=self.sizes[rows])

    def row(self, number: int) -> Scaling:
        """Return the scaling of one of the images."""
        return self.part(slice(number, number + 1))


class Pixels(NamedTuple):
    """The pixels shown of each image, scaled first, and their new values; see `headrace.kernels.reference.cut`."""

    places: NDArray[np.int32]
    table: NDArray[Any]
    fill: NDArray[Any]
    terms: NDArray[np.float32] | None = None
    lines: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None

    def row(self, number: int) -> Pixels:
        """Return the pixels shown of one of the images."""
        return self._replace(places=self.places[number : number + 1])


def check_scale(
    source: NDArray[np.uint8],
    indices: NDArray[np.int64],
    scaling: Scaling,
    pixels: Pixels,
    out: NDArray[Any],
) -> None:
    """Raise unless the arrays fit one another, each index an image, each box its source and each place its size."""
    check_indices(indices)
    if source.ndim != 4 or source.dtype != np.uint8 or 0 in source.shape[1:]:
        raise ArgumentError(f"source is {source.dtype} of shape {source.shape}, but uint8 of (n, H, W, C) is needed")
    if len(indices) and (indices.min() < 0 or indices.max() >= len(source)):
        raise index_error(int(indices[((indices < 0) | (indices >= len(source))).argmax()]), len(source))
    extents = np.broadcast_to(np.array(source.shape[1:3]), (len(indices), 2))
    _check_scaling(scaling, extents, len(indices))
    _check_pixels(scaling, pixels, out, source.shape[3])


def check_decode(
    files: Sequence[bytes],
    headers: NDArray[np.int32],
    denominators: NDArray[np.int32],
    scaling: Scaling,
    pixels: Pixels,
    out: NDArray[Any],
) -> None:
    """Raise unless the arrays fit one another, each box its image and each place its size."""
    if headers.dtype != np.int32 or headers.shape != (len(files), 4) or not headers.flags.c_contiguous:
        raise ArgumentError(f"headers has shape {headers.shape}, but int32 of ({len(files)}, 4) is needed")
    if (
        denominators.dtype != np.int32
        or denominators.shape != (len(files),)
        or not np.isin(denominators, _SCALES).all()
    ):
        raise ArgumentError(f"denominators must be 1, 2, 4 or 8 for each of {len(files)} files")
    _check_scaling(scaling, -(-headers[:, :2] // denominators[:, np.newaxis]), len(files))
    channels = len(pixels.table)
    if channels not in (1, 3):
        raise ArgumentError(f"an image is decoded to 1 or 3 channels, but the table has {channels}")
    _check_pixels(scaling, pixels, out, channels)


_SCALES = (1, 2, 4, 8)


def _check_scaling(scaling: Scaling, extents: NDArray[Any], count: int) -> None:
    wanted: dict[str, tuple[tuple[int, ...], Any]] = {
        "turns": ((count,), np.int32),
        "boxes": ((count, 4), np.float64),
        "sizes": ((count, 2), np.int32),
    }
    arrays: tuple[NDArray[Any], ...] = scaling[:3]
    for (name, (shape, dtype)), array in zip(wanted.items(), arrays, strict=True):
        if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
            raise ArgumentError(
                f"{name} is {array.dtype} of shape {array.shape}, but {np.dtype(dtype)} of {shape} is needed"
            )
    if scaling.interpolation not in tuple(Interpolation):
        raise ArgumentError(f"interpolation is {scaling.interpolation!r}, but an Interpolation, 0 to 2, is needed")
    if not count:
        return
    turns, boxes, sizes = scaling[:3]
    swapped = (turns & Turn.TRANSPOSED != 0)[:, np.newaxis]
    turned = np.where(swapped, extents[:, ::-1], extents)
    inside = (boxes[:, :2] >= 0) & (boxes[:, :2] < boxes[:, 2:]) & (boxes[:, 2:] <= turned)
    if not inside.all() or turns.min() < 0 or turns.max() > 7 or sizes.min() < 1:
        raise ArgumentError("a box does not lie in its image, a turn is none of 0 to 7, or a size is not positive")


def _check_pixels(scaling: Scaling, pixels: Pixels, out: NDArray[Any], channels: int) -> None:
    places, table, fill = pixels[:3]
    count = len(scaling.sizes)
    wanted = {"places": (count, 8), "table": (channels, 256), "fill": (channels,)}
    arrays: tuple[NDArray[Any], ...] = pixels[:3]
    for (name, shape), array in zip(wanted.items(), arrays, strict=True):
        if array.shape != shape or not array.flags.c_contiguous:
            raise ArgumentError(f"{name} has shape {array.shape}, but {shape}, contiguous, is needed")
    if places.dtype != np.int32 or not table.dtype == fill.dtype == out.dtype or table.itemsize not in (1, 2, 4):
        raise ArgumentTypeError(
            f"places, table, fill and out have dtypes {places.dtype}, {table.dtype}, {fill.dtype} and {out.dtype}, but "
            "int32 and three times the same of 1, 2 or 4 bytes are needed"
        )
    if out.ndim != 4 or len(out) != count or out.shape[3] != channels or not out.flags.writeable:
        raise ArgumentError(f"out has shape {out.shape}, but ({count}, h, w, {channels}), writable, is needed")
    limits = places[:, 4:]
    extents: NDArray[Any] = scaling.sizes if pixels.lines is None else _extents_of(pixels.lines, scaling.sizes)
    ends = np.repeat(extents, 2, axis=1)
    if count and ((np.abs(places[:, 2:4]) != 1).any() or limits.min() < 0 or (limits > ends).any()):
        raise ArgumentError("a place shows what lies outside of its scaled image, or does not step by one")


def _extents_of(lines: tuple[NDArray[np.int32], NDArray[np.int32]], sizes: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the numbers of rows and columns, shape (1, 2), each of which must stand for one of every scaled image."""
    check_lines(lines)
    for axis, numbers in enumerate(lines):
        if len(numbers) and len(sizes) and (numbers.min() < 0 or numbers.max() >= sizes[:, axis].min()):
            raise ArgumentError("a line lies outside of a scaled image")
    return np.array([[len(numbers) for numbers in lines]])
