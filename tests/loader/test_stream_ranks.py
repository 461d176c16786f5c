"""Streams on several ranks: a step is the same samples for any of them, and all make the same steps."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import DataLoader, IterableDataset, get_worker_info, sample_rng
from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Numbers(IterableDataset[int]):
    """Numbers, and none of them twice: a worker that reads for itself has its share."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __iter__(self) -> Iterator[int]:
        info = get_worker_info()
        return iter(range(self.length) if info is None else range(info.id, self.length, info.num_workers))


class Shuffled(Numbers):
    """The same in an order that is random, each with a draw of its own."""

    def __iter__(self) -> Iterator[Any]:
        for number in sample_rng().permutation(self.length).tolist():
            yield number, sample_rng().random()


def on_ranks(stream: Any, batch_size: int, world_size: int, **arguments: Any) -> list[list[list[Any]]]:
    """The batches of all ranks, for each step."""
    ranks = [
        DataLoader(stream, batch_size, rank=rank, world_size=world_size, seed=0, collate_fn=list, **arguments)
        for rank in range(world_size)
    ]
    return [list(step) for step in zip(*map(list, ranks), strict=True)]  # strict: equally many steps


@given(st.integers(0, 60), st.integers(1, 4), st.integers(1, 5))
def test_each_sample_comes_once(length: int, batch_size: int, world_size: int) -> None:
    if 0 < length < world_size:
        with pytest.raises(ArgumentError, match="cannot be split among world_size"):
            on_ranks(Numbers(length), batch_size, world_size)
        return
    steps = on_ranks(Numbers(length), batch_size, world_size)
    assert [sample for step in steps for batch in step for sample in batch] == list(range(length))
    for step in steps[:-1]:
        assert [len(batch) for batch in step] == [batch_size] * world_size
    assert all(0 < len(batch) <= batch_size + 1 for step in steps for batch in step)


@pytest.mark.parametrize(
    ("uneven", "last"),
    [
        ("even_split", [[8, 9], [10]]),
        ("drop", [[8], [9]]),
        ("repeat", [[8, 9], [10, 8]]),
    ],
)
def test_the_last_step(uneven: Any, last: list[list[int]]) -> None:
    assert on_ranks(Numbers(11), 2, 2, uneven=uneven)[2] == last


def test_the_last_step_is_left_out() -> None:
    assert len(on_ranks(Numbers(11), 2, 2, drop_last=True)) == 2
    assert on_ranks(Numbers(9), 2, 2)[-1] == [[4, 5, 6], [7, 8]]  # one sample joins the step before


@pytest.mark.parametrize("world_size", [1, 2, 3, 6])
def test_a_step_is_the_same_samples_for_any_ranks(world_size: int) -> None:
    alone = [step[0] for step in on_ranks(Shuffled(50), 12, 1)]
    steps = on_ranks(Shuffled(50), 12 // world_size, world_size)
    joined = [[sample for batch in step for sample in batch] for step in steps]
    assert joined[:3] == alone[:3]
    assert [*chain(*joined)] == [*chain(*alone)]  # fewer samples than ranks join the step before


@pytest.mark.parametrize("arguments", [{"backend": "thread"}, {"backend": "process", "shard": True}])
def test_workers_change_nothing(arguments: dict[str, Any]) -> None:
    assert on_ranks(Shuffled(31), 3, 2, num_workers=2, **arguments) == on_ranks(Shuffled(31), 3, 2)


def test_workers_that_have_a_share_each() -> None:
    steps = on_ranks(Numbers(45), 3, 2, num_workers=2, backend="process")
    assert sorted(sample for step in steps for batch in step for sample in batch) == list(range(45))


@pytest.mark.parametrize("length", [22, 23, 24, 25])
def test_resumed_on_other_ranks(length: int) -> None:
    expected = on_ranks(Numbers(length), 4, 1)
    going = DataLoader(Numbers(length), 4, seed=0, collate_fn=list)
    batches = iter(going)
    next(batches), next(batches)
    ranks = [DataLoader(Numbers(length), 2, rank=rank, world_size=2, seed=0, collate_fn=list) for rank in range(2)]
    for loader in ranks:
        loader.load_state_dict(going.state_dict())
    rest = [sample for step in zip(*ranks, strict=True) for batch in step for sample in batch]
    assert rest == [sample for step in expected[2:] for sample in step[0]]


def test_length() -> None:
    class Sized(Numbers):
        def __len__(self) -> int:
            return self.length

    for length in range(2, 20):
        loader = DataLoader(Sized(length), 2, rank=1, world_size=2, seed=0)
        assert len(loader) == len(list(loader)) == len(DataLoader(range(length), 2, rank=1, world_size=2))


def test_a_seed_is_needed() -> None:
    with pytest.raises(ArgumentError, match="an IterableDataset on several ranks needs a seed"):
        DataLoader(Numbers(3), 2, rank=0, world_size=2)


def test_errors_come_on_all_ranks() -> None:
    class Failing(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            yield from range(5)
            raise OSError("unplugged")

    for rank in range(2):
        loader = DataLoader(Failing(), 2, rank=rank, world_size=2, seed=0)
        batches = iter(loader)
        with pytest.raises(OSError, match="unplugged"):
            next(batches)
        np.testing.assert_array_equal(next(batches), [[0, 1, 2], [3, 4]][rank])
        assert next(batches, None) is None
