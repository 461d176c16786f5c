"""Several ranks share the dataset as one would have read it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import DataLoader, Dataset, sample_rng
from headrace.errors import ArgumentError, ArgumentTypeError, OutOfRangeError, StateError


class Noisy(Dataset[Any]):
    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int, /) -> tuple[int, float]:
        return index, sample_rng().random()


def ranks(length: int, batch_size: int, world_size: int, **given: Any) -> list[DataLoader[Any]]:
    return [
        DataLoader(Noisy(length), batch_size, seed=3, rank=rank, world_size=world_size, **given)
        for rank in range(world_size)
    ]


def together(loaders: list[DataLoader[Any]]) -> list[Any]:
    """The next epoch, the ranks' batches of each step end to end."""
    return [
        tuple(np.concatenate(field) for field in zip(*batches, strict=True))
        for batches in zip(*map(list, loaders), strict=True)
    ]


@settings(deadline=None, max_examples=60)
@given(
    steps=st.integers(0, 5),
    batch_size=st.integers(1, 7),
    world_size=st.integers(1, 6),
    rest=st.integers(0, 41),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
)
def test_batches_of_ranks_concatenate_to_those_of_one(
    steps: int, batch_size: int, world_size: int, rest: int, shuffle: bool, drop_last: bool
) -> None:
    whole = batch_size * world_size
    length = steps * whole + rest % whole
    given: dict[str, Any] = {"shuffle": shuffle, "drop_last": drop_last, "uneven": "repeat"}
    loaders, alone = ranks(length, batch_size, world_size, **given), DataLoader(Noisy(length), whole, seed=3, **given)
    assert {len(loader) for loader in loaders} == {len(alone)}
    for _ in range(2):
        for found, expected in zip(together(loaders), alone, strict=True):
            count = len(expected[0])
            np.testing.assert_equal(tuple(field[:count] for field in found), expected)
            assert len(found[0]) - count < world_size


@pytest.mark.parametrize("rank", range(3))
def test_a_ranks_batch_can_be_asked_for(rank: int) -> None:
    loader = ranks(50, 4, 3, shuffle=True)[rank]
    for epoch in range(2):
        np.testing.assert_equal([loader.batch(step, epoch) for step in range(len(loader))], list(loader))


def test_every_rank_gets_equally_many_samples() -> None:
    loaders = ranks(25, 3, 4, shuffle=True, uneven="repeat")
    sizes = {tuple(len(index) for index, _ in loader) for loader in loaders}
    assert sizes == {(3, 3, 1)}


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("length", "batch_size", "world_size"), [(25, 3, 4), (24, 3, 4), (7, 2, 4), (3, 5, 4)])
def test_as_many_samples_as_torchs_sampler(
    length: int, batch_size: int, world_size: int, shuffle: bool, drop_last: bool
) -> None:
    data = pytest.importorskip("torch.utils.data")
    distributed = pytest.importorskip("torch.utils.data.distributed")
    theirs: Counter[int] = Counter()
    for rank in range(world_size):
        sampler = distributed.DistributedSampler(
            range(length), world_size, rank, shuffle=shuffle, seed=0, drop_last=drop_last
        )
        loader = data.DataLoader(range(length), batch_size, sampler=sampler, drop_last=drop_last)
        batches = [batch.tolist() for batch in loader]
        theirs.update(index for batch in batches for index in batch)
    ours: Counter[int] = Counter()
    for mine in ranks(length, batch_size, world_size, shuffle=shuffle, drop_last=drop_last, uneven="repeat"):
        found = [index.tolist() for index, _ in mine]
        assert [len(batch) for batch in found] == [len(batch) for batch in batches]
        ours.update(index for batch in found for index in batch)
    assert sorted(ours.values()) == sorted(theirs.values())  # as many samples, as often repeated
    if not shuffle and not drop_last:
        assert ours == theirs  # padded from the start of the epoch


