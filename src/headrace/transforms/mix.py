"""Mixtures of the images of a batch, and of their labels."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import frameworks
from headrace.batch.arena import empty
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.images.layout import LAYOUTS, image_axes
from headrace.rng.draws import sample_rng
from headrace.rng.notes import note

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CutMix", "MixUp"]


class _Mixing(ABC):
    """Mixes each image of a batch with the one before it, and their labels by as much."""

    def __init__(self, *, alpha: float = 1.0, num_classes: int | None = None, layout: str | None = None) -> None:
        self.alpha = _check_alpha(alpha)
        self.num_classes = _check_classes(num_classes)
        if layout is not None and layout not in LAYOUTS:
            raise ArgumentError(f"layout must be 'HW', 'CHW', 'HWC' or None, but got layout={layout!r}")
        self.layout = layout

    def __call__(self, *batch: Any) -> tuple[Any, Any]:
        """Return the mixed images and labels.

        Args:
            *batch: images and labels, or a pair of them.

        Raises:
            ArgumentError: they are no batch, of different lengths, or a label is no class.
            ArgumentTypeError: they are no arrays, or images of another type than uint8 or floating-point.
        """
        images, labels = _pair(batch)
        pixels, adapter = _array(images, "images")
        if pixels.dtype != np.uint8 and pixels.dtype.kind != "f":
            raise ArgumentTypeError(
                f"{type(self).__name__} takes uint8 or floating-point images, but got {pixels.dtype}; "
                "put ToFloat() before it"
            )
        soft = self._one_hot(labels, len(pixels) if pixels.ndim else 0)
        rng = sample_rng()
        share = float(rng.beta(self.alpha, self.alpha))
        mixed, share = self._mix(pixels, share, rng)
        note(self, kept=[share])
        soft = np.float32(share) * soft + np.float32(1 - share) * np.roll(soft, 1, axis=0)
        return adapter.from_numpy(mixed, images), _like(soft, labels)

    @abstractmethod
    def _mix(self, images: NDArray[Any], share: float, rng: np.random.Generator) -> tuple[NDArray[Any], float]:
        """Return the mixed images, and the share that an image has kept of itself."""

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({arguments})"

    def _one_hot(self, labels: Any, count: int) -> NDArray[np.float32]:
        """Return the labels as shape (n, classes)."""
        numbers = _array(labels, "labels")[0] if frameworks.find(labels) is not None else np.asarray(labels)
        classes = self.num_classes
        if numbers.ndim == 2 and numbers.dtype.kind in "biuf" and classes in (None, numbers.shape[1]):
            soft = numbers.astype(np.float32)
        elif numbers.ndim == 1 and numbers.dtype.kind in "iu" and classes is not None:
            if len(numbers) and not 0 <= numbers.min() <= numbers.max() < classes:
                raise ArgumentError(f"labels must be in [0, {classes}), but got {numbers.min()} ... {numbers.max()}")
            soft = (numbers[:, np.newaxis] == np.arange(classes)).astype(np.float32)
        else:
            raise ArgumentError(
                f"labels must be integers of shape (n,) and num_classes given, or of shape (n, num_classes), but got "
                f"{numbers.dtype} of shape {numbers.shape} and num_classes={classes}; use it on batches, in a "
                "collate_fn or on what the loader yields"
            )
        if len(soft) != count:
            raise ArgumentError(f"there are {count} images, but {len(soft)} labels")
        return soft


class MixUp(_Mixing):
    """Mix each image of a batch, and its label, with those of the image before it.

    Args:
        alpha: the share that an image keeps is drawn from Beta(alpha, alpha), one for the batch.
        num_classes: how many classes there are; None if labels come as one row of numbers each.
        layout: "HW", "CHW", "HWC", or None to infer it from the images.

    Raises:
        ArgumentError: alpha or num_classes is not positive.

    Named as torchvision.transforms.v2.MixUp; Zhang et al., "mixup: Beyond Empirical Risk
    Minimization", ICLR 2018. It is a function of a batch: call it in a `collate_fn`, where a loader
    makes it reproducible, or on what the loader yields.

    >>> images, labels = MixUp(num_classes=3)(np.ones((2, 1, 4, 4), np.float32), np.array([0, 2]))
    >>> images.shape, labels.shape, labels.sum(axis=1).round(3).tolist()
    ((2, 1, 4, 4), (2, 3), [1.0, 1.0])
    """

    def _mix(
        self,
        images: NDArray[Any],
        share: float,
        rng: np.random.Generator,  # noqa: ARG002 - the share is all it takes
    ) -> tuple[NDArray[Any], float]:
        dtype = np.result_type(images.dtype, np.float32)
        kept, given = dtype.type(share), dtype.type(1 - share)
        out = empty(images.shape, images.dtype)
        for row, image in enumerate(images):  # one at a time, which stays in the cache
            mixed = np.multiply(image, kept, dtype=dtype)
            mixed += np.multiply(images[row - 1], given, dtype=dtype)
            np.copyto(out[row], np.rint(mixed) if images.dtype == np.uint8 else mixed, casting="unsafe")
        return out, share


class CutMix(_Mixing):
    """Replace a rectangle of each image of a batch by that of the image before it, and mix their labels.

    Args:
        alpha: the part that an image keeps is drawn from Beta(alpha, alpha), one for the batch.
        num_classes: how many classes there are; None if labels come as one row of numbers each.
        layout: "HW", "CHW", "HWC", or None to infer it from the images.

    Raises:
        ArgumentError: alpha or num_classes is not positive.

    Named as torchvision.transforms.v2.CutMix; Yun et al., "CutMix: Regularization Strategy to Train
    Strong Classifiers with Localizable Features", ICCV 2019. It is a function of a batch: call it
    in a `collate_fn`, where a loader makes it reproducible, or on what the loader yields.

    >>> images, labels = CutMix(num_classes=3)(np.ones((2, 1, 4, 4), np.float32), np.array([0, 2]))
    >>> images.shape, labels.shape, labels.sum(axis=1).round(3).tolist()
    ((2, 1, 4, 4), (2, 3), [1.0, 1.0])
    """

    def _mix(self, images: NDArray[Any], share: float, rng: np.random.Generator) -> tuple[NDArray[Any], float]:
        axes = image_axes(images.shape[1:], self.layout, who="CutMix")
        height, width = images.shape[axes.height], images.shape[axes.width]
        top, bottom = _around(int(rng.integers(height)), height, share)
        left, right = _around(int(rng.integers(width)), width, share)
        box: list[slice] = [slice(None)] * images.ndim
        box[axes.height], box[axes.width] = slice(top, bottom), slice(left, right)
        note(f"{type(self).__name__}'s box", top=[top], left=[left], height=[bottom - top], width=[right - left])
        out = empty(images.shape, images.dtype)
        np.copyto(out, images)
        out[tuple(box)] = np.roll(images[tuple(box)], 1, axis=0)
        return out, 1 - (bottom - top) * (right - left) / (height * width)


def _around(centre: int, extent: int, share: float) -> tuple[int, int]:
    """Return the ends of a side of the rectangle: centred, and cut off where the image ends."""
    half = int(0.5 * math.sqrt(1 - share) * extent)
    return max(centre - half, 0), min(centre + half, extent)


def _pair(batch: tuple[Any, ...]) -> tuple[Any, Any]:
    inputs = batch[0] if len(batch) == 1 and isinstance(batch[0], tuple | list) else batch
    if len(inputs) != 2:
        raise ArgumentError(f"images and labels were expected, but got {len(inputs)} values")
    return inputs[0], inputs[1]


def _array(value: Any, what: str) -> tuple[NDArray[Any], frameworks.Adapter]:
    adapter = frameworks.find(value)
    array = None if adapter is None else adapter.to_numpy(value)
    if adapter is None or array is None:
        raise ArgumentTypeError(
            f"{what} must be an array on the host, but got a {type(value).__module__}.{type(value).__qualname__}"
        )
    return array, adapter


def _like(soft: NDArray[np.float32], labels: Any) -> Any:
    adapter = frameworks.find(labels)
    return soft if adapter is None else adapter.from_numpy(soft, labels)


def _check_alpha(alpha: Any) -> float:
    number = isinstance(alpha, int | float | np.integer | np.floating) and not isinstance(alpha, bool)
    if not number or not 0 < alpha < math.inf:
        raise ArgumentError(f"alpha must be a positive number, but got alpha={alpha!r}")
    return float(alpha)


def _check_classes(classes: Any) -> int | None:
    if classes is None:
        return None
    if isinstance(classes, bool) or not isinstance(classes, int | np.integer) or classes < 1:
        raise ArgumentError(f"num_classes must be a positive integer or None, but got num_classes={classes!r}")
    return int(classes)
