"""The operations that policies of automatic augmentation choose from, by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace.transforms.color import change_brightness, change_contrast, change_saturation
from headrace.transforms.maps import rotation, shear, translation
from headrace.transforms.operations import autocontrast, equalize, invert, posterize, sharpen, solarize
from headrace.transforms.warping import warp_planes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.transforms.maps import Map
    from headrace.transforms.warping import Sampling

    Planes = NDArray[Any]
    Apply = Callable[[Planes, float, Sampling], Planes]

__all__ = ["OPERATIONS", "Range"]

_COLOURS = 3  # the channels before alpha


class Range(NamedTuple):
    """The magnitudes that an operation may have.

    Attributes:
        least: the magnitude of the first bin.
        most: that of the last one.
        signed: whether the magnitude is negative half of the time.
        per: "width" or "height" where they are parts of the image's; None where they are what they are.
    """

    least: float = 0.0
    most: float = 0.0
    signed: bool = False
    per: str | None = None

    def magnitude(self, place: float, word: int, extent: tuple[int, int]) -> float:
        """Return a magnitude.

        Args:
            place: where it lies between the least and the most, 0 ... 1.
            word: 32 random bits, which tell the sign.
            extent: height and width of the image.

        >>> Range(0, 0.5, signed=True, per="width").magnitude(0.5, 0, (10, 100))
        -25.0
        """
        magnitude = self.least + (self.most - self.least) * place
        if self.per is not None:
            magnitude *= extent[self.per == "width"]
        return -magnitude if self.signed and word < 2**31 else magnitude


def _moving(map_of: Callable[[float, tuple[int, ...]], Map]) -> Apply:
    """Return a move of pixels as an operation: by a map for a magnitude and an extent."""

    def apply(image: Planes, magnitude: float, sampling: Sampling) -> Planes:
        return warp_planes(image, map_of(magnitude, image.shape[1:]), sampling)

    return apply


def _changing(change: Callable[[Planes, float], Planes]) -> Apply:
    """Return a change of values as an operation, which leaves alpha alone."""

    def apply(image: Planes, magnitude: float, _: Sampling) -> Planes:
        if len(image) <= _COLOURS:
            return change(image, magnitude)
        return np.concatenate([change(image[:_COLOURS], magnitude), image[_COLOURS:]])

    return apply


def _mixing(mix: Callable[..., Planes]) -> Apply:
    """Return a mixture with a greyer or darker image as an operation."""

    def change(image: Planes, magnitude: float) -> Planes:
        block = image[np.newaxis].astype(np.result_type(image.dtype, np.float32))
        factor = np.full((1, 1, 1, 1), 1 + magnitude, block.dtype)
        mixed: Planes = mix(block, factor, whole=image.dtype == np.uint8)[0].astype(image.dtype)
        return mixed

    return _changing(change)


def _solarize(image: Planes, part: float) -> Planes:
    return solarize(image, (255 if image.dtype == np.uint8 else 1) * part)


OPERATIONS: dict[str, Apply] = {
    "Identity": lambda image, _, __: image,
    "ShearX": _moving(lambda by, _: shear(x=by)),
    "ShearY": _moving(lambda by, _: shear(y=by)),
    "TranslateX": _moving(lambda by, _: translation(x=int(by))),
    "TranslateY": _moving(lambda by, _: translation(y=int(by))),
    "Rotate": _moving(lambda by, extent: rotation(by, (extent[1] / 2, extent[0] / 2))),
    "Brightness": _mixing(change_brightness),
    "Color": _mixing(change_saturation),
    "Contrast": _mixing(change_contrast),
    "Sharpness": _changing(lambda image, by: sharpen(image, 1 + by)),
    "Posterize": _changing(lambda image, by: posterize(image, round(by))),
    "Solarize": _changing(_solarize),
    "AutoContrast": _changing(lambda image, _: autocontrast(image)),
    "Equalize": _changing(lambda image, _: equalize(image)),
    "Invert": _changing(lambda image, _: invert(image)),
}
