"""The results of a run whose workers lie behind a supervisor: in processes, or on other machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from headrace.errors import WorkerError
from headrace.workers.pickling.messages import load_error

if TYPE_CHECKING:
    from headrace.workers.in_flight import InFlight

__all__ = ["SupervisedPool", "SupervisedResults"]

T = TypeVar("T")
R = TypeVar("R")
A = TypeVar("A", bound="WorkerAnswer")
A_contra = TypeVar("A_contra", contravariant=True)


class WorkerAnswer(Protocol):
    """The message with which a worker answers a task."""

    @property
    def good(self) -> bool:
        """Whether it holds a result, else an error."""

    @property
    def payload(self) -> Any:
        """The result or error, pickled."""


class PoolSupervisor(Protocol):
    """The workers of a pool, seen from the consumer."""

    ended: bool

    def check(self) -> None:
        """Refuse to go on where that cannot be."""

    def submit(self, number: int, task: object) -> None:
        """Let a worker do the task."""

    def receive(self, in_flight: InFlight[Any, Any], *, wait: bool = True) -> None:
        """Take in what workers have sent."""

    def interrupt(self) -> None:
        """End all workers at once."""


class SupervisedPool(Protocol[A_contra]):
    """A pool whose workers answer through a supervisor."""

    @property
    def supervisor(self) -> PoolSupervisor:
        """Its workers."""

    def open(self, answer: A_contra) -> Any:
        """Return the result that an answer holds."""

    def forget(self, answer: A_contra) -> None:
        """Give back the memory of an answer that nobody opens."""

    def end_run(self, following: int) -> None:
        """Forget the tasks that no worker has begun; the next run's numbers begin at `following`."""


class SupervisedResults(Generic[T, R, A]):
    """The results of one run.

    Args:
        pool: whose workers do the tasks.
        in_flight: the tasks, and how far ahead they are done.
    """

    def __init__(self, pool: SupervisedPool[A], in_flight: InFlight[T, A]) -> None:
        self._pool = pool
        self._supervisor = pool.supervisor
        self._in_flight = in_flight
        self.task: T | None = None
        self._submit()

    def __iter__(self) -> SupervisedResults[T, R, A]:
        return self

    def __next__(self) -> R:
        self.task = None
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
        if not answer.good:
            return None, load_error(answer.payload)
        return self._pool.open(answer), None

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
            while len(self._in_flight) and self._in_flight.ready() is None:
                self._supervisor.receive(self._in_flight)
        except WorkerError:
            raise
        except BaseException:  # raised by a signal's handler, as Ctrl-C is: an answer that just came may be lost
            self._supervisor.interrupt()
            raise
        return self._in_flight.ready()

    def _submit(self) -> None:
        for number, task in self._in_flight.draw():
            try:
                self._supervisor.submit(number, task)
            except Exception as error:  # it cannot be pickled
                self._in_flight.finish(number, error, 0)
