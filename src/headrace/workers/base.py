"""The face that every pool of workers has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypedDict, TypeVar

from headrace.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Collection

    from headrace.insight.clock import StageClock

__all__ = [
    "MakeWork",
    "Pool",
    "PoolOptions",
    "ResizablePool",
    "Results",
    "check_home",
    "failing",
    "first_free",
    "have_ended",
    "interrupted",
]

T = TypeVar("T")
R = TypeVar("R")
T_co = TypeVar("T_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)

# Called once in each worker, with its number; what it returns does the tasks there. So a worker can
# have a state of its own, and everything that is costly is sent to it once.
MakeWork: TypeAlias = Callable[[int], Callable[[T], R]]


class PoolOptions(TypedDict):
    """Options of every pool with workers of its own.

    Attributes:
        workers: how many workers.
        in_flight: how many tasks may be begun or done before the consumer asks for their results.
        max_bytes: how large their results may be together, in bytes; None for no bound.
        in_order: give the results in the order of the tasks, else as they come.
        timeout: how long to wait for a result, in seconds; 0 waits for ever.
        turns: give task i to worker i mod `workers`, for workers that go on from task to task.
    """

    workers: int
    in_flight: int
    max_bytes: int | None
    in_order: bool
    timeout: float
    turns: bool


class Results(Protocol[T_co, R_co]):
    """The results of a run, one a task."""

    @property
    def task(self) -> T_co | None:
        """The task of the latest result or error; None if that came from drawing the next task."""

    @property
    def clock(self) -> StageClock:
        """The clock of what the consumer's own thread does for the results."""

    @property
    def timing(self) -> bytes | None:
        """The times of the latest task, as its worker's clock has taken them; None where the consumer is the worker."""

    @property
    def waiting(self) -> int:
        """The number of results that had come, and were not handed out, when the latest one was asked for."""

    def __iter__(self) -> Iterator[R_co]:
        """Return the results themselves."""

    def __next__(self) -> R_co:
        """Return the next result.

        What a task raised is raised here, in its place; the results after it can still be had. So
        is what drawing the next task raised.

        Raises:
            StopIteration: all tasks are done, or the run is closed.
        """

    def close(self) -> None:
        """End the run. Tasks that no worker has begun are given up; results of the others are discarded."""


class Pool(Protocol[T, R_co]):
    """Workers that do tasks, one run of them after the other."""

    @property
    def closed(self) -> bool:
        """Whether it has no workers: they have ended, or belong to a process that this one was forked from."""

    def run(self, tasks: Iterator[T]) -> Results[T, R_co]:
        """Begin to do the tasks.

        Args:
            tasks: what there is to do, drawn in the consumer's thread, a bounded number ahead. An
                error of drawing does not end it; StopIteration does.
        """

    def close(self) -> None:
        """End the workers and wait until they have gone. It may be called again."""


class ResizablePool(Pool[T, R_co], Protocol[T, R_co]):
    """A pool whose workers may become more or fewer while it runs; none whose workers take turns."""

    def resize(self, workers: int, in_flight: int, max_bytes: int | None) -> None:
        """Go on with another number of workers, also in the midst of a run.

        Args:
            workers: how many, at least one. Those that are too many end when they are free.
            in_flight: how many tasks may be begun or done before the consumer asks for their results.
            max_bytes: how large their results may be together, in bytes; None for no bound.
        """

    def count_ready(self) -> int:
        """Return how many workers could begin with a task at once; those that died before they could are counted."""

    def worker_memory(self) -> int:
        """Return the bytes that each worker has for itself, those of the largest; 0 where that is none of its own."""


def check_home(process: int) -> None:
    """Refuse to go on in another process than the one that has the workers.

    Args:
        process: the number of that one.

    Raises:
        WorkerError: this is a fork of it.
    """
    here = os.getpid()
    if here != process:
        raise WorkerError(
            f"the workers belong to process {process}, and this is process {here}, forked from it; begin a new "
            "iterator here"
        )


def failing(error: BaseException) -> Callable[[Any], Any]:
    """Return work that cannot be done, since the worker could not be made ready for it."""

    def fail(task: object) -> None:  # noqa: ARG001
        raise error

    return fail


def interrupted() -> WorkerError:
    """Return the error for going on with a run after Ctrl-C, where a result that just came in may be lost."""
    return WorkerError("the run was interrupted; begin a new iterator, or load the state of this one")


def first_free(numbers: Collection[int]) -> int:
    """Return the lowest number that none of the workers has.

    >>> first_free({0, 1, 3})
    2
    """
    return next(number for number in range(len(numbers) + 1) if number not in numbers)


def have_ended() -> WorkerError:
    """Return the error for going on with a run whose pool has been closed."""
    return WorkerError("the workers have ended; begin a new iterator")
