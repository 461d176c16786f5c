"""With a `seed` the order is headrace's: the face's batches are those of the core, and torch's clients can steer it."""

from __future__ import annotations

import inspect
import itertools
import json
import pickle
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tests.torch.oracle import assert_same, ours, theirs  # noqa: E402

import headrace  # noqa: E402
from headrace.errors import StateError  # noqa: E402

pytestmark = pytest.mark.usefixtures("by_value")

DATA = list(range(23))


def lists(loader: Any) -> list[list[int]]:
    return [batch.tolist() for batch in loader]


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(
    "arguments",
    [
        {"shuffle": True},
        {},
        {"shuffle": True, "drop_last": True},
        {"shuffle": "block", "block_size": 4, "window": 2},
        {"shuffle": True, "rank": 1, "world_size": 2},
        {"shuffle": True, "batch_size": None},
    ],
)
def test_batches_are_the_cores(arguments: dict[str, Any], num_workers: int) -> None:
    arguments = {"batch_size": 4, "seed": 5, "num_workers": num_workers, **arguments}
    core, face = headrace.DataLoader(DATA, **arguments), ours.DataLoader(DATA, **arguments)
    for _ in range(2):
        expected = [torch.as_tensor(batch) for batch in core]
        found = [torch.as_tensor(batch) for batch in face]
        assert_same(expected, found)
        assert len(face) == len(core) == len(found)


@pytest.mark.parametrize(
    "arguments", [{}, {"drop_last": True}, {"rank": 2, "world_size": 3}, {"rank": 1, "world_size": 11}]
)
def test_the_sampler_shows_the_order_and_steers_the_loader(arguments: dict[str, Any]) -> None:
    loader = ours.DataLoader(DATA, batch_size=4, shuffle=True, seed=5, **arguments)
    sampler = loader.sampler
    assert isinstance(sampler, theirs.Sampler)
    assert isinstance(sampler, theirs.DistributedSampler) == ("rank" in arguments)
    assert loader.batch_sampler.sampler is sampler
    for epoch in (0, 3, 1):
        sampler.set_epoch(epoch)
        batches = lists(loader)
        assert [list(map(int, batch)) for batch in loader.batch_sampler] == batches
        assert len(sampler) == len(list(sampler))
        assert len(loader.batch_sampler) == len(batches)
    loader.set_epoch(0)
    assert sampler.epoch == 0
    assert [index for batch in lists(loader) for index in batch] == list(sampler)[: sum(map(len, batches))]


def test_ranks_share_an_epoch() -> None:
    ranks = [ours.DataLoader(DATA, batch_size=4, shuffle=True, seed=1, rank=rank, world_size=2) for rank in range(2)]
    assert sorted(itertools.chain(*itertools.chain(*map(lists, ranks))))[:23] != []
    assert {index for loader in ranks for batch in lists(loader) for index in batch} == set(DATA)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_ranks_of_torchs_order_share_its_steps(world_size: int, drop_last: bool) -> None:
    """At each step all together have what they have by a DistributedSampler, without what that repeats."""
    for epoch in range(2):
        found, padded = [], []
        for rank in range(world_size):
            loader = ours.DataLoader(
                DATA, batch_size=2, shuffle=True, rank=rank, world_size=world_size, drop_last=drop_last
            )
            sampler = theirs.DistributedSampler(DATA, world_size, rank, drop_last=drop_last)
            assert isinstance(loader.sampler, theirs.DistributedSampler)
            sampler.set_epoch(epoch)
            loader.set_epoch(epoch)
            found.append(lists(loader))
            padded.append(lists(theirs.DataLoader(DATA, batch_size=2, sampler=sampler, drop_last=drop_last)))
            assert len(loader) == len(found[-1])
        for mine, other in zip(found, padded, strict=True):
            assert mine[:-1] == other[: len(mine) - 1]
        assert len({len(batches) for batches in found}) == 1
        seen = [index for batches in found for batch in batches for index in batch]
        assert len(seen) == len(set(seen))
        assert drop_last or set(seen) == set(DATA)


def test_ranks_of_torchs_order_have_torchs_sampler() -> None:
    found = []
    for rank in range(2):
        loader = ours.DataLoader(DATA, batch_size=4, shuffle=True, rank=rank, world_size=2, uneven="repeat")
        assert type(loader.sampler) is theirs.DistributedSampler
        expected = theirs.DataLoader(DATA, batch_size=4, sampler=theirs.DistributedSampler(DATA, 2, rank))
        assert_same(list(expected), list(loader))
        found += lists(loader)
    assert set(itertools.chain(*found)) == set(DATA)
    with pytest.raises(ValueError, match="world_size cannot divide a sampler of your own"):
        ours.DataLoader(DATA, sampler=DATA, rank=0, world_size=2)
    with pytest.raises(ValueError, match="uneven='pad' fills up batches of headrace's own order and needs a seed"):
        ours.DataLoader(DATA, rank=0, world_size=2, uneven="pad")


