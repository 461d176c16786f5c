"""One actor as the consumer sees it: the calls it has, its segments, and what became of it."""

from __future__ import annotations

import os
import sys
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import ray

from headrace.errors import ArgumentError
from headrace.workers.processes.segments import MappedSegments, SegmentRange
from headrace.workers.ray.actor import RayActor, open_file_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.workers.ray.cluster import Place
    from headrace.workers.ray.work import SentWork

__all__ = ["RayAnswer", "RayWorker"]


class RayAnswer(NamedTuple):
    """An actor's result of a task, or its error."""

    worker: RayWorker
    number: int  # of the task
    good: bool
    payload: bytes
    places: list[Any]  # SegmentRange, bytearray, or an array in Ray's store
    timing: bytes

    @property
    def nbytes(self) -> int:
        """The memory that the result takes, in bytes."""
        return len(self.payload) + sum(
            len(place) if isinstance(place, bytearray) else place.nbytes for place in self.places
        )

    def forget(self) -> None:
        """Give the memory back unseen."""
        self.worker.segments.forget([place for place in self.places if isinstance(place, SegmentRange)])


class _Call(NamedTuple):
    """A call that the actor has not answered: what it gives, and the tasks in it; none where it makes ready."""

    reference: Any
    tasks: list[int]


class RayWorker:
    """One of the actors of a pool.

    Args:
        number: which of them.
        options: of Ray's for the actor.
        most_held: how many of its segments the consumer may hold.
        home: where this process runs.
    """

    def __init__(self, number: int, options: Mapping[str, Any], most_held: int, home: Place) -> None:
        self.number = number
        self._home = home
        self.segments = MappedSegments(most_held)
        self.place: Place | None = None  # until it is known
        self.shares_files = False  # with this process: each can open those of the other
        self.pid: int | None = None
        self.is_ready = False  # it can be given tasks
        self._cores = options["num_cpus"]
        # A batch is a function, so that what is lost is given to another; Ray's own restarts stay off.
        fixed = {"max_restarts": 0, "max_task_retries": 0, "max_concurrency": 1}
        try:
            self._actor = ray.remote(RayActor).options(**options, **fixed).remote()
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"Ray does not take these ray_options: {error}") from error
        self._calls: deque[_Call] = deque([_Call(self._actor.place.remote(), [])])

    @property
    def reference(self) -> Any:
        """The reference of what its oldest call gives; None where it has none."""
        return self._calls[0].reference if self._calls else None

    @property
    def later_references(self) -> list[Any]:
        """The references of what its other calls give, where that has to come from another node."""
        return [] if self.shares_files else [call.reference for call in list(self._calls)[1:]]

    @property
    def tasks(self) -> list[int]:
        """The tasks that it has not done, in order."""
        return [number for call in self._calls for number in call.tasks]

    def send_work(self, work: SentWork) -> None:
        """Send the work, once it is known where the actor is."""
        threads = max(1, int(self._cores))
        if self.shares_files:
            begin = self._actor.begin_with_files.remote(self.number, sys.argv, threads, os.getpid(), *work.files())
        else:
            begin = self._actor.begin_with_arrays.remote(self.number, sys.argv, threads, *work.stored())
        self._calls.append(_Call(begin, []))
        self.is_ready = True

    def send_tasks(self, tasks: list[tuple[int, bytes]], spare: int) -> None:
        """Give it tasks.

        Args:
            tasks: their numbers, and their pickles.
            spare: for how many batches it needs segments.
        """
        back = self.segments.take_ended(spare) if self.segments.some_ended else ([], [])
        self._calls.append(_Call(self._actor.do.remote(tasks, *back), [number for number, _ in tasks]))

    def receive(self, reference: Any) -> tuple[list[RayAnswer], float]:
        """Return what its oldest call gives, which has come: results, and how many seconds they took.

        Args:
            reference: that of the call. Another thread may end the actor meanwhile, and with it all calls.

        Raises:
            RayError: the call has failed.
            OSError: a segment cannot be mapped.
        """
        found = ray.get(reference)
        if self.place is None:
            self.place, self.pid = found
            self.shares_files = self._home.shares_files_with(found[0])
            found = None
        pickled, segments, seconds = found or ((), (), 0.0)  # it has been made ready
        for segment in segments:
            self._map(*segment)
        with suppress(IndexError):
            self._calls.popleft()
        return [RayAnswer(self, *each) for each in pickled], seconds

    def _map(self, number: int, nbytes: int, descriptor: int) -> None:
        assert self.pid is not None  # noqa: S101 - it has given results
        file = open_file_of(self.pid, descriptor)
        try:
            self.segments.map(number, nbytes, file)
        finally:
            os.close(file)

    def views(self, answer: RayAnswer, copy: Callable[[np.ndarray[Any, Any]], Any]) -> list[Any]:
        """Return the memory of a result, writable."""
        if any(isinstance(place, np.ndarray) for place in answer.places):
            return [copy(place) if isinstance(place, np.ndarray) else place for place in answer.places]
        return self.segments.views(answer.places)

    def describe(self) -> str:
        """Return which worker it is, and where."""
        if self.place is None:
            return f"worker {self.number} (no process yet)"
        return f"worker {self.number} (process {self.pid} on node {self.place.node})"

    def end(self) -> None:
        """End the actor, whatever it does, and give up what it has to do."""
        self._calls.clear()
        if ray.is_initialized():  # or it would be initialised by the call
            with suppress(Exception):  # it has died, or belongs to a cluster that has been left
                ray.kill(self._actor)
