"""The transform that bends images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentError
from headrace.rng.draws import draw
from headrace.rng.notes import note, notes_wanted
from headrace.transforms.affine import Warping, check_numbers
from headrace.transforms.blur import gaussian_blur
from headrace.transforms.chance import is_number
from headrace.transforms.fill import fill_of
from headrace.transforms.maps import IDENTITY
from headrace.transforms.placement import bent
from headrace.transforms.warping import sampling_of, warp_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.images.layout import Axes
    from headrace.transforms.maps import Map
    from headrace.transforms.placement import Placement

__all__ = ["ElasticTransform"]

_REACH = 8  # standard deviations that the curve is wide


class ElasticTransform(Warping):
    """Bend the image: move each pixel by random, smooth amounts.

    Args:
        alpha: how far pixels are moved along the width and along the height, two numbers, or one for both.
        sigma: how smooth that is: the standard deviations, in pixels, of the Gaussian curve along the width and
            along the height by which random moves are blurred, or one for both; 0 for no blur.
        interpolation: "nearest" or "bilinear"; see RandomRotation.
        fill: the value of pixels that come from outside the image: one number, or one a channel; None for 0; a
            dict for an "image" and its "mask".
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: an argument is not allowed; when called, fill does not fit the channels.
        ArgumentTypeError: when called with what pixels cannot be made of between others.

    Named as torchvision.transforms.v2.ElasticTransform; Simard, Steinkraus and Platt, "Best Practices for
    Convolutional Neural Networks Applied to Visual Document Analysis", ICDAR 2003.

    >>> ElasticTransform()(np.zeros((32, 32, 3), np.uint8)).shape
    (32, 32, 3)
    """

    def __init__(
        self,
        alpha: float | Sequence[float] = 50.0,
        sigma: float | Sequence[float] = 5.0,
        interpolation: Any = "bilinear",
        fill: float | Sequence[float] | dict[str, Any] | None = 0,
        *,
        layout: str | None = None,
    ) -> None:
        super().__init__(interpolation, fill, layout)
        self.alpha = _check_pair("alpha", alpha)
        self.sigma = _check_pair("sigma", sigma)
        if min(self.sigma) < 0:
            raise ArgumentError(f"sigma must not be negative, but got sigma={sigma!r}")

    def maps(self, count: int, extent: tuple[int, int]) -> list[Map]:  # noqa: ARG002 - all is in the shifts
        """Return maps that move nothing: the shifts do."""
        return [IDENTITY] * count

    def place(self, extent: tuple[int, int]) -> Placement:
        """Return where an image of a height and width comes to lie."""
        return bent(self.shifts(1, extent)[0])

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return the bent images."""
        extent = images.shape[axes.height], images.shape[axes.width]
        shifts = self.shifts(len(images), extent)
        sampling = sampling_of(fill_of(self.fill), self.interpolation, images, axes)
        return warp_images(images, axes, self.maps(len(images), extent), sampling, shifts=shifts)

    def shifts(self, count: int, extent: tuple[int, int]) -> NDArray[np.float64]:
        """Return how far to the right and down from its place each pixel of so many images comes from, in pixels.

        Args:
            count: how many images.
            extent: height and width of each.

        Returns:
            Shape (count, height, width, 2).
        """
        out = np.empty((count, *extent, 2))
        for row, key in enumerate(np.ascontiguousarray(draw(count)).view(np.uint64)):
            moves = np.random.Generator(np.random.Philox(key=key)).random((2, *extent), np.float32) * 2 - 1
            for axis, (move, alpha, sigma) in enumerate(zip(moves, self.alpha, self.sigma, strict=True)):
                size = int(_REACH * sigma + 1) | 1
                smooth = gaussian_blur(move, (size, size), self.sigma) if sigma > 0 else move
                out[row, ..., axis] = smooth * np.float32(alpha / 2)  # torchvision's unit is half of a side
        if notes_wanted():
            note(self, largest_shift=abs(out).max(axis=(1, 2, 3), initial=0))
        return out


def _check_pair(name: str, value: Any) -> tuple[float, float]:
    pair = check_numbers(name, (value, value) if is_number(value) else value, (1, 2))
    return pair[0], pair[-1]
