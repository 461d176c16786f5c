"""random_split: which parts, how long, from which source of randomness."""

from __future__ import annotations

import random
import re
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import Dataset, Subset, TensorDataset, random_split
from headrace.errors import ArgumentError, ArgumentTypeError


def indices_of(parts: list[Subset]) -> list[list[int]]:
    return [part.indices.tolist() for part in parts]


def order_of(parts: list[Subset]) -> list[int]:
    return list(chain.from_iterable(indices_of(parts)))


@given(st.lists(st.integers(0, 30), max_size=6), st.integers(0, 2**70))
def test_parts_are_disjoint_and_complete(lengths: list[int], seed: int) -> None:
    total = sum(lengths)
    parts = random_split(range(total), lengths, seed=seed)
    assert [len(part) for part in parts] == lengths
    assert sorted(order_of(parts)) == list(range(total))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 100))
def test_fractions_are_rounded_down_and_the_rest_dealt_out(weights: list[int], total: int) -> None:
    fractions = [weight / sum(weights) for weight in weights]
    lengths = [int(np.floor(total * fraction)) for fraction in fractions]
    for extra in range(total - sum(lengths)):
        lengths[extra % len(lengths)] += 1
    parts = random_split(range(total), fractions, seed=0)
    assert [len(part) for part in parts] == lengths
    assert sorted(order_of(parts)) == list(range(total))


@pytest.mark.parametrize(
    ("total", "lengths", "expected"),
    [
        (10, [0.8, 0.2], [8, 2]),
        (11, [0.5, 0.25, 0.25], [6, 3, 2]),
        (10, [1 / 3] * 3, [4, 3, 3]),
        (10, [1.0], [10]),
        (10, [0, 1.0], [0, 10]),
        (10, np.array([0.3, 0.7]), [3, 7]),
        (10, [np.int64(4), 6], [4, 6]),
        (0, [0, 0], [0, 0]),
        (0, [0.5, 0.5], [0, 0]),
        (0, [], []),
    ],
)
def test_lengths_of_parts(total: int, lengths: Any, expected: list[int]) -> None:
    assert [len(part) for part in random_split(range(total), lengths, seed=1)] == expected


def test_lengths_agree_with_torch() -> None:
    data = pytest.importorskip("torch", reason="its random_split is the reference").utils.data
    for total in (13, 20, 101):
        for lengths in ([0.5, 0.5], [0.8, 0.1, 0.1], [1 / 7] * 7, [1.0], [total - 5, 5]):
            expected = [len(part) for part in data.random_split(range(total), lengths)]
            assert [len(part) for part in random_split(range(total), lengths, seed=0)] == expected


def _torch_generator() -> Any:
    return pytest.importorskip("torch", reason="its generator is one").Generator().manual_seed(5)


@pytest.mark.parametrize(
    "generator",
    [lambda: np.random.default_rng(5), lambda: random.Random(5), _torch_generator],  # noqa: S311
    ids=["numpy", "python", "torch"],
)
def test_a_generator_decides_the_split(generator: Any) -> None:
    first, again = (indices_of(random_split(range(100), [50, 50], generator())) for _ in range(2))
    assert first == again
    used = generator()
    assert indices_of(random_split(range(100), [50, 50], used)) == first
    assert indices_of(random_split(range(100), [50, 50], used)) != first


def test_a_seed_or_pythons_random_decides_the_split() -> None:
    def split(**source: Any) -> list[list[int]]:
        return indices_of(random_split(range(100), [50, 50], **source))

    assert split(seed=3) == split(seed=3) == split(seed=np.int64(3))
    assert split(seed=3) != split(seed=4)
    random.seed(0)
    first = split()
    assert split() != first
    random.seed(0)
    assert split() == first


def test_the_order_does_not_depend_on_the_lengths() -> None:
    halves = order_of(random_split(range(20), [10, 10], seed=1))
    fifths = order_of(random_split(range(20), [4] * 5, seed=1))
    assert halves == fifths
    assert halves != sorted(halves)


def test_parts_are_subsets_that_read_batches_and_split_again() -> None:
    dataset = TensorDataset(np.arange(100) * 2)
    train, test = random_split(dataset, [90, 10], seed=0)
    assert isinstance(train, Subset)
    assert isinstance(train, Dataset)
    assert train.get_batch(np.arange(90))[0].tolist() == (train.indices * 2).tolist()
    again = random_split(train, [0.5, 0.5], seed=0)
    assert [len(part) for part in again] == [45, 45]
    seen = {int(part[index][0]) for part in [*again, test] for index in range(len(part))}
    assert len(seen) == 100


_REMEDY = "but the dataset has 10 samples; give lengths that add up to it, or fractions that add up to 1"


@pytest.mark.parametrize(
    ("lengths", "text"),
    [
        ([5, 4], f"the lengths [5, 4] add up to 9, {_REMEDY}"),
        ([11, -1], "the lengths [11, -1] must not be negative"),
        ([], f"the lengths [] add up to 0, {_REMEDY}"),
        ([0.5, 0.4], "the fractions [0.5, 0.4] must each lie in [0, 1] and add up to 1"),
        ([1.5, -0.5], "the fractions [1.5, -0.5] must each lie in [0, 1] and add up to 1"),
        ([float("nan"), 1.0], "the fractions [nan, 1.0] must each lie in [0, 1] and add up to 1"),
        ([5, 5.0], "the fractions [5, 5.0] must each lie in [0, 1] and add up to 1"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(lengths: list[float], text: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        random_split(range(10), lengths)


@pytest.mark.parametrize(
    ("source", "error", "text"),
    [
        (
            {"seed": 1, "generator": random.Random(1)},  # noqa: S311
            ArgumentError,
            "seed and generator are mutually exclusive: each alone decides the split",
        ),
        ({"seed": -1}, ArgumentError, "seed must be a non-negative integer or None, but got seed=-1"),
        ({"seed": 1.5}, ArgumentError, "seed must be a non-negative integer or None, but got seed=1.5"),
        (
            {"generator": 42},
            ArgumentTypeError,
            "generator must be a numpy.random.Generator, a random.Random, a torch.Generator or None, got 42",
        ),
    ],
)
def test_other_sources_are_refused(source: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        random_split(range(10), [5, 5], **source)


def test_a_stream_cannot_be_split() -> None:
    with pytest.raises(ArgumentTypeError, match=r"^dataset is a list_iterator without"):
        random_split(iter([1]), [1])  # type: ignore[arg-type]