@pytest.mark.parametrize("shuffle", [False, True])
def test_another_number_of_ranks_goes_on(shuffle: bool) -> None:
    """The global step decides: 12 samples, however many ranks share them."""
    length = 12 * 6 + 5
    alone = DataLoader(Noisy(length), 12, shuffle=shuffle, seed=3)
    expected = [list(alone) for _ in range(2)]
    for before in (1, 2, 3):
        for step in range(8):
            (loader, *_) = ranks(length, 12 // before, before, shuffle=shuffle, uneven="repeat")
            list(zip(range(step), loader, strict=False))
            state = json.dumps(loader.state_dict())
            for after in (1, 2, 4, 6, 12):
                loaders = ranks(length, 12 // after, after, shuffle=shuffle, uneven="repeat")
                for each in loaders:
                    each.load_state_dict(json.loads(state))
                rest = [tuple(field[:12] for field in batch) for batch in together(loaders)]
                first = json.loads(state)["step"]
                counts = [len(index) for index, _ in expected[0][first:]]
                rest = [tuple(field[:n] for field in batch) for batch, n in zip(rest, counts, strict=True)]
                np.testing.assert_equal(rest, expected[0][first:])


def test_another_global_batch_is_refused() -> None:
    one, other = ranks(50, 4, 2)[0], ranks(50, 4, 3)[0]
    with pytest.raises(StateError, match=r"the samples a step \(batch_size \* world_size\) was 8 and is 12 here"):
        other.load_state_dict(one.state_dict())


def test_ranks_share_an_epochs_own_seed_by_equal_generators() -> None:
    loaders = [
        DataLoader(range(20), 5, shuffle=True, generator=np.random.default_rng(9), rank=rank, world_size=2)
        for rank in range(2)
    ]
    for _ in range(2):
        found = [index for loader in loaders for batch in loader for index in batch.tolist()]
        assert sorted(found) == list(range(20))


def test_samples_draw_the_same_on_any_rank() -> None:
    drawn: dict[int, float] = {}
    for world_size in (1, 2, 5):
        for loader in ranks(20, 10 // world_size, world_size, shuffle=True):
            for index, noise in loader:
                for key, value in zip(index.tolist(), noise.tolist(), strict=True):
                    assert drawn.setdefault(key, value) == value


# ------------------------------------------------------------------ a last step that is smaller than the others


@settings(deadline=None, max_examples=40)
@given(
    length=st.integers(1, 60),
    batch_size=st.integers(1, 5),
    world_size=st.integers(1, 4),
    shuffle=st.booleans(),
    uneven=st.sampled_from(["even_split", "drop", "pad", "repeat"]),
    num_workers=st.sampled_from([0, 2]),
)
def test_each_sample_comes_once_an_epoch(
    length: int, batch_size: int, world_size: int, shuffle: bool, uneven: Any, num_workers: int
) -> None:
    length = max(length, world_size)
    given: dict[str, Any] = {"shuffle": shuffle, "uneven": uneven, "num_workers": num_workers, "backend": "thread"}
    loaders = ranks(length, batch_size, world_size, **given)
    alone = DataLoader(Noisy(length), batch_size * world_size, shuffle, seed=3)
    expected = [index for batch, _ in alone for index in batch.tolist()]
    epochs = [list(loader) for loader in loaders]
    assert len({len(epoch) for epoch in epochs} | {len(loader) for loader in loaders}) == 1
    found = []
    for step, batches in enumerate(zip(*epochs, strict=True)):
        for loader, batch in zip(loaders, batches, strict=True):
            valid = loader.valid(step)
            np.testing.assert_equal(loader.batch(step, 0), batch)
            if uneven == "pad":
                assert len(batch[0]) == batch_size
                np.testing.assert_equal(batch[2], valid)
            found += batch[0][valid].tolist()
    assert found == expected[: len(found)]
    assert len(expected) - len(found) == (length % (batch_size * world_size) % world_size if uneven == "drop" else 0)


def test_fewer_samples_than_ranks_are_refused_when_the_loader_is_made() -> None:
    with pytest.raises(ArgumentError, match=r"^2 samples cannot be split among world_size=3 ranks"):
        ranks(2, 1, 3)
    assert [len(loader) for loader in ranks(2, 1, 3, uneven="pad")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (1.0, "(array([1.]), array([ True]))"),
        ({"x": 1}, "{'x': array([1]), 'valid': array([ True])}"),
        (("a", 2), "(['a'], array([2]), array([ True]))"),
    ],
)
def test_padding_is_told_in_a_field_of_its_own(sample: Any, expected: str) -> None:
    assert repr(next(iter(DataLoader([sample], uneven="pad")))) == expected


def test_padding_is_told_in_the_batchs_own_framework() -> None:
    torch = pytest.importorskip("torch")
    *_, valid = list(DataLoader([(torch.ones(2), 1)] * 3, 2, uneven="pad"))[-1]
    assert isinstance(valid, torch.Tensor)
    assert valid.tolist() == [True, False]


def test_a_batch_without_a_place_for_the_padding_is_refused() -> None:
    with pytest.raises(ArgumentTypeError, match=r"and this dict has a field 'valid' of its own; let a collate_fn"):
        next(iter(DataLoader([{"valid": 1}], uneven="pad")))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"uneven": "split"}, "uneven must be one of 'even_split', 'drop', 'pad', 'repeat', but got uneven='split'"),
        ({"uneven": "pad", "sampler": [0]}, "uneven='pad' cannot fill up the batches of a sampler of your own"),
        ({"uneven": "pad", "batch_size": None}, "uneven='pad' needs batches"),
        ({"uneven": "pad", "on_error": "skip"}, "uneven='pad' keeps all batches at one size"),
    ],
)
def test_wrong_uses_of_uneven(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{text}"):
        DataLoader(range(4), **given)


def test_the_remainder_is_what_to_keep_of_the_last_step() -> None:
    assert [DataLoader(range(n), 2, rank=0, world_size=2, uneven="pad").remainder for n in (8, 9, 11)] == [0, 1, 3]
    with pytest.raises(ArgumentTypeError, match="how many samples a stream gives is not known before"):
        _ = DataLoader({1, 2}).remainder
    with pytest.raises(ArgumentTypeError, match="how many samples the sampler gives is not known before"):
        DataLoader(range(4), sampler=[1]).valid(0)
    with pytest.raises(OutOfRangeError, match="there is no step 2 in an epoch of 2 steps"):
        DataLoader(range(4), 2).valid(2)
