"""Pools whose workers lie behind a supervisor: in processes, or on other machines."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from headrace.errors import WorkerError
from headrace.insight.clock import StageClock
from headrace.insight.columns import ORDER, TRANSPORT
from headrace.workers.in_flight import InFlight
from headrace.workers.pickling.messages import load_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SupervisedPool", "SupervisedResults"]

T = TypeVar("T")
R = TypeVar("R")
A = TypeVar("A", bound="WorkerAnswer")


class WorkerAnswer(Protocol):
    """The message with which a worker answers a task."""

    @property
    def nbytes(self) -> int:
        """The memory that the result takes, in bytes."""

    @property
    def good(self) -> bool:
        """Whether it holds a result, else an error."""

    @property
    def payload(self) -> Any:
        """The result or error, pickled."""

    @property
    def timing(self) -> bytes:
        """The times of the task, as the worker's clock has taken them; empty where it could not tell."""


class PoolSupervisor(Protocol):
    """The workers of a pool, seen from the consumer."""

    size: int
    ended: bool

    @property
    def is_home(self) -> bool:
        """Whether this is the process that has the workers, and not a fork of it."""

    def start(self) -> None:
        """Start all workers."""

    def check(self) -> None:
        """Refuse to go on where that cannot be."""

    def submit(self, number: int, task: object) -> None:
        """Let a worker do the task."""

    def receive(self, in_flight: InFlight[Any, Any], *, wait: bool = True) -> None:
        """Take in what workers have sent."""

    def give_up(self, following: int) -> None:
        """Take back the tasks that no worker has begun; the next one that is wanted is `following`."""

    def let_adopt(self, adopt: Callable[[NDArray[np.uint8]], None]) -> None:
        """Call a function with the memory of each segment that workers will make."""

    def start_times(self) -> tuple[float, float]:
        """Return how many seconds passed until a worker could begin with the first task, and until now."""

    def interrupt(self) -> None:
        """End all workers at once."""

    def end(self) -> None:
        """End all workers."""


class SupervisedPool(ABC, Generic[T, R, A]):
    """A pool whose workers answer through a supervisor.

    Args:
        supervisor: of workers that have not been started.
        size: how many tasks may be in flight.
        max_bytes: how large their results may be together, in bytes; None for no bound.
        in_order: give the results in the order of the tasks, else as they come.
    """

    def __init__(self, supervisor: PoolSupervisor, size: int, max_bytes: int | None, *, in_order: bool) -> None:
        self.supervisor = supervisor
        self._size = size
        self._max_bytes = max_bytes
        self._in_order = in_order
        self._in_flight: InFlight[T, A] | None = None  # of the run that is going on
        self._next = 0  # the number of the first task of the next run: no two runs have one in common
        self._end = weakref.finalize(self, supervisor.end)
        try:
            supervisor.start()
        except BaseException:
            self._end()
            raise

    @abstractmethod
    def open(self, answer: A) -> Any:
        """Return the result that an answer holds."""

    @abstractmethod
    def forget(self, answer: A) -> None:
        """Give back the memory of an answer that nobody opens."""

    @property
    def closed(self) -> bool:
        """Whether it has no workers: they have ended, or belong to a process that this one was forked from."""
        return self.supervisor.ended or not self.supervisor.is_home

    def run(self, tasks: Iterator[T]) -> SupervisedResults[T, R, A]:
        """Begin to do the tasks."""
        in_flight: InFlight[T, A] = InFlight(
            tasks, self._size, self._max_bytes, in_order=self._in_order, first=self._next
        )
        self._in_flight = in_flight
        return SupervisedResults(self, in_flight)

    def allow(self, in_flight: int, max_bytes: int | None) -> None:
        """Let so many tasks be in flight, and so many bytes, from now on."""
        self._size, self._max_bytes = in_flight, max_bytes
        if self._in_flight is not None:
            self._in_flight.resize(in_flight, max_bytes)

    def end_run(self, following: int) -> None:
        """Forget the tasks that no worker has begun; the next run's numbers begin at `following`."""
        self._next = -(-following // self.supervisor.size) * self.supervisor.size
        self.supervisor.give_up(self._next)

    def let_adopt(self, adopt: Callable[[NDArray[np.uint8]], None]) -> None:
        """Call a function with the memory of this machine's workers that results will come in: before any do."""
        self.supervisor.let_adopt(adopt)

    def start_times(self) -> tuple[float, float]:
        """Return how many seconds passed until a worker could begin with the first task, and until now."""
        return self.supervisor.start_times()

    def close(self) -> None:
        """End the workers."""
        self._end()


class SupervisedResults(Generic[T, R, A]):
    """The results of one run.

    Args:
        pool: whose workers do the tasks.
        in_flight: the tasks, and how far ahead they are done.
    """

    def __init__(self, pool: SupervisedPool[T, R, A], in_flight: InFlight[T, A]) -> None:
        self._pool = pool
        self._supervisor = pool.supervisor
        self._in_flight = in_flight
        self.task: T | None = None
        self.clock = StageClock(-1)
        self.timing: bytes | None = None
        self.waiting = 0
        self._submit()

    def __iter__(self) -> SupervisedResults[T, R, A]:
        return self

    def __next__(self) -> R:
        self.task = self.timing = None
        self._supervisor.check()
        try:
            number = self._wait()
            if number is None:
                raise StopIteration
            self.task, answer = self._in_flight.hand_out(number)
            value, error = self._open(answer)
        except KeyboardInterrupt:
            self._supervisor.interrupt()
            raise
        finally:
            if self._supervisor.ended:
                self._in_flight.clear()
        if error is not None:
            try:
                raise error
            finally:
                del error, answer  # it refers to this frame, which must not refer to it
        result: R = value
        return result

    def _open(self, answer: A | BaseException) -> tuple[Any, BaseException | None]:
        """Return the result, or the error in its place."""
        if isinstance(answer, BaseException):
            return None, answer
        self.timing = answer.timing
        if not answer.good:
            return None, load_error(answer.payload)
        self.clock.leave_out()
        found = self._pool.open(answer)
        self.clock.lap(TRANSPORT, answer.nbytes)
        return found, None

    def close(self) -> None:
        """Give up the tasks that no worker has begun."""
        for answer in self._in_flight.clear():
            self._pool.forget(answer)
        self._pool.end_run(self._in_flight.following)

    def _wait(self) -> int | None:
        """Return the number of the task whose result comes next, once it is there; None if there are no more."""
        try:
            self._submit()
            self._supervisor.receive(self._in_flight, wait=False)
            self.waiting = self._in_flight.waiting
            while len(self._in_flight) and self._in_flight.ready() is None:
                self._supervisor.receive(self._in_flight)
        except WorkerError:
            raise
        except BaseException:  # raised by a signal's handler, as Ctrl-C is: an answer that just came may be lost
            self._supervisor.interrupt()
            raise
        return self._in_flight.ready()

    def _submit(self) -> None:
        self.clock.start()
        drawn = self._in_flight.draw()
        self.clock.lap(ORDER)
        for number, task in drawn:
            try:
                self._supervisor.submit(number, task)
            except Exception as error:  # it cannot be pickled
                self._in_flight.finish(number, error, 0)
        self.clock.lap(TRANSPORT)
