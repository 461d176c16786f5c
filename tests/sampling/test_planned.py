"""Batches that a plan computes several at once are those that it computes one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headrace.sampling.permutation import Sequential, Shuffled
from headrace.sampling.plan import Plan
from headrace.sampling.planned import PlannedBatches, PlanSampling
from headrace.sampling.ranks import Shares


@given(st.integers(1, 9000), st.integers(1, 3000), st.integers(0, 200), st.integers(0, 7))
def test_batches_are_those_of_the_plan_at_each_step(length: int, size: int, first: int, key: int) -> None:
    sampling = PlanSampling(Plan(Shuffled(length), Shares(length, size)))
    steps = range(sampling.steps())[first:]
    found = list(sampling.start(key, first))
    assert len(found) == len(steps)
    for step, batch in zip(steps, found, strict=True):
        np.testing.assert_array_equal(batch, sampling.at(key, step))


@given(st.integers(0, 30), st.integers(0, 8), st.integers(1, 5), st.integers(0, 12))
def test_each_who_takes_a_turn_is_told_of_its_own_batches(steps: int, first: int, every: int, distance: int) -> None:
    first = min(first, steps)
    batches = PlannedBatches(Plan(Sequential(), Shares(length=2 * steps, batch_size=2)), 0, first)
    told: dict[int, list[int]] = {turn: [] for turn in range(every)}
    for step, _ in enumerate(batches, first):
        later = batches.ahead(distance, every)
        if later is not None:
            assert later.reshape(-1, 2).tolist() == [[each, each + 1] for each in later[::2].tolist()]
            told[step % every] += (later[::2] // 2).tolist()
        own = range(step + every, min(step + distance, steps - 1) + 1, every)
        assert set(own) <= {*told[step % every]}  # before their turn
    for turn, found in told.items():
        assert found == sorted(set(found))  # each once
        assert all(each % every == turn and first + every <= each < steps for each in found)
