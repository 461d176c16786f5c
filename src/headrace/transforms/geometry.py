"""Transforms that move pixels: flips, crops and padding."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.arena import empty
from headrace.errors import ArgumentError
from headrace.keys import draw
from headrace.transforms.base import Axes, ImageTransform, per_channel
from headrace.transforms.chance import check_probability

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.transforms.recipe import Recipe

__all__ = ["CenterCrop", "Pad", "RandomCrop", "RandomHorizontalFlip", "RandomVerticalFlip"]

_WORDS = 2.0**32
_PADDING_MODES = ("constant", "edge", "reflect", "symmetric")


class _RandomFlip(ImageTransform):
    """Flips each image along one axis with a probability."""

    def __init__(self, p: float = 0.5, *, layout: str | None = None) -> None:
        super().__init__(layout)
        self.p = check_probability(p)

    @staticmethod
    @abstractmethod
    def axis(axes: Axes) -> int:
        """The axis to flip along."""

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """The images, each flipped or not; `images` itself if none of them is flipped."""
        flipped = self._flipped(len(images)).tolist()
        if not any(flipped):
            return images
        mirror = (*(slice(None),) * (self.axis(axes) - 1), slice(None, None, -1))
        out = empty(images.shape, images.dtype)
        for image, copy, flip in zip(images, out, flipped, strict=True):
            copy[...] = image[mirror] if flip else image
        return out

    def lower(self, recipe: Recipe) -> bool:
        """Write what the images become into a recipe; whether it can express that."""
        recipe.mirror(self._flipped(len(recipe)), along=self.axis(recipe.axes))
        return True

    def _flipped(self, count: int) -> NDArray[np.bool_]:
        """Which of the images are flipped."""
        flipped: NDArray[np.bool_] = draw(count)[:, 0] < self.p * _WORDS
        return flipped


class RandomHorizontalFlip(_RandomFlip):
    """Flip left and right with probability p.

    Args:
        p: the probability, 0 ... 1.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: p is no probability (also a ValueError).

    Named as torchvision.transforms.RandomHorizontalFlip. An image that is not flipped is returned
    itself.

    >>> RandomHorizontalFlip(p=1.0)(np.array([[1, 2, 3]]))
    array([[3, 2, 1]])
    """

    @staticmethod
    def axis(axes: Axes) -> int:
        """The width."""
        return axes.width


class RandomVerticalFlip(_RandomFlip):
    """Flip top and bottom with probability p.

    Args:
        p: the probability, 0 ... 1.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: p is no probability (also a ValueError).

    Named as torchvision.transforms.RandomVerticalFlip. An image that is not flipped is returned
    itself.

    >>> RandomVerticalFlip(p=1.0)(np.array([[1], [2]]))
    array([[2],
           [1]])
    """

    @staticmethod
    def axis(axes: Axes) -> int:
        """The height."""
        return axes.height


class RandomCrop(ImageTransform):
    """Cut a window out of the image, padded with zeros, at a random place.

    Args:
        size: (height, width) of the window in pixels, or one integer for both.
        padding: pixels added on each side first: one integer, (left-right, top-bottom), or (left,
            top, right, bottom), as in torchvision.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: a size or padding is not allowed; when called, the window is larger than the
            padded image (also a ValueError).

    Named as torchvision.transforms.RandomCrop; with the default padding it is the augmentation of
    CIFAR-10 in He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.

    >>> RandomCrop(32, padding=4)(np.zeros((3, 32, 32), np.float32)).shape
    (3, 32, 32)
    """

    def __init__(
        self, size: int | Sequence[int], padding: int | Sequence[int] = 4, *, layout: str | None = None
    ) -> None:
        super().__init__(layout)
        self.size = _check_size(size)
        self.padding = _check_padding(padding)

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """The windows, one of each image."""
        tops, lefts = self._offsets(len(images), images.shape[axes.height], images.shape[axes.width])
        return _cut(images, axes, self.size, list(zip(tops.tolist(), lefts.tolist(), strict=True)))

    def lower(self, recipe: Recipe) -> bool:
        """Write what the images become into a recipe; whether it can express that."""
        if any(self.padding):
            if not recipe.can_fill(0):
                return False
            recipe.pad(0)
        tops, lefts = self._offsets(len(recipe), *recipe.size)
        recipe.window(tops, lefts, self.size)
        return True

    def _offsets(self, count: int, height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Top and left of each window; negative ones lie before the image."""
        left, top, right, bottom = self.padding
        height, width = height + top + bottom, width + left + right
        _check_fits(self.size, height, width, "padded image")
        # A word times a count, divided by 2**32, is a uniform place up to a bias of count / 2**32.
        words = draw(count)[:, :2].astype(np.int64)
        places = words * (height - self.size[0] + 1, width - self.size[1] + 1) >> 32
        return places[:, 0] - top, places[:, 1] - left


