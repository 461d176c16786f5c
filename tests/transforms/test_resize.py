"""Resize and RandomResizedCrop against Pillow, and windows against the rule that torchvision documents."""

from __future__ import annotations

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
from headrace.transforms import RandomResizedCrop, Resize
from headrace.transforms.chance import CropBox, more_words, random_crop_boxes

Image = pytest.importorskip("PIL.Image")

KINDS = ["nearest", "bilinear", "bicubic"]
TO_HWC = {"HW": (0, 1), "CHW": (1, 2, 0), "HWC": (0, 1, 2)}
FROM_HWC = {"HW": (0, 1), "CHW": (2, 0, 1), "HWC": (0, 1, 2)}


def noise(*shape: int, dtype: str = "u1", seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, shape, np.uint8) if dtype == "u1" else rng.random(shape).astype(dtype)


def pillow(image: Any, size: tuple[int, int], kind: str = "bilinear") -> Any:
    """An HW or HWC image, resized by Pillow, bytes along the width first; each channel of floats on its own."""
    how = Image.Resampling[kind.upper()]
    if image.dtype == np.uint8:
        return np.asarray(Image.fromarray(image).resize((size[1], len(image)), how).resize(size[::-1], how))
    planes = np.moveaxis(image.reshape(*image.shape[:2], -1), -1, 0)
    resized = [Image.fromarray(plane).resize(size[::-1], how) for plane in planes]
    return np.stack([np.asarray(plane) for plane in resized], -1).reshape(*size, *image.shape[2:])


def assert_close(out: Any, expected: Any) -> None:
    assert out.dtype == expected.dtype
    assert out.shape == expected.shape
    np.testing.assert_allclose(out, expected, rtol=0, atol=0 if out.dtype == np.uint8 else 3e-6)


def loaded(transform: Any, images: Any, batch_size: int) -> Any:
    loader = DataLoader(TensorDataset(images).map(transform, field=0), batch_size=batch_size, seed=3)
    return np.concatenate([batch for (batch,) in loader])


# ---------------------------------------------------------------- Resize


@given(
    st.data(),
    st.sampled_from(["HW", "HWC", "CHW"]),
    st.sampled_from(["u1", "f4"]),
    st.sampled_from(KINDS),
    st.tuples(*[st.integers(1, 40)] * 4),
)
@settings(max_examples=300)
def test_resize_is_pillows(
    data: st.DataObject, layout: str, dtype: str, kind: str, extents: tuple[int, int, int, int]
) -> None:
    height, width, to_height, to_width = extents
    hwc = noise(3, height, width, *([3] if layout != "HW" else []), dtype=dtype, seed=data.draw(st.integers(0, 99)))
    images = np.stack([np.ascontiguousarray(image.transpose(FROM_HWC[layout])) for image in hwc])
    out = Resize((to_height, to_width), kind, layout=layout).apply_batch(images)
    assert out.flags.c_contiguous
    for image, row in zip(hwc, out, strict=True):
        assert_close(row.transpose(TO_HWC[layout]), pillow(image, (to_height, to_width), kind))


@pytest.mark.parametrize("size", [(224, 224), (64, 500), (450, 100), (600, 720)])
def test_resize_of_a_photographs_size(size: tuple[int, int]) -> None:
    image = noise(375, 500, 3)
    out = Resize(size)(image)
    assert_close(out, pillow(image, size))
    at_once = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
    assert np.abs(out.astype(int) - at_once).max() <= 1  # Pillow may take the height first


def test_resize_of_one_value_keeps_it() -> None:
    for value in (0, 1, 254, 255):
        image = np.full((37, 23), value, np.uint8)
        for size in ((5, 7), (100, 61), (37, 5)):
            assert (Resize(size)(image) == value).all()


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [(7, 9), (40, 50), (12, 60)])
def test_resize_is_torchs(size: tuple[int, int], antialias: bool) -> None:
    functional = pytest.importorskip("torch.nn.functional")
    torch = pytest.importorskip("torch")
    images = noise(2, 3, 23, 31, dtype="f4")
    expected = functional.interpolate(torch.from_numpy(images), size, mode="bilinear", antialias=antialias)
    np.testing.assert_allclose(Resize(size, antialias=antialias)(images), expected.numpy(), atol=2e-6)


