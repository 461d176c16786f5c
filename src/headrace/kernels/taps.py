"""The pixels of a line that make up those of a scaled one, and their weights."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.kernels.images import Interpolation

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Taps", "taps"]


class Taps(NamedTuple):
    """The pixels, with weights, that make up those of a scaled line.

    Attributes:
        places: the pixels of the line, shape (taps, size).
        weights: how much each counts, shape (taps, size): together 1 for each pixel.
    """

    places: NDArray[np.int64]
    weights: NDArray[np.float64]

    def part(self, pixels: slice) -> Taps:
        """Return the taps of some of the pixels."""
        return Taps(self.places[:, pixels], self.weights[:, pixels])


@lru_cache(maxsize=256)
def taps(low: float, high: float, size: int, interpolation: Interpolation, antialias: bool) -> Taps:  # noqa: FBT001
    """Return the taps of `size` pixels that the pixels from `low` to `high` are scaled to.

    >>> taps(0, 4, 2, Interpolation.NEAREST, True).places
    array([[1, 3]])
    """
    origin = int(np.floor(low))
    extent = int(np.ceil(high)) - origin
    start, step = low - origin, (high - low) / size
    if interpolation == Interpolation.NEAREST:
        places, weights = _nearest(start, step, size), np.ones((1, size))
    else:
        places, weights = _weighed(start, step, size, extent, interpolation, step if antialias and step > 1 else 1.0)
    places = origin + np.minimum(places, extent - 1)
    for array in (places, weights):
        array.flags.writeable = False  # the cache hands out the same ones again
    return Taps(places, weights)


def _nearest(start: float, step: float, size: int) -> NDArray[np.int64]:
    """Return the pixel that each centre lies in. Centres are sums, as Pillow's, which decides between two."""
    centres = np.full(size, step)
    centres[0] = start + 0.5 * step
    return np.add.accumulate(centres).astype(np.int64)[np.newaxis]


def _weighed(
    start: float, step: float, size: int, extent: int, interpolation: Interpolation, spread: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the pixels around each centre and what they count, by a curve that is so many times as wide."""
    curve, reach = (_cubic, 2 * spread) if interpolation == Interpolation.BICUBIC else (_triangle, spread)
    centres = start + (np.arange(size) + 0.5) * step
    first = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    counts = np.minimum((centres + reach + 0.5).astype(np.int64), extent) - first
    places = first + np.arange(counts.max())[:, np.newaxis]
    weights = curve(np.abs((places - centres + 0.5) * (1 / spread)))
    weights[places >= first + counts] = 0
    total = np.zeros(size)
    for tap in weights:  # one after the other: NumPy's own sum may take another order
        total += tap
    return places, weights / total


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(1 - x, 0)


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of Keys, "Cubic convolution interpolation for digital image processing", 1981."""
    a = -0.5
    near, far = ((a + 2) * x - (a + 3)) * x * x + 1, (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))
