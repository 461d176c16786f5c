"""The transform that blurs images, and the filter that it shares."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.arena import empty
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.rng.draws import draw
from headrace.rng.notes import note
from headrace.transforms.base import RandomImageTransform
from headrace.transforms.chance import check_range, fractions, is_number
from headrace.transforms.color import as_planes
from headrace.transforms.sizes import check_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.images.layout import Axes

__all__ = ["GaussianBlur", "gaussian_blur"]


class GaussianBlur(RandomImageTransform):
    """Blur the image by a Gaussian curve of random width.

    Args:
        kernel_size: how many pixels count along the width and along the height, two odd integers, or one for both.
        sigma: the least and the largest standard deviation of the curve, in pixels, or one number for both.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: kernel_size or sigma is not allowed (also a ValueError).
        ArgumentTypeError: when called with what is neither uint8 nor floating-point.

    Named as torchvision.transforms.v2.GaussianBlur. Around the image lies its mirror image, without the outermost
    line. It is applied to each image: put it into a `RandomApply` for some of them.

    >>> GaussianBlur(3, sigma=1.0)(np.diag([0, 100, 0]).astype(np.uint8))[1]
    array([25, 20, 25], dtype=uint8)
    """

    changes_colours = True

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        sigma: float | Sequence[float] = (0.1, 2.0),
        *,
        layout: str | None = None,
    ) -> None:
        super().__init__(layout)
        self.kernel_size = check_size(kernel_size, "kernel_size", "(width, height)")
        if not all(size % 2 for size in self.kernel_size):
            raise ArgumentError(f"kernel_size must be odd, so that one pixel is in the middle, but got {kernel_size!r}")
        self.sigma = check_range("sigma", (sigma, sigma) if is_number(sigma) else sigma, 0)

    @property
    def keeps_shape(self) -> bool:
        """Whether images keep shape and dtype: they do."""
        return True

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return the blurred images."""
        if images.dtype != np.uint8 and images.dtype.kind != "f":
            raise ArgumentTypeError(
                f"GaussianBlur takes uint8 or floating-point images, but got {images.dtype}; put ToFloat() before it"
            )
        low, high = self.sigma
        sigmas = low + (high - low) * fractions(draw(len(images))[:, 0])
        note(self, sigma=sigmas)
        if not images.size:
            return images
        out = empty(images.shape, images.dtype)
        target = as_planes(out, axes)
        for row, (image, sigma) in enumerate(zip(as_planes(images, axes), sigmas.tolist(), strict=True)):
            values = image.astype(np.result_type(image.dtype, np.float32))
            blurred = gaussian_blur(values, self.kernel_size, (sigma, sigma))
            np.copyto(target[row], np.rint(blurred) if image.dtype == np.uint8 else blurred, casting="unsafe")
        return out


def gaussian_blur(planes: NDArray[Any], sizes: tuple[int, int], sigmas: tuple[float, float]) -> NDArray[Any]:
    """Return floating-point planes, shape (..., height, width), blurred along the width, then along the height.

    Args:
        planes: what is blurred.
        sizes: how many pixels count along the width and along the height, odd.
        sigmas: the standard deviations, in pixels.

    >>> gaussian_blur(np.array([[0.0, 0, 1, 0, 0]]), (3, 1), (1, 1)).round(2)
    array([[0.  , 0.27, 0.45, 0.27, 0.  ]])
    """
    for axis, size, sigma in ((-1, sizes[0], sigmas[0]), (-2, sizes[1], sigmas[1])):
        planes = _blurred(planes, axis, _weights(size, sigma))
    return planes


def _weights(size: int, sigma: float) -> list[float]:
    """Return the weights of the pixels, whose sum is 1."""
    heights = [math.exp(-0.5 * ((place - size // 2) / sigma) ** 2) for place in range(size)]
    return [height / sum(heights) for height in heights]


def _blurred(planes: NDArray[Any], axis: int, weights: list[float]) -> NDArray[Any]:
    around, length = len(weights) // 2, planes.shape[axis]
    places = np.pad(np.arange(length), around, "reflect")
    total = np.zeros(planes.shape, planes.dtype)
    for first, weight in enumerate(weights):
        total += planes.take(places[first : first + length], axis) * planes.dtype.type(weight)
    return total
