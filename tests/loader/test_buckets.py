"""Batches of similar lengths: bounded by tokens, or sorted in windows."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import DataLoader, mix, pad_collate
from headrace.errors import ArgumentError
from headrace.sampling.buckets import BucketPlan

LENGTHS = st.lists(st.integers(0, 50), min_size=1, max_size=80).map(lambda lengths: np.array(lengths, np.int64))


def sequences(count: int = 400, seed: int = 0) -> list[Any]:
    lengths = np.random.default_rng(seed).lognormal(3, 0.8, count).astype(int).clip(1, 200)
    return [np.full(length, number) for number, length in enumerate(lengths.tolist())]


@given(LENGTHS, st.integers(50, 300), st.booleans(), st.none() | st.integers(1, 5), st.none() | st.just([5, 20]))
def test_an_epoch_has_each_sample_once(
    lengths: Any, max_tokens: int, shuffle: bool, most: int | None, boundaries: Any
) -> None:
    plan = BucketPlan(lengths, max_tokens, max_batch_size=most, boundaries=boundaries, shuffle=shuffle)
    batches = [plan.indices(7, step) for step in range(plan.steps)]
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) * lengths[batch].max() <= max_tokens
        assert most is None or len(batch) <= most


@given(LENGTHS, st.integers(1, 4), st.sampled_from(["even_split", "drop", "repeat"]), st.booleans())
def test_ranks_share_each_bucket(lengths: Any, world_size: int, uneven: Any, drop_last: bool) -> None:
    def plan(rank: int) -> BucketPlan:
        more: dict[str, Any] = {"world_size": world_size, "drop_last": drop_last, "uneven": uneven}
        return BucketPlan(lengths, 60, shuffle=True, rank=rank, **more)

    try:
        plans = [plan(rank) for rank in range(world_size)]
    except ArgumentError:
        alone = lengths.max() > 30  # a batch may be a single sample
        assert (uneven, drop_last) == ("even_split", False)
        assert alone or len(lengths) < 2 * world_size
        return
    seen: list[int] = []
    for step in range(plans[0].steps):
        shares = [plan.indices(3, step) for plan in plans]
        assert min(map(len, shares)) > 0
        assert len({len(share) for share in shares}) <= (2 if uneven == "even_split" else 1)
        assert all(len(share) * lengths[share].max() <= 60 for share in shares)
        seen += np.concatenate(shares).tolist()
    if uneven != "repeat":
        assert len(set(seen)) == len(seen)
    if uneven != "drop" and not drop_last:
        assert set(seen) == set(range(len(lengths)))


@pytest.mark.parametrize("world_size", [2, 3, 8])
def test_ranks_have_each_sample_once_and_similar_lengths(world_size: int) -> None:
    lengths = np.array([len(each) for each in sequences(401)])
    plans = [BucketPlan(lengths, 1000, shuffle=True, rank=rank, world_size=world_size) for rank in range(world_size)]
    steps = [np.concatenate([plan.indices(1, step) for plan in plans]) for step in range(plans[0].steps)]
    assert sorted(np.concatenate(steps).tolist()) == list(range(401))
    padded = sum(len(samples) * lengths[samples].max() for samples in steps)
    assert lengths.sum() / padded > 0.85


def test_samples_that_are_left_over_and_fit_nowhere() -> None:
    with pytest.raises(ArgumentError, match=r"^1 sample more than whole steps cannot be split among world_size=2"):
        BucketPlan(np.full(3, 10), 10, world_size=2)


def test_epochs_differ_and_little_is_padding() -> None:
    loader = DataLoader(sequences(), batch_by="tokens", max_tokens=1000, shuffle=True, seed=0, collate_fn=pad_collate)
    epochs = [list(loader), list(loader)]
    assert len(epochs[0]) == len(epochs[1]) == len(loader)
    assert [batch.shape for batch in epochs[0]] != [batch.shape for batch in epochs[1]]
    tokens = sum(map(len, sequences()))
    assert tokens / sum(batch.size for batch in epochs[0]) > 0.9
    assert max(batch.size for batch in epochs[0]) <= 1000


@pytest.mark.parametrize("arguments", [{"batch_by": "tokens", "max_tokens": 800}, {"group_by_length": True}])
def test_resumes_and_workers(arguments: dict[str, Any]) -> None:
    given: dict[str, Any] = {**arguments, "shuffle": True, "seed": 1, "collate_fn": pad_collate}
    given |= {} if "batch_by" in arguments else {"batch_size": 8}
    expected = list(DataLoader(sequences(), **given))
    going = DataLoader(sequences(), **given)
    batches = iter(going)
    for _ in range(3):
        next(batches)
    for workers in (0, 2):
        with DataLoader(sequences(), num_workers=workers, **given) as resumed:
            resumed.load_state_dict(going.state_dict())
            found = list(resumed)
        assert len(found) == len(expected) - 3
        assert all(np.array_equal(one, other) for one, other in zip(found, expected[3:], strict=True))
        assert np.array_equal(going.batch(5), expected[5])


def test_groups_are_sorted_in_windows() -> None:
    data = sequences()
    lengths = np.array(list(map(len, data)))
    spread = []
    for grouped in (False, True):
        loader = DataLoader(data, 8, shuffle=True, seed=0, collate_fn=_numbers, group_by_length=grouped)
        epoch = list(loader)
        assert sorted(np.concatenate(epoch).tolist()) == list(range(400))
        spread.append(np.mean([np.ptp(lengths[batch]) for batch in epoch]))
    assert spread[1] < spread[0] / 4


def test_groups_of_a_mixture_keep_its_windows() -> None:
    parts = {"a": sequences(300, 1), "b": [sample + 1000 for sample in sequences(50, 2)]}
    arguments: dict[str, Any] = {"shuffle": True, "seed": 0, "collate_fn": _numbers}
    mixed = mix(parts, [3, 1], stop="all_exhausted")
    plain = np.concatenate(list(DataLoader(mixed, 8, **arguments)))
    grouped = np.concatenate(list(DataLoader(mixed, 8, group_by_length=True, sort_window=32, **arguments)))
    for start in range(0, len(plain), 32):
        assert sorted(plain[start : start + 32]) == sorted(grouped[start : start + 32])


def _numbers(samples: list[Any]) -> Any:
    return np.array([sample[0] for sample in samples])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"batch_by": "words"}, "batch_by must be 'samples' or 'tokens', but got batch_by='words'"),
        ({"batch_by": "tokens"}, "batch_by='tokens' needs max_tokens"),
        ({"max_tokens": 5}, "max_tokens needs batch_by='tokens', but got max_tokens=5"),
        ({"batch_by": "tokens", "max_tokens": 500, "batch_size": 3}, "but got batch_size=3; use max_batch_size"),
        (
            {"batch_by": "tokens", "max_tokens": 0},
            "max_tokens must be a positive integer below 2**63, or None, but got",
        ),
        ({"batch_by": "tokens", "max_tokens": 2**63}, "max_tokens must be a positive integer below 2**63, or None"),
        *(
            (
                {"batch_by": "tokens", "max_tokens": 5, "boundaries": wrong},
                "boundaries must be lengths that rise, integers",
            )
            for wrong in ([4, 4], [], [0, 1], [4, "a"], "abc", 5, [1.5, 2.5], [True, 3], [[1, 2]], [2**63])
        ),
        ({"group_by_length": "yes"}, "group_by_length must be True or False, but got 'yes'"),
        ({"batch_by": "tokens", "max_tokens": 5, "batch_sampler": [[0]]}, "batch_by and batch_sampler are mutually"),
        ({"sort_window": 4}, "sort_window needs group_by_length=True, but got sort_window=4"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(text)):
        DataLoader(sequences(), **arguments)


def test_a_sample_that_fits_no_batch() -> None:
    with pytest.raises(ArgumentError, match=r"^sample 1 has 9 tokens, more than max_tokens=8; raise it, or cut longer"):
        DataLoader([np.zeros(2), np.zeros(9)], batch_by="tokens", max_tokens=8)
