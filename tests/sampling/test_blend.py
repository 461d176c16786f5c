"""Layouts of mixtures: what is computed for any position is what going through all of them gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.sampling.blend import ENDLESS, Interleaving, Pattern, PerSource, Schedule, Stratified

if TYPE_CHECKING:
    from collections.abc import Callable

LENGTH = 700
WEIGHTS = st.lists(st.floats(0, 1), min_size=1, max_size=7).filter(lambda weights: sum(weights) > 0.01)
KINDS: dict[str, Callable[[Pattern, int], Interleaving]] = {
    "mixed": lambda pattern, _: pattern,
    "per_source": PerSource,
    "stratified": Stratified,
}
LAYOUTS = st.builds(
    lambda weights, batch, kind: KINDS[kind](Pattern.of_weights(weights), batch),
    WEIGHTS,
    st.integers(1, 40),
    st.sampled_from(sorted(KINDS)),
)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    sources, batch = draw(st.integers(1, 5)), draw(st.integers(1, 20))
    weights = st.lists(st.floats(0, 1), min_size=sources, max_size=sources).filter(lambda found: sum(found) > 0.01)
    phases = draw(st.lists(st.tuples(weights, st.sampled_from(sorted(KINDS))), min_size=1, max_size=4))
    steps = sorted(draw(st.sets(st.integers(1, 30), min_size=len(phases) - 1, max_size=len(phases) - 1)))
    layouts = [KINDS[kind](Pattern.of_weights(each), batch) for each, kind in phases]
    return Schedule([0, *(step * batch for step in steps)], layouts)


@given(LAYOUTS | schedules(), st.integers(0, LENGTH))
def test_draws_are_counted_from_zero(layout: Interleaving, position: int) -> None:
    which, draws = layout.locate(np.arange(LENGTH))
    for source in range(which.max() + 1):
        np.testing.assert_array_equal(draws[which == source], np.arange(np.count_nonzero(which == source)))
    counts = layout.counts(position)
    np.testing.assert_array_equal(counts, np.bincount(which[:position], minlength=len(counts)))


@given(LAYOUTS | schedules(), st.integers(0, LENGTH - 1))
def test_positions_of_draws(layout: Interleaving, position: int) -> None:
    which, draws = layout.locate(np.array([position]))
    assert layout.position(int(which[0]), int(draws[0])) == position


@given(WEIGHTS, st.integers(0, ENDLESS))
def test_one_position_is_found_as_many(weights: list[float], position: int) -> None:
    pattern = Pattern.of_weights(weights)
    which, draws = pattern.locate(np.array([position]))
    assert pattern.locate_one(position) == (which[0], draws[0])


@given(WEIGHTS, st.integers(0, 12), st.integers(0, 2**30))
def test_every_block_has_its_shares(weights: list[float], bits: int, number: int) -> None:
    size = 1 << bits
    which, _ = Pattern.of_weights(weights).locate(number * size + np.arange(size))
    exact = size * np.array(weights) / sum(weights)
    found = np.bincount(which, minlength=len(weights))
    assert (found >= np.floor(exact - 1e-6)).all()
    assert (found <= np.ceil(exact + 1e-6)).all()


@given(WEIGHTS, st.integers(1, 300), st.integers(0, 10**9))
def test_every_stratified_step_has_its_shares(weights: list[float], batch: int, step: int) -> None:
    which, _ = Stratified(Pattern.of_weights(weights), batch).locate(step * batch + np.arange(batch))
    exact = batch * np.array(weights) / sum(weights)
    found = np.bincount(which, minlength=len(weights))
    assert (found >= np.floor(exact - 1e-6)).all()
    assert (found <= np.ceil(exact + 1e-6)).all()


@given(WEIGHTS, st.integers(1, 50), st.integers(0, 10**9))
def test_a_step_per_source_has_one(weights: list[float], batch: int, step: int) -> None:
    which, draws = PerSource(Pattern.of_weights(weights), batch).locate(step * batch + np.arange(batch))
    assert len(set(which.tolist())) == 1
    assert (np.diff(draws) == 1).all()


@given(st.lists(st.integers(0, 200), min_size=1, max_size=6).filter(any))
def test_counts_are_exact(counts: list[int]) -> None:
    np.testing.assert_array_equal(Pattern.of_counts(counts).counts(sum(counts)), counts)


@given(st.integers(1, 10), st.integers(1, 10**9))
def test_large_positions_are_found_again(sources: int, draw: int) -> None:
    pattern = Pattern.of_weights(range(1, sources + 1))
    for source in range(sources):
        position = pattern.position(source, draw)
        which, draws = pattern.locate(np.array([position]))
        assert (which[0], draws[0]) == (source, draw)


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_without_a_share_never_comes(kind: str) -> None:
    layout = KINDS[kind](Pattern.of_weights([1, 0, 2]), 4)
    assert 1 not in layout.locate(np.arange(LENGTH))[0]
    assert layout.position(1, 0) == ENDLESS
