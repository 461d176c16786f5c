"""The clock of a worker, on a clock that goes on by so much with each look at it."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from headrace import DataLoader
from headrace.insight import clock as module
from headrace.insight.clock import StageClock
from headrace.insight.columns import BEGUN, COLLATE, ENDED, READ, TASKS
from headrace.insight.loader_clock import LoaderClock
from headrace.insight.snapshot import make_stats
from headrace.insight.stats import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

TICK = 1000


@pytest.fixture
def tick(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Set by how much the clock goes on."""

    def set_tick(nanoseconds: int) -> None:
        monkeypatch.setattr(module, "perf_counter_ns", count(0, nanoseconds).__next__)

    set_tick(TICK)
    return set_tick


def do_tasks(clock: StageClock, number: int) -> list[list[int]]:
    """Return the rows of the tasks that were timed."""
    rows = []
    for _ in range(number):
        clock.start()
        clock.lap(READ)
        clock.lap(COLLATE, 3)
        if clock.on:
            rows.append(memoryview(clock.take()).cast("q").tolist())
    return rows


@pytest.mark.usefixtures("tick")
def test_each_lap_is_of_one_stage() -> None:
    rows = do_tasks(StageClock(), 100)
    assert len(rows) == 100
    for row in rows:
        assert (row[READ], row[COLLATE], row[COLLATE + 1], row[TASKS]) == (TICK, TICK, 3, 1)
        assert row[ENDED] - row[BEGUN] == 2 * TICK


@pytest.mark.usefixtures("tick")
def test_of_brief_tasks_one_in_sixteen_stands_for_all() -> None:
    rows = do_tasks(StageClock(times_all=False), 400)
    stood = [row[TASKS] for row in rows]
    assert stood == [1] * 33 + [16] * 22
    assert 0 <= 400 - sum(stood) < 16
    assert all(row[READ] == TICK for row in rows)


def test_long_tasks_are_all_timed(tick: Callable[[int], None]) -> None:
    clock = StageClock(times_all=False)
    do_tasks(clock, 40)
    tick(10**6)
    rows = do_tasks(clock, 48)
    assert [row[TASKS] for row in rows] == [16] + [1] * (len(rows) - 1)
    assert len(rows) > 32


def test_sums_are_those_of_all_batches() -> None:
    loader = DataLoader(range(4002), batch_size=4)
    for _ in loader:
        pass
    stats = loader.stats()
    assert (stats.workers[0].batches, stats.workers[0].samples) == (1001, 4002)
    assert {stage.batches for name, stage in stats.stages.items() if name != "order"} == {1001}
    assert len(stats.timeline.steps) == 1001
    assert len(stats.timeline.tasks) < 200


@pytest.mark.usefixtures("tick")
def test_workers_that_came_later_have_their_own_sums() -> None:
    """As where the number of workers is found while batches are loaded."""
    consumer, worker, clock = StageClock(times_all=False), StageClock(1), LoaderClock()
    results = SimpleNamespace(clock=consumer, timing=None, waiting=0)
    for step in range(49):
        consumer.start()
        if consumer.on:
            clock.loaded(results, 0, step, 1, 4)
    results = SimpleNamespace(clock=StageClock(-1), timing=worker.take(), waiting=0)
    clock.loaded(results, 0, 49, 1, 4)
    stats = make_stats(clock, bad_samples=0, counters={}, sources={}, settings=Settings())
    assert {number: each.batches for number, each in stats.workers.items()} == {0: 49, 1: 1}


def test_a_later_epoch_need_not_be_timed_from_its_first_batches() -> None:
    loader = DataLoader(range(4000), batch_size=4)
    for _ in range(2):
        for _batch in loader:
            pass
    tasks = loader.stats().timeline.tasks
    assert (tasks["epoch"] == 1).sum() < (tasks["epoch"] == 0).sum()
    assert loader.stats().workers[0].batches == 2000


def test_samples_that_nobody_times_are_read_all_the_same() -> None:
    clock = StageClock(times_all=False)
    do_tasks(clock, 33)
    clock.start()
    assert not clock.on
    assert clock.each(abs) is abs
    clock.read_all(10, clock.last)
    assert not clock.fine
