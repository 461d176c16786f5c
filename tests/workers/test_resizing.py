"""Pools whose workers become more or fewer while they run, with every result in its place."""

from __future__ import annotations

import os
import threading
from itertools import count
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.workers import ThreadPool
from headrace.workers.processes.pool import ProcessPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    MakePool = Callable[..., Any]

POOLS = {"threads": ThreadPool, "processes": ProcessPool}


def make_work(worker: int) -> Callable[[int], tuple[int, int, int]]:
    def work(task: int) -> tuple[int, int, int]:
        sleep(0.002)
        return task, os.getpid(), threading.get_ident()

    return work


@pytest.fixture(params=POOLS)
def make_pool(request: pytest.FixtureRequest) -> Iterator[MakePool]:
    made = []

    def make(workers: int, in_flight: int) -> Any:
        made.append(POOLS[request.param](make_work, workers, in_flight=in_flight))
        return made[-1]

    yield make
    for pool in made:
        pool.close()


def count_workers(pool: Any) -> int:
    return len(pool.threads) if isinstance(pool, ThreadPool) else len(pool.supervisor.processes)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 8)), max_size=5), st.booleans())
def test_results_keep_their_order_whatever_the_sizes(sizes: list[tuple[int, int]], two_runs: bool) -> None:
    pool: Any = ThreadPool(make_work, 2, in_flight=2)
    try:
        for _ in range(1 + two_runs):
            results, found = pool.run(iter(range(40))), []
            for workers, in_flight in sizes:
                pool.resize(workers, in_flight, None)
                found += [next(results)[0] for _ in range(5)]
            found += [task for task, *_ in results]
            assert found == list(range(40))
    finally:
        pool.close()


def test_results_keep_their_order_in_both(make_pool: MakePool) -> None:
    pool = make_pool(1, 2)
    results = pool.run(iter(range(60)))
    found = [next(results) for _ in range(5)]
    for workers in (3, 1, 4, 2):
        pool.resize(workers, 2 * workers, None)
        found += [next(results) for _ in range(10)]
    found += list(results)
    assert [task for task, *_ in found] == list(range(60))
    assert len({(process, thread) for _, process, thread in found}) > 1


def test_there_are_as_many_as_were_asked_for(make_pool: MakePool) -> None:
    pool = make_pool(1, 2)
    assert next(iter(pool.run(iter([7]))))[0] == 7
    pool.resize(3, 6, None)
    assert count_workers(pool) == 3
    wait_until(lambda: pool.count_ready() == 3)
    pool.resize(1, 2, None)

    def has_shrunk() -> bool:
        list(pool.run(iter(range(20))))
        pool.resize(1, 2, None)  # looks at who has ended
        return count_workers(pool) == 1

    wait_until(has_shrunk)
    assert not pool.closed


def test_a_run_that_is_given_up_does_not_keep_those_who_are_too_many(make_pool: MakePool) -> None:
    """The order to end may lie among the tasks that are taken back."""
    pool = make_pool(3, 6)
    wait_until(lambda: pool.count_ready() == 3)
    results = pool.run(iter(range(30)))
    pool.resize(1, 2, None)
    results.close()

    def has_shrunk() -> bool:
        assert [task for task, *_ in pool.run(iter(range(20)))] == list(range(20))
        pool.resize(1, 2, None)
        return count_workers(pool) == 1

    wait_until(has_shrunk)


def test_no_more_are_in_flight_than_is_allowed_now(make_pool: MakePool) -> None:
    tasks, drawn = count(1), 0

    def draw() -> int:
        nonlocal drawn
        drawn = next(tasks)
        return drawn

    pool = make_pool(1, 2)
    results = pool.run(iter(draw, 100))
    next(results)
    pool.resize(2, 8, None)
    next(results)
    assert drawn <= 2 + 8
    next(results)
    assert drawn > 6
    pool.resize(1, 1, None)
    for _ in range(10):
        next(results)
    assert drawn <= 13 + 1
    pool.resize(4, 50, 1)  # bytes, of which a result has more
    for _ in range(10):
        next(results)
    assert drawn <= 23 + 1


def test_threads_have_no_memory_of_their_own(make_pool: MakePool) -> None:
    pool = make_pool(1, 1)
    list(pool.run(iter([1])))
    assert (pool.worker_memory() > 0) == isinstance(pool, ProcessPool)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = monotonic() + 30
    while not is_so():
        assert monotonic() < deadline
        sleep(0.01)
