"""Keys of samples: independent, and the same in any worker."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

from headrace import DataLoader  # noqa: E402
from headrace.jax import sample_key  # noqa: E402


def words(sample: Any) -> Any:
    """Two keys of a sample, as the numbers that they are made of."""
    return np.stack([jax.random.key_data(sample_key()) for _ in range(2)])


class Keys:
    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Any:
        return words(index)


def epochs(**options: Any) -> Any:
    with DataLoader(Keys(), batch_size=4, seed=5, **options) as loader:
        return np.stack([np.concatenate(list(loader)) for _ in range(2)])


def test_keys_differ_by_epoch_sample_and_call() -> None:
    found = epochs()
    assert len({tuple(key) for key in found.reshape(-1, found.shape[-1]).tolist()}) == 2 * 12 * 2


def test_they_are_the_same_in_any_worker_and_order() -> None:
    found = epochs()
    np.testing.assert_array_equal(epochs(num_workers=2, backend="thread"), found)
    order = [7, 3, 11, 0, 1, 2, 4, 5, 6, 8, 9, 10]
    np.testing.assert_array_equal(epochs(sampler=order)[0], found[0][order])


@pytest.mark.usefixtures("by_value")
def test_they_are_the_same_in_processes() -> None:
    np.testing.assert_array_equal(epochs(num_workers=1, backend="process"), epochs())


@pytest.mark.parametrize("generator", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_any_generator_takes_them(generator: str) -> None:
    with jax.default_prng_impl(generator):
        key = sample_key()
        assert jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key)
        assert key.shape == ()
        assert key.dtype == jax.random.key(0).dtype
        assert jax.random.uniform(key, (3,)).shape == (3,)


def test_outside_a_loader_they_follow_from_random() -> None:
    random.seed(0)
    one, other = words(0)
    random.seed(0)
    again, _ = words(0)
    np.testing.assert_array_equal(one, again)
    assert one.tolist() != other.tolist()
