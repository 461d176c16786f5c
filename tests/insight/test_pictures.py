"""Pictures of samples, read back by Pillow."""

from __future__ import annotations

import base64
import io
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.insight.pictures import as_png, pictures_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

Image = pytest.importorskip("PIL.Image")

RNG = np.random.default_rng(0)


def read(html: str) -> NDArray[np.uint8]:
    data = re.search('base64,([^"]*)', html)
    assert data is not None
    pixels: NDArray[np.uint8] = np.asarray(Image.open(io.BytesIO(base64.b64decode(data[1]))))
    return pixels


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4), (1, 1)])
def test_png(shape: tuple[int, ...]) -> None:
    pixels = RNG.integers(0, 256, shape, np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(as_png(pixels)))), pixels)


def test_images_of_samples() -> None:
    image = RNG.integers(0, 256, (8, 8, 3), np.uint8)
    samples = [(image, 1), {"label": 2, "image": image.transpose(2, 0, 1)}, image[..., 0], (image[..., :1], 0)]
    expected = [image, image, image[..., 0], image[..., 0]]
    for html, pixels in zip(pictures_of(samples), expected, strict=True):
        assert np.array_equal(read(html), pixels)


def test_floats_share_one_scale() -> None:
    dark, light = np.full((4, 4), -1.0), np.full((4, 4), 3.0)
    light[0, 0] = np.nan
    found = [read(html) for html in pictures_of([dark, light[1:].repeat(2, 0)])]
    assert [pixels.max() for pixels in found] == [0, 255]


def test_large_images_are_made_small() -> None:
    (html,) = pictures_of([np.zeros((3000, 2000, 3), np.uint8)])
    assert max(read(html).shape) < 200


def test_what_has_no_image() -> None:
    assert pictures_of([(np.arange(3), "text"), None, 7, np.zeros((2, 2)), np.zeros((0, 9, 3), np.uint8)]) == []
    assert pictures_of([None, np.zeros((8, 8), np.uint8)])[0] == ""
