"""AutoAugment: pairs of operations that were found to be good for a dataset."""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.errors import ArgumentError
from headrace.rng.draws import draw
from headrace.transforms.augment import AutomaticAugmentation, ranges
from headrace.transforms.augment_operations import Range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.transforms.augment import Plan

__all__ = ["AutoAugment", "AutoAugmentPolicy"]


class AutoAugmentPolicy(Enum):
    """The policies of AutoAugment, by the dataset that they were found on.

    >>> AutoAugmentPolicy("cifar10")
    <AutoAugmentPolicy.CIFAR10: 'cifar10'>
    """

    IMAGENET = "imagenet"
    CIFAR10 = "cifar10"
    SVHN = "svhn"


class _Step(NamedTuple):
    """An operation that is applied with a probability, and which of ten magnitudes it has."""

    name: str
    p: float
    magnitude: int


# The tables 7, 8 and 9 of the paper: pairs of operations with probability in tenths and magnitude, a pair a line.
_POLICIES = {
    "imagenet": """
        Posterize 4 8, Rotate 6 9
        Solarize 6 5, AutoContrast 6
        Equalize 8, Equalize 6
        Posterize 6 7, Posterize 6 6
        Equalize 4, Solarize 2 4
        Equalize 4, Rotate 8 8
        Solarize 6 3, Equalize 6
        Posterize 8 5, Equalize 10
        Rotate 2 3, Solarize 6 8
        Equalize 6, Posterize 4 6
        Rotate 8 8, Color 4 0
        Rotate 4 9, Equalize 6
        Equalize 0, Equalize 8
        Invert 6, Equalize 10
        Color 6 4, Contrast 10 8
        Rotate 8 8, Color 10 2
        Color 8 8, Solarize 8 7
        Sharpness 4 7, Invert 6
        ShearX 6 5, Equalize 10
        Color 4 0, Equalize 6
        Equalize 4, Solarize 2 4
        Solarize 6 5, AutoContrast 6
        Invert 6, Equalize 10
        Color 6 4, Contrast 10 8
        Equalize 8, Equalize 6""",
    "cifar10": """
        Invert 1, Contrast 2 6
        Rotate 7 2, TranslateX 3 9
        Sharpness 8 1, Sharpness 9 3
        ShearY 5 8, TranslateY 7 9
        AutoContrast 5, Equalize 9
        ShearY 2 7, Posterize 3 7
        Color 4 3, Brightness 6 7
        Sharpness 3 9, Brightness 7 9
        Equalize 6, Equalize 5
        Contrast 6 7, Sharpness 6 5
        Color 7 7, TranslateX 5 8
        Equalize 3, AutoContrast 4
        TranslateY 4 3, Sharpness 2 6
        Brightness 9 6, Color 2 8
        Solarize 5 2, Invert 0
        Equalize 2, AutoContrast 6
        Equalize 2, Equalize 6
        Color 9 9, Equalize 6
        AutoContrast 8, Solarize 2 8
        Brightness 1 3, Color 7 0
        Solarize 4 5, AutoContrast 9
        TranslateY 9 9, TranslateY 7 9
        AutoContrast 9, Solarize 8 3
        Equalize 8, Invert 1
        TranslateY 7 9, AutoContrast 9""",
    "svhn": """
        ShearX 9 4, Invert 2
        ShearY 9 8, Invert 7
        Equalize 6, Solarize 6 6
        Invert 9, Equalize 6
        Equalize 6, Rotate 9 3
        ShearX 9 4, AutoContrast 8
        ShearY 9 8, Invert 4
        ShearY 9 5, Solarize 2 6
        Invert 9, AutoContrast 8
        Equalize 6, Rotate 9 3
        ShearX 9 4, Solarize 3 3
        ShearY 8 8, Invert 7
        Equalize 9, TranslateY 6 6
        Invert 9, Equalize 6
        Contrast 3 3, Rotate 8 4
        Invert 8, TranslateY 0 2
        ShearY 7 6, Solarize 4 8
        Invert 6, Rotate 8 4
        ShearY 3 7, TranslateX 9 3
        ShearX 1 6, Invert 6
        Solarize 7 2, TranslateY 6 7
        ShearY 8 4, Invert 8
        ShearX 7 9, TranslateY 8 3
        ShearY 8 5, AutoContrast 7
        ShearX 7 2, Invert 1""",
}

_MAGNITUDES = 10
_WORDS = 2.0**32
_RANGES: dict[str, Range] = {
    **ranges(shear=0.3, translate=(150 / 331, "each"), rotate=30, mix=0.9, bits=4),
    "Invert": Range(),
}


class AutoAugment(AutomaticAugmentation):
    """Apply one of 25 pairs of operations to each image, each of the two with a probability of its own.

    Args:
        policy: "imagenet", "cifar10" or "svhn", or the AutoAugmentPolicy of that name, torchvision's too.
        interpolation: "nearest" or "bilinear"; see TrivialAugmentWide.
        fill: the value of pixels that come from outside the image: one number, or one a channel; None for 0.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: policy or interpolation is another; when called, the images have none of 1, 3 and 4
            channels, or fill does not fit them.
        ArgumentTypeError: when called with what is neither uint8 nor floating-point.

    Named as torchvision.transforms.v2.AutoAugment, and computes as it does on tensors; Cubuk et al.,
    "AutoAugment: Learning Augmentation Strategies from Data", CVPR 2019. Floats lie in 0 ... 1. The last one of
    four channels is alpha, which is moved with the others and else stays.

    >>> import numpy as np
    >>> AutoAugment("cifar10")(np.zeros((32, 32, 3), np.uint8)).shape
    (32, 32, 3)
    """

    def __init__(
        self,
        policy: Any = AutoAugmentPolicy.IMAGENET,
        interpolation: Any = "nearest",
        fill: float | Sequence[float] | None = None,
        *,
        layout: str | None = None,
    ) -> None:
        super().__init__(interpolation, fill, layout)
        self.policy = _check_policy(policy)

    def plans(self, count: int, extent: tuple[int, int]) -> Sequence[Plan]:
        """Return the operations of each image."""
        pairs = _pairs(self.policy)
        draws = draw(count).tolist(), draw(count).tolist()
        return [
            [
                (step.name, _RANGES[step.name].magnitude(step.magnitude / (_MAGNITUDES - 1), sign, extent))
                for step, (_, word, sign, _) in zip(pairs[one[0] * len(pairs) >> 32], (one, other), strict=True)
                if word < step.p * _WORDS
            ]
            for one, other in zip(*draws, strict=True)
        ]


@cache
def _pairs(policy: AutoAugmentPolicy) -> list[list[_Step]]:
    """Return the pairs of operations of a policy."""
    lines = _POLICIES[policy.value].strip().splitlines()
    return [[_step(*text.split()) for text in line.split(",")] for line in lines]


def _step(name: str, tenths: str, magnitude: str = "0") -> _Step:
    return _Step(name, int(tenths) / 10, int(magnitude))


def _check_policy(policy: Any) -> AutoAugmentPolicy:
    try:
        return AutoAugmentPolicy(policy.value if isinstance(policy, Enum) else policy)
    except ValueError:
        names = ", ".join(each.value for each in AutoAugmentPolicy)
        raise ArgumentError(f"policy must be one of {names}, but got {policy!r}") from None
