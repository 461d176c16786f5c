"""Flips, crops and padding against NumPy's own, given the same draws."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import CenterCrop, Pad, RandomCrop, RandomHorizontalFlip, RandomVerticalFlip
from headrace.errors import ArgumentError
from headrace.images.layout import Axes, image_axes
from headrace.rng.context import use_keys
from headrace.rng.draws import draw

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODES: list[Any] = ["constant", "edge", "reflect", "symmetric"]
DTYPES = ["?", "u1", "u2", "i4", "f2", "f4", "f8"]
AXES = {"HW": (0, 1), "CHW": (1, 2), "HWC": (0, 1)}  # of one image


@st.composite
def batches(pick: st.DrawFn, least: int = 1) -> tuple[NDArray[Any], str]:
    layout = pick(st.sampled_from(list(AXES)))
    height, width, channels = pick(st.tuples(st.integers(least, 7), st.integers(least, 7), st.integers(1, 5)))
    shape = {"HW": (height, width), "CHW": (channels, height, width), "HWC": (height, width, channels)}[layout]
    dtype = np.dtype(pick(st.sampled_from(DTYPES)))
    noise = np.random.default_rng(pick(st.integers(0, 99)))
    count = pick(st.integers(0, 4))
    return noise.integers(0, 2 if dtype.kind == "b" else 200, (count, *shape)).astype(dtype), layout


def paddings() -> st.SearchStrategy[Any]:
    pixels = st.integers(0, 5)
    return pixels | st.tuples(pixels, pixels) | st.tuples(pixels, pixels, pixels, pixels)


def four(padding: Any) -> tuple[int, int, int, int]:
    """Left, top, right and bottom, as torchvision reads a padding."""
    if isinstance(padding, int):
        return padding, padding, padding, padding
    if len(padding) == 2:
        return padding[0], padding[1], padding[0], padding[1]
    left, top, right, bottom = padding
    return left, top, right, bottom


def padded(image: NDArray[Any], layout: str, padding: Any, mode: Any = "constant", **how: Any) -> NDArray[Any]:
    left, top, right, bottom = four(padding)
    widths = [(0, 0)] * image.ndim
    widths[AXES[layout][0]], widths[AXES[layout][1]] = (top, bottom), (left, right)
    return np.pad(image, widths, mode, **how)


def window(image: NDArray[Any], layout: str, top: int, left: int, size: tuple[int, int]) -> NDArray[Any]:
    rows, columns = AXES[layout]
    return image.take(range(top, top + size[0]), rows).take(range(left, left + size[1]), columns)


def same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def words_of(count: int, key: int) -> list[list[int]]:
    """What the first transform after `use_keys` draws."""
    with use_keys(key, np.arange(count)):
        words: list[list[int]] = draw(count).tolist()
    return words


# ---------------------------------------------------------------- flips


@given(batches(), st.floats(0, 1), st.integers(0, 2**64 - 1), st.sampled_from([0, 1]))
def test_flips_are_numpys(case: tuple[Any, str], p: float, key: int, which: int) -> None:
    images, layout = case
    flip = (RandomVerticalFlip, RandomHorizontalFlip)[which](p, layout=layout)
    with use_keys(key, np.arange(len(images))):
        out = flip.apply_batch(images)
    words = words_of(len(images), key)
    for image, flipped, word in zip(images, out, words, strict=True):
        assert same(flipped, np.flip(image, AXES[layout][which]) if word[0] / 2**32 < p else image)


@pytest.mark.parametrize("flip", [RandomHorizontalFlip, RandomVerticalFlip])
@pytest.mark.parametrize("p", [0, 0.0, 0.3, 0.5, 0.9, 1, 1.0])
def test_images_are_flipped_as_often_as_p_says(flip: Any, p: float) -> None:
    count = 20000
    images = np.broadcast_to(np.array([[0, 0], [0, 1]]), (count, 2, 2))
    with use_keys(3, np.arange(count)):
        flipped = flip(p, layout="HW").apply_batch(images)[:, 1, 1] == 0
    assert abs(flipped.sum() - count * p) <= 4 * math.sqrt(count * p * (1 - p))  # none, or all, at the ends


@pytest.mark.parametrize("flip", [RandomHorizontalFlip, RandomVerticalFlip])
def test_what_is_not_flipped_is_returned_itself(flip: Any) -> None:
    image, batch = np.ones((3, 4, 4)), np.ones((2, 3, 4, 4))
    assert flip(0)(image) is image
    assert flip(0)(batch) is batch
    assert flip(0).apply_batch(batch) is batch
    assert flip(1)(image) is not image


@pytest.mark.parametrize("flip", [RandomHorizontalFlip, RandomVerticalFlip])
def test_flipping_writes_to_no_input(flip: Any) -> None:
    batch = np.arange(96.0).reshape(2, 3, 4, 4)
    batch.flags.writeable = False
    out = flip(1)(batch)
    assert not np.shares_memory(out, batch)
    out[...] = 0  # what comes back is the caller's own


@pytest.mark.parametrize("flip", [RandomHorizontalFlip, RandomVerticalFlip])
@pytest.mark.parametrize(
    "p", [math.nan, -0.1, 1.1, math.inf, True, False, "x", "0.5", None, 0.5j, [0.5], np.True_, np.nan, np.complex64(0)]
)
def test_p_must_be_a_probability(flip: Any, p: Any) -> None:
    with pytest.raises(ArgumentError, match=r"p must be a probability in \[0, 1\], but got p=") as raised:
        flip(p)
    assert isinstance(raised.value, ValueError)
    assert str(raised.value).endswith(f"p={p!r}")


@pytest.mark.parametrize("p", [0, 1, 0.5, np.float32(0.5), np.float16(1), np.int64(1)])
def test_any_number_may_be_a_probability(p: Any) -> None:
    assert RandomHorizontalFlip(p).p == p
    assert type(RandomHorizontalFlip(p).p) is float


@pytest.mark.parametrize(("p", "word"), [(0, 0), (1, 2**32 - 1)])
def test_never_and_always_hold_for_the_most_extreme_draws(monkeypatch: pytest.MonkeyPatch, p: float, word: int) -> None:
    monkeypatch.setattr("headrace.rng.draws.draw", lambda count: np.full((count, 4), word, np.uint32))
    assert RandomHorizontalFlip(p)(np.array([[1, 2]])).tolist() == ([[2, 1]] if p else [[1, 2]])


# ---------------------------------------------------------------- RandomCrop


@given(st.data(), batches(), paddings(), st.sampled_from(MODES), st.integers(0, 2**64 - 1))
@settings(max_examples=300)
def test_a_crop_is_the_padded_image_sliced(
    data: st.DataObject, case: tuple[Any, str], padding: Any, mode: Any, key: int
) -> None:
    images, layout = case
    left, top, right, bottom = four(padding)
    rows, columns = (images.shape[1 + axis] for axis in AXES[layout])
    height, width = rows + top + bottom, columns + left + right
    size = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    with use_keys(key, np.arange(len(images))):
        out = RandomCrop(size, padding, padding_mode=mode, layout=layout).apply_batch(images)
    for image, cut, word in zip(images, out, words_of(len(images), key), strict=True):
        y, x = word[0] * (height - size[0] + 1) >> 32, word[1] * (width - size[1] + 1) >> 32
        assert same(cut, window(padded(image, layout, padding, mode), layout, y, x, size))


@pytest.mark.parametrize("size", [(9, 3), (4, 9), (7, 12), (3, 4)])
@pytest.mark.parametrize("mode", MODES)
def test_what_a_crop_lacks_is_added_on_both_sides(size: tuple[int, int], mode: Any) -> None:
    """As torchvision does: twice as much as is missing."""
    image = np.arange(1, 21, dtype=np.float32).reshape(4, 5)
    padding = tuple(max(0, wanted - extent) for wanted, extent in zip(size[::-1], (5, 4), strict=True))
    with use_keys(5, np.arange(1)):
        found = RandomCrop(size, padding=None, pad_if_needed=True, padding_mode=mode)(image)
    with use_keys(5, np.arange(1)):
        assert same(found, RandomCrop(size, padding, padding_mode=mode)(image))


def test_a_crop_around_which_there_is_a_value_or_one_a_channel() -> None:
    image = np.zeros((1, 1, 3), np.uint8)
    with use_keys(0, np.arange(200)):
        crops = RandomCrop(1, padding=5, fill=(1, 2, 3)).apply_batch(np.broadcast_to(image, (200, 1, 1, 3)))
    assert sorted(set(map(tuple, crops.reshape(-1, 3).tolist()))) == [(0, 0, 0), (1, 2, 3)]
    assert RandomCrop(9, padding=4, fill=0.5)(np.ones((1, 1), np.float32)).sum() == 1 + 80 * 0.5
    with pytest.raises(ArgumentError, match="fill has 2 values for images with 3 channels"):
        RandomCrop(1, padding=1, fill=(1, 2))(image)


@pytest.mark.parametrize("mode", ["edge", "reflect", "symmetric"])
def test_no_pixel_cannot_be_repeated(mode: str) -> None:
    with pytest.raises(ArgumentError, match=f"padding_mode='{mode}' repeats pixels, but an image of 0 x 3 has none"):
        RandomCrop(2, padding=2, padding_mode=mode)(np.zeros((0, 3)))


@pytest.mark.parametrize("transform", [lambda mode: RandomCrop(3, padding_mode=mode), lambda mode: Pad(3, 0, mode)])
@pytest.mark.parametrize("mode", ["wrap", "", None, 3])
def test_wrong_modes(transform: Any, mode: Any) -> None:
    with pytest.raises(ArgumentError, match="padding_mode must be one of constant, edge, reflect, symmetric, but got"):
        transform(mode)


def offsets(count: int, image: tuple[int, int], size: tuple[int, int], padding: int = 0) -> NDArray[np.int64]:
    """Rows and columns where windows of that size begin, shape (count, 2)."""
    numbered = np.arange(1, image[0] * image[1] + 1).reshape(image)
    with use_keys(7, np.arange(count)):
        windows = RandomCrop(size, padding, layout="HW").apply_batch(np.broadcast_to(numbered, (count, *image)))
    return np.stack(np.divmod(windows[:, 0, 0] - 1, image[1]), axis=1)


def test_all_places_of_a_crop_are_equally_likely_and_rows_say_nothing_of_columns() -> None:
    stats = pytest.importorskip("scipy.stats")
    table = np.zeros((9, 7), np.int64)
    np.add.at(table, tuple(offsets(63 * 300, (12, 10), (4, 4)).T), 1)
    assert stats.chisquare(table.ravel()).pvalue > 1e-4
    assert stats.chi2_contingency(table).pvalue > 1e-4


def test_the_padding_takes_part_in_where_crops_lie() -> None:
    stats = pytest.importorskip("scipy.stats")
    count = 81 * 100
    image = np.zeros((32, 32), np.uint8)
    image[16, 16] = 1  # where this pixel comes out tells where the window lay
    with use_keys(1, np.arange(count)):
        windows = RandomCrop(32, padding=4).apply_batch(np.broadcast_to(image, (count, 32, 32)))
    rows, columns = np.nonzero(windows)[1:]
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (12, 20, 12, 20)
    assert stats.chisquare(np.bincount((rows - 12) * 9 + columns - 12, minlength=81)).pvalue > 1e-4


def test_a_crop_as_large_as_the_padded_image_is_that_image() -> None:
    image = np.arange(1, 13, dtype=np.float32).reshape(3, 4)
    assert same(RandomCrop((5, 10), padding=(4, 1, 2, 1))(image), padded(image, "HW", (4, 1, 2, 1)))


def test_one_pixel_may_be_cropped_out_of_one_pixel() -> None:
    assert RandomCrop(1, padding=0)(np.array([[7]])).tolist() == [[7]]


def test_a_window_may_lie_in_the_padding_alone() -> None:
    image = np.ones((1, 1), np.uint8)
    with use_keys(0, np.arange(200)):
        windows = RandomCrop(1, padding=5).apply_batch(np.broadcast_to(image, (200, 1, 1)))
    assert 0 < windows.sum() < 20


def test_crops_are_copies() -> None:
    image = np.ones((4, 4))
    RandomCrop(4, padding=0)(image)[...] = 5
    assert (image == 1).all()


def test_a_crop_larger_than_the_padded_image_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"crop size \(8, 8\) is larger than the padded image \(7, 12\); crop less"):
        RandomCrop(8, padding=(4, 1))(np.zeros((5, 4)))
    with pytest.raises(ValueError, match=r"crop size \(3, 9\) is larger than the padded image \(8, 8\)"):
        RandomCrop((3, 9), padding=0)(np.zeros((2, 8, 8)))


# ---------------------------------------------------------------- CenterCrop


@given(st.data(), batches())
def test_the_center_is_torchvisions(data: st.DataObject, case: tuple[Any, str]) -> None:
    images, layout = case
    rows, columns = (images.shape[1 + axis] for axis in AXES[layout])
    size = data.draw(st.integers(1, rows)), data.draw(st.integers(1, columns))
    out = CenterCrop(size, layout=layout).apply_batch(images)
    # torchvision.transforms.functional.center_crop, on each image
    top, left = round((rows - size[0]) / 2.0), round((columns - size[1]) / 2.0)
    assert len(out) == len(images)
    for image, cut in zip(images, out, strict=True):
        assert same(cut, window(image, layout, top, left, size))


@given(st.data(), batches())
def test_a_smaller_image_is_padded_before_its_center_is_cut(data: st.DataObject, case: tuple[Any, str]) -> None:
    images, layout = case
    size = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    extent = [images.shape[1 + axis] for axis in AXES[layout]]
    down, right = (max(0, wanted - there) for wanted, there in zip(size, extent, strict=True))
    padding = right // 2, down // 2, right - right // 2, down - down // 2
    found = CenterCrop(size, layout=layout).apply_batch(images)
    expected = CenterCrop(size, layout=layout).apply_batch(Pad(padding, layout=layout).apply_batch(images))
    assert same(found, np.ascontiguousarray(expected))


# ---------------------------------------------------------------- Pad


@given(batches(), paddings(), st.sampled_from(["constant", "edge", "reflect", "symmetric"]))
def test_padding_is_numpys(case: tuple[Any, str], padding: Any, mode: str) -> None:
    images, layout = case
    out = Pad(padding, padding_mode=mode, layout=layout).apply_batch(images)
    assert len(out) == len(images)
    for image, wider in zip(images, out, strict=True):
        assert same(wider, padded(image, layout, padding, mode))


@given(batches(), paddings(), st.integers(0, 1))
def test_padding_with_a_value_is_numpys(case: tuple[Any, str], padding: Any, fill: int) -> None:
    images, layout = case
    out = Pad(padding, fill, layout=layout).apply_batch(images)
    for image, wider in zip(images, out, strict=True):
        assert same(wider, padded(image, layout, padding, constant_values=fill))


def test_padding_with_a_value_for_each_channel() -> None:
    image = np.zeros((3, 2, 2), np.uint8)
    out = Pad(1, fill=(10, 20, 30))(image)
    assert out[:, 0, 0].tolist() == [10, 20, 30]
    assert out[:, 1:3, 1:3].tolist() == image.tolist()
    assert same(Pad(1, fill=(10, 20, 30))(image.transpose(1, 2, 0)), out.transpose(1, 2, 0))


def test_padding_by_nothing_returns_the_image_itself() -> None:
    image = np.ones((4, 4))
    assert Pad(0)(image) is image


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        ((1, 2), r"fill has 2 values for images with 3 channels: \(1, 2\)"),
        (300, "fill=300 cannot be a value of uint8 images"),
        (-1, "fill=-1 cannot be a value of uint8 images"),
    ],
)
def test_a_fill_that_does_not_fit_the_image_is_refused(fill: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Pad(1, fill)(np.zeros((4, 4, 3), np.uint8))


@pytest.mark.parametrize("mode", ["zeros", "", None, ["edge"]])
def test_an_unknown_padding_mode_is_refused(mode: Any) -> None:
    with pytest.raises(ArgumentError, match="padding_mode must be one of constant, edge, reflect, symmetric, but got"):
        Pad(1, padding_mode=mode)


# ---------------------------------------------------------------- sizes and paddings


@pytest.mark.parametrize("transform", [RandomCrop, CenterCrop])
@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (3, (3, 3)),
        (np.int64(3), (3, 3)),
        (np.uint8(3), (3, 3)),
        ((2, 3), (2, 3)),
        ([2, 3], (2, 3)),
        ((np.int64(2), 3), (2, 3)),
        (np.array([2, 3]), (2, 3)),
        ((3,), (3, 3)),
    ],
)
def test_sizes(transform: Any, size: Any, expected: tuple[int, int]) -> None:
    assert transform(size).size == expected
    assert transform(size)(np.zeros((3, 4, 4))).shape == (3, *expected)
    assert all(type(number) is int for number in transform(size).size)


@pytest.mark.parametrize("transform", [RandomCrop, CenterCrop])
@pytest.mark.parametrize(
    "size",
    [
        *(0, -1, True, 3.0, "3", "33", None, {3, 4}, np.True_, np.float64(3), np.array(3)),
        *((), (1, 2, 3), (0, 3), (3, -1), (3, 2.5), (True, 3), np.array([[1, 2]])),
    ],
)
def test_a_size_must_be_positive_integers(transform: Any, size: Any) -> None:
    with pytest.raises(ArgumentError, match=r"size must be a positive integer or \(height, width\), but got size="):
        transform(size)


@pytest.mark.parametrize("transform", [lambda padding: RandomCrop(3, padding), Pad])
@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        (2, (2, 2, 2, 2)),
        (0, (0, 0, 0, 0)),
        (np.int64(2), (2, 2, 2, 2)),
        ((2,), (2, 2, 2, 2)),
        ((1, 2), (1, 2, 1, 2)),
        ([1, 2, 3, 4], (1, 2, 3, 4)),
        (np.array([1, 2, 3, 4]), (1, 2, 3, 4)),
    ],
)
def test_paddings(transform: Any, padding: Any, expected: tuple[int, int, int, int]) -> None:
    assert transform(padding).padding == expected
    assert all(type(number) is int for number in transform(padding).padding)


@pytest.mark.parametrize("transform", [lambda padding: RandomCrop(3, padding), Pad])
@pytest.mark.parametrize("padding", [True, 1.0, "1", (), (1, 2, 3), (1,) * 5, (1, 2, 3, 0.5)])
def test_a_padding_must_be_integers(transform: Any, padding: Any) -> None:
    with pytest.raises(ArgumentError, match=r"padding must be an? .*integer, \(left-right, top-bottom\) or"):
        transform(padding)


@pytest.mark.parametrize("padding", [-1, (1, -1)])
def test_a_crop_is_not_cut_before(padding: Any) -> None:
    with pytest.raises(ArgumentError, match=r"padding must be a non-negative integer"):
        RandomCrop(3, padding)


def test_padding_cuts_off_where_it_is_negative() -> None:
    image = np.arange(20).reshape(4, 5)
    assert Pad((-1, 0, 1, -2))(image).tolist() == [[1, 2, 3, 4, 0], [6, 7, 8, 9, 0]]
    assert Pad(-1)(image).tolist() == image[1:-1, 1:-1].tolist()
    with pytest.raises(ArgumentError, match=r"padding=\(-3, 0, -2, 0\) cuts off all of an image of 4 x 5"):
        Pad((-3, 0, -2, 0))(image)


def test_the_default_is_the_augmentation_of_cifar() -> None:
    assert RandomCrop(32).padding == (4, 4, 4, 4)
    assert RandomCrop(32, None).padding == (0, 0, 0, 0)
    with pytest.raises(ArgumentError, match="padding must be"):
        Pad(None)  # type: ignore[arg-type]
    assert RandomHorizontalFlip().p == 0.5
    assert image_axes((3, 32, 32)) == Axes(2, 3, 1)
