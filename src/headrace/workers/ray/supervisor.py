"""The actors of a pool: what each has to do, and what becomes of it when one is lost."""

from __future__ import annotations

import os
import pickle
import warnings
from functools import partial
from heapq import heappop, heappush
from time import monotonic
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, RayError

from headrace.errors import HeadraceWarning, WorkerDiedError, WorkerError, WorkerTimeoutError
from headrace.errors.notes import level_of_user
from headrace.workers.base import check_home, have_ended, interrupted
from headrace.workers.deaths import Deaths
from headrace.workers.processes.interrupts import end_surely
from headrace.workers.processes.segments import most_held
from headrace.workers.ray.cluster import Place, describe_resources, is_free, store_of_a_node
from headrace.workers.ray.work import SentWork
from headrace.workers.ray.worker import RayWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from headrace.workers.base import MakeWork
    from headrace.workers.in_flight import InFlight
    from headrace.workers.ray.worker import RayAnswer

__all__ = ["RaySupervisor"]

# How often to look for the end of the pool by another thread, in seconds.
_LOOK = 0.2
# When to say that actors have not been started, in seconds: where the cluster has not what they ask for, and where it
# seems to have that.
_LONG_START, _VERY_LONG_START = 10.0, 60.0
# Tasks that take less than this, in seconds, go several a call: a call takes half a millisecond of the consumer.
_SHORT = 2e-3
_MOST_IN_A_CALL = 16


