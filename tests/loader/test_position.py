"""A loader goes to any place: by a step, by a state that counts samples, over epochs."""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import DataLoader, mix
from headrace.errors import ArgumentError, ArgumentTypeError, HeadraceWarning, OutOfRangeError, StateError


def ranks(length: int, batch_size: int, world_size: int, **given: Any) -> list[DataLoader[Any]]:
    return [
        DataLoader(range(length), batch_size, seed=3, rank=rank, world_size=world_size, **given)
        for rank in range(world_size)
    ]


def take(iterators: list[Any], steps: int) -> list[int]:
    """The samples of all ranks at their next steps."""
    batches = zip(*(list(islice(each, steps)) for each in iterators), strict=True)
    return [index for step in batches for batch in step for index in batch.tolist()]


def joined(batches: list[list[int]]) -> list[int]:
    return [index for batch in batches for index in batch]


def lists(batches: Any) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


# ------------------------------------------------------------------ other ranks and batch sizes


@settings(deadline=None, max_examples=150)
@given(
    data=st.data(),
    length=st.integers(5, 90),
    shuffle=st.booleans(),
    parts=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(0, 6)), min_size=1, max_size=4),
)
def test_each_sample_comes_once_whatever_ranks_and_batch_sizes_follow(
    data: st.DataObject, length: int, shuffle: bool, parts: list[tuple[int, int, int]]
) -> None:
    expected = [index for batch in DataLoader(range(length), shuffle=shuffle, seed=3) for index in batch.tolist()]
    found: list[int] = []
    state: dict[str, Any] = {}
    for batch_size, world_size, steps in [*parts, (2, 1, length)]:
        loaders = ranks(length, batch_size, world_size, shuffle=shuffle)
        left = length - len(found)
        if 0 < left < world_size:
            with pytest.raises(StateError, match=rf"^{left} samples are left of epoch 0, fewer than the {world_size}"):
                loaders[0].load_state_dict(json.loads(json.dumps(state)), at="samples")
            continue
        for loader in loaders:
            loader.load_state_dict(json.loads(json.dumps(state)), at="samples")
        if steps and left:
            iterators = [iter(loader) for loader in loaders]  # one that is gone after a batch was but a look
            found += take(iterators, steps)
            assert {loader.samples_seen for loader in loaders} == {len(found)}
            states = [loader.state_dict() for loader in loaders]
            assert all(each == states[0] for each in states)
            state = states[data.draw(st.integers(0, world_size - 1))]
    assert found == expected


def test_the_epoch_after_a_resume_by_samples_is_whole() -> None:
    one = DataLoader(range(20), 6, shuffle=True, seed=1)
    next(batches := iter(one))
    next(batches)
    other = DataLoader(range(20), 5, shuffle=True, seed=1)
    other.load_state_dict(one.state_dict(), at="samples")
    assert [len(batch) for batch in other] == [5, 3]
    assert lists(other) == lists(DataLoader(range(20), 5, shuffle=True, seed=1).iterate(epoch=1))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_after_a_shift_can_be_asked_for_and_resumed(num_workers: int) -> None:
    one = DataLoader(range(50), 6, seed=1)
    list(islice(one, 3))
    other = DataLoader(range(50), 4, seed=1, num_workers=num_workers, backend="thread")
    other.load_state_dict(one.state_dict(), at="samples")
    batches = iter(other)
    assert len(batches) == 12
    assert next(batches).tolist() == other.batch(4).tolist() == [18, 19, 20, 21]
    third = DataLoader(range(50), 4, seed=1)
    third.load_state_dict(other.state_dict())
    assert next(iter(third)).tolist() == next(batches).tolist() == [22, 23, 24, 25]


def test_a_dataset_that_grew_needs_strict_to_be_false() -> None:
    one = DataLoader(range(20), 4, shuffle=True, seed=1)
    begun = lists(islice(one, 2))
    other = DataLoader(range(30), 5, shuffle=True, seed=1)
    text = "the dataset's length was 20 and is 30 here; load it into a loader made with the same arguments, or if it"
    with pytest.raises(StateError, match=re.escape(text)):
        other.load_state_dict(one.state_dict(), at="samples")
    said = (
        "the dataset's length was 20 and is 30 here; the samples a step (batch_size * world_size) was 4 and is 5 here"
    )
    with pytest.warns(HeadraceWarning, match=re.escape(said)):
        other.load_state_dict(one.state_dict(), at="samples", strict=False)
    assert sorted(joined(begun + lists(other))) == list(range(20))
    assert sorted(joined(lists(other))) == list(range(30))


@pytest.mark.parametrize("at", ["step", "samples"])
def test_a_remedy_is_named_only_where_it_helps(at: Any) -> None:
    def stratified(batch_size: int, weights: list[int]) -> DataLoader[Any]:
        return DataLoader(mix([range(20), range(30)], weights, batches="stratified"), batch_size, seed=0)

    state = stratified(4, [1, 1]).state_dict()
    for other in (stratified(5, [1, 1]), stratified(4, [1, 2])):
        with pytest.raises(StateError, match=r"made with the same arguments$"):
            other.load_state_dict(state, at=at)
    with pytest.raises(StateError, match=r"made with the same arguments$"):  # it has shrunk
        DataLoader(range(9), 4, seed=0).load_state_dict(DataLoader(range(10), 4, seed=0).state_dict(), at=at)


