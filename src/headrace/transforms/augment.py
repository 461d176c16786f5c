"""Augmentation that needs no tuning: one operation of a fixed set for each image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace.batch.arena import empty
from headrace.errors import ArgumentError
from headrace.images.interpolation import check_interpolation
from headrace.rng.draws import draw
from headrace.transforms.base import RandomImageTransform, per_channel
from headrace.transforms.color import as_planes, change_brightness, change_contrast, change_saturation, colour_channels
from headrace.transforms.operations import (
    Sampling,
    autocontrast,
    equalize,
    posterize,
    rotate,
    sharpen,
    shear,
    solarize,
    translate,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from headrace.images.layout import Axes

    Apply = Callable[[NDArray[Any], float, Sampling], NDArray[Any]]

__all__ = ["TrivialAugmentWide"]

_HALF = 2**31  # of all words


class _Operation(NamedTuple):
    """An operation that may be applied to an image.

    Attributes:
        apply: takes the planes of an image, a magnitude, and how pixels of a moved image are taken.
        least: the magnitude of the first bin.
        most: that of the last one.
        signed: whether the magnitude is negative half of the time.
    """

    apply: Apply
    least: float = 0.0
    most: float = 0.0
    signed: bool = False


def _changed(change: Callable[..., NDArray[Any]]) -> Apply:
    """Return a change of colours as an operation."""

    def apply(image: NDArray[Any], magnitude: float, _: Sampling) -> NDArray[Any]:
        block = image[np.newaxis].astype(np.result_type(image.dtype, np.float32))
        factor = np.full((1, 1, 1, 1), 1 + magnitude, block.dtype)
        result: NDArray[Any] = change(block, factor, whole=image.dtype == np.uint8)[0].astype(image.dtype)
        return result

    return apply


# In the order of torchvision.transforms.v2.TrivialAugmentWide, and with its magnitudes.
_OPERATIONS = {
    "Identity": _Operation(lambda image, _, __: image),
    "ShearX": _Operation(lambda image, by, how: shear(image, how, x=by), 0, 0.99, signed=True),
    "ShearY": _Operation(lambda image, by, how: shear(image, how, y=by), 0, 0.99, signed=True),
    "TranslateX": _Operation(lambda image, by, how: translate(image, how, x=int(by)), 0, 32, signed=True),
    "TranslateY": _Operation(lambda image, by, how: translate(image, how, y=int(by)), 0, 32, signed=True),
    "Rotate": _Operation(lambda image, by, how: rotate(image, how, by), 0, 135, signed=True),
    "Brightness": _Operation(_changed(change_brightness), 0, 0.99, signed=True),
    "Color": _Operation(_changed(change_saturation), 0, 0.99, signed=True),
    "Contrast": _Operation(_changed(change_contrast), 0, 0.99, signed=True),
    "Sharpness": _Operation(lambda image, by, _: sharpen(image, 1 + by), 0, 0.99, signed=True),
    "Posterize": _Operation(lambda image, by, _: posterize(image, round(by)), 8, 2),
    "Solarize": _Operation(lambda image, by, _: solarize(image, (255 if image.dtype == np.uint8 else 1) * by), 1, 0),
    "AutoContrast": _Operation(lambda image, _, __: autocontrast(image)),
    "Equalize": _Operation(lambda image, _, __: equalize(image)),
}


class TrivialAugmentWide(RandomImageTransform):
    """Apply one of fourteen operations to each image, with a random magnitude.

    They are: nothing, shear and translation along each side, rotation, brightness, colour, contrast,
    sharpness, posterize, solarize, autocontrast and equalize.

    Args:
        num_magnitude_bins: how many magnitudes an operation has, at least 2.
        interpolation: of what a pixel is made where the image is moved: "nearest" for the nearest
            one, "bilinear" for the four around it; torchvision's and Pillow's constants too.
        fill: the value of pixels that come from outside the image: one number, or one a channel.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: num_magnitude_bins is too small, or interpolation is another; when called, the
            images have neither 1 nor 3 channels, or fill does not fit them.
        ArgumentTypeError: when called with what is neither uint8 nor floating-point.

    Named as torchvision.transforms.v2.TrivialAugmentWide, and computes as it does on tensors; Müller and
    Hutter, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation", ICCV 2021. Floats lie in
    0 ... 1.

    >>> TrivialAugmentWide()(np.zeros((32, 32, 3), np.uint8)).shape
    (32, 32, 3)
    """

    def __init__(
        self,
        num_magnitude_bins: int = 31,
        interpolation: Any = "nearest",
        fill: float | Sequence[float] = 0,
        *,
        layout: str | None = None,
    ) -> None:
        super().__init__(layout)
        self.num_magnitude_bins = _check_bins(num_magnitude_bins)
        self.interpolation = check_interpolation(interpolation, ("nearest", "bilinear"))
        self.fill = fill

    @property
    def keeps_shape(self) -> bool:
        """Whether images keep shape and dtype: they do."""
        return True

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return the images, each after its operation."""
        channels = colour_channels(images, axes, "TrivialAugmentWide")
        fill = np.broadcast_to(per_channel("fill", self.fill, images, axes).reshape(-1, 1), (channels, 1))
        sampling = Sampling(fill, self.interpolation)
        if not images.size:
            return images
        out = empty(images.shape, images.dtype)
        target = as_planes(out, axes)
        for row, (image, words) in enumerate(zip(as_planes(images, axes), draw(len(images)).tolist(), strict=True)):
            operation, magnitude = self._choose(words)
            target[row] = operation.apply(image, magnitude, sampling)
        return out

    def _choose(self, words: list[int]) -> tuple[_Operation, float]:
        operation = list(_OPERATIONS.values())[words[0] * len(_OPERATIONS) >> 32]
        place = (words[1] * self.num_magnitude_bins >> 32) / (self.num_magnitude_bins - 1)
        magnitude = operation.least + (operation.most - operation.least) * place
        return operation, -magnitude if operation.signed and words[2] < _HALF else magnitude


def _check_bins(bins: Any) -> int:
    if isinstance(bins, bool) or not isinstance(bins, int | np.integer) or bins < 2:
        raise ArgumentError(f"num_magnitude_bins must be an integer from 2, but got {bins!r}")
    return int(bins)
