"""GaussianBlur against torchvision's and SciPy's, and the distribution of what it draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headrace import DataLoader, GaussianBlur, TensorDataset
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.transforms.blur import gaussian_blur


def noise(shape: tuple[int, ...], dtype: Any = np.uint8) -> Any:
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return image if dtype == np.uint8 else (image / 255).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 3, (5, 9), (7, 1), 13])
@pytest.mark.parametrize("sigma", [0.1, 0.8, 3.0])
def test_it_is_torchvisions(v2: Any, size: Any, sigma: float, dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    image = noise((3, 21, 17), dtype)
    sizes = [size, size] if isinstance(size, int) else list(size)
    expected = v2.functional.gaussian_blur(torch.from_numpy(image), sizes, [sigma, sigma]).numpy()
    found = GaussianBlur(size, sigma, layout="CHW")(image)
    np.testing.assert_allclose(found, expected, atol=1 if dtype == np.uint8 else 1e-6)
    assert (found != expected).mean() < 0.001 or dtype != np.uint8


def test_it_is_scipys() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    planes = noise((2, 30, 40), np.float64)
    expected = ndimage.gaussian_filter(planes, (0, 1.5, 2.5), mode="mirror", radius=(0, 4, 6))
    np.testing.assert_allclose(gaussian_blur(planes, (13, 9), (2.5, 1.5)), expected, atol=1e-12)


def test_widths_are_uniform() -> None:
    stats = pytest.importorskip("scipy.stats")
    points = np.zeros((2000, 21, 21), np.float64)
    points[:, 10, 10] = 1
    dataset = TensorDataset(points).map(GaussianBlur(21, (0.5, 2.0), layout="HW"), field=0)
    found = np.concatenate([batch for (batch,) in DataLoader(dataset, 500, seed=0)])
    sigmas = np.sqrt((found * (np.arange(21) - 10.0) ** 2).sum(axis=(1, 2)))  # of the curve that a point becomes
    assert stats.kstest(sigmas, stats.uniform(0.5, 1.5).cdf).pvalue > 0.001


def test_a_sample_alone_becomes_what_it_does_in_a_batch() -> None:
    dataset = TensorDataset(noise((20, 9, 8, 3))).map(GaussianBlur((3, 5)), field=0)
    one, many = ([batch for (batch,) in DataLoader(dataset, size, seed=2)] for size in (1, 20))
    assert np.concatenate(one).tobytes() == many[0].tobytes()


@pytest.mark.parametrize("size", [0, 2, (3, 4), -1, 3.0, (1, 3, 5), "3"])
def test_sizes_must_be_odd(size: Any) -> None:
    with pytest.raises(ArgumentError, match="kernel_size must be"):
        GaussianBlur(size)


@pytest.mark.parametrize("sigma", [0, -1.0, (2, 1), (0, 1), (1, 2, 3), "1", (1, float("inf"))])
def test_sigmas_must_be_positive(sigma: Any) -> None:
    with pytest.raises(ArgumentError, match="sigma must be"):
        GaussianBlur(3, sigma)


def test_integers_are_refused() -> None:
    with pytest.raises(ArgumentTypeError, match="GaussianBlur takes uint8 or floating-point images, but got int64"):
        GaussianBlur(3)(np.zeros((4, 4), np.int64))
