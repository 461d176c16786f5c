"""Workers that are Ray actors: on the consumer's machine, or on others.

Each gets the work once, then tasks, which are small. On the consumer's own node batches lie in segments that both
sides have mapped, as those of processes do, and Ray carries their numbers; from other nodes Ray carries the batches
themselves, and they are copied out of its store, which gives read-only memory, when they are handed out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from headrace.batch.arena import Arena, lease, use_arena
from headrace.workers.pickling.messages import load
from headrace.workers.ray.cluster import with_cores
from headrace.workers.ray.supervisor import RaySupervisor
from headrace.workers.supervised import SupervisedPool

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from headrace.workers.base import MakeWork
    from headrace.workers.ray.worker import RayAnswer

__all__ = ["RayPool"]

T = TypeVar("T")
R = TypeVar("R")


class RayPool(SupervisedPool[T, R, "RayAnswer"]):
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
        ray_options: Ray's own options of each actor. The cluster is the one that this process has joined.

    Raises:
        NotPicklableError: the work cannot be sent to an actor.
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
        self._arena = Arena()  # where batches from other nodes are copied to
        options = with_cores(ray_options or {}, workers)
        supervisor = RaySupervisor(
            make_work, workers, in_flight, timeout or None, options, turns=turns, restart=restart
        )
        super().__init__(supervisor, in_flight, max_bytes, in_order=in_order)

    def open(self, answer: RayAnswer) -> Any:
        """Return the result that an answer holds."""
        with use_arena(self._arena):
            return load(answer.payload, answer.worker.views(answer, _copied))

    def forget(self, answer: RayAnswer) -> None:
        """Give back the memory of an answer that nobody opens."""
        answer.forget()


def _copied(stored: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a copy where it may be written to, in memory that has been used before if it is large."""
    copy = lease(stored.nbytes)
    if copy is None:
        return stored.copy()
    copy[:] = stored
    return copy
