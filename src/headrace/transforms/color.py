"""Transforms of colours: jitter and grey images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.arena import empty
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.rng.draws import draw
from headrace.rng.notes import note, notes_wanted
from headrace.transforms.base import ImageTransform, RandomImageTransform
from headrace.transforms.chance import check_probability, fractions, happens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from headrace.images.layout import Axes

__all__ = [
    "ColorJitter",
    "Grayscale",
    "RandomGrayscale",
    "as_planes",
    "change_brightness",
    "change_contrast",
    "change_saturation",
    "colour_channels",
]

_LUMA = np.array([0.2989, 0.587, 0.114])  # ITU-R 601-2, rounded as torchvision has it
_BLOCK_BYTES = 1 << 18  # a few copies of a block of images stay in a core's cache
_CHANGED = ("brightness", "contrast", "saturation", "hue")
_HUE_OFFSETS = (5, 3, 1)  # of red, green and blue on the circle of six colours


class ColorJitter(RandomImageTransform):
    """Change brightness, contrast, saturation and hue at random, in random order.

    Args:
        brightness: factors are drawn from [max(0, 1 - brightness), 1 + brightness], or from the
            given (low, high). None, as 0, leaves it alone.
        contrast: the same for the contrast.
        saturation: the same for the saturation.
        hue: turns are drawn from [-hue, hue], at most [-0.5, 0.5], or from the given (low, high).
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: a range is not allowed; when called, the images have neither 1 nor 3 channels.
        ArgumentTypeError: when called with what is neither uint8 nor floating-point.

    Named as torchvision.transforms.v2.ColorJitter, and computes as it does on tensors: floats lie
    in 0 ... 1, uint8 results are rounded down after each change. Images of one channel have no
    saturation and no hue to change.

    >>> ColorJitter(brightness=(2, 2))(np.array([[10, 200]], np.uint8))
    array([[ 20, 255]], dtype=uint8)
    """

    changes_colours = True

    def __init__(
        self,
        brightness: float | Sequence[float] | None = None,
        contrast: float | Sequence[float] | None = None,
        saturation: float | Sequence[float] | None = None,
        hue: float | Sequence[float] | None = None,
        *,
        layout: str | None = None,
    ) -> None:
        super().__init__(layout)
        self.brightness = _check_factors("brightness", brightness)
        self.contrast = _check_factors("contrast", contrast)
        self.saturation = _check_factors("saturation", saturation)
        self.hue = _check_hue(hue)

    @property
    def keeps_shape(self) -> bool:
        """Whether images keep shape and dtype: they do."""
        return True

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return the changed images; `images` itself if there is nothing to change."""
        ranges = (self.brightness, self.contrast, self.saturation, self.hue)
        count = colour_channels(images, axes, "ColorJitter")
        used = [number for number in range(len(ranges) if count == 3 else 2) if ranges[number] != _NEUTRAL[number]]
        if not used:
            return images
        low, high = np.array(ranges).T
        factors = low + (high - low) * fractions(draw(len(images)))
        order = np.argsort(draw(len(images)), axis=1, kind="stable")
        if notes_wanted():
            note(self, **{_CHANGED[number]: factors[:, number] for number in used}, order=_names(order, used))
        out = empty(images.shape, images.dtype)
        target = as_planes(out, axes)
        for rows, block in _blocks(images, axes, np.arange(len(images))):
            whole = images.dtype == np.uint8
            _jitter(block, factors[rows].astype(block.dtype), order[rows], used, whole=whole)
            target[rows] = block
        return out


