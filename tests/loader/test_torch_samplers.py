"""Samplers work as in torch: its own loader over the same sampler is the measure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader
from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

torch = pytest.importorskip("torch")
data = pytest.importorskip("torch.utils.data")
distributed = pytest.importorskip("torch.utils.data.distributed")

LENGTH = 23
DATASET = [10 * index for index in range(LENGTH)]


class Own:
    """A sampler of no library."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(LENGTH - 1, -1, -2))


def generator() -> Any:
    return torch.Generator().manual_seed(4)


def weighted() -> Any:
    return data.WeightedRandomSampler([1.0, 5.0, 2.0] + [0.5] * 20, 31, generator=generator())


SAMPLERS: dict[str, Callable[[], Any]] = {
    "sequential": lambda: data.SequentialSampler(DATASET),
    "random": lambda: data.RandomSampler(DATASET, generator=generator()),
    "random with replacement": lambda: data.RandomSampler(DATASET, True, 50, generator=generator()),
    "more than once": lambda: data.RandomSampler(DATASET, num_samples=60, generator=generator()),
    "weighted": weighted,
    "subset": lambda: data.SubsetRandomSampler([3, 1, 4, 15, 9, 2, 6], generator=generator()),
    "distributed": lambda: distributed.DistributedSampler(DATASET, 3, 1, seed=7),
    "own": Own,
    "list": lambda: [5, 3, 5],
    "array": lambda: np.array([5, 3, 5]),
    "tensor": lambda: torch.tensor([5, 3, 5]),
    "range": lambda: range(2, 9),
    "generator": lambda: (index for index in (5, 3, 5)),
}
BATCH_SAMPLERS: dict[str, Callable[[], Any]] = {
    "random": lambda: data.BatchSampler(data.RandomSampler(DATASET, generator=generator()), 4, drop_last=False),
    "drop last": lambda: data.BatchSampler(data.RandomSampler(DATASET, generator=generator()), 4, drop_last=True),
    "weighted": lambda: data.BatchSampler(weighted(), 4, drop_last=False),
    "distributed": lambda: data.BatchSampler(distributed.DistributedSampler(DATASET, 2, 0, seed=7), 4, drop_last=False),
    "lists": lambda: [[3, 1], [4], [1, 5, 9]],
    "tuples": lambda: ((3, 1), (4,)),
    "generator": lambda: ([index, index + 1] for index in range(4)),
}


def listed(loader: Any) -> list[Any]:
    return [batch.tolist() if hasattr(batch, "tolist") else batch for batch in loader]


def epochs(loader: Any, sampler: Any, count: int = 3) -> list[list[Any]]:
    """The batches of several epochs, of which the sampler is told where it can be."""
    told = getattr(sampler, "sampler", sampler)
    found = []
    for epoch in range(count):
        if hasattr(told, "set_epoch"):
            told.set_epoch(epoch)
        found.append(listed(loader))
    return found


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("name", SAMPLERS)
def test_sampler(name: str, drop_last: bool) -> None:
    count = 1 if name == "generator" else 3
    sampler = SAMPLERS[name]()
    theirs = epochs(data.DataLoader(DATASET, 4, sampler=sampler, drop_last=drop_last), sampler, count)
    sampler = SAMPLERS[name]()
    loader = DataLoader(DATASET, 4, sampler=sampler, drop_last=drop_last, seed=0)
    assert epochs(loader, sampler, count) == theirs
    if hasattr(sampler, "__len__"):
        assert len(loader) == len(theirs[0])


@pytest.mark.parametrize("name", SAMPLERS)
def test_sampler_of_single_samples(name: str) -> None:
    sampler = SAMPLERS[name]()
    theirs = epochs(data.DataLoader(DATASET, None, sampler=sampler), sampler, 1)
    sampler = SAMPLERS[name]()
    assert epochs(DataLoader(DATASET, None, sampler=sampler), sampler, 1) == theirs


@pytest.mark.parametrize("name", BATCH_SAMPLERS)
def test_batch_sampler(name: str) -> None:
    count = 1 if name == "generator" else 3
    sampler = BATCH_SAMPLERS[name]()
    theirs = epochs(data.DataLoader(DATASET, batch_sampler=sampler), sampler, count)
    sampler = BATCH_SAMPLERS[name]()
    loader = DataLoader(DATASET, batch_sampler=sampler, seed=0)
    assert epochs(loader, sampler, count) == theirs
    if hasattr(sampler, "__len__"):
        assert len(loader) == len(theirs[0])


