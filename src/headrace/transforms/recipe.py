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
        self._table: NDArray[Any] = _all_values(channels)
        self._fill: NDArray[Any] | None = None  # while nothing but the image is seen
        self._terms: list[Any] = []

    def __len__(self) -> int:
        return len(self._places)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the images at this point of the chain."""
        return self._table.dtype

    def fits(self, layout: str | None) -> bool:
        """Whether a transform of that layout sees the images as this recipe does."""
        channels = len(self._table)
        shape = {None: self.size, 1: (channels, *self.size), 3: (*self.size, channels)}[self.axes.channels]
        try:
            return image_axes(shape, self.dtype, layout) == self.axes
        except ArgumentError:  # the transform itself will say so
            return False

    # ------------------------------------------------------------------ what transforms write

    def can_fill(self, value: object) -> bool:
        """Whether new pixels may have this value: there is one fill for all."""
        try:
            fill = self._filled_with(value)
        except (OverflowError, TypeError, ValueError):  # the transform itself will say so
            return False
        return self._fill is None or bool((fill == self._fill).all())

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

    def pad(self, value: object) -> None:
        """See nothing but fill around what the images are at this point."""
        self._fill = self._filled_with(value)
        y, x, down, right, top, bottom, left, end = self._places.T
        last_y, last_x = y + down * (self.size[0] - 1), x + right * (self.size[1] - 1)
        np.maximum(top, np.minimum(y, last_y), out=top)
        np.minimum(bottom, np.maximum(y, last_y) + 1, out=bottom)
        np.maximum(left, np.minimum(x, last_x), out=left)
        np.minimum(end, np.maximum(x, last_x) + 1, out=end)
        _, height, width, _ = self._images.shape
        seen = self._places[:, 4:]  # nothing, where all of the image has been cut off
        np.clip(seen, 0, (height, height, width, width), out=seen)

    def mirror(self, flipped: NDArray[np.bool_], *, along: int) -> None:
        """Mirror some of the images along the axis of their height or width."""
        which = 0 if along == self.axes.height else 1
        start, step = self._places[:, which], self._places[:, 2 + which]
        start += np.where(flipped, step * (self.size[which] - 1), 0)
        step *= np.where(flipped, -1, 1).astype(np.int32)

    def change(self, pixels: Callable[[NDArray[Any], Axes], NDArray[Any]]) -> bool:
        """Let the values become what they become in images that have them all; whether that can be."""
        axes = Axes(1, 2, None if self.axes.channels is None else 3)
        values = self._table.T[np.newaxis, :, np.newaxis]
        table = pixels(values if axes.channels else values[..., 0], axes)
        if table.dtype.itemsize not in _ITEM_BYTES or table.dtype.hasobject:
            return False
        if self._fill is not None:
            fill = self._fill[np.newaxis, np.newaxis, np.newaxis]
            self._fill = pixels(fill if axes.channels else fill[..., 0], axes).reshape(-1)
        self._table = np.ascontiguousarray(table.reshape(_VALUES, -1).T)
        return True

    def note_terms(self, *terms: Any) -> None:
        """Say with which numbers, one or one a channel, the latest change divided, subtracted and divided."""
        self._terms += terms

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
        channels = len(self._table)
        shape = {None: self.size, 1: (channels, *self.size), 3: (*self.size, channels)}[self.axes.channels]
        out = empty((len(rows), *shape), self.dtype)
        fill = np.zeros(channels, self.dtype) if self._fill is None else self._fill
        last = _channels_last(out, self.axes)
        kernels.active().cut(self._images, rows, self._places, self._table, fill, last, self._exact_terms())
        return out

    def _filled_with(self, value: object) -> NDArray[Any]:
        fill = np.empty(len(self._table), self.dtype)
        fill[:] = np.asarray(value, self.dtype)
        return fill

    def _exact_terms(self) -> NDArray[np.float32] | None:
        """The numbers from which the table can be computed to the last bit, if there are such."""
        if self.dtype != np.float32 or len(self._terms) not in (1, 3):
            return None
        terms = np.zeros((3, len(self._table)), np.float32)
        terms[2] = 1
        for row, term in zip(terms, self._terms, strict=False):
            row[:] = term
        return terms if _are_exact(terms.tobytes(), self._table.tobytes()) else None


@cache
def _all_values(channels: int) -> NDArray[np.uint8]:
    """The table of what values are before anything becomes of them."""
    return np.tile(np.arange(_VALUES, dtype=np.uint8), (channels, 1))


@lru_cache(64)
def _are_exact(terms: bytes, table: bytes) -> bool:
    """Whether the table of float32 is what the terms come to."""
    divisor, mean, deviation = np.frombuffer(terms, np.float32).reshape(3, -1, 1)
    computed = (np.arange(_VALUES, dtype=np.float32) / divisor - mean) / deviation
    return computed.tobytes() == table


def _channels_last(images: NDArray[Any], axes: Axes) -> NDArray[Any]:
    """The images as (n, height, width, channels), a view."""
    if axes.channels is None:
        return images[..., np.newaxis]
    return images.transpose(0, 2, 3, 1) if axes.channels == 1 else images
