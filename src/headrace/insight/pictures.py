"""Pictures of samples, for pages and notebooks: without any library for images."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import frameworks
from headrace.images.layout import find_layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["as_png", "pictures_of"]

_LEAST = 4  # pixels a side; what is smaller is no image
_SIDE = 96  # of a picture, in pixels, about


def pictures_of(samples: Sequence[Any]) -> list[str]:
    """Return an `<img>` of each sample that has an image, "" of others; an empty list where none has one.

    Args:
        samples: as a dataset gives them.

    >>> pictures_of([np.zeros((8, 8), np.uint8), None])[0][:30]
    '<img src="data:image/png;base6'
    """
    images = [_image_of(sample) for sample in samples]
    if all(image is None for image in images):
        return []
    numbers = [image for image in images if image is not None and image.dtype != np.uint8 and image.size]
    ends = (min(map(np.min, numbers)), max(map(np.max, numbers))) if numbers else (0, 1)
    return ["" if image is None else _as_img(_as_bytes(image, ends)) for image in images]


def as_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return an image as a PNG file: W3C, "Portable Network Graphics", 2003.

    Args:
        pixels: uint8, shape (height, width) or (height, width, 3 or 4).

    >>> as_png(np.zeros((2, 2), np.uint8))[1:4]
    b'PNG'
    """
    height, width = pixels.shape[:2]
    kind = {1: 0, 3: 2, 4: 6}[pixels.size // (height * width)]
    lines = np.zeros((height, 1 + pixels.size // height), np.uint8)  # each begins with the number of its filter: none
    lines[:, 1:] = pixels.reshape(height, -1)
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines.tobytes())),
        (b"IEND", b""),
    )
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _image_of(sample: Any) -> NDArray[Any] | None:
    """Return the first image of a sample, with its channels last; None where there is none."""
    for value in _leaves(sample):
        adapter = frameworks.find(value)
        array = None if adapter is None else adapter.to_numpy(value)
        if array is None or array.dtype.kind not in "uif" or array.ndim not in (2, 3):
            continue
        image = array.transpose(1, 2, 0) if find_layout(array.shape) == "CHW" else array
        if min(image.shape[:2]) >= _LEAST and (image.ndim == 2 or image.shape[2] in (1, 3, 4)):
            return image
    return None


def _leaves(sample: Any) -> Iterator[Any]:
    if isinstance(sample, dict | tuple | list):
        for each in sample.values() if isinstance(sample, dict) else sample:
            yield from _leaves(each)
    else:
        yield sample


def _as_bytes(image: NDArray[Any], ends: tuple[Any, Any]) -> NDArray[np.uint8]:
    """Return an image as bytes, no larger than it is shown; other numbers than bytes lie between the ends."""
    step = max(1, min(image.shape[:2]) // _SIDE)
    image = image[::step, ::step]
    if image.dtype != np.uint8:
        low, high = map(float, ends)
        scaled = (image.astype(np.float64) - low) * (255 / ((high - low) or 1))
        image = np.nan_to_num(scaled).clip(0, 255).astype(np.uint8)
    return image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image


def _as_img(pixels: NDArray[np.uint8]) -> str:
    times = max(1, _SIDE // max(pixels.shape[:2]))  # small images are shown larger, by whole numbers
    data = base64.b64encode(as_png(pixels)).decode()
    height, width = pixels.shape[0] * times, pixels.shape[1] * times
    style = "image-rendering: pixelated" if times > 1 else ""
    return (
        f'<img src="data:image/png;base64,{data}" width="{width}" height="{height}" alt="the sample" style="{style}">'
    )
