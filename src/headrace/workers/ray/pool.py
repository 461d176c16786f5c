"""Workers that are Ray actors: on the consumer's machine, or on others.

Each gets the work once, then tasks, which are small. On the consumer's own node batches lie in segments that both
sides have mapped, as those of processes do, and Ray carries their numbers; from other nodes Ray carries the batches
themselves, and they are copied out of its store, which gives read-only memory, when they are handed out.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from headrace.batch.arena import Arena, lease, use_arena
from headrace.workers.in_flight import InFlight
from headrace.workers.pickling.messages import load
from headrace.workers.ray.cluster import join_cluster, with_cores
from headrace.workers.ray.supervisor import RaySupervisor
from headrace.workers.results import SupervisedResults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from headrace.workers.base import MakeWork
    from headrace.workers.ray.worker import RayAnswer

__all__ = ["RayPool"]

T = TypeVar("T")
R = TypeVar("R")


class RayPool(Generic[T, R]):
    """Does tasks in Ray actors, a bounded number of them ahead of the consumer.

    Args:
        make_work: called in each actor with its number; what it returns does the tasks there.
        workers: how many actors.
        in_flight: how many tasks may be begun or done before the consumer asks for their results.
        max_bytes: how large their results may be together, in bytes; None for no bound.
        in_order: give the results in the order of the tasks, else as they come.
        timeout: how long to wait for a result, in seconds; 0 waits for ever.
        turns: give task i to worker i mod `workers`, for workers that go on from task to task.
        restart: start a new actor in place of one that dies, and do its tasks again.
        ray_options: `address` of the cluster, and Ray's own options of each actor.

    Raises:
        NotPicklableError: the work cannot be sent to an actor.
        WorkerError: there is no cluster at the address.
    """

    def __init__(
        self,
        make_work: MakeWork[T, R],
        workers: int,
        *,
        in_flight: int,
        max_bytes: int | None = None,
        in_order: bool = True,
        timeout: float = 0,
        turns: bool = False,
        restart: bool = False,
        ray_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._size = in_flight
        self._max_bytes = max_bytes
        self._in_order = in_order
        self._next = 0  # the number of the first task of the next run: no two runs have one in common
        self._arena = Arena()  # where batches from other nodes are copied to
        join_cluster(ray_options or {}, workers)
        options = with_cores(ray_options or {}, workers)
        self.supervisor = RaySupervisor(
            make_work, workers, in_flight, timeout or None, options, turns=turns, restart=restart
        )
        self._end = weakref.finalize(self, self.supervisor.end)
        try:
            self.supervisor.start()
        except BaseException:
            self._end()
            raise

    @property
    def closed(self) -> bool:
        """Whether it has no workers: they have ended, or belong to a process that this one was forked from."""
        return self.supervisor.ended or not self.supervisor.is_home

    def run(self, tasks: Iterator[T]) -> SupervisedResults[T, R, RayAnswer]:
        """Begin to do the tasks."""
        in_flight: InFlight[T, RayAnswer] = InFlight(
            tasks, self._size, self._max_bytes, in_order=self._in_order, first=self._next
        )
        return SupervisedResults(self, in_flight)

    def end_run(self, following: int) -> None:
        """Forget the tasks that no worker has begun; the next run's numbers begin at `following`."""
        self._next = -(-following // self.supervisor.size) * self.supervisor.size
        self.supervisor.give_up(self._next)

    def open(self, answer: RayAnswer) -> Any:
        """Return the result that an answer holds."""
        with use_arena(self._arena):
            return load(answer.payload, answer.worker.views(answer, _copied))

    def forget(self, answer: RayAnswer) -> None:
        """Give back the memory of an answer that nobody opens."""
        answer.forget()

    def let_adopt(self, adopt: Callable[[NDArray[np.uint8]], None]) -> None:
        """Call a function with the memory of this machine's workers that results will come in: before any do."""
        self.supervisor.let_adopt(adopt)

    def start_times(self) -> tuple[float, float]:
        """Return how many seconds passed until an actor ran, and until now."""
        return self.supervisor.start_times()

    def close(self) -> None:
        """End the actors."""
        self._end()


def _copied(stored: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a copy where it may be written to, in memory that has been used before if it is large."""
    copy = lease(stored.nbytes)
    if copy is None:
        return stored.copy()
    copy[:] = stored
    return copy
