"""The maps of images that are turned, sheared or seen in perspective: where each pixel comes from.

A map is eight numbers, as `headrace.kernels.warp.Warp` has them.
"""

from __future__ import annotations

import math

__all__ = ["IDENTITY", "Map", "affine", "perspective", "rotated_size", "rotation", "shear", "translation"]

Map = tuple[float, float, float, float, float, float, float, float]
Pair = tuple[float, float]

IDENTITY: Map = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
_TOLERANCE = 1e-4  # of a pixel, by which a rotated image may lie over the edge of one; as in torchvision


def shear(*, x: float = 0.0, y: float = 0.0) -> Map:
    """Move each row by x times its distance from the top, or each column by y times that from the left.

    >>> shear(x=0.5)
    (1.0, 0.5, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
    """
    return 1.0, x, 0.0, y, 1.0, 0.0, 0.0, 0.0


def translation(*, x: float = 0, y: float = 0) -> Map:
    """Move to the right by x pixels and down by y.

    >>> translation(x=2)
    (1.0, 0.0, -2, 0.0, 1.0, 0, 0.0, 0.0)
    """
    return 1.0, 0.0, -x, 0.0, 1.0, -y, 0.0, 0.0


def rotation(degrees: float, center: Pair) -> Map:
    """Turn around a point (x, y), counter-clockwise.

    >>> [round(number) for number in rotation(90, (1, 1))][:6]
    [0, -1, 2, 1, 0, 0]
    """
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = center
    return cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y, 0.0, 0.0


def rotated_size(degrees: float, center: Pair, extent: tuple[int, int]) -> tuple[Map, tuple[int, int]]:
    """Turn around a point, counter-clockwise, into an image in which all of the first one has room.

    Args:
        degrees: by how much.
        center: the point, x and y.
        extent: height and width of the image.

    Returns:
        The map, and the height and width of the result, whose middle is that of the image.

    >>> rotated_size(90, (2, 1), (2, 4))[1]
    (4, 2)
    """
    height, width = extent
    a, b, c, d, e, f = rotation(degrees, (center[0] - width / 2, center[1] - height / 2))[:6]
    if degrees % 90 == 0:
        high, wide = extent if degrees % 180 == 0 else (width, height)
    else:
        corners = [(x, y) for x in (-width / 2, width / 2) for y in (-height / 2, height / 2)]
        wide = _whole_length([a * x + b * y + c + width / 2 for x, y in corners])
        high = _whole_length([d * x + e * y + f + height / 2 for x, y in corners])
    x, y = wide / 2, high / 2
    turned = a, b, width / 2 + c - a * x - b * y, d, e, height / 2 + f - d * x - e * y, 0.0, 0.0
    return turned, (high, wide)


def _whole_length(places: list[float]) -> int:
    """Return how many whole pixels the places lie in."""
    return math.ceil(max(places) - _TOLERANCE) - math.floor(min(places) + _TOLERANCE)


def affine(degrees: float, translate: Pair, scale: float, shears: Pair, center: Pair) -> Map:
    """Shear along x, then along y, scale and turn clockwise, all around a point, then move.

    Args:
        degrees: of the turn.
        translate: pixels to the right and down.
        scale: the factor.
        shears: degrees along x and along y.
        center: the point, x and y.

    >>> affine(0, (3, 0), 2, (0, 0), (0, 0))[:6]
    (0.5, 0.0, -1.5, 0.0, 0.5, 0.0)
    """
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    along, down = (math.tan(math.radians(angle)) for angle in shears)
    # The inverses of the four, in reverse order.
    a, b = ((1 + along * down) * cos - along * sin) / scale, ((1 + along * down) * sin + along * cos) / scale
    d, e = (down * cos - sin) / scale, (down * sin + cos) / scale
    x, y = center[0] + translate[0], center[1] + translate[1]
    return a, b, center[0] - a * x - b * y, d, e, center[1] - d * x - e * y, 0.0, 0.0


def perspective(corners: list[Pair], extent: tuple[int, int]) -> Map:
    """See the image so that its corners come to lie at given points.

    Args:
        corners: where the upper left, upper right, lower right and lower left pixel come to lie, x and y.
        extent: height and width of the image, at least 2 each.

    Returns:
        The map; numbers that are none where three of the points lie on one line.

    Heckbert, "Fundamentals of Texture Mapping and Image Warping", 1989, section 2.2.3: the map from a unit square to
    a quadrilateral, here inverted.

    >>> [round(number) for number in perspective([(0, 0), (3, 0), (3, 3), (0, 3)], (4, 4))]
    [1, 0, 0, 0, 1, 0, 0, 0]
    """
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = corners
    sum_x, sum_y = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    dx1, dx2, dy1, dy2 = x1 - x2, x3 - x2, y1 - y2, y3 - y2
    area = dx1 * dy2 - dx2 * dy1
    if area == 0:
        return (math.nan,) * 8
    g, h = (sum_x * dy2 - dx2 * sum_y) / area, (dx1 * sum_y - sum_x * dy1) / area
    a, b, c = x1 - x0 + g * x1, x3 - x0 + h * x3, x0
    d, e, f = y1 - y0 + g * y1, y3 - y0 + h * y3, y0
    scale = a * e - b * d
    if scale == 0:
        return (math.nan,) * 8
    wide, high = (extent[1] - 1) / scale, (extent[0] - 1) / scale
    return (
        *(wide * (e - f * h), wide * (c * h - b), wide * (b * f - c * e)),
        *(high * (f * g - d), high * (a - c * g), high * (c * d - a * f)),
        *((d * h - e * g) / scale, (b * g - a * h) / scale),
    )
