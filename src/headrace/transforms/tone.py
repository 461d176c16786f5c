"""Transforms that change the values of pixels in a given way, each image with a probability."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.arena import empty
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.rng.draws import draw
from headrace.rng.notes import note
from headrace.transforms.base import RandomImageTransform
from headrace.transforms.chance import check_probability, happens, is_number
from headrace.transforms.color import as_planes, colour_channels
from headrace.transforms.operations import autocontrast, equalize, invert, posterize, sharpen, solarize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.images.layout import Axes

__all__ = [
    "RandomAdjustSharpness",
    "RandomAutocontrast",
    "RandomChange",
    "RandomEqualize",
    "RandomInvert",
    "RandomPosterize",
    "RandomSolarize",
]


class RandomChange(RandomImageTransform):
    """Changes each image with a probability."""

    changes_colours = True

    def __init__(self, p: float, layout: str | None) -> None:
        super().__init__(layout)
        self.p = check_probability(p)

    @property
    def keeps_shape(self) -> bool:
        """Whether images keep shape and dtype: they do."""
        return True

    def check(self, images: NDArray[Any], axes: Axes) -> None:  # noqa: ARG002 - most change images of any channels
        """Raise an error for images that cannot be changed."""
        if images.dtype != np.uint8 and images.dtype.kind != "f":
            raise ArgumentTypeError(
                f"{type(self).__name__} takes uint8 or floating-point images, but got {images.dtype}; "
                "put ToDtype(numpy.uint8, scale=True) before it"
            )

    @abstractmethod
    def change(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return what an image becomes, as planes: shape (channels, height, width)."""

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return the images, each changed or not; `images` itself if none of them is."""
        happened = happens(draw(len(images))[:, 0], self.p)
        note(self, applied=happened)
        chosen = np.flatnonzero(happened)
        self.check(images, axes)
        if not len(chosen) or not images.size:
            return images
        out = empty(images.shape, images.dtype)
        np.copyto(out, images)
        planes = as_planes(out, axes)
        for row in chosen.tolist():
            planes[row] = self.change(planes[row])
        return out


class RandomInvert(RandomChange):
    """Invert the image with probability p.

    Args:
        p: the probability, 0 ... 1.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: p is no probability.
        ArgumentTypeError: when called with what is neither uint8 nor floating-point.

    Named as torchvision.transforms.v2.RandomInvert. Floats lie in 0 ... 1.

    >>> RandomInvert(p=1.0)(np.array([[0, 200]], np.uint8))
    array([[255,  55]], dtype=uint8)
    """

    def __init__(self, p: float = 0.5, *, layout: str | None = None) -> None:
        super().__init__(p, layout)

    def change(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return the inverse."""
        return invert(image)


