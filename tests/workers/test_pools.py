"""Every pool keeps the rules of `headrace.testing.check_pool`, and the suite notices one that does not."""

from __future__ import annotations

import multiprocessing
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from headrace.testing import check_pool
from headrace.workers import InlinePool, ThreadPool
from headrace.workers.processes.pool import ProcessPool

if TYPE_CHECKING:
    from collections.abc import Iterator

START_METHODS = sorted(multiprocessing.get_all_start_methods())


def test_inline_pool_passes_check_pool() -> None:
    check_pool(lambda make_work, **_: InlinePool(make_work), ahead=False)


def test_thread_pool_passes_check_pool() -> None:
    check_pool(ThreadPool)


def test_process_pool_passes_check_pool() -> None:
    check_pool(ProcessPool)


@pytest.mark.parametrize("context", START_METHODS)
def test_processes_of_multiprocessing(context: str) -> None:
    check_pool(partial(ProcessPool, context=context))


def test_process_pool_takes_a_context_object() -> None:
    context = multiprocessing.get_context(START_METHODS[0])
    pool: ProcessPool[int, int] = ProcessPool(lambda worker: abs, 1, in_flight=1, context=context)
    assert list(pool.run(iter([-1, -2]))) == [1, 2]
    pool.close()


class Lagging:
    """A thread pool with a fault."""

    def __init__(self, *args: Any, fault: str, **kwargs: Any) -> None:
        if fault == "eager":
            kwargs["in_flight"] *= 3
        if fault == "waiting":
            kwargs["in_order"] = True
        if fault in ("in_order", "turns"):
            kwargs[fault] = False
        self.fault = fault
        self.pool: ThreadPool[Any, Any] = ThreadPool(*args, **kwargs)

    @property
    def closed(self) -> bool:
        return self.fault != "never closed" and self.pool.closed

    def run(self, tasks: Iterator[Any]) -> Any:
        results = self.pool.run(tasks)
        return Losing(results) if self.fault == "losing" else results

    def close(self) -> None:
        self.pool.close()


class Losing:
    """Results that end with the first error."""

    def __init__(self, results: Any) -> None:
        self.results = results
        self.over = False

    @property
    def task(self) -> Any:
        return self.results.task

    def __iter__(self) -> Losing:
        return self

    def __next__(self) -> Any:
        if self.over:
            raise StopIteration
        try:
            return next(self.results)
        except Exception:
            self.over = True
            raise

    def close(self) -> None:
        self.results.close()


FAULTS = {
    "eager": "tasks were drawn, . may be in flight",
    "in_order": "in another order",
    "turns": "every n-th task",
    "waiting": "a slow task held up the others",
    "never closed": "does not say so",
    "losing": "ended the run",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_check_pool_notices_each_fault(fault: str) -> None:
    with pytest.raises(AssertionError, match=FAULTS[fault]):
        check_pool(partial(Lagging, fault=fault))