class Grayscale(ImageTransform):
    """Make the images grey.

    Args:
        num_output_channels: 1, or 3 equal ones.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: num_output_channels is neither 1 nor 3; when called, the images have neither
            1 nor 3 channels, or 3 are to be made where the images have no dimension for them.
        ArgumentTypeError: when called with what is neither uint8 nor floating-point.

    Named as torchvision.transforms.v2.Grayscale, with its weights: 0.2989 red + 0.587 green + 0.114
    blue, rounded down for uint8.

    >>> Grayscale()(np.array([[[100, 200, 0]]], np.uint8))
    array([[[147]]], dtype=uint8)
    """

    changes_colours = True

    def __init__(self, num_output_channels: int = 1, *, layout: str | None = None) -> None:
        super().__init__(layout)
        if isinstance(num_output_channels, bool) or num_output_channels not in (1, 3):
            raise ArgumentError(f"num_output_channels must be 1 or 3, but got {num_output_channels!r}")
        self.num_output_channels = int(num_output_channels)

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return the grey images; `images` itself if they are grey and of as many channels already."""
        count = colour_channels(images, axes, "Grayscale")
        if count == self.num_output_channels == 1:
            return images
        if axes.channels is None:
            raise ArgumentError("Grayscale cannot make 3 channels of images without a dimension for them; use ToCHW")
        if count == 1:
            return np.repeat(images, self.num_output_channels, axes.channels)
        shape = list(images.shape)
        shape[axes.channels] = self.num_output_channels
        out = empty(tuple(shape), images.dtype)
        _write_grey(images, out, axes, np.arange(len(images)))
        return out


class RandomGrayscale(RandomImageTransform):
    """Make the image grey with probability p; it keeps its number of channels.

    Args:
        p: the probability, 0 ... 1.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: p is no probability; when called, the images have neither 1 nor 3 channels.
        ArgumentTypeError: when called with what is neither uint8 nor floating-point.

    Named as torchvision.transforms.v2.RandomGrayscale. An image that stays coloured is returned
    itself.

    >>> RandomGrayscale(p=1.0)(np.array([[[100, 200, 0]]], np.uint8))
    array([[[147, 147, 147]]], dtype=uint8)
    """

    changes_colours = True

    def __init__(self, p: float = 0.1, *, layout: str | None = None) -> None:
        super().__init__(layout)
        self.p = check_probability(p)

    @property
    def keeps_shape(self) -> bool:
        """Whether images keep shape and dtype: they do."""
        return True

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return the images, each grey or not; `images` itself if none of them becomes grey."""
        happened = happens(draw(len(images))[:, 0], self.p)
        note(self, made_grey=happened)
        chosen = np.flatnonzero(happened)
        if colour_channels(images, axes, "RandomGrayscale") == 1 or not len(chosen):
            return images
        out = empty(images.shape, images.dtype)
        np.copyto(out, images)
        _write_grey(images, out, axes, chosen)
        return out


def _names(order: NDArray[np.int64], used: list[int]) -> list[list[str]]:
    """Return the names of the changes that are made of each image, in their order."""
    return [[_CHANGED[number] for number in numbers if number in used] for numbers in order.tolist()]


# ---------------------------------------------------------------- images as planes of floats


def colour_channels(images: NDArray[Any], axes: Axes, who: str, allowed: tuple[int, ...] = (1, 3)) -> int:
    """Return the number of channels, 1 or 3, or another one that is allowed.

    Raises:
        ArgumentError: another number.
        ArgumentTypeError: the images are neither uint8 nor floating-point.
    """
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise ArgumentTypeError(
            f"{who} takes uint8 or floating-point images, but got {images.dtype}; put ToFloat() before it"
        )
    count = 1 if axes.channels is None else images.shape[axes.channels]
    if count not in allowed:
        numbers = " or ".join(map(str, allowed))
        raise ArgumentError(f"{who} takes images of {numbers} channels, but got {count} in images {images.shape[1:]}")
    return count


def as_planes(images: NDArray[Any], axes: Axes) -> NDArray[Any]:
    """Return the images as a view of shape (n, channels, height, width)."""
    return images[:, np.newaxis] if axes.channels is None else np.moveaxis(images, axes.channels, 1)


