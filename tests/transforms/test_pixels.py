"""Normalize and ToFloat against the formulas of torchvision, ToCHW against NumPy."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from headrace import Compose, DataLoader, Normalize, TensorDataset, ToCHW, ToFloat
from headrace.errors import ArgumentError, ArgumentTypeError

FLOATS = ["f2", "f4", "f8"]
INTEGERS = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"]
ONE_CHANNEL = {"HW": (-1,), "CHW": (-1, 1, 1), "HWC": (-1,)}  # the shape of one number a channel


def same(a: Any, b: Any) -> bool:
    return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())


# ---------------------------------------------------------------- Normalize


@given(st.data(), st.sampled_from(FLOATS), st.sampled_from(["CHW", "HWC"]), st.booleans())
@settings(deadline=None)  # what draws the arrays makes itself ready at the first call
def test_normalize_is_torchvisions(data: st.DataObject, dtype: str, layout: str, one_each: bool) -> None:
    torch = pytest.importorskip("torch")
    numbers = st.floats(0.0625, 4, width=16)
    shape = (2, 3, 4, 5) if layout == "CHW" else (2, 4, 5, 3)
    images = data.draw(npst.arrays(dtype, shape, elements=st.floats(-4, 4, width=16)))
    mean, std = ([data.draw(numbers) for _ in range(3 if one_each else 1)] for _ in range(2))
    out = Normalize(mean, std, layout=layout)(images)
    tensor = torch.from_numpy(images)
    # torchvision.transforms.functional.normalize
    of_mean, of_std = (torch.tensor(values, dtype=tensor.dtype).view(ONE_CHANNEL[layout]) for values in (mean, std))
    assert same(out, (tensor - of_mean).div_(of_std).numpy())
    assert out.flags.c_contiguous


@pytest.mark.parametrize("dtype", FLOATS)
def test_normalize_of_numbers(dtype: str) -> None:
    image = np.array([[0, 0.5], [1, 2]], dtype)
    assert same(Normalize(0.5, 0.25)(image), np.array([[-2, 0], [2, 6]], dtype))
    assert same(Normalize([0.5], (0.25,))(image), np.array([[-2, 0], [2, 6]], dtype))
    assert same(Normalize(np.float64(0.5), np.float64(0.25))(image), np.array([[-2, 0], [2, 6]], dtype))


def test_normalize_takes_arrays_and_tensors_of_numbers() -> None:
    torch = pytest.importorskip("torch")
    image = np.ones((3, 2, 2), np.float32)
    mean, std = [0, 1, 2], [1, 1, 2]
    arrays: list[Any] = [np.array, torch.tensor]
    for array in arrays:
        assert same(Normalize(array(mean), array(std))(image), Normalize(mean, std)(image))


def test_normalize_writes_to_no_input() -> None:
    image = np.ones((4, 4), np.float32)
    image.flags.writeable = False
    assert not np.shares_memory(Normalize(0, 1)(image), image)


@pytest.mark.parametrize("dtype", ["u1", "i4", "?"])
def test_normalize_of_integers_names_the_remedy(dtype: str) -> None:
    expected = rf"Normalize takes floating-point images, but got {np.dtype(dtype)}; put ToFloat\(\) before it"
    with pytest.raises(ArgumentTypeError, match=expected):
        Normalize(0.5, 0.5)(np.zeros((4, 4), dtype))


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (0, 0, "mean and std must be finite and std not zero, but got 0 and 0"),
        ([0, 0], [1, 0], r"must be finite and std not zero, but got \[0, 0\] and \[1, 0\]"),
        (math.nan, 1, "must be finite and std not zero, but got nan and 1"),
        (0, math.inf, "must be finite and std not zero, but got 0 and inf"),
        ([1, 2], [1, 2, 3], r"must be numbers or as long as each other, but got \[1, 2\] and \[1, 2, 3\]"),
        (1, [1, 2, 3], r"must be numbers or as long as each other, but got 1 and \[1, 2, 3\]"),
        ([[1]], [[1]], r"must be numbers or as long as each other, but got \[\[1\]\] and \[\[1\]\]"),
        ("grey", 1, "mean must be a number, or one a channel, but got mean='grey'"),
        (0, [[1], [2, 3]], r"std must be a number, or one a channel, but got std=\[\[1\], \[2, 3\]\]"),
    ],
)
def test_what_normalize_refuses(mean: Any, std: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Normalize(mean, std)


def test_normalize_of_another_number_of_channels() -> None:
    normalize = Normalize([1, 2, 3], [1, 1, 1])
    for shape, channels in (((1, 4, 4), 1), ((4, 4), 1), ((4, 9, 9), 4)):
        with pytest.raises(ArgumentError, match=rf"mean has 3 values for images with {channels} channels"):
            normalize(np.zeros(shape, np.float32))


# ---------------------------------------------------------------- ToFloat


def test_to_float_is_torchs() -> None:
    torch = pytest.importorskip("torch")
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert same(ToFloat()(pixels), torch.from_numpy(pixels).to(torch.float32).div_(255).numpy())
    out = ToFloat()(torch.from_numpy(pixels))
    assert out.dtype == torch.float32


@given(st.data(), st.sampled_from(INTEGERS), st.sampled_from(FLOATS))
def test_integers_are_divided_by_the_largest_of_their_type(data: st.DataObject, dtype: str, target: str) -> None:
    pixels = data.draw(npst.arrays(dtype, (4, 5)))
    largest = np.iinfo(dtype).max
    out = ToFloat(target)(pixels)
    assert out.dtype == target
    exact = np.array([[int(pixel) / largest for pixel in row] for row in pixels])
    # one rounding for each of the two operands and one for the quotient, and what float16 cannot resolve
    np.testing.assert_allclose(out, exact, rtol=3 * float(np.finfo(target).eps), atol=2.0**-24 * (target == "f2"))


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("target", FLOATS)
def test_the_largest_integer_becomes_one(dtype: str, target: str) -> None:
    ends = np.array([[0, np.iinfo(dtype).max]], dtype)
    assert ToFloat(target)(ends).tolist() == [[0, 1]]


@pytest.mark.parametrize("target", FLOATS)
def test_floats_change_their_type_only(target: str) -> None:
    image = np.array([[0, 0.25, 300]], np.float32)
    assert same(ToFloat(target)(image), image.astype(target))
    assert (ToFloat(target)(image) is image) == (target == "f4")


def test_booleans_become_zero_and_one() -> None:
    assert same(ToFloat()(np.array([[False, True]])), np.array([[0, 1]], np.float32))


@pytest.mark.parametrize("image", [np.array([["a", "b"]]), np.ones((2, 2), complex), np.ones((2, 2), "M8[s]")])
def test_to_float_takes_real_numbers(image: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="ToFloat takes real numbers, but got"):
        ToFloat()(image)


@pytest.mark.parametrize("dtype", [np.int32, "u1", bool, complex, object])
def test_to_float_makes_no_other_types(dtype: Any) -> None:
    with pytest.raises(ArgumentError, match="dtype must be a floating-point type, but got dtype="):
        ToFloat(dtype)


# ---------------------------------------------------------------- ToCHW


@pytest.mark.parametrize(
    ("layout", "shape", "expected"),
    [
        (None, (4, 5), (1, 4, 5)),
        (None, (6, 5, 3), (3, 6, 5)),
        (None, (3, 4, 5), (3, 4, 5)),
        ("HWC", (1, 2, 7), (7, 1, 2)),
        ("CHW", (5, 4, 3), (5, 4, 3)),
        ("HW", (4, 5), (1, 4, 5)),
    ],
)
def test_channels_come_to_the_front(layout: str | None, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    image = np.arange(math.prod(shape), dtype=np.uint8).reshape(shape)
    out = ToCHW(layout=layout)(image)
    assert out.shape == expected
    batch = ToCHW(layout=layout).apply_batch(np.stack([image, image]))
    assert batch.flags.c_contiguous
    assert same(batch[1], np.ascontiguousarray(out))
    if shape[-1] == 3 and layout != "CHW":
        assert same(np.ascontiguousarray(out), np.stack([image[..., channel] for channel in range(3)]))


def test_channels_that_are_in_front_stay() -> None:
    image = np.ones((3, 4, 5), np.float32)
    assert ToCHW()(image) is image


# ---------------------------------------------------------------- bfloat16


@pytest.mark.parametrize("normalised", [False, True])
def test_bfloat16_is_float32_rounded(normalised: bool) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    round_off = ToFloat("bfloat16")  # refused where the package is not there
    chain = [ToFloat(), Normalize(0.5, 0.25), round_off, ToCHW()] if normalised else [round_off]
    images = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1).repeat(3, 3)
    dataset = TensorDataset(images).map(Compose(chain), field=0)
    (found,) = next(iter(DataLoader(dataset, 4)))
    expected = images / np.float32(255)
    if normalised:
        expected = ((expected - np.float32(0.5)) / np.float32(0.25)).transpose(0, 3, 1, 2)
    assert found.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(found, expected.astype(ml_dtypes.bfloat16))
    for number in range(4):
        np.testing.assert_array_equal(Compose(chain)(images[number]), found[number])


def test_bfloat16_becomes_torchs() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("ml_dtypes")
    images = torch.arange(256, dtype=torch.uint8).reshape(4, 1, 8, 8)
    dataset = TensorDataset(images).map(Compose([ToFloat(), Normalize(0.5, 0.25), ToFloat("bfloat16")]), field=0)
    (found,) = next(iter(DataLoader(dataset, 4)))
    assert found.dtype is torch.bfloat16
    assert (found == ((images.float() / 255 - 0.5) / 0.25).to(torch.bfloat16)).all()


def test_bfloat16_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ArgumentError, match="dtype='bfloat16' needs the package ml_dtypes"):
        ToFloat("bfloat16")