def test_a_resume_that_cannot_be_the_same_is_refused() -> None:
    one = DataLoader(range(20), 4, seed=1)
    list(islice(one, 2))
    with pytest.raises(StateError, match=r"was 4 and is 5 here; .* same arguments, or with at='samples'$"):
        DataLoader(range(20), 5, seed=1).load_state_dict(one.state_dict())
    with pytest.raises(StateError, match="seed was 1 and is 2 here"):
        DataLoader(range(20), 4, seed=2).load_state_dict(one.state_dict(), at="samples", strict=False)
    with pytest.raises(ArgumentError, match="at must be 'step' or 'samples', but got at='sample'"):
        one.load_state_dict(one.state_dict(), at="sample")  # type: ignore[arg-type]
    one.skip({(0, 4)})
    with pytest.raises(StateError, match="counts steps of 4 samples and steps are skipped, but here a step has 5"):
        DataLoader(range(20), 5, seed=1).load_state_dict(one.state_dict(), at="samples")
    blend = [DataLoader(mix([range(9), range(9)], batches="stratified"), size, seed=1) for size in (2, 4)]
    with pytest.raises(StateError, match="was 2 and is 4 here"):
        blend[1].load_state_dict(blend[0].state_dict(), at="samples")
    sampled = [DataLoader(range(20), size, sampler=range(20)) for size in (4, 5, 2)]
    list(islice(sampled[0], 2))
    with pytest.raises(StateError, match="8 samples have been handed out, which are no whole batches of 5"):
        sampled[1].load_state_dict(sampled[0].state_dict(), at="samples")
    sampled[2].load_state_dict(sampled[0].state_dict(), at="samples")
    assert next(iter(sampled[2])).tolist() == [8, 9]


# ------------------------------------------------------------------ seek, skip, iterate


@pytest.mark.parametrize("num_workers", [0, 2])
def test_seek_goes_to_any_step(num_workers: int) -> None:
    loader = DataLoader(range(22), 4, shuffle=True, seed=1, num_workers=num_workers, backend="thread")
    for epoch, step in ((2, 3), (0, 0), (1, 6), (0, 5)):
        loader.seek(step, epoch)
        assert loader.samples_seen == epoch * 22 + min(4 * step, 22)
        assert lists(loader) == [loader.batch(at, epoch).tolist() for at in range(step, 6)]
    with pytest.raises(OutOfRangeError, match="there is no step 7 in an epoch of 6 steps"):
        loader.seek(7)
    with pytest.raises(ArgumentError, match="step must be a non-negative integer"):
        loader.seek(-1)


def test_seek_within_an_epoch_of_its_own_seed_keeps_it() -> None:
    loader = DataLoader(range(12), 4, shuffle=True)
    first = lists(loader)
    loader.seek(1)
    assert lists(loader) == first[1:]


def test_seek_in_a_sampler_and_in_a_stream() -> None:
    for loader in (DataLoader(range(9), 2, sampler=range(9)), DataLoader(dict.fromkeys(range(9)).keys(), 2)):
        loader.seek(3)
        assert lists(loader) == [[6, 7], [8]]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_skipped_steps_are_kept_in_the_state(num_workers: int) -> None:
    given: dict[str, Any] = {"shuffle": True, "seed": 1, "num_workers": num_workers, "backend": "thread"}
    whole = [lists(DataLoader(range(22), 4, shuffle=True, seed=1).iterate(epoch=epoch)) for epoch in range(2)]
    loader: DataLoader[Any] = DataLoader(range(22), 4, **given)
    loader.skip({(0, 0), (0, 3)})
    loader.skip([(1, 5)])
    batches = iter(loader)
    assert next(batches).tolist() == whole[0][1]
    assert loader.samples_seen == 4
    resumed: DataLoader[Any] = DataLoader(range(22), 4, **given)
    resumed.load_state_dict(json.loads(json.dumps(loader.state_dict())))
    assert lists(batches) == lists(resumed) == [whole[0][step] for step in (2, 4, 5)]
    assert lists(resumed) == whole[1][:5]
    for wrong in ([3], 3, None, [(0, 1, 2)]):
        with pytest.raises(ArgumentError, match=r"steps must be pairs \(epoch, step\), as in \{\(0, 7\)\}, but got"):
            loader.skip(wrong)  # type: ignore[arg-type]


def test_a_step_that_is_none_is_not_skipped() -> None:
    loader = DataLoader(range(20), 4, seed=0)
    loader.skip({(0, 99), (0, 1)})
    expected = [[0, 1, 2, 3], *(list(range(start, start + 4)) for start in (8, 12, 16))]
    assert lists(islice(loader, 2)) == expected[:2]
    resumed = DataLoader(range(20), 4, seed=0)
    resumed.load_state_dict(json.loads(json.dumps(loader.state_dict())))
    assert lists(resumed) == expected[2:]
    assert resumed.samples_seen == 16


