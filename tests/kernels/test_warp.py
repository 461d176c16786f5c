"""The kernel that warps images: the native one is the reference's, and the reference is SciPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import ArgumentError, OutOfRangeError
from headrace.kernels import Kernels, native, reference
from headrace.kernels.images import Interpolation
from headrace.kernels.warp import Warp

NATIVE = native.load()
NEAREST, BILINEAR = Interpolation.NEAREST, Interpolation.BILINEAR
BETWEEN = [np.uint8, np.float32, np.float64]


def numbers(rng: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    values = rng.integers(0, 256, shape)
    return (values / 255).astype(dtype) if np.dtype(dtype).kind == "f" else values.astype(dtype)


def laid_out(array: Any, order: tuple[int, ...]) -> Any:
    """The same array, whose dimensions lie in memory in another order."""
    return np.ascontiguousarray(array.transpose(order)).transpose(np.argsort(order))


@st.composite
def warps(draw: st.DrawFn) -> dict[str, Any]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    interpolation = draw(st.sampled_from([NEAREST, BILINEAR]))
    dtype = draw(st.sampled_from(BETWEEN if interpolation == BILINEAR else [*BETWEEN, np.int16, np.int64, np.float16]))
    height, width, channels = draw(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)))
    count, size = draw(st.integers(0, 3)), draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    maps = rng.normal(0, 1, (count, 8)) * draw(st.sampled_from([1, 5, 1e6]))
    maps[:, 6:] *= draw(st.sampled_from([0, 0, 0.1, 1]))
    if draw(st.booleans()):  # on the middles and edges of pixels
        maps = np.rint(2 * maps) / 2
    if count and draw(st.booleans()):
        maps[0, draw(st.integers(0, 7))] = draw(st.sampled_from([np.nan, np.inf, -np.inf, 1e300]))
    order = draw(st.permutations(range(4)))
    shifts = rng.normal(0, 2, (count, *size, 2)) if draw(st.booleans()) else None
    return {
        "source": laid_out(numbers(rng, (3, height, width, channels), dtype), tuple(order)),
        "indices": rng.integers(0, 3, count),
        "warp": Warp(maps, numbers(rng, (channels,), dtype), interpolation, shifts),
        "out": laid_out(np.zeros((count, *size, channels), dtype), tuple(order)),
    }


@pytest.mark.skipif(isinstance(NATIVE, str), reason="no native kernels")
@given(warps(), st.integers(1, 3))
@settings(max_examples=400)
def test_native_is_the_reference(case: dict[str, Any], threads: int) -> None:
    expected = case["out"].copy()
    with np.errstate(all="ignore"):
        reference.warp(case["source"], case["indices"], case["warp"], expected)
    assert not isinstance(NATIVE, str)
    NATIVE.warp(case["source"], case["indices"], case["warp"], case["out"], threads)
    assert case["out"].tobytes() == expected.tobytes()


def warped(kernels: Kernels, image: Any, by: Any, size: tuple[int, int], **how: Any) -> Any:
    out = np.empty((1, *size, image.shape[2]), image.dtype)
    fill = np.zeros(image.shape[2], image.dtype)
    kernels.warp(image[np.newaxis], np.zeros(1, np.int64), Warp(np.array([by], np.float64), fill, **how), out)
    return out[0]


def test_nothing_moves_by_the_identity(kernels: Kernels) -> None:
    image = numbers(np.random.default_rng(0), (7, 5, 3), np.float32)
    for interpolation in (NEAREST, BILINEAR):
        found = warped(kernels, image, (1, 0, 0, 0, 1, 0, 0, 0), (7, 5), interpolation=interpolation)
        np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize("by", [(0.9, 0.3, -1, -0.2, 1.1, 2, 0, 0), (1.1, 0.2, 0.5, 0.1, 0.8, 1, 0.01, 0.02)])
def test_places_between_pixels_are_scipys(kernels: Kernels, by: Any) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    image = numbers(np.random.default_rng(0), (20, 30, 1), np.float64)
    x, y = np.meshgrid(np.arange(25) + 0.5, np.arange(15) + 0.5)
    depth = by[6] * x + by[7] * y + 1
    places = (by[3] * x + by[4] * y + by[5]) / depth - 0.5, (by[0] * x + by[1] * y + by[2]) / depth - 0.5
    expected = ndimage.map_coordinates(image[..., 0], places, order=1, mode="grid-constant", cval=0.0)
    np.testing.assert_allclose(
        warped(kernels, image, by, (15, 25), interpolation=BILINEAR)[..., 0], expected, atol=1e-12
    )


def test_shifts_are_added(kernels: Kernels) -> None:
    image = numbers(np.random.default_rng(0), (6, 6, 2), np.uint8)
    shifts = np.zeros((1, 6, 6, 2))
    shifts[..., 0], shifts[..., 1] = 2, -1
    found = warped(kernels, image, (1, 0, 0, 0, 1, 0, 0, 0), (6, 6), shifts=shifts)
    np.testing.assert_array_equal(found[1:, :4], image[:-1, 2:])
    assert not found[0].any()
    assert not found[:, 4:].any()


def test_what_does_not_fit_is_refused(kernels: Kernels) -> None:
    image, one = np.zeros((1, 4, 4, 3), np.uint8), np.zeros(1, np.int64)
    good = Warp(np.zeros((1, 8)), np.zeros(3, np.uint8))
    out = np.empty((1, 4, 4, 3), np.uint8)
    wrong: list[tuple[Any, Any, str]] = [
        (good._replace(maps=np.zeros((1, 6))), out, "maps is float64"),
        (good._replace(fill=np.zeros(2, np.uint8)), out, "fill is uint8 of shape"),
        (good._replace(fill=np.zeros(3)), out, "fill is float64"),
        (good._replace(shifts=np.zeros((1, 4, 4))), out, "shifts is float64"),
        (good._replace(interpolation=Interpolation.BICUBIC), out, "interpolation is"),
        (good, np.empty((1, 4, 4, 2), np.uint8), "out has shape"),
        (good, np.empty((1, 4, 4, 3), np.float32), "source is uint8"),
    ]
    for warp, target, message in wrong:
        with pytest.raises(ArgumentError, match=message):
            kernels.warp(image, one, warp, target)
    with pytest.raises(OutOfRangeError):
        kernels.warp(image, np.ones(1, np.int64), good, out)
    between = Warp(np.zeros((1, 8)), np.zeros(3, np.int16), BILINEAR)
    with pytest.raises(ArgumentError, match="pixels are made of four in"):
        kernels.warp(image.astype(np.int16), one, between, out.astype(np.int16))