class RandomPosterize(RandomChange):
    """Keep the highest bits of each value, with probability p.

    Args:
        bits: how many, 0 ... 8.
        p: the probability, 0 ... 1.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: bits or p is not allowed.
        ArgumentTypeError: when called with what is neither uint8 nor floating-point.

    Named as torchvision.transforms.v2.RandomPosterize. Floats lie in 0 ... 1.

    >>> RandomPosterize(bits=2, p=1.0)(np.array([[63, 64, 255]], np.uint8))
    array([[  0,  64, 192]], dtype=uint8)
    """

    def __init__(self, bits: int, p: float = 0.5, *, layout: str | None = None) -> None:
        super().__init__(p, layout)
        self.bits = _check_bits(bits)

    def change(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return the image with the highest bits alone."""
        return posterize(image, self.bits)


class RandomSolarize(RandomChange):
    """Invert the values from a threshold on, with probability p.

    Args:
        threshold: the least value that is inverted, in the images' own units.
        p: the probability, 0 ... 1.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: threshold is no number or p no probability; when called, threshold is above the largest value.
        ArgumentTypeError: when called with what is neither uint8 nor floating-point.

    Named as torchvision.transforms.v2.RandomSolarize. Floats lie in 0 ... 1.

    >>> RandomSolarize(threshold=128, p=1.0)(np.array([[127, 128, 255]], np.uint8))
    array([[127, 127,   0]], dtype=uint8)
    """

    def __init__(self, threshold: float, p: float = 0.5, *, layout: str | None = None) -> None:
        super().__init__(p, layout)
        if not is_number(threshold) or not math.isfinite(threshold):
            raise ArgumentError(f"threshold must be a finite number, but got threshold={threshold!r}")
        self.threshold = float(threshold)

    def check(self, images: NDArray[Any], axes: Axes) -> None:
        """Raise an error for images whose values are all below the threshold."""
        super().check(images, axes)
        largest = 255 if images.dtype == np.uint8 else 1
        if self.threshold > largest:
            raise ArgumentError(
                f"threshold={self.threshold:g} is above {largest}, the largest value of {images.dtype} images; "
                "give it in their own units"
            )

    def change(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return the image with its bright values inverted."""
        return solarize(image, self.threshold)


class RandomEqualize(RandomChange):
    """Change the values of each channel so that all ranges of them are about equally frequent, with probability p.

    Args:
        p: the probability, 0 ... 1.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: p is no probability.
        ArgumentTypeError: when called with what is neither uint8 nor floating-point.

    Named as torchvision.transforms.v2.RandomEqualize. Floats lie in 0 ... 1, and count in 256 levels.

    >>> image = np.arange(100, 164, dtype=np.uint8).repeat(16).reshape(32, 32)
    >>> int(np.ptp(RandomEqualize(p=1.0)(image)))
    255
    """

    def __init__(self, p: float = 0.5, *, layout: str | None = None) -> None:
        super().__init__(p, layout)

    def change(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return the image with its values spread."""
        return equalize(image)


class RandomAutocontrast(RandomChange):
    """Stretch the values of each channel over the whole range, with probability p.

    Args:
        p: the probability, 0 ... 1.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: p is no probability; when called, the images have neither 1 nor 3 channels.
        ArgumentTypeError: when called with what is neither uint8 nor floating-point.

    Named as torchvision.transforms.v2.RandomAutocontrast. Floats lie in 0 ... 1.

    >>> RandomAutocontrast(p=1.0)(np.array([[0.25, 0.5, 0.75]]))
    array([[0. , 0.5, 1. ]])
    """

    def __init__(self, p: float = 0.5, *, layout: str | None = None) -> None:
        super().__init__(p, layout)

    def check(self, images: NDArray[Any], axes: Axes) -> None:
        """Raise an error for images of other channels."""
        colour_channels(images, axes, "RandomAutocontrast")

    def change(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return the image with its values stretched."""
        return autocontrast(image)


class RandomAdjustSharpness(RandomChange):
    """Make the image sharper or smoother, with probability p.

    Args:
        sharpness_factor: 0 for a smoothed image, 1 for the image, 2 for one that is sharper by as much.
        p: the probability, 0 ... 1.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: sharpness_factor is negative or p no probability; when called, the images have neither
            1 nor 3 channels.
        ArgumentTypeError: when called with what is neither uint8 nor floating-point.

    Named as torchvision.transforms.v2.RandomAdjustSharpness. Floats lie in 0 ... 1. The outermost pixels stay.

    >>> RandomAdjustSharpness(2, p=1.0)(np.diag([0, 100, 0]).astype(np.uint8))[1]
    array([  0, 162,   0], dtype=uint8)
    """

    def __init__(self, sharpness_factor: float, p: float = 0.5, *, layout: str | None = None) -> None:
        super().__init__(p, layout)
        if not is_number(sharpness_factor) or not 0 <= sharpness_factor < math.inf:
            raise ArgumentError(f"sharpness_factor must be a number from 0, but got {sharpness_factor!r}")
        self.sharpness_factor = float(sharpness_factor)

    def check(self, images: NDArray[Any], axes: Axes) -> None:
        """Raise an error for images of other channels."""
        colour_channels(images, axes, "RandomAdjustSharpness")

    def change(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return the sharpened image."""
        return sharpen(image, self.sharpness_factor)


def _check_bits(bits: Any) -> int:
    if isinstance(bits, bool) or not isinstance(bits, int | np.integer) or not 0 <= bits <= 8:
        raise ArgumentError(f"bits must be an integer in [0, 8], but got bits={bits!r}")
    return int(bits)
