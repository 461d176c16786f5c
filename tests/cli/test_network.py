from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.cli.digits import load_digits
from headrace.cli.network import Adam, Network, Parameter, Patches, cross_entropy, digits_network

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _in_double_precision(network: Network) -> Network:
    """Single precision is too coarse for differences of losses."""
    for parameter in network.parameters:
        parameter.value = parameter.value.astype(np.float64)
    return network


def _slope(network: Network, parameter: Parameter, place: tuple[int, ...], batch: Any) -> float:
    """Measure how the loss changes with one number, from both sides."""
    width = 1e-6
    before = parameter.value[place]
    losses = []
    for moved in (before + width, before - width):
        parameter.value[place] = moved
        losses.append(network.loss(*batch))
    parameter.value[place] = before
    return (losses[0] - losses[1]) / (2 * width)


@pytest.mark.parametrize("number", range(8))
def test_gradient_is_the_measured_slope(number: int) -> None:
    rng = np.random.default_rng(number)
    network = _in_double_precision(digits_network(seed=1))
    batch = rng.standard_normal((5, 8, 8, 1)), rng.integers(0, 10, 5)
    parameter = network.parameters[number]
    network.loss(*batch)
    grad = parameter.grad.copy()
    assert grad.shape == parameter.value.shape
    for _ in range(20):
        place = tuple(int(rng.integers(size)) for size in grad.shape)
        assert grad[place] == pytest.approx(_slope(network, parameter, place, batch), rel=1e-4, abs=1e-8)


def test_patches_are_the_windows_in_reading_order() -> None:
    image = np.arange(32.0).reshape(1, 4, 4, 2)
    patches = Patches(3).forward(image)
    assert patches.shape == (1, 2, 2, 18)
    assert patches[0, 1, 0].tolist() == image[0, 1:4, 0:3].ravel().tolist()


def test_patches_give_every_pixel_the_gradient_of_all_its_patches() -> None:
    layer = Patches(3)
    patches = layer.forward(np.zeros((1, 4, 4, 1)))
    counts = layer.backward(np.ones_like(patches))[0, :, :, 0]
    assert counts.tolist() == [[1, 2, 2, 1], [2, 4, 4, 2], [2, 4, 4, 2], [1, 2, 2, 1]]


def test_cross_entropy_of_huge_scores_stays_finite() -> None:
    loss, grad = cross_entropy(np.array([[1e4, -1e4]]), np.array([1]))
    assert loss == pytest.approx(2e4)
    assert grad.tolist() == [[1, -1]]


def test_labels_may_be_bytes() -> None:
    scores = np.random.default_rng(0).standard_normal((4, 10))
    labels = np.array([0, 9, 5, 5], dtype=np.uint8)
    assert cross_entropy(scores, labels)[0] == cross_entropy(scores, labels.astype(np.int64))[0]


def test_adam_decays_its_rate_to_nothing() -> None:
    parameter = Parameter(np.zeros(1))
    adam = Adam([parameter], steps=10, rate=0.1)
    path = [0.0]
    for _ in range(10):
        parameter.grad = np.ones(1)
        adam.step()
        path.append(float(parameter.value[0]))
    moves = -np.diff(path)
    assert moves[0] == pytest.approx(0.1)
    assert (np.diff(moves) < 0).all()
    assert 0 < moves[-1] < 0.003


def _train(seed: int, steps: int) -> tuple[list[float], NDArray[Any]]:
    images, labels = load_digits()
    x = (images[..., np.newaxis] / 8 - 1).astype(np.float32)
    network = digits_network(seed)
    adam = Adam(network.parameters, steps)
    rng = np.random.default_rng(seed)
    losses = []
    for _ in range(steps):
        rows = rng.integers(0, len(x), 32)
        losses.append(network.loss(x[rows], labels[rows]))
        adam.step()
    return losses, network.scores(x[:100])


def test_loss_falls() -> None:
    losses, _ = _train(seed=0, steps=150)
    assert np.mean(losses[:5]) > 1.5
    assert np.mean(losses[-20:]) < 0.2


def test_training_is_a_function_of_the_seed() -> None:
    first, again, other = _train(0, 20), _train(0, 20), _train(1, 20)
    assert first[0] == again[0]
    assert (first[1] == again[1]).all()
    assert first[0] != other[0]


def test_everything_stays_in_single_precision() -> None:
    network = digits_network(seed=0)
    images = np.ones((4, 8, 8, 1), dtype=np.float32)
    network.loss(images, np.array([1, 2, 3, 4]))
    Adam(network.parameters, steps=5).step()
    for parameter in network.parameters:
        assert parameter.value.dtype == parameter.grad.dtype == np.float32
    assert network.scores(images).dtype == np.float32