class CenterCrop(ImageTransform):
    """Cut the window in the middle of the image.

    Args:
        size: (height, width) of the window in pixels, or one integer for both.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: a size is not allowed; when called, the window is larger than the image (also
            a ValueError).

    Named as torchvision.transforms.CenterCrop, which pads smaller images silently; put Pad before
    it for that.

    >>> CenterCrop(1)(np.arange(9).reshape(3, 3))
    array([[4]])
    """

    def __init__(self, size: int | Sequence[int], *, layout: str | None = None) -> None:
        super().__init__(layout)
        self.size = _check_size(size)

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """The windows, as a view."""
        top, left = self._offset(images.shape[axes.height], images.shape[axes.width])
        rows, columns = slice(top, top + self.size[0]), slice(left, left + self.size[1])
        window: NDArray[Any] = images[_window(axes, rows, columns)]
        return window

    def lower(self, recipe: Recipe) -> bool:
        """Write what the images become into a recipe; whether it can express that."""
        recipe.window(*self._offset(*recipe.size), self.size)
        return True

    def _offset(self, height: int, width: int) -> tuple[int, int]:
        """Top and left of the window."""
        _check_fits(self.size, height, width, "image")
        # torchvision rounds half to even, so that its windows and these are the same
        return round((height - self.size[0]) / 2), round((width - self.size[1]) / 2)


class Pad(ImageTransform):
    """Add pixels on each side of the image.

    Args:
        padding: pixels: one integer, (left-right, top-bottom), or (left, top, right, bottom).
        fill: the value of the new pixels in mode "constant": one number, or one a channel.
        padding_mode: "constant", "edge", "reflect" or "symmetric", as in numpy.pad.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: a padding or mode is not allowed; when called, fill does not fit the channels.

    Named as torchvision.transforms.Pad.

    >>> Pad(1)(np.ones((1, 1), np.uint8))
    array([[0, 0, 0],
           [0, 1, 0],
           [0, 0, 0]], dtype=uint8)
    """

    def __init__(
        self,
        padding: int | Sequence[int],
        fill: float | Sequence[float] = 0,
        padding_mode: str = "constant",
        *,
        layout: str | None = None,
    ) -> None:
        super().__init__(layout)
        self.padding = _check_padding(padding)
        self.fill = fill
        if padding_mode not in _PADDING_MODES:
            raise ArgumentError(f"padding_mode must be one of {', '.join(_PADDING_MODES)}, but got {padding_mode!r}")
        self.padding_mode = padding_mode

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """The padded images."""
        left, top, right, bottom = self.padding
        if not any(self.padding):
            return images
        widths = [(0, 0)] * images.ndim
        widths[axes.height], widths[axes.width] = (top, bottom), (left, right)
        if self.padding_mode != "constant":
            return np.pad(images, widths, self.padding_mode)  # type: ignore[call-overload, no-any-return]
        rows, columns = slice(top, top + images.shape[axes.height]), slice(left, left + images.shape[axes.width])
        shape = tuple(size + sum(width) for size, width in zip(images.shape, widths, strict=True))
        out = empty(shape, images.dtype)
        out[...] = per_channel("fill", self.fill, images, axes)
        out[_window(axes, rows, columns)] = images
        return out

    def lower(self, recipe: Recipe) -> bool:
        """Write what the images become into a recipe; whether it can express that."""
        left, top, right, bottom = self.padding
        if any(self.padding):
            if self.padding_mode != "constant" or not recipe.can_fill(self.fill):
                return False
            recipe.pad(self.fill)
            height, width = recipe.size
            recipe.window(-top, -left, (height + top + bottom, width + left + right))
        return True


