"""Colours against plain Python: each pixel on its own, hues with colorsys, and against Pillow."""

from __future__ import annotations

import colorsys
import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import DataLoader, TensorDataset
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.rng.context import use_keys
from headrace.rng.draws import draw
from headrace.transforms import ColorJitter, Grayscale, RandomGrayscale

FROM_HWC = {"CHW": (2, 0, 1), "HWC": (0, 1, 2)}
TO_HWC = {"CHW": (1, 2, 0), "HWC": (0, 1, 2)}


def photo(height: int, width: int, dtype: str = "u1", seed: int = 0, channels: int = 3) -> Any:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, channels), np.uint8)
    image[: height // 3] = image[: height // 3, :, :1]  # grey, where hues have corners
    return image if dtype == "u1" else (image / 255).astype(dtype)


def loaded(transform: Any, images: Any, batch_size: int) -> Any:
    loader = DataLoader(TensorDataset(images).map(transform, field=0), batch_size=batch_size, seed=3)
    return np.concatenate([batch for (batch,) in loader])


# ---------------------------------------------------------------- the reference, one pixel at a time


def luma(pixel: Any) -> float:
    return float(0.2989 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2]) if len(pixel) == 3 else float(pixel[0])


def by_pixel(image: Any, change: Any, *, whole: bool) -> Any:
    """The HWC image in float64, after a change of each pixel, limited and rounded down as torchvision does."""
    out = np.array([[change(tuple(map(float, pixel))) for pixel in row] for row in image], np.float64)
    out = np.clip(out, 0, 255 if whole else 1)
    return np.floor(out + 1e-5) if whole else out  # 1e-5: the code computes in float32


def brightness(image: Any, factor: float, *, whole: bool) -> Any:
    return by_pixel(image, lambda pixel: [factor * x for x in pixel], whole=whole)


def contrast(image: Any, factor: float, *, whole: bool) -> Any:
    greys = [math.floor(luma(pixel)) if whole else luma(pixel) for row in image for pixel in row]
    mean = math.fsum(greys) / len(greys)
    return by_pixel(image, lambda pixel: [factor * x + (1 - factor) * mean for x in pixel], whole=whole)


def saturation(image: Any, factor: float, *, whole: bool) -> Any:
    def change(pixel: Any) -> Any:
        grey = math.floor(luma(pixel)) if whole else luma(pixel)
        return [factor * x + (1 - factor) * grey for x in pixel]

    return by_pixel(image, change, whole=whole)


def hue(image: Any, turn: float, *, whole: bool) -> Any:
    def change(pixel: Any) -> Any:
        h, s, v = colorsys.rgb_to_hsv(*(x / (255 if whole else 1) for x in pixel))
        return [x * (255.999 if whole else 1) for x in colorsys.hsv_to_rgb((h + turn) % 1, s, v)]

    return by_pixel(image, change, whole=whole)


CHANGES = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}


def assert_close(out: Any, expected: Any, steps: int = 1) -> None:
    """Within one level a step that rounds, and nearly always equal; floats within float32's precision."""
    assert out.shape == expected.shape
    if out.dtype != np.uint8:
        np.testing.assert_allclose(out, expected, atol=5e-3 if out.dtype == np.float16 else 1e-5)
        return
    wrong = np.abs(out.astype(float) - expected)
    assert wrong.max() <= steps
    assert (wrong > 0).mean() < 0.02 * steps


# ---------------------------------------------------------------- ColorJitter


@pytest.mark.parametrize("layout", ["CHW", "HWC"])
@pytest.mark.parametrize("dtype", ["u1", "f2", "f4", "f8"])
@pytest.mark.parametrize(
    ("name", "factor"),
    [
        *itertools.product(["brightness", "contrast", "saturation"], [0.0, 0.3, 0.99, 1.7, 20.0]),
        *itertools.product(["hue"], [-0.5, -0.2, -0.01, 0.1, 1 / 3, 0.5]),
    ],
)
def test_one_change(name: str, factor: float, dtype: str, layout: str) -> None:
    image = photo(12, 13, dtype)
    jitter = ColorJitter(**{name: (factor, factor)}, layout=layout)
    out = jitter(image.transpose(FROM_HWC[layout]))
    assert out.dtype == dtype
    assert_close(out.transpose(TO_HWC[layout]), CHANGES[name](image, factor, whole=dtype == "u1"))


@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_images_of_one_channel_have_brightness_and_contrast_alone(dtype: str) -> None:
    image = photo(9, 8, dtype, channels=1)
    for shown, layout in ((image, "HWC"), (image[..., 0], "HW"), (image[..., 0][np.newaxis], "CHW")):
        for name in ("brightness", "contrast"):
            out = ColorJitter(**{name: (0.6, 0.6)}, layout=layout)(shown)
            assert out.shape == shown.shape
            assert_close(out.reshape(image.shape), CHANGES[name](image, 0.6, whole=dtype == "u1"))
        assert ColorJitter(saturation=0.5, hue=0.5, layout=layout)(shown) is shown