@pytest.mark.parametrize("epoch", [0, 2])
def test_set_epoch_of_the_loader_tells_the_sampler(epoch: int) -> None:
    theirs = BATCH_SAMPLERS["distributed"]()
    theirs.sampler.set_epoch(epoch)
    expected = listed(data.DataLoader(DATASET, batch_sampler=theirs))
    for sampler in (BATCH_SAMPLERS["distributed"](), SAMPLERS["distributed"]()):
        told = getattr(sampler, "sampler", sampler)
        arguments = {"batch_sampler": sampler} if told is not sampler else {"sampler": sampler, "batch_size": 4}
        loader = DataLoader(DATASET, seed=0, **arguments)
        loader.set_epoch(epoch)
        assert told.epoch == epoch
        if told is not sampler:
            assert listed(loader) == expected


@pytest.mark.parametrize("name", ["distributed", "random", "weighted"])
@pytest.mark.parametrize("kind", ["sampler", "batch_sampler"])
def test_resumed_at_every_step(kind: str, name: str) -> None:
    """A sampler with a set_epoch is found in its epoch again, one with a generator where that stood."""
    count = 3

    def make() -> tuple[DataLoader[Any], Any]:
        sampler = (SAMPLERS if kind == "sampler" else BATCH_SAMPLERS)[name]()
        more: dict[str, Any] = {"batch_size": 4} if kind == "sampler" else {}
        return DataLoader(DATASET, seed=0, **{kind: sampler}, **more), getattr(sampler, "sampler", sampler)

    loader, told = make()
    states: list[tuple[int, int, str]] = []
    expected: list[Any] = []
    for epoch in range(count):
        if name == "distributed":
            told.set_epoch(epoch)
        states.append((epoch, len(expected), json.dumps(loader.state_dict())))
        for batch in loader:
            expected.append(batch.tolist())
            states.append((epoch, len(expected), json.dumps(loader.state_dict())))
    for epoch, position, state in states:
        loader, told = make()
        loader.load_state_dict(json.loads(state))
        rest = listed(loader)
        for later in range(epoch + 1, count):
            if name == "distributed":
                told.set_epoch(later)
            rest += listed(loader)
        assert rest == expected[position:]


def test_dataset_with_string_keys() -> None:
    samples = {"cat": 1, "dog": 2, "eel": 3}
    for arguments in (
        {"sampler": ["dog", "cat", "eel"], "batch_size": 2},
        {"sampler": ["dog", "cat", "eel"], "batch_size": None},
        {"batch_sampler": [["dog", "eel"], ["cat"]]},
        {"batch_sampler": [("dog", "eel"), ("cat",)]},
    ):
        loader: Any = DataLoader(samples, **arguments)
        assert listed(loader) == listed(data.DataLoader(samples, **arguments))
        assert listed(loader) == [
            loader.batch(step).tolist() if arguments.get("batch_size", 1) else loader.batch(step)
            for step in range(len(loader))
        ]


def test_bulk_loading() -> None:
    """A sampler of lists without batching: the dataset is asked for all of them at once."""
    rows = np.arange(20) * 3
    sampler = data.BatchSampler(data.RandomSampler(rows, generator=generator()), 6, drop_last=False)
    theirs = listed(data.DataLoader(rows, None, sampler=sampler))
    sampler = data.BatchSampler(data.RandomSampler(rows, generator=generator()), 6, drop_last=False)
    assert listed(DataLoader(rows, None, sampler=sampler)) == theirs


def test_a_generator_of_batches_serves_one_epoch() -> None:
    loader = DataLoader(DATASET, batch_sampler=BATCH_SAMPLERS["generator"]())
    assert len(list(loader)) == 4
    text = r"^the batch_sampler is an iterator \(generator\) and has been gone through once; pass a list or"
    with pytest.raises(ArgumentError, match=text):
        next(iter(loader))
    loader = DataLoader(DATASET, sampler=iter(range(4)))
    assert len(list(loader)) == 4
    with pytest.raises(ArgumentError, match=r"^the sampler is an iterator \(range_iterator\) and has been gone"):
        list(loader)


def test_torchs_order_is_not_drawn_before_it_is_needed() -> None:
    """The sampler's generator moves at the first batch, as in torch, not when the loader is made."""
    own = generator()
    loader = DataLoader(DATASET, 4, sampler=data.RandomSampler(DATASET, generator=own))
    batches = iter(loader)
    assert (own.get_state() == generator().get_state()).all()
    next(batches)
    assert not (own.get_state() == generator().get_state()).all()
