"""What a chain of image transforms comes to: where each pixel is taken from, and what its value becomes."""

from __future__ import annotations

import copy
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentError
from headrace.kernels.images import Pixels, Scaling, Turn
from headrace.transforms.base import Axes, image_axes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.kernels.images import Interpolation

    Change = Callable[[NDArray[Any], Axes], NDArray[Any]]

__all__ = ["Recipe", "channels_last"]

_VALUES = 256  # of a byte
_ITEM_BYTES = (1, 2, 4)  # that the kernel writes


class Recipe:
    """A window of each image, perhaps mirrored, scaled, what is around it, and a table of what values become.

    Transforms write themselves into it, one after the other, and one kernel then makes all images of a
    batch from where they lie. Since the table is made by the transforms themselves, every value comes
    out as it would have, to the last bit.

    Args:
        extents: the height and width of each image that makes up the batch, shape (n, 2), int64.
        channels: how many they have.
        axes: which of the dimensions of a batch are height, width and channels.
        repeats: whether what makes the images can repeat lines of theirs around them.

    Attributes:
        size: height and width at this point of the chain: two integers, or arrays of shape (n,) where
            images differ.
    """

    def __init__(self, extents: NDArray[np.int64], channels: int, axes: Axes, *, repeats: bool) -> None:
        self.axes = axes
        self._extents = extents  # where the places lie
        self.size, self._places = _begin(extents)
        self._whole = True  # all of the image is seen, and nothing else
        self._repeats = repeats
        self._scaling: Scaling | None = None
        self._lines: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None
        self._values = _bytes(channels)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the images at this point of the chain."""
        return self._values.table.dtype

    @property
    def channels(self) -> int:
        """How many channels the images have."""
        return len(self._values.table)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The height and width of each image at this point of the chain, shape (n, 2)."""
        sizes = np.empty((len(self), 2), np.int64)
        sizes[:, 0], sizes[:, 1] = self.size
        return sizes

    @property
    def uniform(self) -> bool:
        """Whether all images have one size at this point of the chain."""
        height, width = self.size  # asked many times a batch
        return isinstance(height, int) and isinstance(width, int)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of each image at this point of the chain; of the first, where they differ in size."""
        height, width = self.size if self.uniform else map(int, self.sizes[0])
        if self.axes.channels is None:
            return height, width
        return (self.channels, height, width) if self.axes.channels == 1 else (height, width, self.channels)

    def fits(self, layout: str | None) -> bool:
        """Whether a transform of that layout sees the images as this recipe does."""
        try:
            return image_axes(self.shape, self.dtype, layout) == self.axes
        except ArgumentError:  # the transform itself will say so
            return False

    # ------------------------------------------------------------------ images of several sizes

    def part(self, rows: NDArray[np.int64]) -> Recipe:
        """The recipe of some of the images, to be written to and taken in again."""
        part = copy.copy(self)
        part._select(rows)  # noqa: SLF001 - of the same class
        return part

    def _select(self, rows: NDArray[np.int64]) -> None:
        self.size = _common(self.sizes[rows])
        self._extents, self._places = self._extents[rows], self._places[rows]
        if self._scaling is not None:
            turns, boxes, sizes = self._scaling[:3]
            self._scaling = self._scaling._replace(turns=turns[rows], boxes=boxes[rows], sizes=sizes[rows])

    def take_in(self, parts: list[tuple[NDArray[np.int64], Recipe]]) -> None:
        """Become what the parts, one for each of the images, have become."""
        order = np.argsort(np.concatenate([rows for rows, _ in parts]))
        recipes = [recipe for _, recipe in parts]
        self.__dict__.update(vars(recipes[-1]))
        self.size = _common(np.concatenate([recipe.sizes for recipe in recipes])[order])
        self._extents = np.concatenate([recipe._extents for recipe in recipes])[order]  # noqa: SLF001 - of this class
        self._places = np.concatenate([recipe._places for recipe in recipes])[order]  # noqa: SLF001 - of this class
        scalings = [recipe.scaling for recipe in recipes if recipe.scaling is not None]
        if scalings:
            turns, boxes, sizes = (np.concatenate(several)[order] for several in list(zip(*scalings, strict=True))[:3])
            self._scaling = scalings[0]._replace(turns=turns, boxes=boxes, sizes=sizes)

    # ------------------------------------------------------------------ what transforms write

    def window(self, top: Any, left: Any, size: tuple[Any, Any]) -> None:
        """Go on with a part of each image.

        Args:
            top: where it begins, one number or one an image.
            left: likewise.
            size: its height and width, likewise.
        """
        self._move(top, left)
        self.size = size
        self._whole = False

    def _move(self, down: Any, right: Any) -> None:
        """Let each image begin further down and right in itself."""
        for along, by in enumerate((down, right)):
            self._places[:, along] += self._places[:, along + 2] * np.asarray(by, np.int32)

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
        extents: Any = self._extents if self._lines is None else [[len(lines) for lines in self._lines]]
        seen = self._places[:, 4:]  # nothing, where all of the image has been cut off
        np.clip(seen, 0, np.repeat(extents, 2, axis=1), out=seen)

    def _repeat(self, padding: tuple[int, int, int, int], mode: str) -> bool:
        """Go on with images around which their own lines are repeated, if they are whole."""
        if not self._whole or not self._repeats or self._scaling is not None or 0 in self.size:
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
        start += step * np.asarray(self.size[which] - 1, np.int32) * flipped
        np.negative(step, out=step, where=flipped)

    def can_scale(self) -> bool:
        """Whether the images may be scaled: once, before anything is put around them or becomes of their values."""
        return self._scaling is None and self._lines is None and self._values is _bytes(self.channels)

    def scale(self, sizes: Any, interpolation: Interpolation, antialias: bool) -> None:  # noqa: FBT001
        """Scale what each image is at this point.

        Args:
            sizes: height and width, one pair or one an image.
            interpolation: what each pixel is made of.
            antialias: whether all pixels count where it shrinks.
        """
        y, x, down, right = self._places[:, :4].T
        height, width = self.sizes.T
        turns = (down < 0) * Turn.ROWS_MIRRORED + (right < 0) * Turn.COLUMNS_MIRRORED
        # In the image as it is once turned, where nothing is mirrored any more.
        top = np.where(down < 0, self._extents[:, 0] - 1 - y, y)
        left = np.where(right < 0, self._extents[:, 1] - 1 - x, x)
        boxes = np.stack([top, left, top + height, left + width], axis=1, dtype=np.float64)
        scaled = np.empty((len(self), 2), np.int32)
        scaled[:] = sizes
        self._scaling = Scaling(turns.astype(np.int32), boxes, scaled, antialias, interpolation)
        self._extents = scaled.astype(np.int64)
        self.size, self._places = _begin(self._extents)
        self._whole = True

    def change(self, pixels: Change, parameters: tuple[Any, ...], *terms: Any) -> bool:
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

    @property
    def scaling(self) -> Scaling | None:
        """How the images are scaled; None where their size stays as it is."""
        return self._scaling

    @property
    def lines(self) -> tuple[NDArray[np.int32], NDArray[np.int32]] | None:
        """Which rows and columns of the images the places speak of; None for themselves."""
        return self._lines

    def pixels(self) -> Pixels:
        """What is shown of the images, scaled if they are, and what its values become."""
        values = self._values
        return Pixels(np.ascontiguousarray(self._places), values.table, values.around, values.terms)


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
    pixels: Change,
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


def channels_last(images: NDArray[Any], axes: Axes) -> NDArray[Any]:
    """The images as (n, height, width, channels), a view."""
    if axes.channels is None:
        return images[..., np.newaxis]
    return images.transpose(0, 2, 3, 1) if axes.channels == 1 else images


def _begin(extents: NDArray[np.int64]) -> tuple[tuple[Any, Any], NDArray[np.int32]]:
    """The size of whole images, and the places that show all of each."""
    size = _common(extents)
    places = np.zeros((len(extents), 8), np.int32)
    places[:, 2:4] = 1
    places[:, (5, 7)] = extents
    return size, places


def _common(sizes: NDArray[np.int64]) -> tuple[Any, Any]:
    """The height and the width in sizes, shape (n, 2): an integer, or all of them where they differ."""
    if len(sizes) and (sizes == sizes[:1]).all():
        height, width = sizes[0].tolist()
        return height, width
    height, width = (int(along[0]) if len(along) and (along == along[:1]).all() else along for along in sizes.T)
    return height, width
