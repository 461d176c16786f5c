"""No workers: each task is done when its result is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from headrace.insight.clock import StageClock, timing
from headrace.insight.columns import ORDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace.workers.base import MakeWork

__all__ = ["InlinePool"]

T = TypeVar("T")
R = TypeVar("R")


class InlinePool(Generic[T, R]):
    """Does tasks in the consumer's own thread.

    Args:
        make_work: called with 0; what it returns does the tasks.

    >>> list(InlinePool(lambda worker: abs).run(iter([-1, 2])))
    [1, 2]
    """

    def __init__(self, make_work: MakeWork[T, R]) -> None:
        self._clock = StageClock(times_all=False)
        with timing(self._clock):
            self._work = make_work(0)
        self.closed = False

    def run(self, tasks: Iterator[T]) -> _InlineResults[T, R]:
        """Begin to do the tasks, each when its result is asked for."""
        return _InlineResults(self._work, tasks, self._clock)

    def close(self) -> None:
        """Take note: there are no workers to end."""
        self.closed = True


class _InlineResults(Generic[T, R]):
    timing = None  # the consumer is the worker
    waiting = 0

    def __init__(self, work: Callable[[T], R], tasks: Iterator[T], clock: StageClock) -> None:
        self._work = work
        self._tasks = tasks
        self.clock = clock
        self.task: T | None = None

    def __iter__(self) -> _InlineResults[T, R]:
        return self

    def __next__(self) -> R:
        clock = self.clock
        self.task = None
        clock.start()
        self.task = task = next(self._tasks)
        if clock.on:
            clock.lap(ORDER)
        return self._work(task)

    def close(self) -> None:
        """Draw no more tasks."""
        self._tasks = iter(())
