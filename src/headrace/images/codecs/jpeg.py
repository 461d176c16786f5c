"""JPEG images: decoded by the native kernels, else by simplejpeg, else by Pillow, with the same bytes."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from headrace import kernels
from headrace.errors import DecodeError
from headrace.images.codecs.images import check_size, turned
from headrace.images.codecs.pillow import decode_by_pillow, read_size_by_pillow
from headrace.images.codecs.registry import Codec
from headrace.kernels.exif import is_lossless, orientation, without_exif
from headrace.kernels.images import Pixels, Scaling

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

    Array = NDArray[np.uint8]

__all__ = ["CODECS", "decode_reduced", "is_jpeg"]

# What simplejpeg decodes to, by our mode and the file's colours. What is not listed is Pillow's: CMYK,
# which libjpeg does not turn into RGB, and grey from colours, which Pillow rounds its own way.
_TURBO = {
    ("RGB", "YCbCr"): "RGB",
    ("RGB", "RGB"): "RGB",
    ("RGB", "Gray"): "RGB",
    ("L", "Gray"): "GRAY",
    (None, "YCbCr"): "RGB",
    (None, "RGB"): "RGB",
    (None, "Gray"): "GRAY",
}


def is_jpeg(data: bytes) -> bool:
    """Return whether the bytes begin as a JPEG does.

    >>> is_jpeg(b"P5 3 1 255 abc")
    False
    """
    return data.startswith(b"\xff\xd8\xff")


def decode_reduced(data: bytes, mode: str | None, max_pixels: int, denominator: int, reason: str) -> Array:
    """Decode a JPEG that the native kernels did not, at a part of its size, or where none can be had at its size.

    Args:
        data: the encoded image.
        mode: "RGB", "L", or None for what is stored.
        max_pixels: the largest image to decode, in pixels.
        denominator: 1, 2, 4 or 8: its size is divided by that and rounded up.
        reason: why the kernels did not decode it.

    Raises:
        DecodeError: the image is broken.

    >>> from PIL import Image
    >>> from io import BytesIO
    >>> file = BytesIO()
    >>> Image.new("L", (9, 5)).save(file, "JPEG")
    >>> decode_reduced(file.getvalue(), "RGB", 10**6, 4, "").shape
    (2, 3, 3)
    """
    pixels = _by_simplejpeg(data, mode, max_pixels, denominator)
    if pixels is not None:
        return pixels
    try:
        try:
            return decode_by_pillow(data, "JPEG", mode, max_pixels, denominator)
        except DecodeError:
            if denominator == 1:
                raise
            return decode_by_pillow(data, "JPEG", mode, max_pixels)
    except ImportError:
        if not kernels.active().has_libjpeg:
            raise
        raise DecodeError(f"a JPEG image of {len(data):,} bytes is broken or truncated: {reason}") from None


@cache
def _simplejpeg() -> ModuleType | None:
    try:
        import simplejpeg  # it may not be installed
    except ImportError:
        return None
    module: ModuleType = simplejpeg
    return module


def _decode_jpeg(data: bytes, mode: str | None, max_pixels: int) -> Array:
    for decoder in (_by_kernel, _by_simplejpeg):
        pixels = decoder(data, mode, max_pixels)
        if pixels is not None:
            return pixels
    return decode_by_pillow(data, "JPEG", mode, max_pixels)


def _by_kernel(data: bytes, mode: str | None, max_pixels: int) -> Array | None:
    """Return a JPEG as an array; None if the kernels in use do not decode, or Pillow must decide."""
    active = kernels.active()
    header = active.jpeg_headers([data]) if active.decodes else _NO_HEADER
    height, width, components, turn = header[0].tolist()
    if not components or (mode == "L" and components != 1):
        return None
    check_size("JPEG", width, height, max_pixels)
    channels = 3 if mode == "RGB" or components == 3 else 1
    out = np.empty((1, height, width, channels), np.uint8)
    whole = np.array([[0, 0, 1, 1, 0, height, 0, width]], np.int32)
    values, fill = np.tile(np.arange(256, dtype=np.uint8), (channels, 1)), np.zeros(channels, np.uint8)
    box, size = np.array([[0.0, 0, height, width]]), np.array([[height, width]], np.int32)
    as_it_is, one = Scaling(np.zeros(1, np.int32), box, size), np.ones(1, np.int32)
    if active.decode([data], header, one, as_it_is, Pixels(whole, values, fill), out):
        return None
    return turned(out[0, ..., 0] if channels == 1 else out[0], turn)


_NO_HEADER = np.zeros((1, 4), np.int32)


def _by_simplejpeg(data: bytes, mode: str | None, max_pixels: int, denominator: int = 1) -> Array | None:
    """Return a JPEG as an array; None if simplejpeg is not there, or Pillow must decide."""
    turbo = _simplejpeg()
    if turbo is None or is_lossless(data):  # it writes a part of the size of a lossless one past its memory
        return None
    try:
        height, width, colours, _ = turbo.decode_jpeg_header(data)
    except ValueError:
        return None
    wanted = _TURBO.get((mode, colours))
    if wanted is None:
        return None
    check_size("JPEG", width, height, max_pixels)
    try:
        least = {"min_height": -(-height // denominator), "min_width": -(-width // denominator)}
        pixels = turbo.decode_jpeg(data, wanted, **(least if denominator > 1 else {}))
    except ValueError:
        return None
    return turned(pixels[..., 0] if wanted == "GRAY" else pixels, orientation(*without_exif(data)[1:]))


def _read_size(data: bytes) -> tuple[int, int]:
    return read_size_by_pillow("JPEG", without_exif(data)[0])


CODECS = [Codec("JPEG", rb"\xff\xd8\xff", "jpg", _decode_jpeg, _read_size)]
