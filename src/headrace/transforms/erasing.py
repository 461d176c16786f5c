"""A transform that erases a part of the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.arena import empty
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.rng.draws import draw
from headrace.transforms.base import RandomImageTransform, per_channel
from headrace.transforms.chance import (
    CropBox,
    check_probability,
    check_range,
    happens,
    more_words,
    note_boxes,
    random_crop_boxes,
)
from headrace.transforms.fill import is_fill

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.images.layout import Axes

__all__ = ["RandomErasing"]

_NOISE = 10  # the further words that no attempt at a box takes


class RandomErasing(RandomImageTransform):
    """Erase a random rectangle of the image with probability p.

    Args:
        p: the probability, 0 ... 1.
        scale: the least and the largest area of the rectangle, as parts of the image.
        ratio: the least and the largest height over width of the rectangle.
        value: what is written there: one number, one a channel, or "random" for noise, which is
            normal in floating-point images and uniform in uint8 ones.
        inplace: accepted as torchvision takes it; what a transform is given stays as it is.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: an argument is not allowed; when called, value does not fit the channels.
        ArgumentTypeError: when called with value="random" and what is neither uint8 nor
            floating-point.

    Named as torchvision.transforms.v2.RandomErasing; Zhong et al., "Random Erasing Data
    Augmentation", AAAI 2020. An image stays as it is where ten rectangles did not fit into it.

    >>> image = RandomErasing(p=1.0, scale=(0.25, 0.25), ratio=(1, 1))(np.ones((4, 4), np.float32))
    >>> int(image.sum())
    12
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: float | Sequence[float] | str = 0,
        inplace: bool = False,  # noqa: ARG002, FBT001, FBT002 - torchvision's
        *,
        layout: str | None = None,
    ) -> None:
        super().__init__(layout)
        self.p = check_probability(p)
        self.scale = check_range("scale", scale, 0, 1)
        self.ratio = check_range("ratio", ratio, 0)
        if not (value == "random" if isinstance(value, str) else is_fill(value)):
            raise ArgumentError(f"value must be a number, one a channel, or 'random', but got value={value!r}")
        self.value = value

    @property
    def keeps_shape(self) -> bool:
        """Whether images keep shape and dtype: they do."""
        return True

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return the images, each with a rectangle erased or not; `images` itself if nothing is."""
        words = draw(len(images))
        chosen = np.flatnonzero(happens(words[:, 0], self.p))
        extent = images.shape[axes.height], images.shape[axes.width]
        width_over_height = 1 / self.ratio[1], 1 / self.ratio[0]
        boxes = random_crop_boxes(words[chosen], extent, self.scale, width_over_height, smaller=True)
        if len(images) == 1:
            note_boxes(self, boxes or [None], erased=[any(boxes)])
        if not any(boxes):
            return images
        out = empty(images.shape, images.dtype)
        np.copyto(out, images)
        for row, box in zip(chosen.tolist(), boxes, strict=True):
            if box is not None:
                part = _part(out[row], axes, box)
                part[...] = self._fill(part, images, axes, words[row : row + 1])
        return out

    def _fill(self, part: NDArray[Any], images: NDArray[Any], axes: Axes, words: NDArray[np.uint32]) -> NDArray[Any]:
        if not isinstance(self.value, str):
            return per_channel("value", self.value, images, axes)
        rng = np.random.Generator(np.random.Philox(key=more_words(words, _NOISE)[0, :2].astype(np.uint64)))
        if images.dtype == np.uint8:
            return rng.integers(0, 256, part.shape, np.uint8)
        if images.dtype.kind == "f":
            return rng.standard_normal(part.shape)
        raise ArgumentTypeError(
            f"value='random' takes uint8 or floating-point images, but got {images.dtype}; give a number"
        )


def _part(image: NDArray[Any], axes: Axes, box: CropBox) -> NDArray[Any]:
    rows, columns = box.slices
    part: NDArray[Any] = image[rows, columns] if axes.channels != 1 else image[:, rows, columns]
    return part
