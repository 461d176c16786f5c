"""The program of a chain of image transforms: where each pixel is taken from, and what its value becomes."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import kernels
from headrace.errors import ArgumentError
from headrace.images.layout import Axes, image_axes
from headrace.images.values import cached, changed, filled, unchanged
from headrace.kernels.images import Pixels, Scaling, Turn
from headrace.kernels.moves import KEY, Kind, Move, signed
from headrace.rng.draws import Draw, next_draw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.images.values import Change
    from headrace.kernels.images import Interpolation

__all__ = ["Program", "channels_last"]

_WORDS = 2.0**32


class Program:
    """A crop of each image, perhaps mirrored, scaled, what is around it, and a table of what values become.

    Transforms write themselves into it, one after the other, and one kernel then makes all images of a
    batch from where they lie. Since the table is made by the transforms themselves, every value comes
    out as it would have, to the last bit. Where each image comes from is written down as moves, which a
    kernel makes, and draws for, as soon as the places that they lead to are needed.

    Args:
        extents: the height and width of each image that makes up the batch, shape (n, 2), int64.
        channels: how many they have.
        axes: which of the dimensions of a batch are height, width and channels.
        repeats: whether lines of the images can be repeated around them before they are scaled.

    Attributes:
        size: height and width at this point of the chain: two integers, or arrays of shape (n,) where
            images differ.
        axes: which of the dimensions of a batch are height, width and channels at this point.
        source_size: the size in the beginning.
        source_axes: the axes in the beginning.
    """

    def __init__(self, extents: NDArray[np.int64], channels: int, axes: Axes, *, repeats: bool) -> None:
        self.axes = self.source_axes = axes
        self.size = _common(extents)
        self.source_size = self.size
        self._extents = extents  # where the places lie
        self._places: NDArray[np.int32] | None = None  # before the moves; None where they begin with whole images
        self._moves = [Move(Kind.WHOLE)]
        self._table: NDArray[np.int64] | None = None  # of the moves, where it is known
        self._moved_from = extents  # the sizes of the images before the moves
        self._draw: Draw | None = None  # with which the moves draw, if they do
        self._whole = True  # all of the image is seen, and nothing else
        self._repeats = repeats
        self._is_part = False  # then lines stand for those of its own images alone
        self._scaling: Scaling | None = None
        self._lines: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None
        self._values = unchanged(channels)

    def __len__(self) -> int:
        return len(self._extents)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the images at this point of the chain."""
        return self._values.table.dtype

    @property
    def channels(self) -> int:
        """The number of channels of the images."""
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

    def fits(self, layout: str | None, known: str | None) -> bool:
        """Return whether a transform sees the images as this program does.

        Args:
            layout: that of the transform, or None.
            known: where the channels are, as far as the chain says so.
        """
        try:
            return image_axes(self.shape, layout, known) == self.axes
        except ArgumentError:  # the transform itself will say so
            return False

    # ------------------------------------------------------------------ the same for other images

    @property
    def is_general(self) -> bool:
        """Whether it says the same of all batches of images of this size: nothing but moves happens to them."""
        return self._places is None and self._scaling is None and self.uniform

    def again(self, extents: NDArray[np.int64], draw: Draw) -> Program:
        """Return a general program for another batch.

        Args:
            extents: the same height and width as those of its own images, shape (n, 2), int64.
            draw: the key and the samples with which it draws from the same streams.
        """
        if self._table is None:
            self._table = _table(self._moves)
        table = self._table.copy()
        table[:, KEY] = signed(draw.key)
        return self._copy(_table=table, _extents=extents, _moved_from=extents, _draw=draw)

    def _copy(self, **changed: Any) -> Program:
        copy = object.__new__(Program)
        copy.__dict__.update(self.__dict__, **changed)
        return copy

    def part(self, rows: NDArray[np.int64]) -> Program:
        """Return the program of some of the images, to be written to and taken in again."""
        scaling = None if self._scaling is None else self._scaling.part(rows)
        places, extents, size = self._settle()[rows], self._extents[rows], _common(self.sizes[rows])
        part = self._copy(_extents=extents, _places=places, _scaling=scaling, size=size)
        part._is_part, part._repeats = True, False  # noqa: SLF001 - of this class
        return part

    def take_in(self, parts: list[tuple[NDArray[np.int64], Program]]) -> None:
        """Become what the parts, one for each of the images, have become."""
        order = np.argsort(np.concatenate([rows for rows, _ in parts]))
        programs = [program for _, program in parts]
        places = np.concatenate([program._settle() for program in programs])[order]  # noqa: SLF001 - of this class
        self.__dict__.update(vars(programs[-1]), _is_part=self._is_part, _repeats=self._repeats)
        self._places = places
        self.size = _common(np.concatenate([program.sizes for program in programs])[order])
        self._extents = np.concatenate([program._extents for program in programs])[order]  # noqa: SLF001 - of this class
        scalings = [program.scaling for program in programs if program.scaling is not None]
        if scalings:
            turns, boxes, sizes = (np.concatenate(several)[order] for several in list(zip(*scalings, strict=True))[:3])
            self._scaling = scalings[0]._replace(turns=turns, boxes=boxes, sizes=sizes)

    # ------------------------------------------------------------------ what transforms write

    def crop(self, top: int, left: int, size: tuple[int, int]) -> None:
        """Go on with a part of each image, which begins at the same place in all, and has this height and width."""
        self._move(Kind.BOX, top, left, *size)
        self.size = size
        self._whole = False

    def crop_each(self, boxes: NDArray[np.int64]) -> None:
        """Go on with a part of each image: its top, left, height and width, shape (n, 4)."""
        places = self._settle()
        places[:, :2] += places[:, 2:4] * boxes[:, :2].astype(np.int32)
        self.size = _common(boxes[:, 2:])
        self._whole = False

    def random_crop(self, size: tuple[int, int]) -> None:
        """Go on with a part of each image, of this height and width, anywhere in it."""
        self._move(Kind.CROP, *size, draws=True)
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
        self._move(Kind.PAD, top, left, top + bottom, left + right)
        self.size = (height + top + bottom, width + left + right)
        self._whole = mode != "constant" and (left, top) == (
            right,
            bottom,
        )  # then all lines are seen that there are now
        return True

    def _fill(self, value: Any) -> bool:
        """See nothing but a value around what the images are at this point, if there can be one for all."""
        values = cached(filled, self._values, value)
        if values is None:
            return False
        self._values = values
        if not self._whole:
            self._move(Kind.HIDE)
        return True

    def _repeat(self, padding: tuple[int, int, int, int], mode: str) -> bool:
        """Go on with images around which their own lines are repeated, if they are whole and of one size."""
        if not self._whole or not self._repeats or 0 in self.size:
            return False
        left, top, right, bottom = padding
        around = max(top, bottom), max(left, right)  # alike, for those that are mirrored
        lines = tuple(map(_padded_lines, self.size, around, (mode, mode)))
        if self._lines is not None:
            lines = tuple(inner[outer] for inner, outer in zip(self._lines, lines, strict=True))
        self._lines = lines[0], lines[1]
        self._move(Kind.REPEAT, *around, len(lines[0]), len(lines[1]))
        return True

    def random_mirror(self, p: float, *, along: int) -> None:
        """Mirror each image along the axis of its height or width, with probability p."""
        self._move(Kind.MIRROR, int(along == self.axes.width), math.ceil(p * _WORDS), draws=True)

    def can_scale(self) -> bool:
        """Return whether the images may be scaled: once, and before padding or a change of their values."""
        return self._scaling is None and self._lines is None and self._values is unchanged(self.channels)

    def scale(self, sizes: Any, interpolation: Interpolation, antialias: bool) -> None:  # noqa: FBT001
        """Scale what each image is at this point.

        Args:
            sizes: height and width, one pair or one an image.
            interpolation: what each pixel is made of.
            antialias: whether all pixels count where it shrinks.
        """
        y, x, down, right = self._settle()[:, :4].T
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
        self.size = _common(self._extents)
        self._places = None
        self._move(Kind.WHOLE)
        self._whole = True
        self._repeats = not self._is_part

    def change(self, pixels: Change, parameters: tuple[Any, ...], *terms: Any) -> bool:
        """Let the values become what they become in images that have them all; whether that can be.

        Args:
            pixels: makes images of images, each value by itself, in the same way for the same parameters.
            parameters: what it depends on.
            *terms: the numbers, one or one a channel, by which it divides, which it subtracts, by which it divides.
        """
        values = cached(changed, self._values, pixels, parameters, terms, self.axes.channels is not None)
        if values is None:
            return False
        self._values = values
        return True

    def move_channels_first(self) -> None:
        """Write the channels as planes."""
        self.axes = Axes(2, 3, 1)

    # ------------------------------------------------------------------ what comes of it

    @property
    def scaling(self) -> Scaling | None:
        """The scaling of the images; None where their size stays as it is."""
        return self._scaling

    def pixels(self) -> Pixels:
        """Return what is shown of the images, scaled if they are, and what its values become."""
        values = self._values
        return Pixels(self._settle(), values.table, values.around, values.terms, self._lines)

    # ------------------------------------------------------------------ moves

    def _move(self, kind: Kind, *numbers: int, draws: bool = False) -> None:
        """Note a move, to be made together with those that follow."""
        draw = next_draw(len(self)) if draws else None
        if draw is not None and self._draw is not None and draw.indices is not self._draw.indices:
            self._settle()
        if not self._moves:
            self._moved_from = self.sizes
        move = Move(kind, numbers=numbers)
        if draw is not None:
            self._draw = draw
            move = Move(kind, draw.key, draw.stream, draw.block, numbers)
        self._moves = [*self._moves, move]  # those of copies stay
        self._table = None

    def _settle(self) -> NDArray[np.int32]:
        """Return the places that the moves lead to, once they are made."""
        places = np.empty((len(self), 8), np.int32) if self._places is None else self._places
        if self._moves:
            indices = np.arange(len(self)) if self._draw is None else self._draw.indices
            table = _table(self._moves) if self._table is None else self._table
            kernels.active().move(indices, self._moved_from, table, places)
        self._moves, self._table, self._draw, self._places = [], None, None, places
        return places


def _table(moves: list[Move]) -> NDArray[np.int64]:
    return np.array([move.row() for move in moves], np.int64)


@lru_cache(64)
def _padded_lines(extent: int, around: int, mode: Any) -> NDArray[np.int32]:
    """Return the lines of an image that stand for those of a padded one."""
    return np.pad(np.arange(extent, dtype=np.int32), around, mode)


def channels_last(images: NDArray[Any], axes: Axes) -> NDArray[Any]:
    """Return the images as (n, height, width, channels), a view."""
    if axes.channels is None:
        return images[..., np.newaxis]
    return images.transpose(0, 2, 3, 1) if axes.channels == 1 else images


def _common(sizes: NDArray[np.int64]) -> tuple[Any, Any]:
    """Return the height and the width in sizes, shape (n, 2): an integer, or all of them where they differ."""
    if len(sizes) and (sizes == sizes[:1]).all():
        height, width = sizes[0].tolist()
        return height, width
    height, width = (int(along[0]) if len(along) and (along == along[:1]).all() else along for along in sizes.T)
    return height, width