def _cut(images: NDArray[Any], axes: Axes, size: tuple[int, int], offsets: Sequence[tuple[int, int]]) -> NDArray[Any]:
    """The window at each image's own offset; what lies outside the image is zero.

    Args:
        images: shape (n, ...).
        axes: which dimensions are height and width.
        size: height and width of the windows.
        offsets: top and left of each of the n windows; negative ones lie before the image.
    """
    height, width = images.shape[axes.height], images.shape[axes.width]
    shape = list(images.shape)
    shape[axes.height], shape[axes.width] = size
    out = empty(tuple(shape), images.dtype)
    zero = np.zeros((), out.dtype)  # torch's bfloat16 comes as bytes, which 0 cannot be written to
    whole = slice(0, size[0]), slice(0, size[1])
    # A step through single images with Python's integers is the quickest for one image and for many.
    for image, window, (top, left) in zip(images, out, offsets, strict=True):
        rows, to_rows = _overlap(top, size[0], height)
        columns, to_columns = _overlap(left, size[1], width)
        if (to_rows, to_columns) != whole:
            window[...] = zero
        window[_window(axes, to_rows, to_columns)] = image[_window(axes, rows, columns)]
    return out


def _overlap(start: int, extent: int, limit: int) -> tuple[slice, slice]:
    """Where [start, start + extent) meets [0, limit): counted from 0, and from the start."""
    first, last = max(start, 0), min(start + extent, limit)
    return (slice(first, last), slice(first - start, last - start)) if first < last else (slice(0, 0), slice(0, 0))


def _window(axes: Axes, rows: slice, columns: slice) -> tuple[Any, ...]:
    """The index of a window in one image, or behind an ellipsis in a batch of them."""
    return (..., rows, columns, slice(None)) if axes.channels == 3 else (..., rows, columns)


def _check_fits(size: tuple[int, int], height: int, width: int, what: str) -> None:
    if size[0] > height or size[1] > width:
        raise ArgumentError(f"crop size {size} is larger than the {what} ({height}, {width}); crop less, or pad more")


def _check_size(size: object) -> tuple[int, int]:
    numbers = _integers(size if _is_sequence(size) else (size, size))
    if len(numbers) != 2 or min(numbers) < 1:
        raise ArgumentError(f"size must be a positive integer or (height, width), but got size={size!r}")
    return numbers[0], numbers[1]


def _check_padding(padding: object) -> tuple[int, int, int, int]:
    """Left, top, right and bottom."""
    numbers = _integers(padding if _is_sequence(padding) else (padding,))
    if len(numbers) not in (1, 2, 4) or min(numbers) < 0:
        raise ArgumentError(
            "padding must be a non-negative integer, (left-right, top-bottom) or (left, top, right, bottom), "
            f"but got padding={padding!r}"
        )
    left, top, right, bottom = numbers * (4 // len(numbers))
    return left, top, right, bottom


def _is_sequence(value: object) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _integers(values: Any) -> tuple[int, ...]:
    """The values as integers; (-1,), which nothing allows, if one of them is none."""
    if any(isinstance(value, bool) or not isinstance(value, int | np.integer) for value in values):
        return (-1,)
    return tuple(map(int, values))
