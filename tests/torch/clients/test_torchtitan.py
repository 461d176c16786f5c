"""torchtitan's loaders: classes of its two kinds, over ours, are saved by ranks in one distributed checkpoint."""

from __future__ import annotations

import inspect
import pickle
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import pytest

torch: Any = pytest.importorskip("torch")
checkpoint: Any = pytest.importorskip("torch.distributed.checkpoint")

from tests.torch.clients.processes import run_on_ranks  # noqa: E402

from headrace.torch import IterableDataset, StatefulDataLoader, TensorDataset  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RANKS = 2
BASE: Any = StatefulDataLoader


class Text(IterableDataset):
    """A rank's share of a text that begins again at its end, as windows of tokens and their labels."""

    def __init__(self, rank: int, world_size: int) -> None:
        self.rank, self.world_size = rank, world_size
        self.at = 0

    def __iter__(self) -> Iterator[Any]:
        while True:
            start = (self.at * self.world_size + self.rank) * 3 % 100
            self.at += 1
            tokens = torch.arange(start, start + 4)
            yield {"input": tokens[:-1]}, tokens[1:]

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at = state["at"]


class OfRanks(BASE):
    """One that derives from StatefulDataLoader, takes what that takes, and saves each rank's state as bytes."""

    def __init__(self, dataset: Any, rank: int, world_size: int, **kwargs: Any) -> None:
        assert kwargs.keys() <= inspect.signature(StatefulDataLoader.__init__).parameters.keys()
        super().__init__(dataset, **kwargs)
        self.key, self.ranks = f"dp_rank_{rank}", world_size

    def state_dict(self) -> dict[str, Any]:
        return {self.key: pickle.dumps(super().state_dict()), "world_size": self.ranks}

    def load_state_dict(self, state_dict: Any) -> None:
        if state_dict:
            assert state_dict["world_size"] == self.ranks
            super().load_state_dict(pickle.loads(state_dict[self.key]))


class Endless:
    """One that holds a loader: an iterator for the whole run, a state for all ranks, an end."""

    def __init__(self, rank: int, world_size: int) -> None:
        dataset = TensorDataset(torch.arange(20), torch.arange(20))
        self.loader = StatefulDataLoader(dataset, 2, shuffle=True, seed=4, rank=rank, world_size=world_size)

    def __iter__(self) -> Iterator[Any]:
        for tokens, labels in self.loader.forever():
            yield {"input": tokens}, labels

    def state_dict(self) -> dict[str, Any]:
        return self.loader.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loader.load_state_dict(state)

    def close(self) -> None:
        self.loader.close()


def numbers(batches: Any, count: int) -> list[Any]:
    return [(inputs["input"].tolist(), labels.tolist()) for inputs, labels in islice(batches, count)]


def train_on_rank(rank: int, world_size: int, folder: str) -> list[Any]:
    torch.distributed.init_process_group("gloo", rank=rank, world_size=world_size)
    found = []
    for number, make in enumerate(MAKERS):
        loader, other = make(rank, world_size), make(rank, world_size)
        loader.load_state_dict({})
        if isinstance(loader, Endless):
            loader.loader.skip({(1, 3)})  # which the one that goes on learns from the checkpoint
        batches = iter(loader)
        seen = numbers(batches, 7)
        checkpoint.save({"dataloader": loader}, checkpoint_id=f"{folder}/{number}")
        checkpoint.load({"dataloader": other}, checkpoint_id=f"{folder}/{number}")
        found.append((seen, numbers(batches, 6), numbers(iter(other), 6)))
        loader.close()
        other.close()
    torch.distributed.destroy_process_group()
    return found


def of_ranks(rank: int, world_size: int, **arguments: Any) -> Any:
    return OfRanks(Text(rank, world_size), rank, world_size, batch_size=2, **arguments)


def with_a_worker(rank: int, world_size: int) -> Any:
    return of_ranks(rank, world_size, num_workers=1, multiprocessing_context="fork")


MAKERS = [of_ranks, with_a_worker, Endless]


def windows(batches: Any) -> list[Any]:
    return [pair for inputs, labels in batches for pair in zip(inputs, labels, strict=True)]


def test_each_rank_goes_on_where_it_stood(tmp_path: Path) -> None:
    found = run_on_ranks(train_on_rank, RANKS, str(tmp_path))
    for rank in found:
        for _, rest, resumed in rank:
            assert rest == resumed
    whole = sorted(numbers(Text(0, 1), 7 * 2 * RANKS))
    for kind in range(2):
        assert sorted(window for rank in found for window in windows(rank[kind][0])) == whole
    of_epoch = [labels for rank in found for _, labels in rank[2][0][:5]]
    assert sorted(chain(*of_epoch)) == list(range(20))
