"""ToDtype, PILToTensor, ToImage and ToTensor against torchvision's."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import headrace
from headrace import (
    AugMix,
    CenterCrop,
    ColorJitter,
    Compose,
    DataLoader,
    GaussianBlur,
    Grayscale,
    Lambda,
    Normalize,
    PILToTensor,
    RandAugment,
    RandomEqualize,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    Resize,
    TensorDataset,
    ToCHW,
    ToDtype,
    ToFloat,
    ToImage,
    ToTensor,
)
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.rng.context import use_keys

INTEGERS = ["uint8", "int8", "int16", "int32", "int64"]
FLOATS = ["float16", "float32", "float64"]
INEXACT = {("float32", "int32"), ("float32", "int64"), ("float64", "int64")}


def values(dtype: str) -> Any:
    if dtype in FLOATS:
        return np.concatenate([np.linspace(0, 1, 4097), [0.1, 0.9999]]).astype(dtype).reshape(1, 1, -1)
    most = np.iinfo(dtype).max
    return np.array([0, most, *range(0, most, max(1, most // 999))], dtype).reshape(1, 1, -1)


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("after", [*INTEGERS, *FLOATS])
@pytest.mark.parametrize("before", [*INTEGERS, *FLOATS])
def test_types_are_torchvisions(v2: Any, before: str, after: str, scale: bool) -> None:
    torch = pytest.importorskip("torch")
    image = values(before)
    if before in ("int32", "int64") and after == "float16":  # torch's way leads over the largest float16
        return
    if scale and ((before, after) in INEXACT or (before == "float16" and after in ("int32", "int64"))):
        if before != "float16":
            with pytest.raises(ArgumentTypeError, match=f"{before} numbers cannot be scaled to {after}"):
                ToDtype(after, scale=True)(image)
        return
    expected = v2.ToDtype(getattr(torch, after), scale=scale)(torch.from_numpy(image)).numpy()
    for dtype in (after, np.dtype(after), getattr(torch, after)):
        found = ToDtype(dtype, scale)(image)
        assert found.dtype == expected.dtype
        if after in FLOATS:
            np.testing.assert_allclose(found, expected, rtol=1e-3 if "float16" in (before, after) else 1e-6)
        elif before == "float16":  # torch multiplies in float32
            np.testing.assert_allclose(found.astype(float), expected.astype(float), rtol=2e-3, atol=1)
        else:
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int16", "uint8", "int32"])
@pytest.mark.parametrize("scale", [False, True])
def test_a_pass_does_the_same(dtype: str, scale: bool) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 9, 8, 3), np.uint8)
    chain = Compose([RandomHorizontalFlip(), ToDtype(dtype, scale), ToImage()])
    alone = Compose([*chain.transforms[:1], lambda image: image, *chain.transforms[1:]])
    found, expected = (
        DataLoader(TensorDataset(images).map(transform, field=0), 6, seed=0).batch(0)[0] for transform in (chain, alone)
    )
    assert (found.dtype, found.tobytes()) == (expected.dtype, expected.tobytes())


def test_the_usual_recipe_is_the_same_by_either_names() -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 9, 8, 3), np.uint8)
    names = Compose([ToImage(), ToDtype(np.float32, scale=True), Normalize([0.5, 0.4, 0.3], [0.2, 0.2, 0.3])])
    ours = Compose([ToFloat(), Normalize([0.5, 0.4, 0.3], [0.2, 0.2, 0.3]), ToCHW()])
    assert names.apply_batch(images).tobytes() == ours.apply_batch(images).tobytes()
    assert ToTensor().apply_batch(images).tobytes() == Compose([ToFloat(), ToCHW()]).apply_batch(images).tobytes()


def test_types_that_are_none() -> None:
    for dtype in ("S3", object, "complex64", "no type", 3.5, None):
        with pytest.raises(ArgumentError, match="dtype must be a type"):
            ToDtype(dtype)
    with pytest.raises(ArgumentTypeError, match="ToDtype takes real numbers, but got complex64"):
        ToDtype("uint8")(np.zeros((2, 2), np.complex64))


# ---------------------------------------------------------------- images of Pillow


def pillow_image(mode: str = "RGB") -> Any:
    pil = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    return pil.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "LA", "CMYK"])
def test_pil_to_tensor_is_torchvisions(v2: Any, mode: str) -> None:
    image = pillow_image(mode)
    np.testing.assert_array_equal(PILToTensor()(image), v2.PILToTensor()(image).numpy())


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_to_tensor_is_torchvisions(v2: Any, mode: str) -> None:
    functional = pytest.importorskip("torchvision.transforms.functional")
    image = pillow_image(mode)
    np.testing.assert_allclose(ToTensor()(image), functional.to_tensor(image).numpy(), rtol=1e-6)
    assert ToTensor()(image).dtype == np.float32


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "LA", "CMYK", "F", "1"])
def test_what_goes_in_comes_out(mode: str) -> None:
    ops = pytest.importorskip("PIL.ImageOps")
    image = pillow_image(mode)
    found, expected = RandomHorizontalFlip(1)(image), ops.mirror(image)
    assert (found.mode, found.tobytes(), found.getpalette()) == (mode, expected.tobytes(), expected.getpalette())
    assert CenterCrop(3)(image).size == (3, 3)


def test_an_image_of_pillow_stays_one_as_long_as_it_can() -> None:
    image = pillow_image()
    assert RandomHorizontalFlip(0)(image) is image
    assert Grayscale()(image).mode == "L"
    grey = ColorJitter(0.3)(image)
    assert (grey.mode, grey.size) == ("RGB", image.size)
    found = ToFloat()(image)
    assert type(found) is np.ndarray
    assert found.shape == (9, 7, 3)
    planes = ToCHW()(image)
    assert type(planes) is np.ndarray
    assert planes.shape == (3, 9, 7)


@pytest.mark.parametrize("mode", ["P", "1"])
def test_between_numbers_that_stand_for_something_the_nearest_is_taken(mode: str) -> None:
    image = pillow_image(mode)
    for move in (partial(Resize, (5, 6)), partial(RandomResizedCrop, (5, 6)), partial(RandomRotation, (33, 33))):
        with use_keys(4, np.arange(1)):
            between = move(interpolation="bilinear")(image)
        with use_keys(4, np.arange(1)):
            nearest = move(interpolation="nearest")(image)
        assert (between.mode, between.getpalette()) == (mode, image.getpalette())
        assert between.tobytes() == nearest.tobytes()
    pil = pytest.importorskip("PIL.Image")
    assert Resize((5, 6))(image).tobytes() == image.resize((6, 5), pil.Resampling.BILINEAR).tobytes()


@pytest.mark.parametrize("mode", ["P", "YCbCr", "HSV"])
@pytest.mark.parametrize(
    "change",
    [ColorJitter(0.3), Grayscale(), RandomGrayscale(), GaussianBlur(3), RandomEqualize(), RandAugment(), AugMix()],
    ids=lambda change: type(change).__name__,
)
def test_colours_of_another_kind_are_refused(change: Any, mode: str) -> None:
    with pytest.raises(ArgumentTypeError, match=rf"changes colours, and an image of mode '{mode}' .*convert\('RGB'\)"):
        change(pillow_image(mode))


def test_a_chain_takes_images_of_pillow_and_gives_what_it_gives_of_arrays() -> None:
    image = pillow_image()
    chain = Compose([CenterCrop(5), RandomHorizontalFlip(1), ToImage(), ToDtype("float32", scale=True)])
    np.testing.assert_array_equal(chain(image), chain(np.asarray(image)))


def test_what_is_no_image_of_pillow() -> None:
    with pytest.raises(ArgumentTypeError, match=r"PILToTensor takes an image of Pillow, but got a ndarray; ToCHW"):
        PILToTensor()(np.zeros((4, 4)))


# ---------------------------------------------------------------- Lambda


def test_lambda_is_the_function() -> None:
    assert Lambda(lambda number: number + 1)(2) == 3
    assert [Lambda(str.upper, str)(value) for value in ("a", 1)] == ["A", 1]
    with pytest.raises(ArgumentTypeError, match="Lambda takes a function of one sample, but got 3"):
        Lambda(3)  # type: ignore[arg-type]


def test_lambda_makes_one_array_of_several_crops() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 9, 8, 3), np.uint8)
    dataset = TensorDataset(images).map(Compose([headrace.TenCrop(4), Lambda(np.stack)]), field=0)
    (batch,) = DataLoader(dataset, 4).batch(0)
    assert batch.shape == (4, 10, 4, 4, 3)
    np.testing.assert_array_equal(batch[2], np.stack(headrace.TenCrop(4)(images[2])))
