from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ArgumentError
from headrace.sampling.permutation import Sequential, Shuffled
from headrace.sampling.plan import Plan
from headrace.sampling.ranks import Shares, Uneven

LONGEST = 2**63 - 1  # what len() can say


def plans(
    length: int,
    batch_size: int,
    world_size: int,
    *,
    shuffle: bool,
    drop_last: bool = False,
    uneven: Uneven = "repeat",
    shift: int = 0,
) -> list[Plan]:
    order = Shuffled(length) if shuffle else Sequential()
    return [
        Plan(order, Shares(length, batch_size, rank, world_size, uneven, drop_last, shift))
        for rank in range(world_size)
    ]


def together(ranks: list[Plan], key: int, step: int) -> list[int]:
    """The batches of the ranks end to end."""
    return [int(index) for plan in ranks for index in plan.indices(key, step)]


@given(
    length=st.integers(0, 300),
    batch_size=st.integers(1, 40),
    world_size=st.integers(1, 9),
    shuffle=st.booleans(),
    key=st.integers(0, 2**64 - 1),
)
def test_the_ranks_share_the_batch_of_one(
    length: int, batch_size: int, world_size: int, shuffle: bool, key: int
) -> None:
    ranks = plans(length, batch_size, world_size, shuffle=shuffle)
    (alone,) = plans(length, batch_size * world_size, 1, shuffle=shuffle)
    everything = [index for step in range(alone.steps) for index in alone.indices(key, step).tolist()]
    assert sorted(everything) == list(range(length))
    assert {plan.steps for plan in ranks} == {alone.steps}
    for step in range(alone.steps):
        expected = alone.indices(key, step).tolist()
        found = together(ranks, key, step)
        assert found[: len(expected)] == expected
        padding = found[len(expected) :]
        assert len(padding) < world_size
        assert padding == [everything[position % length] for position in range(len(padding))]
        assert len({len(plan.indices(key, step)) for plan in ranks}) == 1
        assert not padding or step == alone.steps - 1


@given(length=st.integers(0, 300), batch_size=st.integers(1, 40), world_size=st.integers(1, 9))
def test_drop_last_leaves_out_what_does_not_fill_a_step(length: int, batch_size: int, world_size: int) -> None:
    ranks = plans(length, batch_size, world_size, shuffle=False, drop_last=True)
    steps = length // (batch_size * world_size)
    assert {plan.steps for plan in ranks} == {steps}
    found = [index for step in range(steps) for index in together(ranks, 0, step)]
    assert found == list(range(steps * batch_size * world_size))
    assert all(len(plan.indices(0, step)) == batch_size for plan in ranks for step in range(steps))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("length", [2**31, 2**53 + 1, 2**62, LONGEST])
def test_the_longest_datasets(length: int, shuffle: bool) -> None:
    (alone,) = plans(length, 12, 1, shuffle=shuffle)
    ranks = plans(length, 3, 4, shuffle=shuffle)
    assert alone.steps == ranks[0].steps == -(-length // 12)
    for step in (0, 1, alone.steps // 2, alone.steps - 2):
        found = together(ranks, 5, step)
        assert found == alone.indices(5, step).tolist()
        assert len(set(found)) == 12
        assert 0 <= min(found) <= max(found) < length


def test_padding_at_the_end_of_the_longest_dataset() -> None:
    """Positions beyond 2**63 - 1 fit no int64."""
    ranks = plans(LONGEST, 3, 4, shuffle=False)
    assert LONGEST % 12 == 7
    first = LONGEST - 7
    assert together(ranks, 0, ranks[0].steps - 1) == [*range(first, LONGEST), 0]


def test_padding_of_fewer_samples_than_ranks() -> None:
    assert together(plans(2, 4, 5, shuffle=False), 0, 0) == [0, 1, 0, 1, 0]


def test_no_samples() -> None:
    assert [plan.steps for plan in plans(0, 4, 3, shuffle=True)] == [0, 0, 0]


def test_indices_are_the_callers_own() -> None:
    """Who writes into them must not change the next batch."""
    (plan,) = plans(100, 10, 1, shuffle=True)
    before = plan.indices(1, 0).copy()
    plan.indices(1, 0)[:] = -1
    np.testing.assert_array_equal(plan.indices(1, 0), before)
    assert before.dtype == np.int64


@pytest.mark.parametrize("world_size", [1, 3])
@pytest.mark.parametrize("drop_last", [False, True])
def test_several_steps_are_their_batches_end_to_end(world_size: int, drop_last: bool) -> None:
    plan = plans(103, 4, world_size, shuffle=True, drop_last=drop_last)[-1]
    for first in range(plan.steps):
        for stop in range(first + 1, plan.steps + 1):
            indices, parts = plan.several(7, first, stop)
            batches = [plan.indices(7, step) for step in range(first, stop)]
            assert parts == tuple(map(len, batches))
            assert indices.tolist() == np.concatenate(batches).tolist()


# ------------------------------------------------------------------ a last step that is smaller than the others


@given(
    length=st.integers(0, 200),
    batch_size=st.integers(1, 12),
    world_size=st.integers(1, 9),
    shift=st.integers(0, 30),
    uneven=st.sampled_from(["even_split", "drop", "pad", "repeat"]),
)
def test_each_sample_comes_once_and_all_ranks_make_the_same_steps(
    length: int, batch_size: int, world_size: int, shift: int, uneven: Uneven
) -> None:
    shift = min(shift, length)
    if uneven == "even_split" and 0 < length - shift < world_size:
        with pytest.raises(ArgumentError, match="cannot be split among world_size"):
            plans(length, batch_size, world_size, shuffle=False, uneven=uneven, shift=shift)
        return
    ranks = plans(length, batch_size, world_size, shuffle=False, uneven=uneven, shift=shift)
    (steps,) = {plan.steps for plan in ranks}
    found: list[int] = []
    for step in range(steps):
        batches = [plan.indices(0, step) for plan in ranks]
        sizes = [len(batch) for batch in batches]
        assert max(sizes) - min(sizes) <= (uneven == "even_split")
        assert min(sizes) >= 1
        if step < steps - 1 or uneven == "pad":
            assert set(sizes) == {batch_size}
        valid = [plan.shares.valid(step) for plan in ranks]
        kept = [index for batch, keep in zip(batches, valid, strict=True) for index in batch[keep].tolist()]
        assert len(kept) == ranks[0].shares.count(step)
        assert ranks[0].shares.start(step) == shift + len(found)
        found += kept
    assert found == list(range(shift, shift + len(found)))
    lost = length - shift - len(found)
    assert lost == ((length - shift) % (batch_size * world_size) % world_size if uneven == "drop" else 0)


def test_fewer_samples_than_ranks_join_the_step_before() -> None:
    ranks = plans(14, 2, 3, shuffle=False, uneven="even_split")
    assert [plan.indices(0, 1).tolist() for plan in ranks] == [[6, 7, 8], [9, 10, 11], [12, 13]]
    assert [plan.shares.remainder for plan in ranks] == [8, 8, 8]


def test_too_few_samples_to_split_name_the_ways_out() -> None:
    text = (
        "2 samples cannot be split among world_size=3 ranks, since each needs one in every step; take no more ranks "
        'than samples, or uneven="repeat" or "pad", which fill up, or "drop"'
    )
    with pytest.raises(ArgumentError) as caught:
        Shares(2, 1, 0, 3)
    assert str(caught.value) == text
    assert [Shares(2, 1, 0, 3, "drop").steps, Shares(2, 1, 0, 3, drop_last=True).steps] == [0, 0]
