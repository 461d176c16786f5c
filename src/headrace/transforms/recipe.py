"""What a chain of image transforms comes to: where each pixel is taken from, and what its value becomes."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import kernels
from headrace.batch.arena import empty
from headrace.errors import ArgumentError
from headrace.transforms.base import Axes, image_axes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Pixels = Callable[[NDArray[Any], Axes], NDArray[Any]]

__all__ = ["Recipe"]

_VALUES = 256  # of a byte
_ITEM_BYTES = (1, 2, 4)  # that the kernel writes


class Recipe:
    """A window of each image, perhaps mirrored, what is around it, and a table of what values become.

    Transforms write themselves into it, one after the other, and one kernel then makes all images of a
    batch from where they lie. Since the table is made by the transforms themselves, every value comes
    out as it would have, to the last bit.

    Args:
        images: the images, shape (N, ...), uint8.
        count: how many of them make up the batch.
        axes: which of the dimensions are height, width and channels.
    """

    def __init__(self, images: NDArray[np.uint8], count: int, axes: Axes) -> None:
        self._images = _channels_last(images, axes)
        _, height, width, channels = self._images.shape
        self.axes = axes
        self.size = height, width
        self._places = np.empty((count, 8), np.int32)
        self._places[:] = (0, 0, 1, 1, 0, height, 0, width)
        self._whole = True  # all of the image is seen, and nothing else
        self._lines: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None
        self._values = _bytes(channels)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the images at this point of the chain."""
        return self._values.table.dtype

    def fits(self, layout: str | None) -> bool:
        """Whether a transform of that layout sees the images as this recipe does."""
        try:
            return image_axes(self._shape(), self.dtype, layout) == self.axes
        except ArgumentError:  # the transform itself will say so
            return False

    # ------------------------------------------------------------------ what transforms write

    def window(self, top: Any, left: Any, size: tuple[int, int]) -> None:
        """Go on with a part of each image.

        Args:
            top: where it begins, one number or one an image.
            left: likewise.
            size: its height and width.
        """
        y, x, down, right = self._places[:, :4].T
        y += down * top
        x += right * left
        self.size = size
        self._whole = False

    def pad(self, padding: tuple[int, int, int, int], fill: Any, mode: str) -> bool:
        """Add pixels around each image; whether that can be.

        Args:
            padding: how many, left, top, right and bottom.
            fill: their value in mode "constant", one number or one a channel.
            mode: "constant", or another one of numpy.pad.
        """
        left, top, right, bottom = padding
        height, width = self.size
        if not (self._fill(fill) if mode == "constant" else self._repeat(padding, mode)):
            return False
        self.window(-top, -left, (height + top + bottom, width + left + right))
        return True

    def _fill(self, value: Any) -> bool:
        """See nothing but a value around what the images are at this point, if there can be one for all."""
        filled = _cached(_filled, self._values, value)
        if filled is None:
            return False
        self._values = filled
        if not self._whole:
            self._hide()
        return True

    def _hide(self) -> None:
        """Let only that be seen of the source which the images are at this point."""
        y, x, down, right, top, bottom, left, end = self._places.T
        last_y, last_x = y + down * (self.size[0] - 1), x + right * (self.size[1] - 1)
        np.maximum(top, np.minimum(y, last_y), out=top)
        np.minimum(bottom, np.maximum(y, last_y) + 1, out=bottom)
        np.maximum(left, np.minimum(x, last_x), out=left)
        np.minimum(end, np.maximum(x, last_x) + 1, out=end)
        height, width = self._images.shape[1:3] if self._lines is None else map(len, self._lines)
        seen = self._places[:, 4:]  # nothing, where all of the image has been cut off
        np.clip(seen, 0, (height, height, width, width), out=seen)

    def _repeat(self, padding: tuple[int, int, int, int], mode: str) -> bool:
        """Go on with images around which their own lines are repeated, if they are whole."""
        if not self._whole or 0 in self.size:
            return False
        left, top, right, bottom = padding
        around = max(top, bottom), max(left, right)  # alike, for those that are mirrored
        lines = tuple(map(_padded_lines, self.size, around, (mode, mode)))
        if self._lines is not None:
            lines = tuple(inner[outer] for inner, outer in zip(self._lines, lines, strict=True))
        self._lines = lines[0], lines[1]
        self._places[:, :2] += around
        self._places[:, 4:] = (0, len(lines[0]), 0, len(lines[1]))
        return True

    def mirror(self, flipped: NDArray[np.bool_], *, along: int) -> None:
        """Mirror some of the images along the axis of their height or width."""
        which = 0 if along == self.axes.height else 1
        start, step = self._places[:, which], self._places[:, 2 + which]
        start += np.where(flipped, step * (self.size[which] - 1), 0)
        step *= np.where(flipped, -1, 1).astype(np.int32)

    def change(self, pixels: Pixels, parameters: tuple[Any, ...], *terms: Any) -> bool:
        """Let the values become what they become in images that have them all; whether that can be.

        Args:
            pixels: makes images of images, each value by itself, in the same way for the same parameters.
            parameters: what it depends on.
            *terms: the numbers, one or one a channel, by which it divides, which it subtracts, by which it divides.
        """
        changed = _cached(_changed, self._values, pixels, parameters, terms, self.axes.channels is not None)
        if changed is None:
            return False
        self._values = changed
        return True

    def move_channels_first(self) -> None:
        """Write the channels as planes."""
        self.axes = Axes(2, 3, 1)

    # ------------------------------------------------------------------ what comes of it

    def make(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The images of the rows, in new memory.

        Args:
            rows: shape (count,), int64.

        Raises:
            OutOfRangeError: there is no such row.
        """
        out, values = empty((len(rows), *self._shape()), self.dtype), self._values
        last = _channels_last(out, self.axes)
        kernels.active().cut(
            self._images, rows, self._places, values.table, values.around, last, values.terms, self._lines
        )
        return out

    def _shape(self) -> tuple[int, ...]:
        """The shape of one image."""
        if self.axes.channels is None:
            return self.size
        channels = len(self._values.table)
        return (channels, *self.size) if self.axes.channels == 1 else (*self.size, channels)


# ---------------------------------------------------------------- what becomes of values, made once for all batches


class _Values:
    """What has become of values at a point of a chain.

    Args:
        table: of each byte, shape (channels, 256).
        fill: of the pixels around the images, shape (channels,); None while there are none.
        noted: by what has been divided, what subtracted, and by what divided to come to the table.

    Attributes:
        around: the fill, or what nobody will see.
        terms: the numbers from which a kernel may compute the table, shape (3, channels); None if it cannot.
    """

    def __init__(self, table: NDArray[Any], fill: NDArray[Any] | None = None, noted: tuple[Any, ...] = ()) -> None:
        self.table = table
        self.fill = fill
        self.noted = noted
        self.around = np.zeros(len(table), table.dtype) if fill is None else fill
        self.terms = _terms(noted, len(table)) if table.dtype == np.float32 else None


def _terms(noted: tuple[Any, ...], channels: int) -> NDArray[np.float32] | None:
    if len(noted) not in (1, 3):
        return None
    terms = np.zeros((3, channels), np.float32)
    terms[2] = 1
    for row, term in zip(terms, noted, strict=False):
        row[:] = term
    return terms


@cache
def _bytes(channels: int) -> _Values:
    """What values are before anything becomes of them."""
    return _Values(np.tile(np.arange(_VALUES, dtype=np.uint8), (channels, 1)))


@lru_cache(64)
def _filled(values: _Values, value: Any) -> _Values | None:
    """The values where new pixels have this one; None if there are others already, or they cannot have it."""
    fill = np.empty(len(values.table), values.table.dtype)
    try:
        fill[:] = np.asarray(value, fill.dtype)
    except (OverflowError, TypeError, ValueError):  # the transform itself will say so
        return None
    if values.fill is not None:
        return values if (fill == values.fill).all() else None
    return _Values(values.table, fill, values.noted)


@lru_cache(64)
def _changed(
    values: _Values,
    pixels: Pixels,
    parameters: tuple[Any, ...],  # noqa: ARG001 - they tell apart what the cache keeps
    terms: tuple[Any, ...],
    has_channels: bool,  # noqa: FBT001
) -> _Values | None:
    axes = Axes(1, 2, 3 if has_channels else None)

    def change(numbers: NDArray[Any]) -> NDArray[Any]:
        """What becomes of numbers of shape (n, channels)."""
        images = numbers[np.newaxis, :, np.newaxis]
        return pixels(images if has_channels else images[..., 0], axes).reshape(numbers.shape)

    table = change(values.table.T)
    if table.dtype.itemsize not in _ITEM_BYTES or table.dtype.hasobject:
        return None
    fill = None if values.fill is None else change(values.fill[np.newaxis])[0]
    return _Values(np.ascontiguousarray(table.T), fill, (*values.noted, *terms))


@lru_cache(64)
def _padded_lines(extent: int, around: int, mode: Any) -> NDArray[np.int32]:
    """Which lines of an image stand for those of a padded one."""
    return np.pad(np.arange(extent, dtype=np.int32), around, mode)


def _cached(function: Callable[..., _Values | None], *arguments: Any) -> _Values | None:
    """What a function with a cache makes of arguments that the cache may not be able to keep."""
    try:
        return function(*arguments)
    except TypeError:
        uncached: Callable[..., _Values | None] = function.__wrapped__  # type: ignore[attr-defined]
        return uncached(*arguments)


def _channels_last(images: NDArray[Any], axes: Axes) -> NDArray[Any]:
    """The images as (n, height, width, channels), a view."""
    if axes.channels is None:
        return images[..., np.newaxis]
    return images.transpose(0, 2, 3, 1) if axes.channels == 1 else images
