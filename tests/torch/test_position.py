"""The position of the face is its core's: seek, skip, parts of epochs, states for other ranks, other orders."""

from __future__ import annotations

import functools
from itertools import chain, islice
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.torch.oracle import assert_same, ours, theirs  # noqa: E402

import headrace  # noqa: E402
from headrace.errors import OutOfRangeError, StateError  # noqa: E402

pytestmark = pytest.mark.usefixtures("by_value")

DATA = list(range(23))
KINDS = [ours.DataLoader, ours.StatefulDataLoader]
make = functools.partial(ours.DataLoader, DATA, batch_size=4, shuffle=True, seed=5)
core = functools.partial(headrace.DataLoader, DATA, batch_size=4, shuffle=True, seed=5)


def lists(batches: Any) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_seek_and_skip(kind: Any, num_workers: int) -> None:
    found, expected = kind(DATA, 4, shuffle=True, seed=5, num_workers=num_workers), core()
    for loader in (found, expected):
        loader.skip({(2, 4), (3, 0)})
        loader.seek(3, epoch=2)
    assert found.sampler.epoch == 2
    assert [lists(found) for _ in range(2)] == [lists(expected) for _ in range(2)]
    assert found.samples_seen == expected.samples_seen
    with pytest.raises(OutOfRangeError, match="no step 7 in an epoch of 6"):
        found.seek(7)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_parts_of_epochs_move_nothing(num_workers: int) -> None:
    loader = make(num_workers=num_workers)
    batches = iter(loader)
    next(batches)
    part = loader.iterate(1, 4, epoch=3)
    assert len(part) == 3
    assert lists(part) == lists(core().iterate(1, 4, epoch=3))
    assert lists(batches) == lists(core())[1:]
    with pytest.raises(OutOfRangeError, match="no steps from 2 to 9"):
        loader.iterate(2, 9)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_forever(kind: Any, num_workers: int) -> None:
    loader = kind(DATA, 4, shuffle=True, seed=5, num_workers=num_workers)
    endless = loader.forever()
    with pytest.raises(TypeError, match="no length"):
        len(endless)
    assert lists(islice(endless, 8)) == lists(islice(core().forever(), 8))
    assert loader.samples_seen == 23 + 8
    resumed = kind(DATA, 4, shuffle=True, seed=5)
    resumed.load_state_dict(loader.state_dict())
    assert lists(islice(endless, 5)) == lists(islice(resumed.forever(), 5))


def test_forever_in_torchs_order() -> None:
    torch.manual_seed(3)
    expected = [batch for _ in range(2) for batch in theirs.DataLoader(DATA, 4, shuffle=True)]
    torch.manual_seed(3)
    assert_same(expected, list(islice(ours.DataLoader(DATA, 4, shuffle=True).forever(), 12)))


def test_what_the_seam_of_a_subclass_does_is_not_bypassed() -> None:
    class Doubling(ours.DataLoader):
        def _get_iterator(self) -> Any:
            return map(torch.mul, super()._get_iterator(), [2] * 3)

    loader = Doubling(DATA, 4, seed=5)
    expected = [[0, 2, 4, 6], [8, 10, 12, 14], [16, 18, 20, 22]]
    assert lists(loader.forever()) == expected == lists(loader) == lists(loader.iterate())


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_goes_on_with_other_ranks_and_batches(kind: Any) -> None:
    one = kind(DATA, 4, shuffle=True, seed=5)
    batches = iter(one)
    seen = lists(islice(batches, 2))
    ranks = [kind(DATA, 3, shuffle=True, seed=5, rank=rank, world_size=2) for rank in range(2)]
    with pytest.raises(StateError, match=r"batch_size \* world_size\) was 4"):
        ranks[0].load_state_dict(one.state_dict())
    for loader in ranks:
        loader.load_state_dict(one.state_dict(), at="samples")
    assert sorted(chain(*seen, *chain(*map(lists, ranks)))) == DATA
    grown = kind([*DATA, 23], 4, shuffle=True, seed=5)
    with pytest.raises(StateError, match="23"):
        grown.load_state_dict(one.state_dict(), at="samples")
    with pytest.warns(headrace.HeadraceWarning, match="goes on from the state of another"):
        grown.load_state_dict(one.state_dict(), at="samples", strict=False)
    assert sorted(chain(*seen, *lists(grown))) == DATA


def test_valid_samples_of_padded_batches() -> None:
    loader = make(uneven="pad")
    assert loader.valid(5).tolist() == [True] * 3 + [False]
    *_, (batch, valid) = loader
    assert len(batch) == 4
    assert valid.tolist() == [True] * 3 + [False]


