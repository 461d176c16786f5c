"""Mixtures: which samples they have, in which order, and what is refused."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from headrace import DataLoader, Dataset, RandomHorizontalFlip, TensorDataset, mix, sample_rng
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.testing import check_dataset


class Numbered(Dataset[Any]):
    """Samples that tell their source and their number, one after the other."""

    def __init__(self, source: int, length: int) -> None:
        self.source = source
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int, /) -> Any:
        if not 0 <= index < self.length:
            raise IndexError(index)
        return np.array([self.source, index])


def numbered(*lengths: int) -> dict[str, Any]:
    return {"abcdefgh"[source]: Numbered(source, length) for source, length in enumerate(lengths)}


def columns(samples: Any) -> tuple[list[int], list[int]]:
    """The sources, and the numbers, of samples."""
    found = np.array(list(samples)).reshape(-1, 2)
    return found[:, 0].tolist(), found[:, 1].tolist()


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
    st.sampled_from(["first_exhausted", "all_exhausted"]),
    st.data(),
)
def test_an_epoch_ends_with_a_source(lengths: list[int], stop: Any, data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(1, 9), min_size=len(lengths), max_size=len(lengths)))
    sources, numbers = columns(mix(numbered(*lengths), weights, stop=stop))
    drawn = np.bincount(sources, minlength=len(lengths))
    for source, length in enumerate(lengths):
        mine = [number for each, number in zip(sources, numbers, strict=True) if each == source]
        assert mine == [draw % length for draw in range(len(mine))]
    rounds = drawn // lengths
    assert rounds[sources[-1]] * lengths[sources[-1]] == drawn[sources[-1]]  # the last one ends a round
    assert (rounds.max() if stop == "first_exhausted" else rounds.min()) == 1


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.integers(0, 3))
def test_without_weights_each_sample_comes_once(lengths: list[int], seed: int) -> None:
    mixture = mix(numbered(*lengths))
    everything = [(source, number) for source, length in enumerate(lengths) for number in range(length)]
    for loader in (DataLoader(mixture, 7), DataLoader(mixture, 7, shuffle=True, seed=seed)):
        samples = [tuple(sample) for batch in loader for sample in batch.tolist()]
        assert sorted(samples) == everything


def test_repeat_says_how_often() -> None:
    mixture = mix(numbered(10, 20, 8), repeat={"a": 3, "b": 0.5, "c": 1})
    sources, _ = columns(mixture)
    assert np.bincount(sources).tolist() == [30, 10, 8]


def test_a_shuffle_leaves_the_shares() -> None:
    mixture = mix(numbered(1000, 300, 50), [5, 3, 2], stop="all_exhausted")
    plain = columns(mixture)[0]
    loader = DataLoader(mixture, 16, shuffle=True, seed=3)
    epochs = [np.concatenate(list(loader)) for _ in range(2)]
    assert epochs[0][:, 0].tolist() == epochs[1][:, 0].tolist() == plain
    assert not np.array_equal(epochs[0], epochs[1])
    for epoch in epochs:  # each round of a source has all of its samples
        for source, length in enumerate((1000, 300, 50)):
            mine = epoch[epoch[:, 0] == source, 1]
            for first in range(0, len(mine) - length + 1, length):
                assert sorted(mine[first : first + length]) == list(range(length))


def test_a_large_source_has_other_samples_in_each_epoch() -> None:
    loader = DataLoader(mix(numbered(10_000, 50), [1, 1]), 10, shuffle=True, seed=0)
    seen = [{number for batch in loader for source, number in batch.tolist() if source == 0} for _ in range(2)]
    assert len(seen[0] & seen[1]) < 10
    assert max(seen[0]) > 5000


def test_samples_that_come_again_have_draws_of_their_own() -> None:
    class Drawing(Numbered):
        def __getitem__(self, index: int, /) -> Any:
            return np.array([super().__getitem__(index)[1], sample_rng().integers(2**40)])

    loader = DataLoader(mix({"a": Drawing(0, 3), "b": Drawing(1, 100)}, [1, 1], stop="all_exhausted"), 10, seed=0)
    draws = [draw for batch in loader for _, draw in batch.tolist()]
    assert len(set(draws)) == len(draws)


def test_per_source_batches() -> None:
    loader = DataLoader(mix(numbered(100, 100), [3, 1], batches="per_source", stop="all_exhausted"), 8, seed=0)
    sources = [set(batch[:, 0].tolist()) for batch in loader]
    assert all(len(found) == 1 for found in sources)
    assert [found.pop() for found in sources[:8]].count(0) == 6


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_stratified_batches_on_ranks(world_size: int) -> None:
    mixture = mix(numbered(300, 300, 300), [0.5, 0.3, 0.2], batches="stratified")
    ranks = [
        list(DataLoader(mixture, 60 // world_size, shuffle=True, seed=0, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    for step in range(5):
        batch = np.concatenate([rank[step] for rank in ranks])
        assert np.bincount(batch[:, 0]).tolist() == [30, 18, 12]


def test_a_schedule_changes_the_weights() -> None:
    mixture = mix(numbered(500, 500), {"a": 1, "b": 0}, schedule=[(4, {"a": 1, "b": 1}), (6, [0, 1])], stop="never")
    batches = iter(DataLoader(mixture, 8, shuffle=True, seed=1))
    shares = [int((next(batches)[:, 0] == 0).sum()) for _ in range(10)]
    assert shares == [8, 8, 8, 8, 4, 4, 0, 0, 0, 0]


def test_one_that_never_ends() -> None:
    mixture = mix(numbered(3, 5), [1, 1], stop="never")
    loader = DataLoader(mixture, 4, shuffle=True, seed=0)
    assert len(mixture) == 2**53
    assert len(loader) == 2**51
    far = loader.batch(2**50)
    assert sorted(far[:, 0].tolist()) == [0, 0, 1, 1]
    assert far[:, 1].max() < 5


def test_mixtures_of_mixtures() -> None:
    inner = mix(numbered(40, 40), [3, 1])
    outer = mix({"both": inner, "other": Numbered(2, 1000)}, [1, 1], stop="never")
    check_dataset(outer)
    batches = iter(DataLoader(outer, 64, shuffle=True, seed=0))
    for _ in range(20):
        assert np.bincount(next(batches)[:, 0]).tolist() == [24, 8, 32]


def test_functions_over_a_mixture() -> None:
    images = np.arange(360, dtype=np.uint16).astype(np.uint8).reshape(10, 1, 6, 6)
    parts = {name: TensorDataset(images + np.uint8(100 * number), np.arange(10)) for number, name in enumerate("ab")}
    mixture = mix(parts, [2, 1], stop="all_exhausted").map(RandomHorizontalFlip(), field=0)
    check_dataset(mixture, picklable=True, negative=True)
    by_batch = list(DataLoader(mixture, 5, shuffle=True, seed=0))
    loader = DataLoader(mixture, 5, shuffle=True, seed=0)
    for step, (image, label) in enumerate(by_batch):
        again = loader.batch(step)
        np.testing.assert_array_equal(image, again[0])
        np.testing.assert_array_equal(label, again[1])


def test_negative_indices_of_a_sampler() -> None:
    mixture = mix(numbered(5, 5))
    for batch in DataLoader(mixture, 2, sampler=[-1, 9]):
        assert batch[0].tolist() == batch[1].tolist() == mixture[9].tolist()
    names = mix([["a"], ["b"]])
    assert next(iter(DataLoader(names, 2, sampler=[-1, 0]))) == ["b", "a"]


def test_block_shuffle_of_each_source() -> None:
    mixture = mix(numbered(64, 64), [1, 1])
    loader = DataLoader(mixture, 16, shuffle="block", block_size=8, window=1, seed=0)
    first = next(iter(loader))
    for source in range(2):
        assert sorted(np.unique(first[first[:, 0] == source, 1] // 8).tolist())
        assert len(np.unique(first[first[:, 0] == source, 1] // 8)) == 1


def test_the_temperature_evens_out() -> None:
    sources, _ = columns(mix(numbered(900, 100), temperature=2.0))
    assert abs(np.mean(sources[:64]) - 0.25) < 1 / 64  # 30 to 10


def test_tokens_are_counted_by_their_mean() -> None:
    class Long(Numbered):
        def lengths(self) -> Any:
            return np.full(self.length, 30 if self.source else 10)

    mixture = mix({"a": Long(0, 100), "b": Long(1, 100)}, [1, 1], unit="tokens", stop="never")
    sources = [int(mixture[index][0]) for index in range(64)]
    assert sources.count(1) == 16
    measured = mix([[[1, 2]] * 10, [[1] * 6] * 10], [1, 1], unit="tokens", stop="never")
    assert sum(len(measured[index]) == 6 for index in range(64)) == 16


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"weights": [1, -1]}, "weights must be finite and not negative, but source 'b' has -1"),
        ({"weights": [1, float("nan")]}, "weights must be finite and not negative, but source 'b' has nan"),
        ({"weights": [0, 0]}, "weights are all zero"),
        ({"weights": [1]}, "weights has 1 numbers for 2 sources; give one for each"),
        ({"weights": {"a": 1, "c": 2}}, "weights are given for ['a', 'c'], but the sources are ['a', 'b']"),
        ({"stop": "last"}, "stop must be one of 'first_exhausted', 'all_exhausted', 'never', but got stop='last'"),
        ({"schedule": [(5, [1, 1]), (5, [1, 2])]}, "the steps of a schedule must be integers that rise"),
        ({"schedule": [(0, [1, 1])]}, "the steps of a schedule must be integers that rise"),
        ({"schedule": [(9, [1, 1]), (3, [1, 2])]}, "but got [9, 3]"),
        ({"schedule": [(2**60, [1, 1])]}, "the steps of a schedule must be integers that rise"),
        ({"schedule": [5]}, "schedule must be pairs (step, weights), as in [(1000, [1, 2])], but got [5]"),
        ({"schedule": [(5,)]}, "schedule must be pairs (step, weights)"),
        ({"schedule": 5}, "schedule must be pairs (step, weights)"),
        ({"weights": ["x", 1]}, "weights must be finite and not negative, but source 'a' has 'x'"),
        ({"weights": [1, 10**400]}, "weights must be finite and not negative, but source 'b' has 1000"),
        ({"temperature": 0}, "temperature must be positive and finite, but got temperature=0"),
        ({"temperature": "hot"}, "temperature must be positive and finite, but got temperature='hot'"),
        ({"temperature": 1e-4}, "temperature=0.0001 leaves nothing of weight 3, the one at place 0 of 2"),
        ({"repeat": [1e-3, 1e-3]}, "repeat=[0.001, 0.001] of sources of [3, 4] samples makes an epoch of none"),
        ({"repeat": [1e300, 1]}, "makes an epoch of more than 9,007,199,254,740,992; give other numbers"),
        ({"repeat": [1, 2], "weights": [1, 1]}, "repeat says how often each source comes, so weights must be left out"),
        ({"weights": [1, 0], "stop": "all_exhausted"}, "source 'b' has weight 0, so it is never exhausted"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(text)):
        mix(numbered(3, 4), **arguments)


def test_sources_that_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"^source 'b' is empty; leave it out$"):
        mix(numbered(3, 0), [1, 1])
    with pytest.raises(ArgumentError, match="sources must have different names, as text too, but got"):
        mix({1: [1], "1": [2]})  # type: ignore[dict-item]
    with pytest.raises(ArgumentError, match="at least one dataset"):
        mix({})
    with pytest.raises(ArgumentTypeError, match=r"^mix takes a dict of datasets or a list of them, got a int$"):
        mix(3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match=r"^repeat must be a number for each source, in a list or by name"):
        mix(numbered(3, 4), repeat=2)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="source 'a'"):
        mix({"a": 3})  # type: ignore[dict-item]
    inner = mix(numbered(3, 3), batches="per_source")
    with pytest.raises(ArgumentError, match="give them to the outer mixture"):
        mix([inner, inner])


def test_a_source_too_large_for_its_weight() -> None:
    with pytest.raises(ArgumentError, match="source 'b' has 10,000,000,000,000 samples and 1e-10 of the weight"):
        mix(numbered(5, 10**13), [1, 1e-10])


def test_a_schedule_that_starves_a_source() -> None:
    mixture = mix(numbered(100, 100), [1, 1], schedule=[(1, [1, 0])], stop="all_exhausted")
    with pytest.raises(ArgumentError, match="source 'b' is not exhausted before the schedule takes its weight away"):
        len(DataLoader(mixture, 4))


@settings(deadline=None, max_examples=150)
@given(
    sizes=st.lists(st.integers(1, 120), min_size=1, max_size=5),
    repeat=st.none() | st.lists(st.sampled_from([0.25, 0.5, 1, 2, 3]), min_size=5, max_size=5),
    batches=st.sampled_from(["mixed", "stratified", "per_source"]),
    batch_size=st.sampled_from([1, 2, 3, 7, 8, 64]),
    shuffle=st.booleans(),
)
def test_each_sample_comes_as_often_as_it_is_to(
    sizes: list[int], repeat: list[float] | None, batches: Any, batch_size: int, shuffle: bool
) -> None:
    times = None if repeat is None else repeat[: len(sizes)]
    counts = [round(time * size) for time, size in zip(times or [1.0] * len(sizes), sizes, strict=True)]
    assume(sum(counts))
    loader = DataLoader(
        mix(numbered(*sizes), repeat=times, batches=batches), batch_size, shuffle=shuffle, seed=0, collate_fn=list
    )
    steps = [[tuple(sample.tolist()) for sample in step] for step in loader]
    seen = Counter(sample for step in steps for sample in step)
    for source, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        found = [seen[source, index] for index in range(size)]
        assert sum(found) == count
        assert max(found) - min(found) <= 1
    assert [each.samples for each in loader.stats().sources.values()] == counts
    if batches == "per_source":  # but for what is left of each in the end
        mixed = [len({source for source, _ in step}) > 1 for step in steps]
        assert sum(mixed) <= sum(count % batch_size > 0 for count in counts)


def test_weights_of_any_scale_and_names_of_any_kind() -> None:
    for scale in (1e-320, 5e307):
        assert columns(mix(numbered(8, 8), [scale, 3 * scale])) == columns(mix(numbered(8, 8), [1, 3]))
    steps: Any = [(np.int64(2), [1, 0])]
    assert mix(numbered(8, 8), [1, 1], schedule=steps).mixture.steps == (0, 2)
    named: Any = {1: [10, 11], 2: [20]}
    weights: Any = {2: 1, 1: 1}
    mixture = mix(named, weights, stop="all_exhausted")
    assert [mixture[index] for index in range(len(mixture))] == [10, 20, 11]
