"""Samples drawn by weights, or with replacement, on any ranks."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from headrace import DataLoader, TensorDataset, mix
from headrace.errors import ArgumentError, StateError
from headrace.kernels import native, reference
from headrace.sampling.weighted import Drawn, WeightedShuffle


def drawn(loader: DataLoader[Any]) -> list[int]:
    return [int(index) for (batch,) in loader for index in batch]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=40).filter(lambda weights: sum(weights) > 0.1))
def test_tables_give_the_weights_back(weights: list[float]) -> None:
    chances = np.array(weights) * (len(weights) / sum(weights))
    own, others = reference.alias(chances)
    found = own.copy()
    np.add.at(found, others, 1 - own)
    np.testing.assert_allclose(found, chances, atol=1e-9)
    kernels = native.load()
    if not isinstance(kernels, str):
        for theirs, ours in zip(kernels.alias(chances), (own, others), strict=True):
            np.testing.assert_array_equal(theirs, ours)


def test_frequencies_follow_the_weights() -> None:
    weights = np.array([0.0, 1, 2, 3, 4])
    counts = np.bincount(np.concatenate([Drawn(5, weights).indices(key, 0, 5) for key in range(4000)]), minlength=5)
    assert counts[0] == 0
    assert stats.chisquare(counts[1:], 20_000 * weights[1:] / 10).pvalue > 1e-6


def test_the_first_of_a_shuffle_follow_the_weights() -> None:
    weights = np.array([1.0, 2, 0, 5])
    firsts = [int(WeightedShuffle(weights).indices(key, 0, 1)[0]) for key in range(4000)]
    counts = np.bincount(firsts, minlength=4)
    assert counts[2] == 0
    assert stats.chisquare(counts[[0, 1, 3]], 4000 * np.array([1, 2, 5]) / 8).pvalue > 1e-6


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e-40, 1e40, 1e300, 2.0**1020])
def test_weights_of_any_scale(scale: float) -> None:
    shares = np.array([0, 1, 2, 3, 8, 8.0])
    for key in range(50):
        for one, other in (
            (Drawn(6, shares), Drawn(6, shares * scale)),
            (WeightedShuffle(shares), WeightedShuffle(shares * scale)),
        ):
            assert one.indices(key, 0, 5).tolist() == other.indices(key, 0, 5).tolist()
    alone = Drawn(3, np.array([0.0, 5e-324, 0.0]))
    assert set(alone.indices(7, 0, 3).tolist()) == {1}


def test_weights_far_from_each_other_are_shuffled() -> None:
    weights = np.concatenate([np.full(40, 1e-300), np.full(40, 1e300)])
    found = WeightedShuffle(weights).indices(3, 0, 80)
    for part in np.split(found, 2):
        assert part.tolist() != sorted(part.tolist())
    assert set(found[:40].tolist()) == set(range(40, 80))


def test_replacement_draws_again() -> None:
    found = drawn(DataLoader(TensorDataset(np.arange(2000)), 16, replacement=True, seed=0))
    assert len(found) == 2000
    assert 0.6 < len(set(found)) / 2000 < 0.66  # 1 - 1 / e


def test_without_replacement_each_comes_once() -> None:
    weights = np.arange(100.0)
    found = drawn(DataLoader(TensorDataset(np.arange(100)), 8, weights=weights, replacement=False, seed=0))
    assert sorted(found) == list(range(1, 100))
    assert np.mean(found[:20]) > np.mean(found[-20:])


@pytest.mark.parametrize("replacement", [None, False])
def test_ranks_resumes_and_workers(replacement: bool | None) -> None:
    data = TensorDataset(np.arange(120))
    arguments: dict[str, Any] = {"weights": 1.0 + np.arange(120) % 7, "replacement": replacement, "seed": 4}
    expected = drawn(DataLoader(data, 12, **arguments))
    ranks = [list(DataLoader(data, 4, rank=rank, world_size=3, **arguments)) for rank in range(3)]
    together = [int(index) for step in zip(*ranks, strict=True) for (batch,) in step for index in batch]
    assert together == expected
    going, resumed = DataLoader(data, 12, **arguments), DataLoader(data, 12, num_workers=2, **arguments)
    batches = iter(going)
    next(batches)
    next(batches)
    with resumed:
        resumed.load_state_dict(going.state_dict())
        assert drawn(resumed) == expected[24:]


def test_a_state_of_other_weights_is_refused() -> None:
    data = TensorDataset(np.arange(9))
    state = DataLoader(data, 3, weights=np.ones(9), seed=0).state_dict()
    other = DataLoader(data, 3, weights=1 + np.arange(9), seed=0)
    with pytest.raises(StateError, match="the hash of weights, mixture, lengths or packed rows was"):
        other.load_state_dict(state)
    mixed = [DataLoader(mix([range(9), range(9)], weights, stop="never"), 3, seed=0) for weights in ([1, 2], [2, 1])]
    with pytest.raises(StateError, match="the hash of weights, mixture, lengths or packed rows was"):
        mixed[1].load_state_dict(mixed[0].state_dict())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"weights": [1, 2]}, "weights has shape (2,), but the dataset has 3 samples; give one for each"),
        ({"weights": [1, -2, 3]}, "weights must be finite and not negative, but sample 1 has -2.0"),
        ({"weights": [1, 2, float("nan")]}, "but sample 2 has nan"),
        ({"weights": [0, 0, 0]}, "weights are all zero, so there is nothing to draw"),
        ({"weights": ["a", 1, 1]}, "weights must be a number for each of the 3 samples, but got ['a', 1, 1]"),
        ({"weights": {0: 1}}, "weights must be a number for each of the 3 samples, but got {0: 1}"),
        ({"weights": [10**400, 1, 1]}, "weights must be a number for each of the 3 samples"),
        ({"weights": [[1], [1, 2], 1]}, "weights must be a number for each of the 3 samples"),
        ({"weights": [1, 1, 1], "sampler": [0]}, "weights and sampler are mutually exclusive"),
        ({"replacement": "yes"}, "replacement must be True, False or None, but got replacement='yes'"),
        ({"replacement": True, "shuffle": "block"}, "replacement and shuffle='block' are mutually exclusive"),
        ({"replacement": True, "rank": 0, "world_size": 2}, "on several ranks need a seed"),
        ({"replacement": True, "group_by_length": True}, "leave group_by_length and batch_by out"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(text)):
        DataLoader(range(3), **arguments)


def test_a_mixture_has_its_own() -> None:
    with pytest.raises(ArgumentError, match=r"a mixture has weights of its own; give them to headrace\.mix"):
        DataLoader(mix([range(3), range(3)]), weights=np.ones(6))