class Sequences:
    """Samples of many lengths."""

    sizes = np.random.default_rng(0).integers(1, 30, 50)

    def __len__(self) -> int:
        return 50

    def __getitem__(self, index: int) -> Any:
        return index

    def lengths(self) -> Any:
        return self.sizes


CHOICES: list[dict[str, Any]] = [
    {"batch_size": 4, "weights": np.arange(50.0)},
    {"batch_size": 4, "weights": np.arange(50.0) % 3, "replacement": False},
    {"batch_size": 4, "replacement": True},
    {"batch_size": 4, "shuffle": True, "group_by_length": True, "sort_window": 16},
    {"shuffle": True, "batch_by": "tokens", "max_tokens": 60, "max_batch_size": 8, "boundaries": [10, 20]},
    {"shuffle": True, "batch_by": "tokens", "max_tokens": 60, "drop_last": True},
]


@pytest.mark.parametrize("ranks", [{}, {"rank": 1, "world_size": 2}], ids=["one", "ranks"])
@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: "-".join(sorted(choice)))
@pytest.mark.parametrize("kind", KINDS)
def test_orders_are_the_cores(kind: Any, choice: dict[str, Any], ranks: dict[str, int]) -> None:
    loader = kind(Sequences(), seed=2, **choice, **ranks)
    of_core: Any = headrace.DataLoader
    expected = of_core(Sequences(), seed=2, **choice, **ranks)
    assert len(loader) == len(expected)
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        batches = lists(expected)
        assert list(loader.batch_sampler) == batches == lists(loader)
        assert len(loader.sampler) == len(list(loader.sampler))


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"weights": [1.0] * 23}, r"weights=\[.*needs a seed; give one, or sampler=WeightedRandomSampler"),
        ({"replacement": True}, "replacement=True .*needs a seed; give one, or sampler=RandomSampler"),
        ({"batch_by": "tokens", "max_tokens": 9}, "batch_by='tokens' .*needs a seed; give one$"),
        ({"group_by_length": True}, "group_by_length=True .*needs a seed"),
    ],
)
def test_orders_of_headraces_own_need_a_seed(choice: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ours.DataLoader(DATA, **choice)
    assert len(ours.DataLoader(DATA, replacement=False, batch_by="samples")) == 23


def test_in_torchs_order_a_position_that_nobody_can_know_is_refused() -> None:
    loader = ours.DataLoader(DATA, 4, shuffle=True)
    for ask in (lambda: loader.seek(2), loader.iterate, lambda: loader.valid(0), lambda: loader.samples_seen):
        with pytest.raises(ValueError, match="give the loader a seed"):
            ask()
    steered = ours.DataLoader(DATA, 4, shuffle=True, rank=1, world_size=2)
    steered.set_epoch(3)
    expected = lists(steered)
    steered.seek(1, epoch=3)
    assert lists(steered) == expected[1:]


def test_ranks_are_found_and_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    expected = lists(make(rank=1, world_size=2))
    for loader in (make(ranks="auto", replication=2), make(rank=2, world_size=4, replication=2)):
        assert lists(loader) == expected
        assert (loader.rank, loader.world_size, loader.ranks, loader.replication) == (1, 2, None, None)
    assert ours.DataLoader(DATA, ranks="auto").sampler.num_replicas == 4
    with pytest.raises(ValueError, match="mutually exclusive"):
        make(rank=0, world_size=2, ranks="auto")


@pytest.mark.parametrize(("name", "value"), [("seed", 6), ("world_size", 2), ("weights", [1]), ("uneven", "drop")])
def test_what_the_order_is_made_of_stays(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} attribute should not be set after DataLoader is initialized"):
        setattr(make(), name, value)


@pytest.mark.parametrize("kind", KINDS)
def test_explanations(kind: Any) -> None:
    explained = kind(DATA, 4, shuffle=True, seed=5).explain(2, 3)
    assert explained == core().explain(2, 3)
    assert [sample.index for sample in explained] == core().batch(2, 3).tolist()


@pytest.mark.parametrize("shuffle", [False, True])
def test_explanations_of_torchs_own_order(shuffle: bool) -> None:
    torch.manual_seed(0)
    loader = ours.DataLoader(DATA, 4, shuffle=shuffle)
    batches = iter(loader)
    next(batches)
    assert [sample.sample for sample in loader.explain(1)] == next(batches).tolist()
