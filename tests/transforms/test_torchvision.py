"""Transforms against torchvision's, where that is installed: with the same parameters they give the same pixels.

What draws is given torchvision's own formulas with our draws. Bytes are equal, or differ by one level where torch
rounds a sum otherwise; how often they may is said in each test. Floats are equal to float32's precision.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import headrace
from headrace import (
    CenterCrop,
    ColorJitter,
    CutMix,
    Grayscale,
    MixUp,
    Normalize,
    Pad,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
    ToFloat,
)
from headrace.rng.context import use_keys
from headrace.rng.draws import draw, sample_rng
from headrace.transforms.chance import random_crop_boxes

torch = pytest.importorskip("torch")

DTYPES = ["u1", "f4"]
MODES = ["constant", "edge", "reflect", "symmetric"]
COUNT = 20


def noise(*shape: int, dtype: str = "u1", seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, shape, np.uint8) if dtype == "u1" else rng.random(shape, np.float32)


def photo(height: int, width: int, dtype: str, seed: int = 0) -> Any:
    """Planes with grey parts, in which hues have corners."""
    image = noise(3, height, width, seed=seed)
    image[:, : height // 3] = image[:1, : height // 3]
    return image if dtype == "u1" else (image / np.float32(255)).astype(np.float32)


def assert_same(found: Any, expected: Any) -> None:
    expected = expected.numpy()
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def assert_near(found: Any, expected: Any, seldom: float = 1.0, atol: float = 2e-6) -> None:
    """Bytes are off by one level at most, and no more than `seldom` of them; floats by `atol`."""
    expected = expected.numpy()
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    if found.dtype == np.uint8:
        wrong = np.abs(found.astype(int) - expected)
        assert wrong.max() <= 1
        assert wrong.mean() <= seldom
    else:
        np.testing.assert_allclose(found, expected, atol=atol)


def drawn(count: int = COUNT, key: int = 5) -> Any:
    """The words that the first transform of samples draws."""
    with use_keys(key, np.arange(count)):
        return draw(count)


def applied(transform: Any, images: Any, key: int = 5) -> Any:
    with use_keys(key, np.arange(len(images))):
        return transform.apply_batch(images)


# ---------------------------------------------------------------- where pixels come from


def test_arguments_are_torchvisions(v2: Any) -> None:
    """In its order and with its defaults, so that a recipe runs with the import changed."""
    differ = {"RandomCrop.padding"}  # said in the docs
    for name in [name for name in headrace.__all__ if inspect.isclass(getattr(v2, name, None))]:
        ours, theirs = (inspect.signature(getattr(module, name)).parameters for module in (headrace, v2))
        expected = [each for each in theirs if each != "labels_getter"]  # a collate_fn has none to find
        assert list(ours)[: len(expected)] == expected, name
        for each in expected:
            default, known = (getattr(given[each].default, "value", given[each].default) for given in (ours, theirs))
            assert default == known or f"{name}.{each}" in differ, f"{name}.{each}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_flips(v2: Any, dtype: str) -> None:
    images = noise(2, 3, 7, 9, dtype=dtype)
    tensor = torch.from_numpy(images)
    assert_same(RandomHorizontalFlip(1, layout="CHW").apply_batch(images), v2.functional.horizontal_flip(tensor))
    assert_same(RandomVerticalFlip(1, layout="CHW").apply_batch(images), v2.functional.vertical_flip(tensor))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("padding", [3, (2, 1), (1, 2, 3, 0)])
def test_padding(v2: Any, padding: Any, mode: str, dtype: str) -> None:
    images = noise(2, 3, 7, 9, dtype=dtype)
    given = list(padding) if isinstance(padding, tuple) else padding
    expected = v2.functional.pad(torch.from_numpy(images), given, 1 if mode == "constant" else 0, mode)
    assert_same(Pad(padding, 1, mode, layout="CHW").apply_batch(images), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("size", "padding", "needed"),
    [(6, 4, False), ((9, 5), (1, 2, 3, 4), False), ((15, 8), (2, 1), True), (4, None, True)],
)
def test_crops(v2: Any, size: Any, padding: Any, needed: bool, mode: str, dtype: str) -> None:
    images = noise(COUNT, 3, 11, 9, dtype=dtype)
    found = applied(RandomCrop(size, padding, needed, padding_mode=mode, layout="CHW"), images)
    theirs = v2.RandomCrop(size, padding, needed, padding_mode=mode)
    for row, words in enumerate(drawn().tolist()):
        image = torch.from_numpy(images[row])
        how = theirs.make_params([image])
        left, top, right, bottom = how["padding"] if how["needs_pad"] else (0, 0, 0, 0)
        places = 11 + top + bottom - how["height"] + 1, 9 + left + right - how["width"] + 1
        forced = {"top": words[0] * places[0] >> 32, "left": words[1] * places[1] >> 32, "needs_crop": True}
        assert_same(found[row], theirs.transform(image, {**how, **forced}))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("padding", [-1, (-2, 1), (1, -2, -3, 0), (-1, 2, 2, -3)])
def test_negative_padding(v2: Any, padding: Any, mode: str, dtype: str) -> None:
    images = noise(2, 3, 7, 9, dtype=dtype)
    given = list(padding) if isinstance(padding, tuple) else padding
    expected = v2.functional.pad(torch.from_numpy(images), given, 1 if mode == "constant" else 0, mode)
    assert_same(Pad(padding, 1, mode, layout="CHW").apply_batch(images), expected)


@pytest.mark.parametrize("name", ["FiveCrop", "TenCrop"])
@pytest.mark.parametrize("size", [3, (7, 9), (2, 5), (6, 4)])
def test_several_crops(v2: Any, size: Any, name: str) -> None:
    images = noise(2, 3, 7, 9)
    expected = getattr(v2, name)(size)(torch.from_numpy(images))
    found = getattr(headrace, name)(size, layout="CHW").apply_batch(images)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert_same(ours, theirs)
    vertical = headrace.TenCrop(size, vertical_flip=True, layout="CHW")(images)
    for ours, theirs in zip(vertical, v2.TenCrop(size, vertical_flip=True)(torch.from_numpy(images)), strict=True):
        assert_same(ours, theirs)
    for ours, theirs in zip(getattr(headrace, name)(size)(torch.from_numpy(images[0])), found, strict=True):
        assert_same(theirs[0], ours)  # a tensor gives tensors, the mirrored ones too


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 6, (7, 9), (2, 5), (7, 4), 10, (8, 3), (3, 12), (15, 16)])
def test_the_center(v2: Any, size: Any, dtype: str) -> None:
    images = noise(2, 3, 7, 9, dtype=dtype)
    expected = v2.functional.center_crop(torch.from_numpy(images), [size] if isinstance(size, int) else list(size))
    assert_same(CenterCrop(size, layout="CHW").apply_batch(images), expected)


# ---------------------------------------------------------------- scaling
# torch's weights of bytes have fewer bits, and its places of floats are float32: so one byte in five, or 5e-6.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [13, 40, (7, 60), (50, 8), (23, 31), (1, 3)])
def test_resize(v2: Any, size: Any, antialias: bool, dtype: str) -> None:
    images = noise(2, 3, 23, 31, dtype=dtype)
    given = [size] if isinstance(size, int) else list(size)
    expected = v2.functional.resize(torch.from_numpy(images), given, antialias=antialias)
    assert_near(Resize(size, antialias=antialias, layout="CHW").apply_batch(images), expected, 0.2, 5e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [13, 40, (7, 60), (50, 8), (1, 3)])
def test_resize_bicubic(v2: Any, size: Any, dtype: str) -> None:
    """With antialias; without it torch takes another curve, of a = -0.75."""
    images = noise(2, 3, 23, 31, dtype=dtype)
    given = [size] if isinstance(size, int) else list(size)
    expected = v2.functional.resize(torch.from_numpy(images), given, v2.InterpolationMode.BICUBIC)
    assert_near(Resize(size, v2.InterpolationMode.BICUBIC, layout="CHW").apply_batch(images), expected, 0.2, 1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [13, 40, (7, 60), (50, 8), (1, 3)])
def test_resize_to_the_nearest(v2: Any, size: Any, dtype: str) -> None:
    images = noise(2, 3, 23, 31, dtype=dtype)
    given = [size] if isinstance(size, int) else list(size)
    expected = v2.functional.resize(torch.from_numpy(images), given, v2.InterpolationMode.NEAREST_EXACT)
    for name in ("nearest-exact", v2.InterpolationMode.NEAREST_EXACT, v2.InterpolationMode.NEAREST):
        assert_same(Resize(size, name, layout="CHW").apply_batch(images), expected)


@pytest.mark.parametrize(("size", "max_size"), [(10, 12), (10, 20), (13, 14), (30, 41), (6, 8)])
@pytest.mark.parametrize("extent", [(23, 31), (31, 23), (20, 20), (5, 37), (19, 38)])
def test_resize_with_a_limit(v2: Any, extent: tuple[int, int], size: int, max_size: int) -> None:
    images = noise(2, 3, *extent, dtype="f4")
    expected = v2.functional.resize(torch.from_numpy(images), [size], max_size=max_size)
    assert_near(Resize(size, max_size=max_size, layout="CHW").apply_batch(images), expected, atol=5e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("antialias", [True, False])
def test_windows_scaled(v2: Any, antialias: bool, dtype: str) -> None:
    images = noise(COUNT, 3, 40, 60, dtype=dtype)
    scale, ratio, size = (0.08, 1.0), (3 / 4, 4 / 3), (17, 24)
    found = applied(RandomResizedCrop(size, scale, ratio, antialias=antialias, layout="CHW"), images)
    windows = random_crop_boxes(drawn(), (40, 60), scale, ratio)
    for image, row, window in zip(images, found, windows, strict=True):
        assert window is not None
        tensor = torch.from_numpy(image)
        assert_near(row, v2.functional.resized_crop(tensor, *window, list(size), antialias=antialias), 0.2, 5e-6)


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4"])
def test_floats(v2: Any, dtype: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 7, 9)).astype(dtype)
    expected = v2.functional.to_dtype(torch.from_numpy(images), torch.float32, scale=True)
    np.testing.assert_allclose(ToFloat(layout="CHW").apply_batch(images), expected.numpy(), rtol=1e-6)


def test_normalize(v2: Any) -> None:
    images, mean, std = noise(2, 3, 7, 9, dtype="f4"), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    expected = v2.functional.normalize(torch.from_numpy(images), mean, std)
    assert_same(Normalize(mean, std, layout="CHW").apply_batch(images), expected)


ADJUSTMENTS = {
    **dict.fromkeys(("brightness", "contrast", "saturation"), (0.0, 0.3, 0.99, 1.7, 20.0)),
    "hue": (-0.5, -0.2, -0.01, 0.1, 1 / 3, 0.5),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ADJUSTMENTS)
def test_colours(v2: Any, name: str, dtype: str) -> None:
    """A level that lies between two bytes is rounded down, so float32's last bit may decide: for 2 % at most."""
    image = photo(40, 30, dtype)
    for factor in ADJUSTMENTS[name]:
        expected = getattr(v2.functional, f"adjust_{name}")(torch.from_numpy(image), factor)
        found = ColorJitter(**{name: (factor, factor)}, layout="CHW")(image)
        assert_near(found, expected, 0.02, 1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_grey(v2: Any, channels: int, dtype: str) -> None:
    image = photo(40, 30, dtype)
    expected = v2.functional.rgb_to_grayscale(torch.from_numpy(image), channels)
    assert_near(Grayscale(channels, layout="CHW")(image), expected, 0.01)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0, 7, (1, 2, 3)])