def test_set_epoch_after_iter_counts() -> None:
    for num_workers in (0, 1):
        loader = ours.DataLoader(DATA, batch_size=4, shuffle=True, seed=5, num_workers=num_workers)
        iter(loader)
        batches = iter(loader)
        loader.sampler.set_epoch(2)
        assert_same(list(batches), [loader.batch(step, epoch=2) for step in range(6)])


def test_a_loader_made_again_from_its_attributes_is_the_same() -> None:
    """As Lightning does it: of the public attributes that are named as arguments, with another sampler."""
    loader = ours.DataLoader(DATA, batch_size=4, shuffle=True, seed=5, on_error="skip", drop_last=True)
    names = inspect.signature(type(loader).__init__).parameters.keys() - {"self"}
    arguments = {name: value for name, value in vars(loader).items() if name in names}
    arguments |= {"sampler": loader.sampler, "shuffle": False, "batch_sampler": None}
    again = type(loader)(**arguments)
    loader.sampler.set_epoch(3)
    assert (again.seed, again.on_error) == (5, "skip")
    assert lists(again) == lists(loader)


def test_block_shuffle_needs_a_seed() -> None:
    with pytest.raises(ValueError, match="needs a seed"):
        ours.DataLoader(DATA, shuffle="block")


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize(
    "arguments",
    [
        {"seed": 5, "shuffle": True},
        {"shuffle": True},
        {"shuffle": True, "generator": True},
        {"sampler": theirs.RandomSampler(DATA, num_samples=40, generator=torch.Generator().manual_seed(3))},
        {"sampler": theirs.RandomSampler(DATA, replacement=True)},
        {},
    ],
    ids=["seed", "global", "generator", "sampler", "replacement", "in order"],
)
def test_resume(arguments: dict[str, Any], num_workers: int) -> None:
    """A state taken in the midst of an epoch gives the rest of it, in another process for all that it knows."""

    def make() -> Any:
        given = pickle.loads(pickle.dumps(arguments))  # another process has a sampler of its own
        if given.get("generator"):
            given["generator"] = torch.Generator().manual_seed(11)
        return ours.DataLoader(DATA, batch_size=4, num_workers=num_workers, **given)

    torch.manual_seed(1)
    loader = make()
    list(loader)
    batches = iter(loader)
    seen = [next(batches) for _ in range(3)]
    state = json.loads(json.dumps(loader.state_dict()))
    rest = [batch.tolist() for batch in batches]
    assert len(seen) + len(rest) == len(loader)
    torch.manual_seed(99)
    resumed = make()
    resumed.load_state_dict(state)
    assert lists(resumed) == rest


def test_states() -> None:
    loader = ours.DataLoader(DATA, batch_size=4, shuffle=True, seed=5)
    before = loader.state_dict()
    loader.load_state_dict({})
    assert loader.state_dict() == before
    next(iter(loader))
    with pytest.raises(StateError, match="not the state of a headrace loader"):
        loader.load_state_dict({"_snapshot": {}})
    with pytest.raises(StateError, match="seed was 5 and is 6 here"):
        ours.DataLoader(DATA, batch_size=4, shuffle=True, seed=6).load_state_dict(before)


def test_taking_a_state_draws_nothing() -> None:
    drawn = []
    for takes in (False, True):
        torch.manual_seed(1)
        loader = ours.DataLoader(DATA, shuffle=True)
        if takes:
            loader.state_dict()
        drawn.append([*lists(loader), torch.rand(1).item()])
    assert drawn[0] == drawn[1]


def test_load_state_dict_then_set_epoch_of_the_same_epoch() -> None:
    loader = ours.DataLoader(DATA, batch_size=4, shuffle=True, seed=5)
    batches = iter(loader)
    next(batches)
    state, rest = loader.state_dict(), [batch.tolist() for batch in batches]
    for epoch, expected in (
        (0, rest),
        (1, lists(ours.DataLoader(DATA, batch_size=4, shuffle=True, seed=5, num_workers=0))),
    ):
        resumed = ours.DataLoader(DATA, batch_size=4, shuffle=True, seed=5)
        resumed.load_state_dict(state)
        resumed.sampler.set_epoch(epoch)
        assert (lists(resumed) == expected) == (epoch == 0)


@pytest.mark.filterwarnings("ignore:sample 3")
def test_bad_samples_stats_and_close() -> None:
    class Bad:
        def __len__(self) -> int:
            return 10

        def __getitem__(self, index: int) -> int:
            if index == 3:
                raise ValueError("bad")
            return index

    for seed in (None, 1):
        with ours.DataLoader(Bad(), batch_size=5, on_error="skip", seed=seed) as loader:
            assert lists(loader) == [[0, 1, 2, 4], [5, 6, 7, 8, 9]]
            assert [bad.index for bad in loader.bad_samples] == [3]
            assert loader.stats().samples == 9
        with pytest.raises(headrace.HeadraceError, match="closed"):
            list(loader)
