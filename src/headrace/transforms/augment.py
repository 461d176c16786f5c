"""Automatic augmentation: operations of a fixed set, chosen for each image."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.arena import empty
from headrace.errors import ArgumentError
from headrace.images.interpolation import check_interpolation
from headrace.rng.draws import draw
from headrace.rng.notes import note, notes_wanted
from headrace.transforms.augment_operations import OPERATIONS, Range
from headrace.transforms.base import RandomImageTransform
from headrace.transforms.color import as_planes, colour_channels
from headrace.transforms.fill import check_fill, fill_of
from headrace.transforms.warping import INTERPOLATIONS, sampling_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.images.layout import Axes
    from headrace.transforms.warping import Sampling

    Plan = Sequence[tuple[str, float]]

__all__ = ["AutomaticAugmentation", "RandAugment", "TrivialAugmentWide", "check_count", "ranges"]

_CHANNELS = (1, 3, 4)


class AutomaticAugmentation(RandomImageTransform):
    """Applies operations to each image, which derived classes choose."""

    changes_colours = True

    def __init__(self, interpolation: Any, fill: float | Sequence[float] | None, layout: str | None) -> None:
        super().__init__(layout)
        self.interpolation = check_interpolation(interpolation, INTERPOLATIONS)
        self.fill = check_fill(fill)

    @property
    def keeps_shape(self) -> bool:
        """Whether images keep shape and dtype: they do."""
        return True

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return the images, each after its operations."""
        colour_channels(images, axes, type(self).__name__, _CHANNELS)
        sampling = sampling_of(fill_of(self.fill), self.interpolation, images, axes)
        if not images.size:
            return images
        plans = self.plans(len(images), (images.shape[axes.height], images.shape[axes.width]))
        if notes_wanted():
            noted = [self.noted(plan) for plan in plans]
            note(self, **{name: [each[name] for each in noted] for name in noted[0]})
        out = empty(images.shape, images.dtype)
        target = as_planes(out, axes)
        for row, (image, plan) in enumerate(zip(as_planes(images, axes), plans, strict=True)):
            target[row] = self.augment(image, plan, sampling)
        return out

    @abstractmethod
    def plans(self, count: int, extent: tuple[int, int]) -> Sequence[Any]:
        """Return what is to be done with each of so many images of a height and width."""

    def noted(self, plan: Any) -> dict[str, Any]:
        """Return what is noted of a plan."""
        return {"operations": [f"{name} {magnitude:.3g}" for name, magnitude in plan]}

    def augment(self, image: NDArray[Any], plan: Any, sampling: Sampling) -> NDArray[Any]:
        """Return an image, as planes, after the operations of a plan: names and magnitudes."""
        for name, magnitude in plan:
            image = OPERATIONS[name](image, magnitude, sampling)
        return image


def ranges(*, shear: float, translate: tuple[float, str | None], rotate: float, mix: float, bits: int) -> Any:
    """Return the ranges of the operations that most policies have, in torchvision's order.

    Args:
        shear: the most that a line moves for each one.
        translate: the most that an image moves: pixels, or parts of the image with what they are parts of.
        rotate: the most degrees.
        mix: how far the most extreme image is from the given one, which is 0.
        bits: the fewest that posterizing keeps.

    >>> list(ranges(shear=0.3, translate=(0.4, "each"), rotate=30, mix=0.9, bits=4))[:3]
    ['Identity', 'ShearX', 'ShearY']
    """
    by, per = translate
    mixed = Range(0, mix, signed=True)
    return {
        "Identity": Range(),
        "ShearX": Range(0, shear, signed=True),
        "ShearY": Range(0, shear, signed=True),
        "TranslateX": Range(0, by, signed=True, per=per and "width"),
        "TranslateY": Range(0, by, signed=True, per=per and "height"),
        "Rotate": Range(0, rotate, signed=True),
        **dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), mixed),
        "Posterize": Range(8, bits),
        "Solarize": Range(1, 0),
        "AutoContrast": Range(),
        "Equalize": Range(),
    }


_TRIVIAL: dict[str, Range] = ranges(shear=0.99, translate=(32, None), rotate=135, mix=0.99, bits=2)
_RAND: dict[str, Range] = ranges(shear=0.3, translate=(150 / 331, "each"), rotate=30, mix=0.9, bits=4)