@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_bicubic_without_antialias_is_keys_curve(dtype: str) -> None:
    """Sixteen pixels for each, by the formula of the article, where nothing is cut off at the edges."""
    line = noise(1, 40, dtype=dtype)[0].astype(float)
    found = Resize((1, 11), "bicubic", antialias=False)(line[np.newaxis].astype(dtype))[0]
    for number in range(1, 10):
        centre = (number + 0.5) * 40 / 11 - 0.5
        nearest = [math.floor(centre) + n for n in (-1, 0, 1, 2)]
        expected = sum(line[place] * keys_curve(abs(place - centre)) for place in nearest)
        if dtype == "u1":
            assert found[number] == round(min(max(expected, 0), 255))
        else:
            assert found[number] == pytest.approx(expected, abs=1e-6)


def keys_curve(x: float) -> float:
    return 1.5 * x**3 - 2.5 * x**2 + 1 if x < 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2


def test_without_antialias_the_nearest_pixels_count_alone() -> None:
    image = np.arange(16, dtype=np.float32).reshape(1, 16)
    assert Resize((1, 2), antialias=False)(image).tolist() == [[3.5, 11.5]]
    checks = np.tile([0, 255], 32).astype(np.uint8).reshape(1, 64)
    assert np.ptp(Resize((1, 4))(checks)) <= 5
    assert np.ptp(Resize((1, 4), antialias=False)(checks[:, 1:])) == 64


@pytest.mark.parametrize(
    ("size", "extent", "expected"),
    [
        (10, (20, 30), (10, 15)),
        (10, (30, 20), (15, 10)),
        (10, (20, 20), (10, 10)),
        (7, (20, 33), (7, 11)),
        ([7], (33, 20), (11, 7)),
        (np.int64(40), (20, 30), (40, 60)),
        ((5, 6), (20, 30), (5, 6)),
        (np.array([5, 6]), (20, 30), (5, 6)),
    ],
)
def test_an_integer_is_the_shorter_side(size: Any, extent: tuple[int, int], expected: tuple[int, int]) -> None:
    assert Resize(size)(noise(*extent, 3)).shape == (*expected, 3)
    assert Resize(size, layout="CHW")(noise(3, *extent)).shape == (3, *expected)


@pytest.mark.parametrize(
    ("size", "max_size", "extent", "expected"),
    [
        (10, 14, (20, 30), (9, 14)),
        (10, 15, (20, 30), (10, 15)),
        (10, 12, (31, 20), (12, 8)),
        ([10], np.int64(20), (7, 400), (1, 20)),
        (10, 11, (20, 20), (10, 10)),
    ],
)
def test_the_longer_side_is_limited(size: Any, max_size: int, extent: tuple[int, int], expected: Any) -> None:
    assert Resize(size, max_size=max_size)(noise(*extent, 3)).shape == (*expected, 3)
    assert Resize(size, max_size=max_size, layout="CHW")(noise(3, *extent)).shape == (3, *expected)


def test_an_image_of_that_size_comes_back_itself() -> None:
    for image in (noise(8, 9), noise(8, 9, 3)):
        assert Resize((8, 9))(image) is image
        assert Resize(8)(image) is image


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_floats_keep_their_type(dtype: str) -> None:
    image = noise(9, 11, dtype=dtype)
    out = Resize((4, 5))(image)
    assert out.dtype == dtype
    np.testing.assert_allclose(out, pillow(image.astype("f4"), (4, 5)), atol=1e-3 if dtype == "f2" else 1e-6)


# ---------------------------------------------------------------- RandomResizedCrop


def window_by_the_rule(words: Any, extent: tuple[int, int], scale: Any, ratio: Any) -> Any:
    """torchvision's RandomResizedCrop.get_params, one attempt after the other, with our words for its draws."""
    height, width = extent
    for attempt in range(10):
        area_word, shape_word, top_word, left_word = (int(w) for w in more_words(words, attempt)[0])
        area = height * width * (scale[0] + (scale[1] - scale[0]) * area_word / 2**32)
        log_low, log_high = math.log(ratio[0]), math.log(ratio[1])
        aspect = math.exp(log_low + (log_high - log_low) * shape_word / 2**32)
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return top_word * (height - h + 1) // 2**32, left_word * (width - w + 1) // 2**32, h, w
    w, h = width, height
    if width / height < ratio[0]:
        h = round(width / ratio[0])
    elif width / height > ratio[1]:
        w = round(height * ratio[1])
    return (height - h) // 2, (width - w) // 2, h, w