def test_erasing(v2: Any, value: Any, dtype: str) -> None:
    images, scale, ratio = noise(COUNT, 3, 30, 20, dtype=dtype), (0.02, 0.33), (0.3, 3.3)
    found = applied(RandomErasing(1, scale, ratio, value, layout="CHW"), images)
    windows = random_crop_boxes(drawn(), (30, 20), scale, (1 / 3.3, 1 / 0.3), smaller=True)
    colour = torch.tensor(value, dtype=torch.from_numpy(images).dtype).reshape(-1, 1, 1)
    for image, row, window in zip(images, found, windows, strict=True):
        assert window is not None
        assert_same(row, v2.functional.erase(torch.from_numpy(image), *window, colour))


# ---------------------------------------------------------------- mixtures


class _Share:
    """A distribution that gives one number."""

    def __init__(self, share: float) -> None:
        self._share = share

    def sample(self, _: Any) -> float:
        return self._share


@pytest.mark.parametrize("key", range(10))
@pytest.mark.parametrize("soft", [False, True])
def test_mixup(v2: Any, soft: bool, key: int) -> None:
    images, labels = noise(6, 3, 8, 9, dtype="f4"), np.array([0, 4, 2, 2, 1, 3])
    with use_keys(key, np.arange(6)):
        share = float(sample_rng().beta(0.4, 0.4))
    theirs = v2.MixUp(alpha=0.4, num_classes=5)
    theirs._dist = _Share(share)
    expected = theirs(torch.from_numpy(images), torch.from_numpy(labels))
    with use_keys(key, np.arange(6)):
        found = MixUp(alpha=0.4, num_classes=5)(images, np.eye(5)[labels] if soft else labels)
    for ours, other in zip(found, expected, strict=True):
        assert_near(ours, other, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("key", range(10))
def test_cutmix(v2: Any, key: int, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = noise(6, 3, 18, 11, dtype=dtype), np.array([0, 4, 2, 2, 1, 3])
    with use_keys(key, np.arange(6)):
        rng = sample_rng()
        share, middle = float(rng.beta(1, 1)), {18: int(rng.integers(18)), 11: int(rng.integers(11))}
    theirs = v2.CutMix(num_classes=5)
    theirs._dist = _Share(share)
    monkeypatch.setattr(torch, "randint", lambda most, size: torch.tensor([middle[most]]))
    expected = theirs(torch.from_numpy(images), torch.from_numpy(labels))
    with use_keys(key, np.arange(6)):
        found = CutMix(num_classes=5)(images, labels)
    assert_same(found[0], expected[0])
    assert_near(found[1], expected[1], atol=1e-6)
