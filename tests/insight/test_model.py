from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.insight.model import Measured, predict_step

TIMES = st.lists(st.floats(0.001, 1.0), min_size=1, max_size=20)


def by_the_clock(loads: list[float], consumers: list[float], workers: int, ahead: int) -> float:
    """The time of all steps of a run, moved on by small ticks, as workers and a consumer would act."""
    tick, now = 1e-3, 0.0
    left = [0.0] * workers  # of the task that each worker has in hand
    in_hand: list[int | None] = [None] * workers
    done: set[int] = set()
    drawn = taken = 0
    consuming = 0.0
    while taken < len(loads) or consuming > 1e-9:
        if consuming <= 1e-9 and taken in done:
            consuming = consumers[taken]
            taken += 1
        for worker in range(workers):
            used = taken - (consuming > 1e-9)  # there is room for another when the next one is asked for
            if in_hand[worker] is None and drawn < min(len(loads), used + ahead):
                in_hand[worker], left[worker] = drawn, loads[drawn]
                drawn += 1
        now += tick
        consuming -= tick
        for worker, task in enumerate(in_hand):
            left[worker] -= tick
            if task is not None and left[worker] <= 1e-9:
                done.add(task)
                in_hand[worker] = None
    return now / len(loads)


@pytest.mark.parametrize(("workers", "expected"), [(0, 0.4), (1, 0.3), (2, 0.15), (3, 0.1), (8, 0.1)])
def test_even_times(workers: int, expected: float) -> None:
    measured = Measured(loads=(0.3,), consumers=(0.1,), cores=8)
    assert predict_step(measured, workers=workers) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("ahead", [3, 6])
def test_bursts_are_as_a_slow_simulation_has_them(workers: int, ahead: int) -> None:
    loads, consumers = [0.02, 0.02, 0.02, 0.2] * 30, [0.03, 0.01, 0.08] * 40
    measured = Measured(tuple(loads), tuple(consumers), cores=8)
    expected = by_the_clock(loads, consumers, workers, ahead)
    assert predict_step(measured, workers=workers, ahead=ahead) == pytest.approx(expected, rel=0.1)


@given(TIMES, TIMES, st.integers(1, 6))
def test_bounds(loads: list[float], consumers: list[float], workers: int) -> None:
    measured = Measured(tuple(loads), tuple(consumers), cores=64)
    predicted = predict_step(measured, workers=workers)
    assert predicted <= 1.6 * predict_step(measured, workers=0) + max(loads) / 8
    assert predicted >= 0.6 * max(measured.consumer, measured.load / workers) - max(loads) / 8


def test_workers_share_the_processors() -> None:
    busy = Measured(loads=(0.3,), consumers=(0.01,), cores=2, busy_cores=1.0)
    waiting = Measured(loads=(0.3,), consumers=(0.01,), cores=2, busy_cores=0.1)
    assert predict_step(busy, workers=8) == pytest.approx(0.15, rel=1e-6)
    assert predict_step(waiting, workers=8) == pytest.approx(0.3 / 8, rel=1e-6)


def test_what_was_measured_with_shared_processors_is_not_stretched_again() -> None:
    measured = Measured(loads=(0.6,), consumers=(0.01,), workers=4, cores=2, busy_cores=1.0)
    assert predict_step(measured, workers=4) == pytest.approx(0.15, rel=1e-6)
    assert predict_step(measured, workers=2) == pytest.approx(0.15, rel=1e-6)


def test_more_prefetch_helps_bursts_alone() -> None:
    even = Measured(loads=(0.1,), consumers=(0.1,), cores=8)
    bursty = Measured(loads=(0.01,) * 9 + (0.5,), consumers=(0.06,), cores=8)
    assert predict_step(even, workers=1, ahead=16) == pytest.approx(predict_step(even, workers=1, ahead=2))
    assert predict_step(bursty, workers=1, ahead=16) < 0.9 * predict_step(bursty, workers=1, ahead=1)
