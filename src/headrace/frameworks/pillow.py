"""Images of Pillow, which transforms take as torchvision's do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["from_numpy", "owns", "to_numpy"]

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # by the number of channels


def owns(value: object) -> bool:
    """Return whether the value is an image of Pillow; a program that has one has imported it."""
    image = sys.modules.get("PIL.Image")
    return image is not None and isinstance(value, image.Image)


def to_numpy(image: Any) -> NDArray[Any]:
    """Return a copy of the pixels, shape (height, width) or (height, width, channels); of a palette its numbers."""
    return np.array(image)


def from_numpy(array: NDArray[Any], like: Any) -> Any:
    """Return the pixels as an image of the mode of `like` if they fit it; the array where Pillow has no mode for them.

    >>> from PIL import Image
    >>> from_numpy(np.zeros((2, 3, 3), np.uint8), Image.new("RGB", (1, 1))).size
    (3, 2)
    """
    if array.dtype != to_numpy(like.crop((0, 0, 1, 1))).dtype:
        return array
    channels = array.shape[2] if array.ndim == 3 else 1
    mode = like.mode if len(like.getbands()) == channels else _MODES.get(channels)
    if mode is None:
        return array
    from PIL import Image

    if mode in ("1", "I;16B"):  # whose bits do not lie as those of arrays
        return Image.fromarray(array)
    made = Image.frombytes(mode, (array.shape[1], array.shape[0]), array.tobytes())
    if mode == "P":
        made.putpalette(like.getpalette())
    return made
