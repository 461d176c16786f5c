"""Transforms that cut a part out of images: anywhere in it, or in the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.arena import empty
from headrace.errors import ArgumentError
from headrace.rng.draws import draw_below
from headrace.rng.notes import note, notes_wanted
from headrace.transforms.base import ImageTransform, RandomImageTransform, per_channel
from headrace.transforms.fill import check_fill, fill_of
from headrace.transforms.placement import shifted
from headrace.transforms.sizes import check_fits, check_mode, check_padding, check_size, padded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.images.layout import Axes
    from headrace.images.program import Program
    from headrace.transforms.placement import Placement

__all__ = ["CenterCrop", "RandomCrop"]


class RandomCrop(RandomImageTransform):
    """Cut a part out of the image, padded first, at a random place.

    Args:
        size: (height, width) of the crop in pixels, or one integer for both.
        padding: pixels added on each side first: one integer, (left-right, top-bottom), or (left,
            top, right, bottom), as in torchvision. None for none.
        pad_if_needed: add as many on both sides as a smaller image lacks, so that every crop fits.
        fill: the value of the new pixels in mode "constant": one number, or one a channel; None for 0; a dict
            for an "image" and its "mask".
        padding_mode: "constant", "edge", "reflect" or "symmetric", as in numpy.pad.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: a size, padding or mode is not allowed; when called, the crop is larger than
            the padded image (also a ValueError), or fill does not fit the channels.

    Named as torchvision.transforms.RandomCrop; with the default padding it is the augmentation of
    CIFAR-10 in He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.

    >>> RandomCrop(32, padding=4)(np.zeros((3, 32, 32), np.float32)).shape
    (3, 32, 32)
    """

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] | None = 4,
        pad_if_needed: bool = False,  # noqa: FBT001, FBT002 - torchvision's order
        fill: float | Sequence[float] | dict[str, Any] | None = 0,
        padding_mode: str = "constant",
        *,
        layout: str | None = None,
    ) -> None:
        super().__init__(layout)
        self.size = check_size(size)
        self.padding = check_padding(0 if padding is None else padding)
        self.pad_if_needed = bool(pad_if_needed)
        self.fill = check_fill(fill)
        self.padding_mode = check_mode(padding_mode)

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return the crops, one of each image."""
        extent = images.shape[axes.height], images.shape[axes.width]
        padding = self._padding(extent)
        offsets = self._offsets(len(images), extent, padding)
        if self.padding_mode == "constant":
            offsets = [top - padding[1] for top in offsets[0]], [left - padding[0] for left in offsets[1]]
            return _cut(images, axes, self.size, offsets, _fill_of(fill_of(self.fill), images, axes))
        return _cut_lines(images, axes, self.size, offsets, _padded_lines(extent, padding, self.padding_mode))

    def place(self, extent: tuple[int, int]) -> Placement:
        """Return where an image of a height and width comes to lie."""
        padding = self._padding(extent)
        top, left = self._offsets(1, extent, padding)
        return shifted(padding[0] - int(left[0]), padding[1] - int(top[0]), self.size)

    def lower(self, program: Program) -> bool:
        """Write what the images become into a program; whether it can express that."""
        extent = program.size
        padding = self._padding(extent)
        if any(padding) and not program.pad(padding, fill_of(self.fill), self.padding_mode):
            return False
        check_fits(self.size, *padded(extent, padding), "padded image")
        program.random_crop(self.size)
        return True

    def _padding(self, extent: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom for images of that height and width."""
        left, top, right, bottom = self.padding
        if not self.pad_if_needed:
            return self.padding
        rows = max(0, self.size[0] - (extent[0] + top + bottom))
        columns = max(0, self.size[1] - (extent[1] + left + right))
        return left + columns, top + rows, right + columns, bottom + rows

    def _offsets(
        self, count: int, extent: tuple[int, int], padding: tuple[int, int, int, int]
    ) -> tuple[list[int], list[int]]:
        """Return the top and left of each crop in the padded image."""
        height, width = padded(extent, padding)
        check_fits(self.size, height, width, "padded image")
        tops, lefts = draw_below(count, height - self.size[0] + 1, width - self.size[1] + 1)
        if notes_wanted():
            note(self, top=[top - padding[1] for top in tops], left=[left - padding[0] for left in lefts])
        return tops, lefts


class CenterCrop(ImageTransform):
    """Cut the part in the middle of the image.

    Args:
        size: (height, width) of the crop in pixels, or one integer for both.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: a size is not allowed (also a ValueError).

    Named as torchvision.transforms.v2.CenterCrop. An image that is smaller is padded with zeros first, in equal
    parts; of an odd number of pixels the right or lower side gets one more.

    >>> CenterCrop(1)(np.arange(9).reshape(3, 3))
    array([[4]])
    """

    def __init__(self, size: int | Sequence[int], *, layout: str | None = None) -> None:
        super().__init__(layout)
        self.size = check_size(size)

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return the crops, as a view where the images are large enough."""
        extent = images.shape[axes.height], images.shape[axes.width]
        padding = self._padding(extent)
        top, left = self._offset(padded(extent, padding))
        if any(padding):
            offsets = [top - padding[1]] * len(images), [left - padding[0]] * len(images)
            return _cut(images, axes, self.size, offsets, np.zeros((), images.dtype))
        rows, columns = slice(top, top + self.size[0]), slice(left, left + self.size[1])
        crop: NDArray[Any] = images[_crop_slices(axes, rows, columns)]
        return crop

    def place(self, extent: tuple[int, int]) -> Placement:
        """Return where an image of a height and width comes to lie."""
        padding = self._padding(extent)
        top, left = self._offset(padded(extent, padding))
        return shifted(padding[0] - left, padding[1] - top, self.size)

    def lower(self, program: Program) -> bool:
        """Write what the images become into a program; whether it can express that."""
        padding = self._padding(program.size)
        if any(padding) and not program.pad(padding, 0, "constant"):
            return False
        program.crop(*self._offset(program.size), self.size)
        return True

    def _padding(self, extent: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return the left, top, right and bottom that images of that height and width lack."""
        rows, columns = (max(0, wanted - there) for wanted, there in zip(self.size, extent, strict=True))
        return columns // 2, rows // 2, columns - columns // 2, rows - rows // 2

    def _offset(self, extent: tuple[int, int]) -> tuple[int, int]:
        """Return the top and left of the crop in a padded image."""
        # torchvision rounds half to even, so that its crops and these are the same
        return round((extent[0] - self.size[0]) / 2), round((extent[1] - self.size[1]) / 2)


def _cut(
    images: NDArray[Any],
    axes: Axes,
    size: tuple[int, int],
    offsets: tuple[list[int], list[int]],
    fill: NDArray[Any],
) -> NDArray[Any]:
    """Return the crop at each image's own offset; what lies outside the image is fill.

    Args:
        images: shape (n, ...).
        axes: which dimensions are height and width.
        size: height and width of the crops.
        offsets: the tops and the lefts of the n crops; negative ones lie before the image.
        fill: one number, or shaped to broadcast against an image.
    """
    height, width = images.shape[axes.height], images.shape[axes.width]
    out = _empty_crops(images, axes, size)
    # A step through single images with Python's integers is the quickest for one image and for many.
    for image, crop, top, left in zip(images, out, *offsets, strict=True):
        rows, to_rows = _overlap(top, size[0], height)
        columns, to_columns = _overlap(left, size[1], width)
        if rows.stop - rows.start < size[0] or columns.stop - columns.start < size[1]:
            crop[...] = fill
        crop[_crop_slices(axes, to_rows, to_columns)] = image[_crop_slices(axes, rows, columns)]
    return out


def _cut_lines(
    images: NDArray[Any],
    axes: Axes,
    size: tuple[int, int],
    offsets: tuple[list[int], list[int]],
    lines: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> NDArray[Any]:
    """Return the crop at each image's own offset among the rows and columns that stand for those of the image."""
    out = _empty_crops(images, axes, size)
    for image, crop, top, left in zip(images, out, *offsets, strict=True):
        rows, columns = lines[0][top : top + size[0], np.newaxis], lines[1][left : left + size[1]]
        crop[...] = image[_crop_slices(axes, rows, columns)]
    return out


def _empty_crops(images: NDArray[Any], axes: Axes, size: tuple[int, int]) -> NDArray[Any]:
    shape = list(images.shape)
    shape[axes.height], shape[axes.width] = size
    return empty(tuple(shape), images.dtype)


def _fill_of(value: float | Sequence[float], images: NDArray[Any], axes: Axes) -> NDArray[Any]:
    """Return a number, or one a channel, as images take it."""
    if isinstance(value, int | float) and value == 0:
        return np.zeros((), images.dtype)  # torch's bfloat16 comes as bytes, which 0 cannot be written to
    return per_channel("fill", value, images, axes)


def _padded_lines(
    extent: tuple[int, int], padding: tuple[int, int, int, int], mode: Any
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows and the columns of an image that stand for those of the padded one."""
    if 0 in extent:
        raise ArgumentError(f"padding_mode={mode!r} repeats pixels, but an image of {extent[0]} x {extent[1]} has none")
    left, top, right, bottom = padding
    return np.pad(np.arange(extent[0]), (top, bottom), mode), np.pad(np.arange(extent[1]), (left, right), mode)


def _overlap(start: int, extent: int, limit: int) -> tuple[slice, slice]:
    """Return where [start, start + extent) meets [0, limit): counted from 0, and from the start."""
    first, last = max(start, 0), min(start + extent, limit)
    return (slice(first, last), slice(first - start, last - start)) if first < last else (slice(0, 0), slice(0, 0))


def _crop_slices(axes: Axes, rows: Any, columns: Any) -> tuple[Any, ...]:
    """Return the index of rows and columns in one image, or in a batch of them."""
    return (..., rows, columns, slice(None)) if axes.channels == 3 else (..., rows, columns)