def test_skips_of_an_epoch_before_do_not_bind_to_the_batch_size() -> None:
    for skipped in ({(0, 1)}, {(0, 1), (1, 4)}):
        one = DataLoader(range(20), 4, shuffle=True, seed=0)
        one.skip(skipped)
        list(one)
        begun = lists(islice(one, 2))
        other = DataLoader(range(20), 5, shuffle=True, seed=0)
        if len(skipped) == 1:
            other.load_state_dict(json.loads(json.dumps(one.state_dict())), at="samples")
            assert sorted(joined(begun + lists(other))) == list(range(20))
        else:
            with pytest.raises(StateError, match="counts steps of 4 samples and steps are skipped"):
                other.load_state_dict(one.state_dict(), at="samples")


@pytest.mark.parametrize(
    "damage",
    [{"epoch": 2**63}, {"step": 2**80}, {"global_batch_size": 0}, {"ahead": [5]}, {"ahead": [1, 2**40]}, {"shift": -1}],
)
@pytest.mark.parametrize("at", ["step", "samples"])
def test_states_that_are_damaged(damage: dict[str, Any], at: Any) -> None:
    loader = DataLoader(range(20), 4, seed=0)
    state = {**loader.state_dict(), **damage}
    if "shift" in damage:
        state = {**state, "headrace": 6, "plan": None, "skip": [], "generator": None, "sampler": None}
        state |= {"numbered": True, "epoch_length": None, "blocks": None, "window": None}
    with pytest.raises(StateError, match="damaged"):
        loader.load_state_dict(state, at=at)
    with pytest.raises(ArgumentError, match=r"epoch must be a non-negative integer below 2\*\*63, but got"):
        loader.seek(0, epoch=2**63)


def test_iterate_leaves_the_position_alone() -> None:
    loader = DataLoader(range(22), 4, shuffle=True, seed=1, num_workers=2, backend="thread")
    batches = iter(loader)
    begun = lists(islice(batches, 2))
    state = loader.state_dict()
    part = loader.iterate(1, 5)
    assert len(part) == 4
    assert lists(part) == [loader.batch(step).tolist() for step in range(1, 5)]
    assert lists(loader.iterate(epoch=4)) == [loader.batch(step, 4).tolist() for step in range(6)]
    assert loader.state_dict() == state
    assert sorted(joined(begun + lists(batches))) == list(range(22))
    with pytest.raises(OutOfRangeError, match="there are no steps from 2 to 7 in an epoch of 6 steps"):
        loader.iterate(2, 7)
    with pytest.raises(ArgumentTypeError, match="needs an order that the loader computes"):
        DataLoader({1, 2}).iterate()


# ------------------------------------------------------------------ for ever


@pytest.mark.parametrize("given", [{}, {"num_workers": 2, "backend": "thread"}, {"num_workers": 2}])
def test_for_ever_is_one_epoch_after_the_other(given: dict[str, Any]) -> None:
    plain = DataLoader(np.arange(22), 4, shuffle=True, seed=1)
    expected = [lists(plain) for _ in range(4)]
    flat = [batch for epoch in expected for batch in epoch]
    loader = DataLoader(np.arange(22), 4, shuffle=True, seed=1, **given)
    batches = loader.forever()
    for step in range(15):
        assert next(batches).tolist() == flat[step]
        state = loader.state_dict()
        assert 6 * state["epoch"] + state["step"] == step + 1
    del batches  # which has begun no epoch for good that nobody was given a batch of
    assert loader.state_dict() == state
    resumed = DataLoader(np.arange(22), 4, shuffle=True, seed=1)
    resumed.load_state_dict(state)
    assert lists(islice(resumed.forever(), 9)) == flat[15:]
    loader.close()


def test_for_ever_without_a_seed_draws_each_epoch_in_its_turn() -> None:
    pair = [DataLoader(range(6), 2, shuffle=True, generator=np.random.default_rng(4)) for _ in range(2)]
    assert lists(islice(pair[0].forever(), 9)) == lists([*pair[1], *pair[1], *pair[1]])


def test_for_ever_ends_where_there_is_nothing() -> None:
    assert list(DataLoader([], seed=0).forever()) == []
    assert list(DataLoader([]).forever()) == []
    with pytest.raises(TypeError, match="for ever has no length"):
        len(DataLoader(range(3), seed=0).forever())  # type: ignore[arg-type]


def test_an_error_at_the_start_of_an_epoch_is_of_that_epoch() -> None:
    class Odd:
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> int:
            if index == 0:
                raise ValueError("odd")
            return index

    batches = DataLoader(Odd(), 2, seed=0).forever()
    found = []
    for _ in range(5):
        try:
            found.append(next(batches).tolist())
        except ValueError as error:
            found.append(re.findall(r"epoch \d", error.__notes__[-1]))
    assert found == [["epoch 0"], [2, 3], ["epoch 1"], [2, 3], ["epoch 2"]]