class RaySupervisor:
    """The actors of a pool, seen from the consumer.

    Args:
        make_work: called in each actor with its number; what it returns does the tasks there.
        size: how many actors.
        in_flight: how many tasks they have together, at most.
        timeout: how long to wait for an answer, in seconds; None waits for ever.
        options: of Ray's for the actors.
        turns: give task i to actor i mod `size`.
        restart: start a new actor in place of one that dies, and do its tasks again.
    """

    def __init__(
        self,
        make_work: MakeWork[Any, Any],
        size: int,
        in_flight: int,
        timeout: float | None,
        options: Mapping[str, Any],
        *,
        turns: bool,
        restart: bool,
    ) -> None:
        self.size = size
        self.ended = False
        self._share = -(-in_flight // size)  # of the tasks in flight
        self._timeout = timeout
        self._options = options
        self._turns = turns
        self._restart = restart
        self._home = os.getpid()
        self._ending: Callable[[], WorkerError] = have_ended  # makes the error that says why it has ended
        self._place = Place.here()
        self._work = SentWork(make_work)
        self._workers: list[RayWorker] = []
        self._backlog: list[tuple[int, bytes]] = []  # a heap: what is done again is done first
        self._in_a_call = 1
        self._deaths = Deaths()
        self._adopt: Callable[[NDArray[np.uint8]], None] | None = None
        self._started_at = monotonic()
        self._first_place_at: float | None = None
        self._warned_of_start = False
        self._most_nbytes: float | None = None  # of the tasks in flight, where they come from other nodes

    def start(self) -> None:
        """Start all actors."""
        for number in range(self.size):
            self._start(number)

    def _start(self, number: int) -> None:
        """Start an actor, in place of the one of that number if there is one."""
        worker = RayWorker(number, self._options, max(1, most_held() // self.size), self._place)
        worker.segments.adopt = self._adopt
        self._workers[number : number + 1] = [worker]

    def let_adopt(self, adopt: Callable[[NDArray[np.uint8]], None]) -> None:
        """Call a function with the memory of each segment that actors will make."""
        self._adopt = adopt
        for worker in self._workers:
            worker.segments.adopt = adopt

    def start_times(self) -> tuple[float, float]:
        """Return how many seconds passed from the start until an actor ran, and until now."""
        now = monotonic()
        return (self._first_place_at or now) - self._started_at, now - self._started_at

    @property
    def workers(self) -> list[RayWorker]:
        """The actors, by their numbers."""
        return list(self._workers)

    # ------------------------------------------------------------------ tasks and results

    @property
    def is_home(self) -> bool:
        """Whether this is the process that has the actors, and not a fork of it."""
        return os.getpid() == self._home

    def check(self) -> None:
        """Refuse to go on where that cannot be.

        Raises:
            WorkerError: an actor had died, the run was interrupted, the pool is closed, or it belongs to
                another process.
        """
        check_home(self._home)
        if not ray.is_initialized() and not self.ended:  # Ray's own functions would start it anew
            self._ending = partial(WorkerError, "Ray has been shut down, and with it the workers; begin a new iterator")
            self.end()
        if self.ended:
            raise self._ending()

    def submit(self, number: int, task: object) -> None:
        """Let an actor do the task."""
        heappush(self._backlog, (number, pickle.dumps(task)))

    def give_up(self, following: int) -> None:
        """Take back the tasks that no actor has begun; those on other nodes do what they have been given.

        Args:
            following: the number of the first task that will be wanted.
        """
        self._backlog.clear()
        if self.is_home:
            self._work.give_up(following)  # Ray's own `cancel` holds up what comes after a call that it has cancelled

    def receive(self, in_flight: InFlight[Any, RayAnswer], *, wait: bool = True) -> None:
        """Take in what actors have answered.

        Args:
            in_flight: where the answers belong.
            wait: until there is something.

        Raises:
            WorkerDiedError: one has died.
            WorkerTimeoutError: nothing came in time.
            WorkerError: what came cannot be taken in.
        """
        deadline = None if self._timeout is None else monotonic() + self._timeout
        self._send_backlog(whole=wait)
        while not self._take_ready(in_flight, self._patience(deadline) if wait else 0) and wait:
            self.check()  # another thread may have closed the pool
            self._look_after_start()
            if deadline is not None and monotonic() >= deadline:
                raise WorkerTimeoutError(self._timeout_text(in_flight))

    def _patience(self, deadline: float | None) -> float:
        """Return how long to wait for an answer before looking around, in seconds."""
        return _LOOK if deadline is None else min(_LOOK, max(0.0, deadline - monotonic()))

    def _take_ready(self, in_flight: InFlight[Any, RayAnswer], patience: float) -> bool:
        """Take in the oldest answer of each actor that has one; return whether there was any."""
        oldest = {worker.reference: worker for worker in self._workers if worker.reference is not None}
        later = [reference for worker in self._workers for reference in worker.later_references]
        if later:  # so that they are on their way while others are used
            ray.wait(later, num_returns=len(later), timeout=0)
        ready, _ = ray.wait([*oldest], num_returns=1, timeout=patience) if oldest else ([], [])
        for reference in ready:
            self._take(oldest[reference], reference, in_flight)
        self._send_backlog(whole=False)
        return bool(ready)

    def _take(self, worker: RayWorker, reference: Any, in_flight: InFlight[Any, RayAnswer]) -> None:
        """Take in the oldest answer of an actor, or its death."""
        was_placed = worker.place is not None
        try:
            answers, seconds = worker.receive(reference)
        # A file is not found where its process has died since.
        except (RayActorError, ObjectLostError, NodeDiedError, FileNotFoundError) as error:
            self.check()  # another thread may have ended all
            self._bury(worker, error, in_flight)
            return
        except (RayError, OSError) as error:
            text = "what {} gave cannot be taken in: {}" if was_placed else "{} cannot be started: {}"
            self._end_with(WorkerError, text.format(worker.describe(), error), error)
        self.check()
        if not was_placed:
            self._first_place_at = self._first_place_at or monotonic()
            worker.send_work(self._work)
        if answers:
            self._deaths.forget_those_between_tasks()
            self._adapt(seconds / len(answers))
        for answer in answers:
            self._keep(answer, in_flight)

    def _keep(self, answer: RayAnswer, in_flight: InFlight[Any, RayAnswer]) -> None:
        if answer.number not in in_flight:  # of a run that has been given up, or done twice after a death
            answer.forget()
            return
        in_flight.finish(answer.number, answer, answer.nbytes)
        if not answer.worker.shares_files:
            self._check_store(answer.nbytes * in_flight.room)

    def _adapt(self, seconds: float) -> None:
        """Give an actor all that it may have in flight in one call where tasks are short, for the call takes longer."""
        self._in_a_call = 1 if self._turns or seconds > _SHORT else min(_MOST_IN_A_CALL, self._share)

    def _send_backlog(self, *, whole: bool) -> None:
        """Give tasks to actors.

        Args:
            whole: those too that would do for less than a call.
        """
        while self._backlog and (whole or len(self._backlog) >= self._in_a_call):
            worker = self._find_worker(self._backlog[0][0])
            if worker is None:
                return
            tasks = [heappop(self._backlog) for _ in range(min(self._in_a_call, len(self._backlog)))]
            try:
                worker.send_tasks(tasks, self._share + 3)
            except Exception as error:  # Ray's own, of a cluster that has been left for another one
                self._end_with(WorkerError, f"{worker.describe()} cannot be given tasks: {error}", error)

    def _find_worker(self, number: int) -> RayWorker | None:
        """Return the actor that a task is to go to; None where that has to wait."""
        if self._turns:
            worker = self._workers[number % self.size]
            return worker if worker.is_ready else None
        ready = [worker for worker in self._workers if worker.is_ready and len(worker.tasks) < self._share]
        return min(ready, key=lambda worker: len(worker.tasks), default=None)

    # ------------------------------------------------------------------ trouble

    def _bury(self, worker: RayWorker, error: Exception, in_flight: InFlight[Any, RayAnswer]) -> None:
        """Deal with the death of an actor."""
        unfinished = dict(in_flight.unfinished())
        lost = [number for number in worker.tasks if number in unfinished]
        cause = lost[0] if lost else None
        comes_again = self._deaths.add(worker.number, cause)
        what = f"while it loaded {unfinished[cause]}" if cause is not None else "between tasks"
        text = f"{worker.describe()} ended {what}: {error}"
        if self._restart and not comes_again:
            worker.end()
            self._start(worker.number)
            for number in lost:
                self.submit(number, unfinished[number])
            return
        if self._restart:
            text += f"; so did {Deaths.most} in a row, so it is not started again"
        self._end_with(WorkerDiedError, text, error, worker.pid)

    def _end_with(self, kind: Callable[..., WorkerError], text: str, cause: Exception, *details: Any) -> None:
        self._ending = partial(kind, text, *details)
        self.end()
        raise self._ending() from cause

    def _look_after_start(self) -> None:
        """Say so where actors take long to start."""
        waiting = [worker for worker in self._workers if worker.place is None]
        took = monotonic() - self._started_at
        if self._warned_of_start or not waiting or took < _LONG_START:
            return
        if took < _VERY_LONG_START and is_free(self._options):
            return
        self._warned_of_start = True
        warnings.warn(self._text_of_start(len(waiting), took), HeadraceWarning, stacklevel=level_of_user())

    def _text_of_start(self, waiting: int, took: float) -> str:
        asked = {name: value for name, value in self._options.items() if name != "runtime_env"}
        return (
            f"{waiting} of {self.size} Ray actors have not started after {took:.0f} seconds: "
            f"{describe_resources(asked)}; ask for less with ray_options, take fewer workers, or wait for nodes"
        )

    def _check_store(self, window: int) -> None:
        """Say so, once, where what is in flight would fill half of a node's store, which then writes to disk."""
        if self._most_nbytes is None:
            self._most_nbytes = store_of_a_node() / 2
        if window <= self._most_nbytes:
            return
        warnings.warn(
            f"batches in flight take up to {window / 1e6:.0f} MB, more than half of the object store of a Ray node "
            f"({2 * self._most_nbytes / 1e6:.0f} MB); bound them with prefetch_bytes or prefetch_factor, or have a "
            "larger store (object_store_memory), since a full one writes to disk",
            HeadraceWarning,
            stacklevel=level_of_user(),
        )
        self._most_nbytes = float("inf")

    def _timeout_text(self, in_flight: InFlight[Any, RayAnswer]) -> str:
        unfinished = dict(in_flight.unfinished())
        lines = [
            f"{worker.describe()}: {', '.join(str(unfinished.get(each, 'a task given up')) for each in worker.tasks)}"
            for worker in self._workers
        ]
        if any(worker.place is None for worker in self._workers):
            lines.append(describe_resources(self._options))
        return (
            f"no Ray actor gave a result within {self._timeout} seconds (timeout={self._timeout}); they have\n"
            + "\n".join(lines)
        )

    def interrupt(self) -> None:
        """End all actors at once: what came in with Ctrl-C may be lost, and nobody may come to end them."""
        self._ending = interrupted
        self.end()

    def end(self) -> None:
        """End all actors. Memory that the user refers to stays."""
        if self.is_home:  # a fork of that process has no say
            end_surely(self._end)

    def _end(self) -> None:
        if self.ended:
            return
        self.ended = True
        self._backlog.clear()
        for worker in self._workers:
            worker.end()
            worker.segments.close()
        self._work.close()
        self._workers.clear()
