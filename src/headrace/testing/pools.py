"""The rules of a pool of workers, as a check that anyone's own pool can run in its tests."""

from __future__ import annotations

from itertools import count
from time import sleep
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from headrace.workers import Pool

__all__ = ["check_pool"]


def check_pool(make_pool: Callable[..., Pool[Any, Any]], *, ahead: bool = True) -> None:
    """Raise unless a pool of workers keeps the rules that a loader relies on.

    Results come in the order of the tasks, or all of them in any order; tasks are drawn no further
    ahead than is asked for; an error comes in the place of the result and loses no other; whichever
    worker is free goes on; runs follow one another; a run that is given up is heard of no more.

    Args:
        make_pool: called with `make_work` and the keywords `workers`, `in_flight`, `in_order` and
            `turns`, as the pools in `headrace.workers` are.
        ahead: whether there are workers that load ahead; if not, what only they can do is left out.

    Raises:
        AssertionError: a rule is broken; the text says which.

    >>> from headrace.workers import ThreadPool
    >>> check_pool(ThreadPool)
    """
    for workers, in_flight in ((1, 1), (2, 4), (3, 3)):
        pool = make_pool(make_checked_work, workers=workers, in_flight=in_flight, in_order=True, turns=False)
        try:
            _check_in_flight(pool, in_flight)
            for check in (_check_order, _check_errors, _check_drawing, _check_given_up, _check_order):
                check(pool)
        finally:
            pool.close()
        _require(pool.closed, "a pool that has been closed does not say so")
        pool.close()
    if ahead:
        _check_any_order(make_pool)
        _check_turns(make_pool)
        _check_failing_start(make_pool)


class CheckError(Exception):
    """The error of tasks of `check_pool`; its constructor takes other arguments than it stores."""

    def __init__(self, number: int, word: str) -> None:
        super().__init__(f"{word} {number}")
        self.number = number


def make_checked_work(worker: int) -> Callable[[Any], Any]:
    """Make the work of `check_pool`: what becomes of a task, and which worker did it."""
    done = 0

    def work(task: tuple[str, Any]) -> Any:
        nonlocal done
        done += 1
        what, value = task
        if what == "raise":
            raise CheckError(value, "task")
        if what == "sleep":
            sleep(value)
        return {"value": value, "worker": worker, "done": done, "array": np.full(3, done)}

    return work


def _fail_to_make(worker: int) -> Callable[[Any], Any]:
    raise CheckError(worker, "worker")


class _Counted:
    """Tasks that count how many of them have been drawn."""

    def __init__(self, tasks: Iterable[Any]) -> None:
        self._tasks = iter(tasks)
        self.drawn = 0

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> Any:
        task = next(self._tasks)
        self.drawn += 1
        if isinstance(task, Exception):
            raise task
        return task


def _values(results: Iterable[Any]) -> list[Any]:
    return [result["value"] for result in results]


def _check_order(pool: Pool[Any, Any]) -> None:
    tasks = [("sleep", 0.02 if number % 5 == 0 else 0.0) for number in range(12)]
    results = pool.run(iter(tasks))
    for task in tasks:
        _require(next(results)["value"] == task[1], "results came in another order than the tasks")
        _require(results.task == task, f"the task of the latest result is {task}, but `task` said {results.task}")
    _require(next(results, None) is next(results, None) is None, "there were more results than tasks")
    _require(_values(pool.run(iter([]))) == [], "a run without tasks had results")


def _check_in_flight(pool: Pool[Any, Any], in_flight: int) -> None:
    tasks = _Counted(("value", number) for number in count())
    results = pool.run(tasks)
    for number in range(10):
        _require(next(results)["value"] == number, "results came in another order than the tasks")
        _require(tasks.drawn <= number + 1 + in_flight, f"{tasks.drawn} tasks were drawn, {in_flight} may be in flight")
    results.close()
    _require(next(results, None) is None, "a run that had been closed went on")


def _check_errors(pool: Pool[Any, Any]) -> None:
    results = pool.run(iter([("value", 0), ("raise", 1), ("value", 2), ("raise", 3), ("value", 4)]))
    for number in range(5):
        try:
            found = next(results, {"value": None})["value"]
        except CheckError as error:
            found = error.number
            _require(str(error) == f"task {number}", f"the error of task {number} came as {error!r}")
            _require(number % 2 == 1, f"task {number} raised an error that was not its own")
        _require(found == number, "an error ended the run, or displaced results")
        _require(results.task is not None and results.task[1] == number, "an error came with another task")
    _require(next(results, None) is None, "there were more results than tasks")


def _check_drawing(pool: Pool[Any, Any]) -> None:
    error = CheckError(1, "drawing")
    results = pool.run(_Counted([("value", 0), error, ("value", 2)]))
    _require(next(results)["value"] == 0, "an error of drawing displaced results")
    try:
        next(results)
    except CheckError as found:
        _require(found is error, "an error of drawing came as another")
    else:
        raise AssertionError("an error of drawing was lost")
    _require(results.task is None, "an error of drawing came with a task")
    _require(_values(results) == [2], "an error of drawing ended the run")


def _check_given_up(pool: Pool[Any, Any]) -> None:
    results = pool.run(("sleep", 0.01) for _ in range(100))
    next(results)
    results.close()
    _require(_values(pool.run(iter([("value", "new")]))) == ["new"], "results of a run given up came in the next one")


def _check_any_order(make_pool: Callable[..., Pool[Any, Any]]) -> None:
    pool = make_pool(make_checked_work, workers=2, in_flight=4, in_order=False, turns=False)
    try:
        for _ in range(100):  # until both workers have started
            if len({result["worker"] for result in pool.run(iter([("sleep", 0.1)] * 2))}) == 2:
                break
        found = _values(pool.run(iter([("sleep", 0.5), *(("value", number) for number in range(9))])))
        _require(sorted(found) == sorted([0.5, *range(9)]), f"results were lost or doubled: {found}")
        _require(found[0] != 0.5, "a slow task held up the others")
    finally:
        pool.close()


def _check_turns(make_pool: Callable[..., Pool[Any, Any]]) -> None:
    pool = make_pool(make_checked_work, workers=3, in_flight=6, in_order=True, turns=True)
    try:
        for done in (1, 5):
            found = [(result["worker"], result["done"]) for result in pool.run(("value", i) for i in range(12))]
            expected = [(number % 3, done + number // 3) for number in range(12)]
            _require(found == expected, "workers that take turns did not get every n-th task")
    finally:
        pool.close()


def _check_failing_start(make_pool: Callable[..., Pool[Any, Any]]) -> None:
    pool = make_pool(_fail_to_make, workers=2, in_flight=2, in_order=True, turns=False)
    try:
        results = pool.run(iter([("value", 0)]))
        try:
            next(results)
        except CheckError as error:
            _require(str(error).startswith("worker "), f"the error of a worker that could not start came as {error!r}")
        else:
            raise AssertionError("a worker that could not start gave a result")
    finally:
        pool.close()


def _require(rule: bool, broken: str) -> None:  # noqa: FBT001 - what an assertion takes
    """Assert, in an optimised interpreter too."""
    if not rule:
        raise AssertionError(broken)