def _blocks(
    images: NDArray[Any], axes: Axes, rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
    """Yield some of the images, a few at a time: their rows and a contiguous copy of their planes as floats."""
    source = as_planes(images, axes)
    dtype = np.result_type(images.dtype, np.float32)
    nbytes = max(1, source[:1].size * dtype.itemsize)
    step = max(1, _BLOCK_BYTES // nbytes)
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        yield some, np.ascontiguousarray(source[some], dtype)


def _write_grey(images: NDArray[Any], out: NDArray[Any], axes: Axes, rows: NDArray[np.int64]) -> None:
    target = as_planes(out, axes)
    for some, block in _blocks(images, axes, rows):
        target[some] = _luma(block, whole=images.dtype == np.uint8)


# ---------------------------------------------------------------- the arithmetic, on shape (n, channels, height, width)
# Each in place or not: only what is returned counts. The factors are shaped (n, 1, 1, 1).


def _luma(block: NDArray[Any], *, whole: bool) -> NDArray[Any]:
    """Return the grey image of each, shape (n, 1, height, width); an image of one channel is its own."""
    if block.shape[1] == 1:
        return block
    red, green, blue = _LUMA.astype(block.dtype)
    grey: NDArray[Any] = block[:, 0] * red
    grey += block[:, 1] * green
    grey += block[:, 2] * blue
    return (np.floor(grey) if whole else grey)[:, np.newaxis]


def _jitter(
    block: NDArray[Any], factors: NDArray[Any], order: NDArray[np.int64], used: list[int], *, whole: bool
) -> None:
    """Change the images in place, each in its own order.

    Args:
        block: shape (n, channels, height, width).
        factors: of the four changes for each image, shape (n, 4).
        order: which change comes first, second, ... for each image, shape (n, 4).
        used: the changes that are to be made.
        whole: whether the pixels are 0 ... 255 rather than 0 ... 1.
    """
    for step in range(order.shape[1]):
        for change in used:
            rows = np.flatnonzero(order[:, step] == change)
            if len(rows):
                factor = factors[rows, change].reshape(-1, 1, 1, 1)
                block[rows] = _CHANGES[change](block[rows], factor, whole=whole)


def change_brightness(block: NDArray[Any], factor: NDArray[Any], *, whole: bool) -> NDArray[Any]:
    """Mix with black."""
    return _limited(block * factor, whole=whole)


def change_contrast(block: NDArray[Any], factor: NDArray[Any], *, whole: bool) -> NDArray[Any]:
    """Mix with the mean grey."""
    grey = _luma(block, whole=whole)
    # One mean at a time: over a whole block NumPy may add in another order than over one image.
    means = np.array([plane.mean(dtype=np.float64) for plane in grey.reshape(len(grey), -1)], block.dtype)
    return _limited(block * factor + means.reshape(-1, 1, 1, 1) * (1 - factor), whole=whole)


def change_saturation(block: NDArray[Any], factor: NDArray[Any], *, whole: bool) -> NDArray[Any]:
    """Mix with the grey image."""
    return _limited(block * factor + _luma(block, whole=whole) * (1 - factor), whole=whole)


def _change_hue(block: NDArray[Any], factor: NDArray[Any], *, whole: bool) -> NDArray[Any]:
    """Turn the hue by a part of the circle; value and chroma stay (Smith, "Color Gamut Transform Pairs", 1978)."""
    red, green, blue = block[:, 0], block[:, 1], block[:, 2]
    value = block.max(axis=1)
    chroma = value - block.min(axis=1)
    divisor = np.where(chroma == 0, 1, chroma)
    of_green = np.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4)
    hue = np.where(value == red, (green - blue) / divisor, of_green) + 6 * factor[:, 0]
    out = np.empty_like(block)
    for channel, offset in enumerate(_HUE_OFFSETS):
        place = hue + offset
        place -= 6 * np.floor(place / 6)
        out[:, channel] = value - chroma * np.clip(np.minimum(place, 4 - place), 0, 1)
    # torchvision's way from 0 ... 1 to 0 ... 255
    return np.floor(out * (255.999 / 255)) if whole else out


def _limited(block: NDArray[Any], *, whole: bool) -> NDArray[Any]:
    np.clip(block, 0, 255 if whole else 1, out=block)
    return np.floor(block, out=block) if whole else block


_CHANGES = (change_brightness, change_contrast, change_saturation, _change_hue)
_NEUTRAL = ((1.0, 1.0), (1.0, 1.0), (1.0, 1.0), (0.0, 0.0))


# ---------------------------------------------------------------- arguments


def _check_factors(name: str, value: Any) -> tuple[float, float]:
    ends = _numbers(0 if value is None else value)
    if len(ends) == 1 and ends[0] >= 0:
        return max(0.0, 1 - ends[0]), 1 + ends[0]
    if len(ends) == 2 and 0 <= ends[0] <= ends[1]:
        return ends[0], ends[1]
    raise ArgumentError(f"{name} must be a number from 0, or (low, high) with 0 <= low <= high, but got {value!r}")


def _check_hue(value: Any) -> tuple[float, float]:
    ends = _numbers(0 if value is None else value)
    if len(ends) == 1 and 0 <= ends[0] <= 0.5:
        return -ends[0], ends[0]
    if len(ends) == 2 and -0.5 <= ends[0] <= ends[1] <= 0.5:
        return ends[0], ends[1]
    raise ArgumentError(
        f"hue must be a number in [0, 0.5], or (low, high) with -0.5 <= low <= high <= 0.5, but got {value!r}"
    )


def _numbers(value: Any) -> list[float]:
    """Return the one or two finite numbers; none if it is anything else."""
    sequence = isinstance(value, list | tuple | np.ndarray) and np.ndim(value) == 1
    values = list(value) if sequence else [value]
    if len(values) != (2 if sequence else 1):
        return []
    if any(isinstance(item, bool) or not isinstance(item, int | float | np.number) for item in values):
        return []
    numbers = [float(item) for item in values]
    return numbers if all(map(np.isfinite, numbers)) else []
