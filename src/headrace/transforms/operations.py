"""The operations of automatic augmentation on one image: they move pixels, or change their values in a given way.

Images are planes, shape (channels, height, width), uint8 or floating-point in 0 ... 1. None of them is
written to.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Planes = NDArray[Any]

__all__ = [
    "Sampling",
    "autocontrast",
    "equalize",
    "invert",
    "posterize",
    "rotate",
    "sharpen",
    "shear",
    "solarize",
    "translate",
]

_LARGEST = 255
_CENTRE, _AROUND = np.float32(5 / 13), np.float32(1 / 13)  # of the smoothing filter of Pillow's Sharpness


class Sampling(NamedTuple):
    """The way in which pixels are taken from an image that is moved.

    Attributes:
        fill: what lies around the image, shape (channels, 1).
        interpolation: "nearest" for the pixel that a middle falls on, "bilinear" for the four around it.
    """

    fill: Planes
    interpolation: str = "nearest"


def shear(image: Planes, sampling: Sampling, *, x: float = 0.0, y: float = 0.0) -> Planes:
    """Move each row by x times its distance from the top, or each column by y times that from the left."""
    return _moved(image, sampling, ((1.0, x, 0.0), (y, 1.0, 0.0)))


def translate(image: Planes, sampling: Sampling, *, x: int = 0, y: int = 0) -> Planes:
    """Move to the right by x pixels and down by y."""
    return _moved(image, sampling, ((1.0, 0.0, -x), (0.0, 1.0, -y)))


def rotate(image: Planes, sampling: Sampling, degrees: float) -> Planes:
    """Turn around the middle, counter-clockwise."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    middle_x, middle_y = image.shape[2] / 2, image.shape[1] / 2
    x = (cos, -sin, middle_x - cos * middle_x + sin * middle_y)
    y = (sin, cos, middle_y - sin * middle_x - cos * middle_y)
    return _moved(image, sampling, (x, y))


def _moved(
    image: Planes, sampling: Sampling, inverse: tuple[tuple[float, float, float], tuple[float, float, float]]
) -> Planes:
    """Take each pixel from where its middle lies in the image.

    Args:
        image: the image.
        sampling: how.
        inverse: where x and y come from: their factors of x and of y, and what is added.
    """
    x, y = np.arange(image.shape[2]) + 0.5, np.arange(image.shape[1])[:, np.newaxis] + 0.5
    columns, rows = (of_x * x + of_y * y + more for of_x, of_y, more in inverse)
    if sampling.interpolation == "bilinear":
        return _between(image, sampling.fill, rows - 0.5, columns - 0.5)
    return _taken(image, sampling.fill, np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64))


def _taken(image: Planes, fill: Planes, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Planes:
    """Return the pixels at rows and columns, or the fill where these lie outside."""
    channels, height, width = image.shape
    seen = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    out = np.empty((channels, *rows.shape), image.dtype)
    out.reshape(channels, -1)[...] = fill
    out[:, seen] = image[:, rows[seen], columns[seen]]
    return out


def _between(image: Planes, fill: Planes, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> Planes:
    """Interpolate between the centres of four pixels, of which those outside are fill."""
    upper, left = np.floor(rows), np.floor(columns)
    below, right = rows - upper, columns - left  # how far from the upper left one
    total = np.zeros((len(image), *rows.shape), np.result_type(image.dtype, np.float32))
    for down, of_row in enumerate((1 - below, below)):
        for along, of_column in enumerate((1 - right, right)):
            corner = _taken(image, fill, upper.astype(np.int64) + down, left.astype(np.int64) + along)
            total += corner * (of_row * of_column).astype(total.dtype)
    return (np.rint(total) if image.dtype == np.uint8 else total).astype(image.dtype)


def invert(image: Planes) -> Planes:
    """Subtract each value from the largest."""
    largest = _LARGEST if image.dtype == np.uint8 else 1
    result: Planes = image.dtype.type(largest) - image
    return result


def posterize(image: Planes, bits: int) -> Planes:
    """Keep the highest bits of each value, 0 ... 8 of them."""
    if image.dtype == np.uint8:
        return image & np.uint8(_LARGEST + 1 - 2 ** (8 - bits) if bits else 0)
    levels = 2**bits
    result: Planes = np.clip(np.floor(image * levels), 0, levels - 1) * image.dtype.type(1 / levels)
    return result


def solarize(image: Planes, threshold: float) -> Planes:
    """Invert the values from the threshold on."""
    least = np.result_type(image.dtype, np.float32).type(threshold)
    return np.where(image >= least, invert(image), image)


def autocontrast(image: Planes) -> Planes:
    """Stretch the values of each channel over the whole range."""
    largest = np.float32(_LARGEST if image.dtype == np.uint8 else 1)
    values = image.astype(np.result_type(image.dtype, np.float32))
    least, most = values.min((1, 2), keepdims=True), values.max((1, 2), keepdims=True)
    flat = least == most
    scale = np.where(flat, np.float32(1), (most - least) * (1 / largest))
    stretched = (values - np.where(flat, np.float32(0), least)) / scale
    return np.clip(stretched, 0, largest).astype(image.dtype)


def equalize(image: Planes) -> Planes:
    """Change the values of each channel so that all ranges of them are about equally frequent."""
    if image.dtype != np.uint8:
        bytes_of = (image * _LARGEST).clip(0, _LARGEST).astype(np.uint8)
        return (equalize(bytes_of) / np.float32(_LARGEST)).astype(image.dtype)
    return np.stack([_equal_table(plane)[plane] for plane in image])


def _equal_table(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    counts = np.bincount(plane.ravel(), minlength=_LARGEST + 1)
    step = (plane.size - counts[np.flatnonzero(counts)[-1]]) // _LARGEST
    if step == 0:
        return np.arange(_LARGEST + 1, dtype=np.uint8)
    below = np.cumsum(counts) - counts
    table: NDArray[np.uint8] = np.minimum((below + step // 2) // step, _LARGEST).astype(np.uint8)
    return table


def sharpen(image: Planes, factor: float) -> Planes:
    """Mix with a smoothed image: 0 is that, 1 the image, 2 a sharper one. The outermost pixels stay."""
    if min(image.shape[1:]) <= 2:
        return image
    whole = image.dtype == np.uint8
    values = image.astype(np.result_type(image.dtype, np.float32))
    inner = values[:, 1:-1, 1:-1]
    smooth = _smoothed(values)
    inner += (np.rint(smooth) if whole else smooth) * np.float32(1 - factor) - inner * np.float32(1 - factor)
    result: Planes = np.clip(values, 0, _LARGEST if whole else 1).astype(image.dtype)
    return result


def _smoothed(values: Planes) -> Planes:
    """Return the inner pixels, each with its eight neighbours."""
    height, width = values.shape[1] - 2, values.shape[2] - 2
    total = values[:, 1:-1, 1:-1] * (_CENTRE - _AROUND)
    for top in range(3):
        for left in range(3):
            total += values[:, top : top + height, left : left + width] * _AROUND
    return total