@given(
    st.sampled_from(["CHW", "HWC"]),
    st.sampled_from(["u1", "f4"]),
    st.tuples(st.floats(0, 2), st.floats(0, 2), st.floats(0, 2), st.floats(0, 0.5)),
    st.integers(0, 2**32),
)
@settings(max_examples=60)
def test_four_changes_in_the_drawn_order(layout: str, dtype: str, ranges: Any, key: int) -> None:
    images = np.stack([photo(5, 6, dtype, seed) for seed in range(3)])
    with use_keys(key, np.arange(3)):
        out = ColorJitter(*ranges, layout=layout).apply_batch(
            np.stack([image.transpose(FROM_HWC[layout]) for image in images])
        )
    with use_keys(key, np.arange(3)):
        factors, orders = draw(3) / 2**32, draw(3)
    for row, image in enumerate(images):
        expected = image
        for number in np.argsort(orders[row]):
            name, amount = list(CHANGES)[number], ranges[number]
            low, high = (-amount, amount) if name == "hue" else (max(0.0, 1 - amount), 1 + amount)
            if amount:
                expected = CHANGES[name](expected, low + (high - low) * factors[row, number], whole=dtype == "u1")
        if dtype == "f4":  # levels of uint8 may drift apart over the steps, by factors up to 3
            np.testing.assert_allclose(out[row].transpose(TO_HWC[layout]), expected, atol=1e-4)
        else:
            wrong = np.abs(out[row].transpose(TO_HWC[layout]) - expected)
            assert np.median(wrong) <= 1
            assert wrong.mean() < 2


def test_factors_are_uniform_and_orders_equally_frequent() -> None:
    images = np.full((6000, 1, 1, 3), 0.25, np.float32)
    with use_keys(1, np.arange(6000)):
        out = ColorJitter(brightness=(0.5, 1.5)).apply_batch(images)[:, 0, 0, 0] / 0.25
    assert 0.5 <= out.min() < 0.51
    assert 1.49 < out.max() <= 1.5
    np.testing.assert_allclose(np.quantile(out, [0.25, 0.5, 0.75]), [0.75, 1, 1.25], atol=0.03)
    # Twice as bright and then clipped, or half the contrast first: the results tell the order.
    images = np.broadcast_to(np.array([[[0.2], [0.8]]], np.float32), (6000, 1, 2, 1))
    with use_keys(1, np.arange(6000)):
        out = ColorJitter(brightness=(2, 2), contrast=(0.5, 0.5), layout="HWC").apply_batch(images)[:, 0, 0, 0]
    assert {round(value, 2) for value in out.tolist()} == {0.55, 0.7}
    assert abs((out < 0.6).mean() - 0.5) < 0.03


def test_all_orders_occur() -> None:
    image = photo(6, 6, "f4")
    with use_keys(1, np.arange(400)):
        images = np.broadcast_to(image, (400, *image.shape))
        out = ColorJitter((1.9, 1.9), (0.4, 0.4), (1.8, 1.8), (0.3, 0.3)).apply_batch(images)
    assert len({row.tobytes() for row in out}) == 24


def test_what_is_left_alone() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    for jitter in (ColorJitter(), ColorJitter(None, None, None, None), ColorJitter(0, 0, 0, 0)):
        assert jitter(image) is image


def test_numbers_and_ranges() -> None:
    jitter = ColorJitter(0.4, 1.5, (0.2, 0.7), 0.1)
    assert jitter.brightness == (0.6, 1.4)
    assert jitter.contrast == (0.0, 2.5)
    assert jitter.saturation == (0.2, 0.7)
    assert jitter.hue == (-0.1, 0.1)
    assert ColorJitter(hue=[-0.1, 0.5]).hue == (-0.1, 0.5)
    image = photo(4, 4)
    assert ColorJitter()(image) is image


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("value", [-0.1, (-0.1, 1), (2, 1), (1,), (1, 2, 3), "1", True, math.nan, (1, math.inf)])
def test_what_are_no_factors(name: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=rf"{name} must be a number from 0, or \(low, high\) with 0 <= low <= high"):
        ColorJitter(**{name: value})


@pytest.mark.parametrize("value", [0.6, -0.1, (-0.6, 0), (0, 0.6), (0.2, 0.1), "0.1", [[0, 0.1]]])
def test_what_is_no_hue(value: Any) -> None:
    with pytest.raises(ArgumentError, match=r"hue must be a number in \[0, 0\.5\], or \(low, high\) with -0\.5 <= low"):
        ColorJitter(hue=value)


# ---------------------------------------------------------------- grey


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("layout", ["CHW", "HWC"])
@pytest.mark.parametrize("dtype", ["u1", "f2", "f4", "f8"])
def test_grey_images(dtype: str, layout: str, channels: int) -> None:
    image = photo(12, 13, dtype)
    out = Grayscale(channels, layout=layout)(image.transpose(FROM_HWC[layout]))
    assert out.dtype == dtype
    expected = by_pixel(image, lambda pixel: [luma(pixel)] * channels, whole=dtype == "u1")
    assert_close(out.transpose(TO_HWC[layout]), expected)