class TrivialAugmentWide(AutomaticAugmentation):
    """Apply one of fourteen operations to each image, with a random magnitude.

    They are: nothing, shear and translation along each side, rotation, brightness, colour, contrast,
    sharpness, posterize, solarize, autocontrast and equalize.

    Args:
        num_magnitude_bins: how many magnitudes an operation has, at least 2.
        interpolation: of what a pixel is made where the image is moved: "nearest" for the nearest
            one, "bilinear" for the four around it; torchvision's and Pillow's constants too.
        fill: the value of pixels that come from outside the image: one number, or one a channel; None for 0.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: num_magnitude_bins is too small, or interpolation is another; when called, the
            images have none of 1, 3 and 4 channels, or fill does not fit them.
        ArgumentTypeError: when called with what is neither uint8 nor floating-point.

    Named as torchvision.transforms.v2.TrivialAugmentWide, and computes as it does on tensors; Müller and
    Hutter, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation", ICCV 2021. Floats lie in
    0 ... 1. The last one of four channels is alpha, which is moved with the others and else stays.

    >>> TrivialAugmentWide()(np.zeros((32, 32, 3), np.uint8)).shape
    (32, 32, 3)
    """

    def __init__(
        self,
        num_magnitude_bins: int = 31,
        interpolation: Any = "nearest",
        fill: float | Sequence[float] | None = None,
        *,
        layout: str | None = None,
    ) -> None:
        super().__init__(interpolation, fill, layout)
        self.num_magnitude_bins = check_count("num_magnitude_bins", num_magnitude_bins, 2)

    def plans(self, count: int, extent: tuple[int, int]) -> Sequence[Plan]:
        """Return the operation of each image."""
        return [[self._choose(words, extent)] for words in draw(count).tolist()]

    def _choose(self, words: list[int], extent: tuple[int, int]) -> tuple[str, float]:
        name = list(_TRIVIAL)[words[0] * len(_TRIVIAL) >> 32]
        place = (words[1] * self.num_magnitude_bins >> 32) / (self.num_magnitude_bins - 1)
        return name, _TRIVIAL[name].magnitude(place, words[2], extent)


class RandAugment(AutomaticAugmentation):
    """Apply some of fourteen operations to each image, all with the same magnitude.

    They are those of `TrivialAugmentWide`, with narrower ranges.

    Args:
        num_ops: how many are applied, one after the other; one may come again.
        magnitude: which of the magnitudes an operation has, from 0.
        num_magnitude_bins: how many there are, at least 2.
        interpolation: "nearest" or "bilinear"; see TrivialAugmentWide.
        fill: the value of pixels that come from outside the image: one number, or one a channel; None for 0.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: num_ops is negative, magnitude none of the bins, or interpolation another; when called,
            the images have none of 1, 3 and 4 channels, or fill does not fit them.
        ArgumentTypeError: when called with what is neither uint8 nor floating-point.

    Named as torchvision.transforms.v2.RandAugment, and computes as it does on tensors; Cubuk et al.,
    "RandAugment: Practical Automated Data Augmentation with a Reduced Search Space", NeurIPS 2020. Floats lie in
    0 ... 1. The last one of four channels is alpha, which is moved with the others and else stays.

    >>> RandAugment()(np.zeros((32, 32, 3), np.uint8)).shape
    (32, 32, 3)
    """

    def __init__(
        self,
        num_ops: int = 2,
        magnitude: int = 9,
        num_magnitude_bins: int = 31,
        interpolation: Any = "nearest",
        fill: float | Sequence[float] | None = None,
        *,
        layout: str | None = None,
    ) -> None:
        super().__init__(interpolation, fill, layout)
        self.num_ops = check_count("num_ops", num_ops, 0)
        self.num_magnitude_bins = check_count("num_magnitude_bins", num_magnitude_bins, 2)
        self.magnitude = check_count("magnitude", magnitude, 0, self.num_magnitude_bins - 1)

    def plans(self, count: int, extent: tuple[int, int]) -> Sequence[Plan]:
        """Return the operations of each image."""
        plans: list[list[tuple[str, float]]] = [[] for _ in range(count)]
        for _ in range(self.num_ops):
            for plan, words in zip(plans, draw(count).tolist(), strict=True):
                plan.append(self._choose(words, extent))
        return plans

    def _choose(self, words: list[int], extent: tuple[int, int]) -> tuple[str, float]:
        name = list(_RAND)[words[0] * len(_RAND) >> 32]
        return name, _RAND[name].magnitude(self.magnitude / (self.num_magnitude_bins - 1), words[1], extent)


def check_count(name: str, value: Any, least: int, most: int | None = None) -> int:
    """Return an integer argument; raise an ArgumentError for what is none, or lies outside of its limits."""
    integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not integer or value < least or (most is not None and value > most):
        limits = f"from {least}" if most is None else f"in [{least}, {most}]"
        raise ArgumentError(f"{name} must be an integer {limits}, but got {value!r}")
    return int(value)
