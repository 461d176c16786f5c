"""Decoding an image of any format, and reading its header."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentError
from headrace.images.codecs.images import as_bytes
from headrace.images.codecs.registry import recognise

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MAX_PIXELS", "check_arguments", "decode", "read_header"]

MAX_PIXELS = 178_956_970  # where Pillow, too, suspects a decompression bomb

_MODES = ("RGB", "L", None)


def decode(data: Any, mode: str | None = "RGB", max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Return the image as a uint8 array; see Decode.

    Args:
        data: the encoded image: bytes, or a uint8 array of one dimension.
        mode: "RGB", "L", or None for what is stored.
        max_pixels: the largest image to decode, in pixels.

    Raises:
        ArgumentError: the mode is another, or max_pixels is not positive.
        ArgumentTypeError: data is neither bytes nor a one-dimensional uint8 array.
        DecodeError: this is no such image, broken, or too large (also a ValueError).
        ImportError: Pillow is needed and not there.

    >>> decode(b"P5 3 1 255 abc").shape
    (1, 3, 3)
    """
    check_arguments(mode, max_pixels)
    encoded = as_bytes(data)
    return recognise(encoded).decode(encoded, mode, max_pixels)


def read_header(data: Any) -> tuple[str, int, int]:
    """Return the format, width and height of an encoded image, which is not decoded.

    Width and height are as stored, before the image is turned as its EXIF or XMP orientation says.

    Args:
        data: the encoded image, or as much of it as holds the header: bytes, or a uint8 array.

    Returns:
        "JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF" or "JPEG 2000"; width; height.

    Raises:
        ArgumentTypeError: data is neither bytes nor a one-dimensional uint8 array.
        DecodeError: this is no such image, or the header is broken (also a ValueError).
        ImportError: Pillow is needed and not there.

    >>> read_header(b"P5 3 1 255 abc")
    ('PPM', 3, 1)
    """
    encoded = as_bytes(data)
    codec = recognise(encoded)
    return codec.name, *codec.read_size(encoded)


def check_arguments(mode: object, max_pixels: object) -> None:
    """Refuse a mode or a number of pixels that is not allowed.

    Raises:
        ArgumentError: one of them is not.
    """
    if mode not in _MODES:
        raise ArgumentError(f"mode must be 'RGB', 'L', or None for what is stored, but got mode={mode!r}")
    if isinstance(max_pixels, bool) or not isinstance(max_pixels, int | np.integer) or max_pixels < 1:
        raise ArgumentError(f"max_pixels must be a positive integer, but got max_pixels={max_pixels!r}")