def test_grey_is_pillows_up_to_its_rounding() -> None:
    image_module = pytest.importorskip("PIL.Image")
    image = photo(60, 50)
    expected = np.asarray(image_module.fromarray(image).convert("L")).astype(int)
    difference = expected - Grayscale()(image)[..., 0]
    assert set(difference.ravel().tolist()) <= {0, 1}  # Pillow rounds to nearest, torchvision down


def test_grey_images_stay_or_are_repeated() -> None:
    image = photo(5, 6, channels=1)
    assert Grayscale()(image) is image
    assert Grayscale()(image[..., 0]) is not None
    assert (Grayscale(3)(image) == image).all()
    assert Grayscale(3)(image).shape == (5, 6, 3)
    assert Grayscale(3, layout="CHW")(image.transpose(2, 0, 1)).shape == (3, 5, 6)
    with pytest.raises(ArgumentError, match="cannot make 3 channels of images without a dimension for them; use ToCHW"):
        Grayscale(3)(image[..., 0])


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("layout", ["CHW", "HWC"])
def test_some_images_become_grey(layout: str, p: float) -> None:
    images = np.stack([photo(3, 4, "f4", seed).transpose(FROM_HWC[layout]) for seed in range(2000)])
    before = images.copy()
    with use_keys(1, np.arange(2000)):
        out = RandomGrayscale(p, layout=layout).apply_batch(images)
    with use_keys(1, np.arange(2000)):
        grey = Grayscale(3, layout=layout).apply_batch(images)
    became = (out == grey).all((1, 2, 3))
    assert (out[~became] == before[~became]).all()
    assert (images == before).all()
    assert abs(became.mean() - p) < 4 * math.sqrt(p * (1 - p) / 2000) + 1e-9


def test_images_that_stay_come_back_themselves() -> None:
    image = photo(4, 4)
    assert RandomGrayscale(0)(image) is image
    assert RandomGrayscale(1)(image[..., :1]) is not None
    grey = image[..., 0]
    assert RandomGrayscale(1)(grey) is grey


@pytest.mark.parametrize("channels", [0, 2, 4, True, "3", None])
def test_what_are_no_output_channels(channels: Any) -> None:
    with pytest.raises(ArgumentError, match="num_output_channels must be 1 or 3, but got"):
        Grayscale(channels)


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan, "1", True, None])
def test_what_is_no_probability(p: Any) -> None:
    with pytest.raises(ArgumentError, match=r"p must be a probability in \[0, 1\], but got p="):
        RandomGrayscale(p)


@pytest.mark.parametrize("transform", [ColorJitter(0.1), Grayscale(), RandomGrayscale(1)])
def test_what_images_are_refused(transform: Any) -> None:
    name = type(transform).__name__
    with pytest.raises(ArgumentTypeError, match=f"{name} takes uint8 or floating-point images, but got int64; put"):
        transform(np.zeros((3, 4, 4), np.int64))
    with pytest.raises(
        ArgumentError, match=rf"{name} takes images of 1 or 3 channels, but got 4 in images \(4, 5, 5\)"
    ):
        transform(np.zeros((4, 5, 5), np.float32))


# ---------------------------------------------------------------- alone and in a batch


@given(
    st.sampled_from(["CHW", "HWC", "HW"]),
    st.sampled_from(["u1", "f4"]),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(2, 9),
    st.sampled_from([ColorJitter, Grayscale, RandomGrayscale]),
)
@settings(max_examples=80)
def test_an_image_alone_becomes_what_it_does_in_a_batch(
    layout: str, dtype: str, extent: tuple[int, int], batch_size: int, kind: Any
) -> None:
    rng = np.random.default_rng(0)
    shape = {"CHW": (3, *extent), "HWC": (*extent, 3), "HW": extent}[layout]
    images = rng.integers(0, 256, (9, *shape)).astype("u1")
    if dtype == "f4":
        images = rng.random((9, *shape), np.float32)
    arguments = {ColorJitter: (0.5, 0.6, 0.7, 0.3), Grayscale: (1,), RandomGrayscale: (0.5,)}[kind]
    transform = kind(*arguments, layout=layout)
    assert loaded(transform, images, batch_size).tobytes() == loaded(transform, images, 1).tobytes()


def test_large_images_alone_and_in_a_batch() -> None:
    images = np.random.default_rng(0).random((5, 3, 150, 170), np.float32)  # a block each
    for transform in (ColorJitter(0.5, 0.6, 0.7, 0.3), RandomGrayscale(0.5)):
        assert loaded(transform, images, 5).tobytes() == loaded(transform, images, 1).tobytes()


def test_no_images_and_tensors() -> None:
    torch = pytest.importorskip("torch")
    for transform in (ColorJitter(0.5, 0.5, 0.5, 0.5), Grayscale(3), RandomGrayscale(1)):
        assert transform(np.zeros((0, 6, 5, 3), np.uint8)).shape == (0, 6, 5, 3)
        assert isinstance(transform(torch.ones(3, 4, 4)), torch.Tensor)
