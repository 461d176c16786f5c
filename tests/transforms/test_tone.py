"""Inversion, posterisation and the like against torchvision's and Pillow's, and how often they are applied."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headrace import (
    DataLoader,
    RandomAdjustSharpness,
    RandomAutocontrast,
    RandomEqualize,
    RandomInvert,
    RandomPosterize,
    RandomSolarize,
    TensorDataset,
)
from headrace.errors import ArgumentError, ArgumentTypeError

# Each with its arguments for bytes and for floats, torchvision's function, and how far floats may be off.
CHANGES: dict[str, tuple[Any, Any, Any, str]] = {
    "invert": (RandomInvert, (), (), "invert"),
    **{f"posterize {bits}": (RandomPosterize, (bits,), (bits,), "posterize") for bits in range(9)},
    **{f"solarize {part}": (RandomSolarize, (255 * part,), (part,), "solarize") for part in (0, 0.3, 0.5, 1)},
    "autocontrast": (RandomAutocontrast, (), (), "autocontrast"),
    "equalize": (RandomEqualize, (), (), "equalize"),
    **{f"sharpness {by}": (RandomAdjustSharpness, (by,), (by,), "adjust_sharpness") for by in (0, 0.4, 1, 2, 7.5)},
}


def photo(shape: tuple[int, ...] = (3, 37, 29), seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    ramp = np.linspace(20, 200, shape[-1])
    return (ramp + rng.integers(0, 40, shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("name", CHANGES)
def test_values_are_torchvisions(v2: Any, name: str, dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    change, of_bytes, of_floats, theirs = CHANGES[name]
    arguments = of_bytes if dtype == np.uint8 else of_floats
    for image in (photo(), photo((1, 9, 12)), np.full((3, 5, 5), 77, np.uint8), photo((3, 2, 9))):
        image = image if dtype == np.uint8 else (image / 255).astype(dtype)
        expected = getattr(v2.functional, theirs)(torch.from_numpy(image), *arguments).numpy()
        found = change(*arguments, p=1, layout="CHW")(image)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        if dtype == np.uint8 and theirs != "adjust_sharpness":
            np.testing.assert_array_equal(found, expected)
        else:  # a sum that lies between two bytes
            np.testing.assert_allclose(found, expected, atol=1 if dtype == np.uint8 else 2e-5)
            assert np.mean(found != expected) < 0.02 or dtype != np.uint8


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_between_two_bytes_are_equalized_as_by_torchvision(v2: Any, dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    image = np.random.default_rng(0).random((3, 37, 29)).astype(dtype)
    expected = v2.functional.equalize(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(RandomEqualize(1, layout="CHW")(image), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "function", "arguments"),
    [
        (RandomInvert, "invert", ()),
        (RandomPosterize, "posterize", (3,)),
        (RandomSolarize, "solarize", (128,)),
        (RandomEqualize, "equalize", ()),
    ],
)
def test_images_of_pillow_become_what_pillow_makes_of_them(change: Any, function: str, arguments: Any) -> None:
    pil, ops = pytest.importorskip("PIL.Image"), pytest.importorskip("PIL.ImageOps")
    for image in (pil.fromarray(photo((37, 29, 3))), pil.fromarray(photo((37, 29)))):
        found = change(*arguments, p=1)(image)
        expected = getattr(ops, function)(image, *arguments)
        assert (found.mode, found.tobytes()) == (expected.mode, expected.tobytes())


ALL: list[Any] = [
    RandomInvert,
    lambda **how: RandomPosterize(4, **how),
    lambda **how: RandomSolarize(100, **how),
    RandomAutocontrast,
    RandomEqualize,
    lambda **how: RandomAdjustSharpness(0, **how),
]


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 1.0])
def test_images_are_changed_as_often_as_p_says(make: Any, p: float) -> None:
    images = np.repeat(photo((1, 20, 20)), 4000, axis=0)[..., np.newaxis]
    loader = DataLoader(TensorDataset(images).map(make(p=p, layout="HWC"), field=0), batch_size=1000, seed=1)
    changed = sum((batch != images[:1]).any(axis=(1, 2, 3)).sum() for (batch,) in loader)
    assert abs(changed - 4000 * p) < 4 * np.sqrt(4000 * p * (1 - p)) + 1e-9


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("layout", ["HW", "CHW", "HWC"])
def test_a_sample_alone_becomes_what_it_does_in_a_batch(make: Any, layout: str) -> None:
    images = photo({"HW": (30, 9, 8), "CHW": (30, 3, 9, 8), "HWC": (30, 9, 8, 3)}[layout])
    before = images.copy()
    dataset = TensorDataset(images).map(make(layout=layout), field=0)
    batches = [np.concatenate([batch for (batch,) in DataLoader(dataset, size, seed=2)]) for size in (1, 7, 30)]
    assert batches[0].tobytes() == batches[1].tobytes() == batches[2].tobytes()
    assert (images == before).all()


@pytest.mark.parametrize("make", ALL)
def test_no_pixels_and_no_images_stay(make: Any) -> None:
    assert make(p=1.0, layout="HWC").apply_batch(np.zeros((0, 4, 4, 3), np.uint8)).shape == (0, 4, 4, 3)
    assert make(p=1.0, layout="HWC")(np.zeros((0, 4, 3), np.uint8)).shape == (0, 4, 3)


@pytest.mark.parametrize("make", ALL)
def test_other_numbers_are_refused(make: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=r"takes uint8 or floating-point images, but got int32; put To"):
        make(p=0.5)(np.zeros((4, 4, 3), np.int32))
    with pytest.raises(ArgumentError, match="p must be a probability"):
        make(p=1.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomPosterize(9), r"bits must be an integer in \[0, 8\], but got bits=9"),
        (lambda: RandomPosterize(2.0), r"bits must be an integer"),  # type: ignore[arg-type]
        (lambda: RandomSolarize("1"), r"threshold must be a finite number, but got threshold='1'"),  # type: ignore[arg-type]
        (lambda: RandomAdjustSharpness(-1), r"sharpness_factor must be a number from 0, but got -1"),
        (lambda: RandomSolarize(256, p=1)(photo()), r"threshold=256 is above 255, the largest value of uint8 images"),
        (lambda: RandomSolarize(2, p=1)(np.zeros((3, 4, 4))), r"threshold=2 is above 1"),
        (lambda: RandomAutocontrast()(np.zeros((4, 4, 5), np.uint8)), r"RandomAutocontrast .*(1 or 3 channels|may be)"),
    ],
)
def test_wrong_arguments(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()
