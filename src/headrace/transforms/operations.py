"""The operations on the values of one image that transforms share.

Images are planes, shape (channels, height, width), uint8 or floating-point in 0 ... 1. None of them is
written to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.transforms.pixels import JUST_BELOW_ONE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Planes = NDArray[Any]

__all__ = ["autocontrast", "equalize", "invert", "posterize", "sharpen", "solarize"]

_LARGEST = 255
_CENTRE, _AROUND = np.float32(5 / 13), np.float32(1 / 13)  # of the smoothing filter of Pillow's Sharpness


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
    if image.dtype == np.uint8:
        levels = np.arange(_LARGEST + 1, dtype=np.uint8)
        return np.stack([_stretched(levels, plane.min(), plane.max())[plane] for plane in image])
    return _stretched(image, image.min((1, 2), keepdims=True), image.max((1, 2), keepdims=True))


def _stretched(image: Planes, least: Any, most: Any) -> Planes:
    """Return values of which one becomes 0 and another the largest, unless they are the same."""
    largest = np.float32(_LARGEST if image.dtype == np.uint8 else 1)
    dtype = np.result_type(image.dtype, np.float32)
    values, least, most = (np.asarray(numbers, dtype) for numbers in (image, least, most))
    flat = least == most
    scale = np.where(flat, np.float32(1), (most - least) * (1 / largest))
    stretched = (values - np.where(flat, np.float32(0), least)) / scale
    return np.clip(stretched, 0, largest).astype(image.dtype)


def equalize(image: Planes) -> Planes:
    """Change the values of each channel so that all ranges of them are about equally frequent."""
    if image.dtype != np.uint8:
        # Equal parts of 0 ... 1 become each of the bytes, as by ToDtype.
        bytes_of = (image * image.dtype.type(_LARGEST + JUST_BELOW_ONE)).clip(0, _LARGEST).astype(np.uint8)
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
