"""ElasticTransform against torchvision's, for the same moves, and the moves that it draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headrace import DataLoader, ElasticTransform, TensorDataset
from headrace.errors import ArgumentError
from headrace.rng.context import use_keys


def photo(dtype: Any = np.uint8) -> Any:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:37, :29]
    image = (np.stack([40 + 4 * x, 30 + 5 * y, 3 * (x + y)]) + rng.integers(0, 25, (3, 37, 29))).clip(0, 255)
    return image.astype(np.uint8) if dtype == np.uint8 else (image / 255).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize(("alpha", "sigma"), [(50.0, 5.0), ((80, 20), (2, 4)), (3, 0)])
def test_values_are_torchvisions(v2: Any, alpha: Any, sigma: Any, interpolation: str, dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    transform, image = ElasticTransform(alpha, sigma, interpolation, layout="CHW"), photo(dtype)
    with use_keys(1, np.arange(1)):
        shifts = transform.shifts(1, (37, 29))
    with use_keys(1, np.arange(1)):
        found = transform(image)
    moves = torch.from_numpy(shifts * 2 / np.array([29, 37]))
    expected = v2.functional.elastic(torch.from_numpy(image), moves, v2.InterpolationMode(interpolation)).numpy()
    if interpolation == "nearest":
        assert (found != expected).mean() < 0.01
    else:
        np.testing.assert_allclose(found.astype(float), expected, atol=1 if dtype == np.uint8 else 3e-5)
    assert (found != image).any()


@pytest.mark.parametrize(("alpha", "sigma"), [((80.0, 20.0), (2.0, 4.0)), (50.0, 5.0), (10.0, 0.0)])
def test_moves_are_as_far_and_as_smooth_as_torchvisions(v2: Any, alpha: Any, sigma: Any) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = v2.ElasticTransform(list(np.atleast_1d(alpha)), list(np.atleast_1d(sigma)))
    fields = [theirs.make_params([torch.zeros(3, 60, 40)])["displacement"][0].numpy() for _ in range(200)]
    expected = np.stack(fields) * np.array([40, 60]) / 2
    with use_keys(1, np.arange(200)):
        found = ElasticTransform(alpha, sigma).shifts(200, (60, 40))
    for axis in range(2):
        ours, other = found[..., axis], expected[..., axis]
        np.testing.assert_allclose(ours.std(), other.std(), rtol=0.05)
        assert abs(ours.mean()) < 0.1 * ours.std()
        for way in (1, 2):  # how alike neighbours are
            pairs = [np.mean(field * np.roll(field, 1, way)) / np.mean(field**2) for field in (ours, other)]
            assert abs(pairs[0] - pairs[1]) < 0.03


def test_a_sample_alone_becomes_what_it_does_in_a_batch() -> None:
    images = np.stack([photo().transpose(1, 2, 0)] * 6)
    dataset = TensorDataset(images).map(ElasticTransform(), field=0)
    one, many = ([batch for (batch,) in DataLoader(dataset, size, seed=2)] for size in (1, 6))
    assert np.concatenate(one).tobytes() == many[0].tobytes()
    assert (many[0][0] != many[0][1]).any()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"alpha": "1"}, "alpha must be 1 or 2 finite numbers"),
        ({"alpha": (1, 2, 3)}, "alpha must be 1 or 2 finite numbers"),
        ({"sigma": -1}, "sigma must not be negative, but got sigma=-1"),
        ({"interpolation": "bicubic"}, "interpolation must be one of"),
    ],
)
def test_wrong_arguments(wrong: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        ElasticTransform(**wrong)
