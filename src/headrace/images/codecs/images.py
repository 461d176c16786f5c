"""Encoded and decoded images, as all codecs have them: checked sizes, bytes, and pixels turned upright."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentTypeError, DecodeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.uint8]

__all__ = ["as_bytes", "check_size", "turned"]


def check_size(form: str, width: int, height: int, max_pixels: int) -> None:
    """Refuse an image of more than `max_pixels` pixels.

    Raises:
        DecodeError: it has more.
    """
    if width * height > max_pixels:
        raise DecodeError(
            f"a {form} image of {width} x {height} = {width * height:,} pixels, but max_pixels={max_pixels:,} are "
            "allowed; if you trust where it comes from, allow more: Decode(max_pixels=...)"
        )


def as_bytes(data: Any) -> bytes:
    """Return the bytes of an encoded image.

    Raises:
        ArgumentTypeError: data is neither bytes nor a one-dimensional uint8 array.
    """
    if isinstance(data, bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    if isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 1:
        return data.tobytes()
    what = f"{data.dtype} array of shape {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
    raise ArgumentTypeError(
        f"an encoded image is bytes or a uint8 array of one dimension, but got a {what}; read a file with "
        "pathlib.Path(path).read_bytes(), and do not decode twice"
    )


def turned(pixels: Array, which: int) -> Array:
    """Return the image as a person sees it, by the orientation of what is stored; contiguous."""
    if which >= 5:  # rows of the image are columns of what is stored
        pixels = np.swapaxes(pixels, 0, 1)
    if which in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if which in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
