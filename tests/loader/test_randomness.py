"""Order and draws of whole epochs: uniform, independent, and the same in every release."""

from __future__ import annotations

from itertools import pairwise, permutations
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from headrace import (
    Compose,
    DataLoader,
    Dataset,
    RandomCrop,
    RandomHorizontalFlip,
    TensorDataset,
    sample_rng,
)
from headrace.sampling.permutation import Shuffled

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHANCE = 1e-9  # of a false alarm for one statistic, were the seeds not fixed
LENGTHS = [10, 1000, 4095, 4096, 5000, 100_003]


def order(length: int, seed: int, epoch: int, count: int | None = None) -> NDArray[np.int64]:
    """The samples of an epoch, or the first of them."""
    loader: DataLoader[NDArray[np.int64]] = DataLoader(range(length), count or length, shuffle=True, seed=seed)
    return loader.batch(0, epoch)


class Draws(Dataset[tuple[int, float, float]]):
    """Sample i is i and what two generators of its own draw."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int, /) -> tuple[int, float, float]:
        return index, sample_rng().random(), sample_rng().random()


def table(dataset: Any, epoch: int = 0, **arguments: Any) -> dict[int, Any]:
    """What each sample drew in an epoch."""
    loader = DataLoader(dataset, **{"seed": 0, **arguments})
    loader.set_epoch(epoch)
    found: dict[int, Any] = {}
    for index, *values in loader:
        found.update(zip(index.tolist(), zip(*(value.tolist() for value in values), strict=True), strict=True))
    return found


# ------------------------------------------------------------------ known answers
# A seed gives the same run in every release: whoever changes these changes every user's runs.


def test_known_orders() -> None:
    assert order(10, seed=0, epoch=0).tolist() == [1, 8, 0, 2, 9, 6, 4, 5, 3, 7]
    assert order(10, seed=0, epoch=1).tolist() == [3, 7, 4, 5, 6, 8, 1, 2, 0, 9]
    assert order(5000, 0, 0, 10).tolist() == [1365, 3606, 3676, 279, 2051, 2174, 2776, 226, 2087, 2434]
    assert order(5000, 0, 1, 10).tolist() == [1587, 295, 1000, 260, 2304, 2462, 1931, 473, 3131, 3535]
    assert order(10**12, 12345, 7, 4).tolist() == [282630725643, 293273815596, 988034986795, 397963159375]


def test_known_augmentation() -> None:
    image = np.arange(1, 65, dtype=np.uint8).reshape(8, 8)
    augment = Compose([RandomCrop(6, padding=2), RandomHorizontalFlip()])
    dataset = TensorDataset(np.stack([image] * 6)).map(augment, field=0)
    (images,) = DataLoader(dataset, 6, seed=0).batch(0, 0)
    assert images[:, 2, 2:4].tolist() == [[11, 12], [26, 25], [34, 33], [34, 33], [40, 39], [25, 26]]


# ------------------------------------------------------------------ order


@given(
    length=st.integers(0, 9000), batch_size=st.integers(100, 5000), seed=st.integers(0, 2**70), epoch=st.integers(0, 99)
)
def test_every_sample_once(length: int, batch_size: int, seed: int, epoch: int) -> None:
    loader = DataLoader(range(length), batch_size, shuffle=True, seed=seed)
    loader.set_epoch(epoch)
    assert sorted(index for batch in loader for index in batch.tolist()) == list(range(length))


@pytest.mark.parametrize("batch_size", [1000, 4095, 4097, 6000])
def test_batches_that_straddle_a_chunk(batch_size: int) -> None:
    loader = DataLoader(range(10_000), batch_size, shuffle=True, seed=3)
    walked = np.concatenate(list(loader))
    asked = [loader.batch(step, 0) for step in reversed(range(len(loader)))][::-1]
    np.testing.assert_array_equal(walked, np.concatenate(asked))
    np.testing.assert_array_equal(walked, order(10_000, 3, 0))


@pytest.mark.parametrize("length", [2**31, 2**53 + 1, 2**62 + 1, 2**63 - 1])
def test_any_batch_of_the_longest_datasets(length: int) -> None:
    class Virtual(Dataset[int]):
        def __len__(self) -> int:
            return length

        def __getitem__(self, index: int, /) -> int:
            return index

    loader = DataLoader(Virtual(), 100, shuffle=True, seed=1)
    steps = [0, 1, len(loader) // 2, len(loader) - 2]
    found = [index for step in steps for index in loader.batch(step, 3).tolist()]
    assert len(set(found)) == 400
    assert stats.kstest(np.array(found, float) / length, "uniform").pvalue > CHANCE
    assert len(loader.batch(len(loader) - 1)) == length % 100 or 100


def test_all_permutations_of_four_are_equally_likely() -> None:
    seen = dict.fromkeys(permutations(range(4)), 0)
    for seed in range(6000):
        seen[tuple(order(4, seed, 0).tolist())] += 1
    assert stats.chisquare(list(seen.values())).pvalue > CHANCE


@pytest.mark.parametrize("vary", ["seed", "epoch"])
@pytest.mark.parametrize("length", [10, 4095, 4096, 5000])
def test_positions_are_uniform(length: int, vary: str) -> None:
    """Any sample may stand anywhere: first samples over many seeds, or over the epochs of one."""
    count = 10
    firsts = np.array(
        [order(length, *((number, 0) if vary == "seed" else (0, number)), count) for number in range(2000)]
    )
    for position in (0, 1, 2, count - 1):
        counts = np.bincount(firsts[:, position] * 10 // length, minlength=10)
        expected = np.bincount(np.arange(length) * 10 // length) / length * len(firsts)
        assert stats.chisquare(counts, expected).pvalue > CHANCE


@pytest.mark.parametrize("length", LENGTHS)
def test_no_serial_correlation(length: int) -> None:
    seeds = 200 if length < 1000 else 5
    for lag in (1, 2, 8):
        orders = [order(length, seed, 0).astype(float) / length - 0.5 for seed in range(seeds)]
        products = np.concatenate([one[lag:] * one[:-lag] for one in orders])
        # of a permutation, neighbours repel each other by 1 / (12 n)
        excess = products.mean() + 1 / (12 * length)
        assert abs(excess) < 6 * products.std() / len(products) ** 0.5


@pytest.mark.parametrize("vary", ["seed", "epoch"])
@pytest.mark.parametrize("length", [1000, 4095, 4096, 100_003])
def test_epochs_and_seeds_are_independent(length: int, vary: str) -> None:
    orders = [order(length, *((number, 0) if vary == "seed" else (0, number))) for number in range(6)]
    orders = [np.argsort(one) for one in orders]  # where each sample stands
    for before, after in pairwise(orders):
        assert abs(stats.spearmanr(before, after).statistic) < 6 / length**0.5
        shift = np.bincount(((after - before) % length) * 10 // length, minlength=10)
        expected = np.bincount(np.arange(length) * 10 // length)
        assert stats.chisquare(shift, expected).pvalue > CHANCE
        assert np.count_nonzero(before == after) < 15  # one on average


def test_loader_and_order_agree() -> None:
    """The key of an epoch is all that the loader adds."""
    loader = DataLoader(range(50), 50, shuffle=True, seed=0)
    assert loader.batch(0, 0).tolist() == Shuffled(50).indices(0x46FA09A08AC8650F, 0, 50).tolist()


# ------------------------------------------------------------------ draws


@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_size": 1},
        {"batch_size": 7},
        {"batch_size": 60},
        {"batch_size": 7, "shuffle": True},
        {"batch_size": 7, "sampler": list(reversed(range(50)))},
        {"batch_sampler": [[index] for index in range(50)]},
        {"batch_size": 7, "rank": 0, "world_size": 1},
    ],
)
def test_draws_do_not_depend_on_the_order(arguments: dict[str, Any]) -> None:
    assert table(Draws(50), **arguments) == table(Draws(50), batch_size=50)


def test_draws_of_ranks_are_those_of_one() -> None:
    both: dict[int, Any] = {}
    for rank in range(2):
        both.update(table(Draws(50), batch_size=5, shuffle=True, rank=rank, world_size=2))
    assert both == table(Draws(50))


def test_draws_of_single_samples_are_those_of_a_batch() -> None:
    singles = {index: (one, other) for index, one, other in DataLoader(Draws(5), None, seed=0)}
    assert singles == table(Draws(5))


def test_draws_differ_between_samples_calls_epochs_and_seeds() -> None:
    values = [
        value
        for epoch in range(5)
        for seed in range(2)
        for drawn in table(Draws(50), epoch, seed=seed).values()
        for value in drawn
    ]
    assert len(set(values)) == len(values) == 5 * 2 * 50 * 2


def test_draws_are_uniform_and_independent() -> None:
    tables = [np.array(list(table(Draws(3000), epoch, batch_size=500).values())) for epoch in range(2)]
    values = np.concatenate(tables, axis=1)  # two calls in each of two epochs
    for column in values.T:
        assert stats.kstest(column, "uniform").pvalue > CHANCE
    assert np.abs(np.corrcoef(values.T) - np.eye(4)).max() < 6 / 3000**0.5


def test_draws_and_order_are_independent() -> None:
    """Both come from the same seed and epoch."""
    places = np.argsort(order(3000, 0, 0))
    drawn = table(Draws(3000), batch_size=3000)
    assert abs(stats.spearmanr(places, [drawn[index][0] for index in range(3000)]).statistic) < 6 / 3000**0.5


def noise(value: float) -> float:
    return value + sample_rng().random()


def greedy(value: float) -> float:
    sample_rng().random(100)
    sample_rng()
    return value


def test_a_longer_chain_does_not_shift_what_stands_before_it() -> None:
    short, long = (
        table(Draws(20).map(Compose(chain), field=1)) for chain in ([noise], [noise, greedy, lambda value: value])
    )
    assert short == long


def test_what_one_step_draws_does_not_shift_the_others() -> None:
    def idle(value: float) -> float:
        return value

    one, other = (table(Draws(20).map(Compose([step, noise]), field=1).map(noise, field=2)) for step in (idle, greedy))
    assert one == other


def test_transforms_at_different_places_draw_differently() -> None:
    flip = RandomHorizontalFlip()
    images = np.tile(np.arange(2, dtype=np.uint8), (200, 2, 1, 1))
    dataset = TensorDataset(images[:, 0], images[:, 1], np.arange(200)).map(flip, field=0).map(flip, field=1)
    one, other, _ = DataLoader(dataset, 200, seed=0).batch(0)
    flipped = np.stack([one[:, 0, 0] == 1, other[:, 0, 0] == 1])
    assert 60 < np.count_nonzero(flipped[0] != flipped[1]) < 140


@pytest.mark.parametrize("batch_size", [4, None])
def test_a_collate_fn_draws_for_the_batch(batch_size: int | None) -> None:
    """Of its own: not what the first sample of the batch has drawn."""
    drawn: list[tuple[Any, float]] = []

    def collate(samples: Any) -> Any:
        drawn.append((samples, sample_rng().random()))
        return 0

    loader = DataLoader(Draws(20), batch_size, collate_fn=collate, seed=0)
    list(loader)
    first, drawn = drawn, []
    by_batch = [value for _, value in first]
    by_sample = {value for values in table(Draws(20)).values() for value in values}
    assert len({*by_batch} | by_sample) == len(by_batch) + len(by_sample)
    loader.set_epoch(0)
    list(loader)
    assert [value for _, value in drawn] == by_batch
    loader.batch(2, 0)
    assert drawn[-1][1] == by_batch[2]