@given(
    st.sampled_from(["HW", "HWC", "CHW"]),
    st.sampled_from(["u1", "f4"]),
    st.tuples(st.integers(4, 40), st.integers(4, 40)),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.sampled_from([(0.08, 1.0), (0.5, 1.0), (0.01, 0.02), (0.9, 4.0)]),
    st.sampled_from([(3 / 4, 4 / 3), (1.0, 1.0), (0.1, 0.2), (5.0, 5.0)]),
    st.sampled_from(KINDS),
)
def test_each_window_is_cut_out_and_resized(
    layout: str, dtype: str, extent: tuple[int, int], size: tuple[int, int], scale: Any, ratio: Any, kind: str
) -> None:
    hwc = noise(3, *extent, *([3] if layout != "HW" else []), dtype=dtype)
    images = np.stack([np.ascontiguousarray(image.transpose(FROM_HWC[layout])) for image in hwc])
    with use_keys(7, np.arange(3)):
        out = RandomResizedCrop(size, scale, ratio, kind, layout=layout).apply_batch(images)
    with use_keys(7, np.arange(3)):
        words = draw(3)
    for row, image in enumerate(hwc):
        top, left, height, width = window_by_the_rule(words[row : row + 1], extent, scale, ratio)
        cut = np.ascontiguousarray(image[top : top + height, left : left + width])
        assert_close(out[row].transpose(TO_HWC[layout]), pillow(cut, size, kind))


@pytest.mark.parametrize(
    ("extent", "expected"),
    [((10, 40), (0, 13, 10, 13)), ((40, 10), (13, 0, 13, 10)), ((10, 12), (0, 0, 10, 12))],
)
def test_where_no_window_fits_the_central_one_is_taken(extent: tuple[int, int], expected: Any) -> None:
    image = noise(*extent)
    top, left, height, width = expected
    out = RandomResizedCrop(6, scale=(50, 50))(image)
    assert_close(out, pillow(np.ascontiguousarray(image[top : top + height, left : left + width]), (6, 6)))


def test_windows_have_the_areas_shapes_and_places_they_should() -> None:
    words = np.random.default_rng(0).integers(0, 2**32, (20000, 4), np.uint32)
    windows = random_crop_boxes(words, (400, 400), (0.1, 0.3), (0.5, 2.0))
    tops, lefts, heights, widths = np.array([window for window in windows if window is not None], float).T
    areas, shapes = heights * widths / 400**2, np.log2(widths / heights)
    assert len(tops) == 20000
    for values, low, high in ((areas, 0.1, 0.3), (shapes, -1, 1), (tops / (400 - heights), 0, 1)):
        assert low - 0.01 < values.min() < low + 0.01
        assert high - 0.01 < values.max() < high + 0.01
        assert abs(values.mean() - (low + high) / 2) < 0.01 * (high - low)
        quarters = np.quantile(values, [0.25, 0.75])
        np.testing.assert_allclose(quarters, [low + (high - low) / 4, high - (high - low) / 4], atol=0.02)
    together = np.corrcoef([areas, shapes, tops / (400 - heights), lefts / (400 - widths)])
    assert np.abs(together - np.eye(4)).max() < 0.03


def test_a_window_may_be_the_whole_or_must_be_smaller() -> None:
    words = np.random.default_rng(0).integers(0, 2**32, (5, 4), np.uint32)
    assert random_crop_boxes(words, (6, 6), (1, 1), (1, 1)) == [CropBox(0, 0, 6, 6)] * 5
    assert random_crop_boxes(words, (6, 6), (1, 1), (1, 1), smaller=True) == [None] * 5
    assert random_crop_boxes(words[:0], (6, 6), (1, 1), (1, 1)) == []


# ---------------------------------------------------------------- alone and in a batch


@given(st.data(), st.sampled_from(["HW", "HWC", "CHW"]), st.sampled_from(["u1", "f4"]), st.integers(2, 7))
@settings(max_examples=40)
def test_an_image_alone_becomes_what_it_does_in_a_batch(
    data: st.DataObject, layout: str, dtype: str, batch_size: int
) -> None:
    height, width, to_height, to_width = data.draw(st.tuples(*[st.integers(1, 30)] * 4))
    shape = {"HW": (height, width), "CHW": (3, height, width), "HWC": (height, width, 3)}[layout]
    images = noise(7, *shape, dtype=dtype)
    transforms: list[Any] = [Resize, RandomResizedCrop]
    kind = data.draw(st.sampled_from(KINDS))
    for transform in transforms:
        resize = transform((to_height, to_width), interpolation=kind, layout=layout)
        assert loaded(resize, images, batch_size).tobytes() == loaded(resize, images, 1).tobytes()


