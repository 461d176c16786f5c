"""Blocks in random order: the same epoch for any workers, ranks and resumes, and few reads."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

from headrace import DataLoader, Dataset, IterableDataset, TensorDataset, sample_rng
from headrace.errors import ArgumentError, StateError
from headrace.loader.cursor import Epoch
from headrace.sampling.blocks import BlockShuffled, EqualBlocks, GivenBlocks

pytestmark = pytest.mark.usefixtures("by_value")
BLOCK: dict[str, Any] = {"shuffle": "block", "block_size": 7, "window": 3, "seed": 5}


class Noisy(Dataset[Any]):
    def __init__(self, length: int, found: Any = None) -> None:
        self.length = length
        self.found = found

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int, /) -> tuple[int, float]:
        return index, sample_rng().random()

    def blocks(self) -> Any:
        return self.found


def indices(loader: Any) -> list[int]:
    return [index for batch in loader for index in batch[0].tolist()]


def expected(blocks: Any, window: int, epoch: int) -> list[int]:
    key = Epoch(epoch, 5).order_key
    return list(map(int, BlockShuffled(blocks, window).indices(key, 0, blocks.length)))


def test_loader_follows_the_block_order() -> None:
    loader = DataLoader(Noisy(60), 4, **BLOCK)
    for epoch in range(2):
        assert indices(loader) == expected(EqualBlocks(60, 7), 3, epoch)


def test_blocks_come_from_the_dataset() -> None:
    bounds = np.array([0, 10, 12, 40, 60])
    for dataset in (Noisy(60, bounds), Noisy(60, bounds).map(lambda sample: sample)):
        loader = DataLoader(dataset, 4, shuffle="block", window=2, seed=5)
        assert indices(loader) == expected(GivenBlocks(bounds), 2, 0)
    assert indices(DataLoader(Noisy(60, 9), 4, shuffle="block", seed=5)) == expected(EqualBlocks(60, 9), 8, 0)
    assert indices(DataLoader(Noisy(60, 9), 4, **BLOCK)) == expected(EqualBlocks(60, 7), 3, 0)


def test_default_block_size_and_window() -> None:
    dataset = TensorDataset(np.arange(20_000))
    assert indices(DataLoader(dataset, 500, shuffle="block", seed=5)) == expected(EqualBlocks(20_000, 1024), 8, 0)


@pytest.mark.parametrize(
    "workers",
    [
        {"num_workers": 2, "backend": "thread"},
        {"num_workers": 2, "backend": "process"},
        {"num_workers": 1, "backend": "process"},
    ],
)
def test_any_workers_give_the_same(workers: dict[str, Any]) -> None:
    alone = list(DataLoader(Noisy(60), 4, **BLOCK))
    with DataLoader(Noisy(60), 4, **BLOCK, **workers) as loader:
        np.testing.assert_equal(list(loader), alone)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("found", [None, np.array([0, 10, 12, 40, 62])])
def test_resume_at_each_step(drop_last: bool, found: Any) -> None:
    given: dict[str, Any] = {"shuffle": "block", "window": 3, "seed": 5, "drop_last": drop_last}
    if found is None:
        given["block_size"] = 7
    loader = DataLoader(Noisy(62, found), 4, **given)
    batches = list(loader)
    assert len(batches) == (15 if drop_last else 16)
    for step in range(len(batches) + 1):
        stopped = DataLoader(Noisy(62, found), 4, **given)
        for _, _ in zip(range(step), stopped, strict=False):
            pass
        state = json.loads(json.dumps(stopped.state_dict()))
        resumed = DataLoader(Noisy(62, found), 4, **given)
        resumed.load_state_dict(state)
        np.testing.assert_equal(list(resumed), batches[state["step"] :] if state["epoch"] == 0 else list(loader))


def test_batch_equals_iterated_batch() -> None:
    loader = DataLoader(Noisy(60), 4, **BLOCK)
    np.testing.assert_equal([loader.batch(step, 0) for step in range(15)], list(loader))


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_steps_of_one(world_size: int) -> None:
    alone = [batch[0].tolist() for batch in DataLoader(Noisy(60), 12, **BLOCK)]
    ranks = [
        DataLoader(Noisy(60), 12 // world_size, **BLOCK, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    together = [np.concatenate([each[0] for each in step]).tolist() for step in zip(*ranks, strict=True)]
    assert together == alone


def test_ranks_need_a_seed() -> None:
    with pytest.raises(ArgumentError, match=r"^shuffle='block' on several ranks needs a seed"):
        DataLoader(Noisy(60), shuffle="block", rank=0, world_size=2)


def test_a_state_of_other_blocks_is_refused() -> None:
    state = DataLoader(Noisy(60), 4, **BLOCK).state_dict()
    others: list[tuple[Noisy, dict[str, Any], str]] = [
        (Noisy(60), {"window": 4}, "window was 3 and is 4 here"),
        (Noisy(60), {"block_size": 8}, r"block_size \(or what the dataset's blocks\(\) says\) was 7 and is 8 here"),
        (Noisy(60, np.array([0, 60])), {"block_size": None}, r"block_size .* was 7 and is \d+ here"),
        (Noisy(60), {"shuffle": True, "block_size": None, "window": None}, "shuffle was block and is True here"),
    ]
    for dataset, other, text in others:
        with pytest.raises(StateError, match=text):
            DataLoader(dataset, 4, **{**BLOCK, **other}).load_state_dict(state)


def test_a_stream_has_no_blocks() -> None:
    class Stream(IterableDataset[int]):
        def __iter__(self) -> Any:
            return iter(range(3))

    with pytest.raises(ArgumentError, match="an IterableDataset decides its own order, but got shuffle='block'"):
        DataLoader(Stream(), shuffle="block")


def test_each_block_is_read_once_where_a_window_of_them_is_kept() -> None:
    loads, kept = 0, OrderedDict[int, None]()
    for index in indices(DataLoader(TensorDataset(np.arange(1000)), 8, shuffle="block", block_size=10, window=4)):
        block = index // 10
        loads += block not in kept
        kept[block] = None
        kept.move_to_end(block)
        if len(kept) > 4:
            kept.popitem(last=False)
    assert loads == 100
