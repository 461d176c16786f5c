"""Places that transforms give the points of an image when they move its pixels: boxes and keypoints follow them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.transforms.maps import Map

__all__ = ["Placement", "bent", "mapped", "mirrored", "scaled", "shifted"]

Points = Any  # float64 of shape (n, 2): x and y, in pixels from the upper left corner of the image


class Placement(NamedTuple):
    """The place that a transform gives an image.

    Attributes:
        size: height and width of what it makes.
        move: takes points of the image, shape (n, 2), x and y in pixels from its upper left corner, and returns where
            they lie then.
    """

    size: tuple[int, int]
    move: Callable[[Points], Points]


def shifted(x: float, y: float, size: tuple[int, int]) -> Placement:
    """Return the placement of an image that is moved to the right and down, in one of a size.

    >>> shifted(2, -1, (5, 5)).move(np.array([[0.0, 1.0]])).tolist()
    [[2.0, 0.0]]
    """
    return Placement(size, lambda points: points + np.array([x, y]))


def mirrored(extent: tuple[int, int], *, along_width: bool) -> Placement:
    """Return the placement of an image whose left and right, or top and bottom, are exchanged.

    >>> mirrored((4, 10), along_width=True).move(np.array([[1.0, 1.0]])).tolist()
    [[9.0, 1.0]]
    """
    signs, ends = np.ones(2), np.zeros(2)
    axis = 0 if along_width else 1
    signs[axis], ends[axis] = -1, extent[1 - axis]
    return Placement(extent, lambda points: points * signs + ends)


def scaled(extent: tuple[int, int], size: tuple[int, int]) -> Placement:
    """Return the placement of an image that is scaled from one size to another.

    >>> scaled((4, 10), (8, 5)).move(np.array([[1.0, 1.0]])).tolist()
    [[0.5, 2.0]]
    """
    factors = np.array([size[1] / extent[1], size[0] / extent[0]])
    return Placement(size, lambda points: points * factors)


def mapped(by: Map, size: tuple[int, int]) -> Placement:
    """Return the placement of an image whose pixels a map takes from elsewhere.

    >>> mapped((0.5, 0, 0, 0, 0.5, 0, 0, 0), (4, 4)).move(np.array([[1.0, 1.0]])).tolist()
    [[2.0, 2.0]]
    """
    a, b, c, d, e, f, g, h = by
    # The adjugate is the inverse up to a factor, which the division takes out.
    there = np.array([[e - f * h, c * h - b, b * f - c * e], [f * g - d, a - c * g, c * d - a * f]])
    depth = np.array([d * h - e * g, b * g - a * h, a * e - b * d])

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        whole = np.concatenate([points, np.ones((len(points), 1))], axis=1)
        with np.errstate(all="ignore"):  # a point at the horizon
            moved: NDArray[np.float64] = (whole @ there.T) / (whole @ depth)[:, np.newaxis]
        return moved

    return Placement(size, move)


def bent(shifts: NDArray[np.float64]) -> Placement:
    """Return the placement of an image each of whose pixels comes from elsewhere.

    That is not inverted: a point goes back by as much as the pixel there comes from, as in torchvision.

    Args:
        shifts: how far to the right and down from its place each pixel comes from, shape (height, width, 2).

    >>> bent(np.full((4, 4, 2), 1.0)).move(np.array([[2.0, 3.0]])).tolist()
    [[1.0, 2.0]]
    """
    height, width = shifts.shape[:2]

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        columns, rows = points.astype(np.int64).T
        moved: NDArray[np.float64] = points - shifts[rows.clip(0, height - 1), columns.clip(0, width - 1)]
        return moved

    return Placement((height, width), move)