def test_large_images_alone_and_in_a_batch() -> None:
    images = noise(4, 3, 300, 200, dtype="f4")  # several blocks
    for resize in (Resize(90), RandomResizedCrop(90)):
        assert loaded(resize, images, 4).tobytes() == loaded(resize, images, 1).tobytes()


def test_images_of_any_memory_layout_and_no_images() -> None:
    image = noise(12, 14, 3)
    for view in (image[::-1], image[:, ::2], np.asfortranarray(image), image.transpose(1, 0, 2)):
        expected = Resize((5, 6))(view.copy())
        assert Resize((5, 6))(view).tobytes() == expected.tobytes()
    for resize in (Resize(5), RandomResizedCrop(5)):
        assert resize(np.zeros((0, 9, 9, 3), np.uint8)).shape == (0, 5, 5, 3)


def test_tensors_come_back_as_tensors() -> None:
    torch = pytest.importorskip("torch")
    for resize in (Resize(5), RandomResizedCrop(5)):
        out = resize(torch.ones(2, 3, 8, 9))
        assert isinstance(out, torch.Tensor)
        assert tuple(out.shape)[:2] == (2, 3)


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("size", [0, -1, True, 2.0, "3", None, (), (1, 2, 3), (0, 3), (3, 2.5), (True, 3), [[1, 2]]])
def test_a_size_must_be_positive_integers(size: Any) -> None:
    transforms: list[Any] = [Resize, RandomResizedCrop]
    for transform in transforms:
        with pytest.raises(ArgumentError, match=r"size must be a positive integer or \(height, width\), but got size="):
            transform(size)


@pytest.mark.parametrize("kind", KINDS)
def test_interpolations_by_pillows_names(kind: str) -> None:
    constant = Image.Resampling[kind.upper()]
    for given_kind in (kind, constant, int(constant)):
        assert (
            Resize(3, given_kind).interpolation == RandomResizedCrop(3, interpolation=given_kind).interpolation == kind
        )


@pytest.mark.parametrize("kind", ["lanczos", "BILINEAR", 1, 4, True, None, Image.Resampling.BOX])
def test_other_interpolations_are_refused(kind: Any) -> None:
    for make in (Resize, lambda size, kind: RandomResizedCrop(size, interpolation=kind)):
        with pytest.raises(ArgumentError, match="interpolation must be one of nearest, bilinear, bicubic, but got"):
            make(3, kind)


def test_a_limit_of_the_longer_side_goes_with_the_shorter_one() -> None:
    with pytest.raises(
        ArgumentError, match=r"max_size goes with one integer as size, but got max_size=9 and size=\(4,"
    ):
        Resize((4, 5), max_size=9)
    wrongs: list[Any] = [7, 3, -1, True, 8.5, "9"]
    for wrong in wrongs:
        with pytest.raises(ArgumentError, match="max_size must be an integer larger than size=7, but got max_size="):
            Resize(7, max_size=wrong)


@pytest.mark.parametrize("value", [1, (1,), (1, 2, 3), (0, 1), (-1, 1), (2, 1), (1, math.inf), (math.nan, 1), "12"])
@pytest.mark.parametrize("name", ["scale", "ratio"])
def test_what_is_no_range_is_refused(name: str, value: Any) -> None:
    expected = rf"{name} must be \(low, high\) with 0 < low <= high, but got {name}="
    with pytest.raises(ArgumentError, match=expected):
        RandomResizedCrop(3, **{name: value})


@pytest.mark.parametrize("transform", [Resize(2), RandomResizedCrop(2)])
def test_what_images_are_refused(transform: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=r"takes uint8 or floating-point images, but got int32; put ToFloat"):
        transform(np.zeros((4, 4), np.int32))
    with pytest.raises(ArgumentError, match=r"takes images of at least one pixel, but got shape \(0, 4\)"):
        transform(np.zeros((0, 4), np.uint8))
