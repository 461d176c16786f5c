"""The demo's data set: 1,797 handwritten digits of 8x8 pixels.

The images are the test part of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak
(1998), https://archive.ics.uci.edu/dataset/80, licence CC BY 4.0. README.md beside this file says what was
changed.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["load_digits"]


def load_digits() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the images and the labels of the handwritten digits.

    Returns:
        Images of shape (1797, 8, 8) with values from 0 (paper) to 16 (ink), and labels of shape (1797,) with
        values from 0 to 9, both uint8. Each call returns new arrays, so a caller may write to them.

    Examples:
        >>> images, labels = load_digits()
        >>> images.shape, labels.shape
        ((1797, 8, 8), (1797,))
        >>> labels[:10].tolist()
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]

    """
    archive = resources.files(__name__).joinpath("digits.npz")
    with archive.open("rb") as file, np.load(file) as arrays:
        return arrays["images"], arrays["labels"]
