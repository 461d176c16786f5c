"""RandomErasing: what is erased, how often, and that the rest stays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import DataLoader, TensorDataset
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.rng.context import use_keys
from headrace.transforms import RandomErasing

SHAPES = {"HW": (24, 20), "CHW": (3, 24, 20), "HWC": (24, 20, 3)}


def loaded(transform: Any, images: Any, batch_size: int) -> Any:
    loader = DataLoader(TensorDataset(images).map(transform, field=0), batch_size=batch_size, seed=3)
    return np.concatenate([batch for (batch,) in loader])


def erase(images: Any, **arguments: Any) -> Any:
    with use_keys(5, np.arange(len(images))):
        return RandomErasing(**arguments).apply_batch(images)


def rectangle(erased: Any) -> tuple[int, int, int, int]:
    """Top, left, height and width of what is erased in an HW mask, which must be a full rectangle."""
    rows, columns = np.flatnonzero(erased.any(1)), np.flatnonzero(erased.any(0))
    top, left, height, width = rows[0], columns[0], len(rows), len(columns)
    assert erased[top : top + height, left : left + width].all()
    assert erased.sum() == height * width
    return int(top), int(left), height, width


@pytest.mark.parametrize("layout", SHAPES)
@pytest.mark.parametrize("dtype", ["u1", "f4", "i4"])
def test_one_rectangle_of_all_channels_is_erased_and_the_rest_stays(layout: str, dtype: str) -> None:
    images = np.random.default_rng(0).integers(1, 200, (50, *SHAPES[layout])).astype(dtype)
    before = images.copy()
    out = erase(images, p=1, layout=layout)
    assert (images == before).all()
    assert out.dtype == dtype
    changed = out != images
    assert (out[changed] == 0).all()
    for mask in changed:
        planes = mask if layout != "CHW" else np.moveaxis(mask, 0, -1)
        planes = planes.reshape(24, 20, -1)
        assert (planes == planes[..., :1]).all()
        rectangle(planes[..., 0])


def test_areas_shapes_and_places() -> None:
    out = erase(np.ones((4000, 64, 64), np.float32), p=1, scale=(0.05, 0.2), ratio=(0.5, 2))
    tops, lefts, heights, widths = np.array([rectangle(image == 0) for image in out], float).T
    areas, shapes = heights * widths / 64**2, np.log2(heights / widths)
    assert 0.045 < areas.min() < 0.06
    assert 0.19 < areas.max() < 0.21
    assert abs(areas.mean() - 0.125) < 0.004
    assert abs(shapes.mean()) < 0.04
    assert shapes.max() > 0.9 > -0.9 > shapes.min()
    for places in (tops / (64 - heights), lefts / (64 - widths)):
        assert abs(places.mean() - 0.5) < 0.02
        assert places.min() == 0
        assert places.max() == 1


def test_the_ratio_is_height_over_width() -> None:
    out = erase(np.ones((50, 64, 64), np.float32), p=1, scale=(0.05, 0.1), ratio=(3, 3))
    assert all(height > 2 * width for _, _, height, width in (rectangle(image == 0) for image in out))


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 1.0])
def test_the_probability(p: float) -> None:
    out = erase(np.ones((4000, 16, 16), np.float32), p=p)
    erased = (out == 0).any((1, 2)).mean()
    assert abs(erased - p) < 4 * math.sqrt(p * (1 - p) / 4000) + 1e-9


def test_values() -> None:
    image = np.zeros((1, 12, 12, 3), np.uint8)
    assert set(erase(image, p=1, value=7).ravel().tolist()) == {0, 7}
    out = erase(image, p=1, value=(1, 2, 3))
    assert {tuple(pixel) for pixel in out.reshape(-1, 3).tolist()} == {(0, 0, 0), (1, 2, 3)}
    out = erase(image.transpose(0, 3, 1, 2), p=1, value=[1, 2, 3], layout="CHW")
    assert {tuple(pixel) for pixel in np.moveaxis(out, 1, -1).reshape(-1, 3).tolist()} == {(0, 0, 0), (1, 2, 3)}


def test_noise() -> None:
    large = {"p": 1, "scale": (0.5, 0.5), "ratio": (1, 1), "value": "random"}
    floats = erase(np.full((4, 3, 100, 100), 9, np.float32), **large)
    noise = floats[floats != 9]
    assert len(noise) == 4 * 3 * 71 * 71
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02
    small = erase(np.zeros((4, 100, 100, 3), np.uint8), **large)
    noise = np.concatenate(
        [image[np.ix_(*(np.flatnonzero(image.any(o)) for o in ((1, 2), (0, 2))))] for image in small]
    )
    counts = np.bincount(noise.ravel(), minlength=256)
    assert counts.min() > 0.7 * counts.mean()
    assert len({image.tobytes() for image in floats - 9}) == 4
    drawn = [image[image != 9][:50].tobytes() for image in floats]
    assert len(set(drawn)) == 4


@given(
    st.sampled_from(list(SHAPES)),
    st.sampled_from(["u1", "f4"]),
    st.sampled_from([0, 5, "random"]),
    st.integers(2, 9),
    st.sampled_from([(0.02, 0.33), (0.9, 1.0), (0.01, 1.0)]),
)
def test_an_image_alone_becomes_what_it_does_in_a_batch(
    layout: str, dtype: str, value: Any, batch_size: int, scale: Any
) -> None:
    images = np.random.default_rng(0).integers(0, 200, (9, *SHAPES[layout])).astype(dtype)
    erasing = RandomErasing(0.7, scale, value=value, layout=layout)
    assert loaded(erasing, images, batch_size).tobytes() == loaded(erasing, images, 1).tobytes()


def test_what_draws_behind_it_does_not_depend_on_how_often_it_tried() -> None:
    images = np.ones((40, 12, 12), np.float32)
    behind = []
    for scale in ((0.02, 0.33), (0.7, 1.0)):
        with use_keys(5, np.arange(40)):
            RandomErasing(1, scale).apply_batch(images)
            behind.append(RandomErasing(1).apply_batch(images).tobytes())
    assert behind[0] == behind[1]


def test_images_of_which_nothing_is_erased_come_back_themselves() -> None:
    image = np.ones((8, 8), np.float32)
    assert RandomErasing(0)(image) is image
    assert RandomErasing(1, scale=(1, 1), ratio=(1, 1))(image) is image  # no such window is smaller than the image
    assert RandomErasing(1)(np.ones((1, 1), np.float32)).tolist() == [[1]]
    assert RandomErasing(1)(np.ones((0, 3, 8, 8), np.float32)).shape == (0, 3, 8, 8)


def test_errors() -> None:
    for p in (-0.1, 1.1, math.nan, "1", True, None):
        with pytest.raises(ArgumentError, match=r"p must be a probability in \[0, 1\], but got p="):
            RandomErasing(p)  # type: ignore[arg-type]
    for scale in ((0.1, 1.1), (0, 0.5), (0.3, 0.2), 0.5, None, (True, True)):
        with pytest.raises(
            ArgumentError, match=r"scale must be \(low, high\) with 0 < low <= high <= 1, but got scale="
        ):
            RandomErasing(scale=scale)  # type: ignore[arg-type]
    with pytest.raises(
        ArgumentError, match=r"ratio must be \(low, high\) with 0 < low <= high, but got ratio=\(3, 1\)"
    ):
        RandomErasing(ratio=(3, 1))
    for value in ("noise", None, (), (1, "a")):
        with pytest.raises(ArgumentError, match="value must be a number, one a channel, or 'random', but got value="):
            RandomErasing(value=value)  # type: ignore[arg-type]
    image = np.ones((8, 8, 3), np.uint8)
    with pytest.raises(ArgumentError, match="value has 2 values for images with 3 channels"):
        RandomErasing(1, value=(1, 2))(image)
    with pytest.raises(ArgumentError, match="value=300 cannot be a value of uint8 images"):
        RandomErasing(1, value=300)(image)
    with pytest.raises(ArgumentTypeError, match="value='random' takes uint8 or floating-point images, but got int32"):
        RandomErasing(1, value="random")(image.astype(np.int32))
