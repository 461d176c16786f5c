"""The processes of a pool, and all that connects them with the consumer.

Tasks wait in one connection that all workers take from; each worker answers over one of its own. A
worker that dies is noticed by the end of that connection, and by its sentinel.
"""

from __future__ import annotations

import os
import pickle
import select
from collections import deque
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from headrace.errors import WorkerDiedError, WorkerError, WorkerTimeoutError
from headrace.workers.base import check_home, first_free, have_ended, interrupted
from headrace.workers.deaths import Deaths
from headrace.workers.pickling.messages import dump_work
from headrace.workers.processes.channel import Channel
from headrace.workers.processes.interrupts import end_surely
from headrace.workers.processes.segments import most_held, place_once
from headrace.workers.processes.serve import LEAVE, NUMBER_BYTES
from headrace.workers.processes.template import prepare_template
from headrace.workers.processes.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import numpy as np
    from numpy.typing import NDArray

    from headrace.workers.base import MakeWork
    from headrace.workers.in_flight import InFlight
    from headrace.workers.processes.start import WorkerProcess
    from headrace.workers.processes.worker import Answer
    from headrace.workers.shared_file import SharedFile

__all__ = ["Supervisor"]

# How long workers have to end when their connections do, in seconds; and when they are told to.
_GRACE = 0.1
_PATIENCE = 2.0
# How often to look for the death of a worker where the system does not tell, and for the end of the pool
# by another thread, in seconds.
_LOOK = 0.2


class Supervisor:
    """The processes of a pool, seen from the consumer.

    Args:
        make_work: called in each process with its number; what it returns does the tasks there.
        size: how many processes.
        spare: for how many batches each worker needs segments.
        timeout: how long to wait for an answer, in seconds; None waits for ever.
        context: a start method or context of `multiprocessing`; None starts clean interpreters.
        turns: give task i to worker i mod `size`.
        restart: start a new worker in place of one that dies, and do its task again.
    """

    def __init__(
        self,
        make_work: MakeWork[Any, Any],
        size: int,
        spare: int,
        timeout: float | None,
        context: Any,
        *,
        turns: bool,
        restart: bool,
    ) -> None:
        self.size = size
        self.ended = False
        self._make_work = make_work
        self._spare = spare
        self._timeout = timeout
        self._context = _context(context)
        self._restart = restart
        self._home = os.getpid()
        # Makes the error that says why it has ended. The error that was raised is not kept: it refers to the frames
        # that it went through, and these to the iterator and its batches.
        self._ending: Callable[[], WorkerError] = have_ended
        self._workers: dict[int, Worker] = {}  # by their numbers
        self._leaving = 0  # workers that have been told to end, and have not
        self._tasks = [Channel.pair() for _ in range(size if turns else 1)]
        self._backlog: deque[tuple[int, bytes]] = deque()  # tasks that found no room in their connection
        self._poll = select.poll()
        self._watched: dict[int, Worker] = {}
        self._started_at = 0.0
        self._modules: Collection[str] = ()  # that the work needs
        self._setup: tuple[int, list[tuple[int, int, bool]], list[SharedFile]] | None = None
        self._deaths = Deaths()
        self._adopt: Callable[[NDArray[np.uint8]], None] | None = None

    # ------------------------------------------------------------------ starting

    def start(self) -> None:
        """Start all workers, and send them the work."""
        self._started_at = monotonic()
        if self._context is None:
            prepare_template()  # it gets ready while the work is pickled
        pickled = None if self._forks else dump_work(self._make_work, "loader")
        self._modules = () if pickled is None else pickled.modules
        for number in range(self.size):
            self._start(number)
        if pickled is not None:
            self._setup = *place_once(pickled.payload, pickled.buffers), pickled.files
            for worker in self._workers.values():
                worker.send_setup(*self._setup)

    def resize(self, size: int, spare: int) -> None:
        """Go on with another number of processes; those that are too many end when they are free.

        Args:
            size: how many processes.
            spare: for how many batches each needs segments.
        """
        self.size, self._spare = size, spare
        while len(self._workers) - self._leaving > size:
            self._leaving += 1
            self._backlog.append((0, LEAVE))
        while len(self._workers) - self._leaving < size:
            self._start_late(first_free(self._workers))
        self._send_backlog()

    def count_ready(self) -> int:
        """Return how many workers could begin with a task at once, or have died before they could."""
        return sum(worker.report.ready or worker.process.poll() is not None for worker in self._workers.values())

    def let_adopt(self, adopt: Callable[[NDArray[np.uint8]], None]) -> None:
        """Call a function with the memory of each segment that workers will make."""
        self._adopt = adopt
        for worker in self._workers.values():
            worker.segments.adopt = adopt

    @property
    def _forks(self) -> bool:
        return self._context is not None and self._context.get_start_method() == "fork"

    def _start(self, number: int) -> None:
        """Start a worker, in place of the one of that number if there is one."""
        worker = Worker(number, max(1, most_held() // self.size))
        worker.segments.adopt = self._adopt
        self._workers[number] = worker  # before it is started, so that it is ended whatever comes between
        tasks = self._tasks[number % len(self._tasks)][1]
        worker.start(tasks, self._context, self._make_work if self._forks else None, self._modules)
        for descriptor in worker.descriptors():
            self._poll.register(descriptor, select.POLLIN)
            self._watched[descriptor] = worker

    def _start_late(self, number: int) -> None:
        """Start a worker beside those that have been started before, and send it the work."""
        self._start(number)
        if self._setup is not None:
            self._workers[number].send_setup(*self._setup)

    def start_times(self) -> tuple[float, float]:
        """Return how many seconds passed from the start until a worker was ready, and until now."""
        now = monotonic()
        ready = min((at for worker in self._workers.values() if (at := worker.report.ready_at)), default=now)
        return ready - self._started_at, now - self._started_at

    @property
    def processes(self) -> list[WorkerProcess]:
        """The processes that have been started, by the numbers of their workers."""
        return [worker.process for worker in self._workers.values() if worker.is_started]

    # ------------------------------------------------------------------ tasks and results

    @property
    def is_home(self) -> bool:
        """Whether this is the process that has the workers, and not a fork of it."""
        return os.getpid() == self._home

    def check(self) -> None:
        """Refuse to go on where that cannot be.

        Raises:
            WorkerError: a worker had died, the run was interrupted, the pool is closed, or it belongs to
                another process.
        """
        check_home(self._home)
        if self.ended:
            raise self._ending()

    def submit(self, number: int, task: object) -> None:
        """Let a worker do the task."""
        self._backlog.append((number, number.to_bytes(NUMBER_BYTES, "little") + pickle.dumps(task)))

    def give_up(self, following: int) -> None:  # noqa: ARG002 - whatever waits is taken back
        """Take back the tasks that no worker has begun; the next one that is wanted is `following`."""
        self._take_back()
        self._send_backlog()

    def _take_back(self) -> None:
        """Take back the tasks that no worker has begun. Who is told to end, and has not heard of it, is told again."""
        found = [message for _, message in self._backlog]
        if not self.ended and self.is_home:
            for _, theirs in self._tasks:
                with suppress(BlockingIOError, EOFError):
                    while True:
                        found.append(theirs.receive(wait=False)[0])
        self._backlog = deque((0, LEAVE) for message in found if message == LEAVE)

    def receive(self, in_flight: InFlight[Any, Answer], *, wait: bool = True) -> None:
        """Take in what workers have sent.

        Args:
            in_flight: where the answers belong.
            wait: until there is something.

        Raises:
            WorkerDiedError: one has died.
            WorkerTimeoutError: nothing came in time.
            WorkerError: what came cannot be taken in.
        """
        for worker in self._workers.values():
            worker.return_segments(self._spare)
        self._send_backlog()
        deadline = None if self._timeout is None else monotonic() + self._timeout
        while True:
            events = self._poll.poll(self._patience(deadline) if wait else 0)
            self.check()  # another thread may have closed the pool
            for descriptor, _ in events:
                self._hear(descriptor, in_flight)
            if events or not wait:
                return
            for worker in list(self._workers.values()):
                self._look_after(worker, in_flight)
            if deadline is not None and monotonic() >= deadline:
                raise WorkerTimeoutError(self._timeout_text())

    def _patience(self, deadline: float | None) -> float:
        """Return how long to wait for an event before looking around, in milliseconds."""
        return 1000 * (_LOOK if deadline is None else min(_LOOK, max(0.0, deadline - monotonic())))

    def _hear(self, descriptor: int, in_flight: InFlight[Any, Answer]) -> None:
        """Take in one message of a worker, or its end."""
        worker = self._watched.get(descriptor)
        if worker is None:  # it has just been buried
            return
        if descriptor != worker.control.fileno():
            self._look_after(worker, in_flight)
            return
        try:
            self._take(worker, in_flight)
        except BlockingIOError:
            pass
        except EOFError:
            self._bury(worker, in_flight)

    def _look_after(self, worker: Worker, in_flight: InFlight[Any, Answer]) -> None:
        """See whether a worker has ended; if so, take in what it has sent before."""
        if worker.process.poll() is None:
            return
        with suppress(BlockingIOError, EOFError):
            while True:
                self._take(worker, in_flight)
        self._bury(worker, in_flight)

    def _take(self, worker: Worker, in_flight: InFlight[Any, Answer]) -> None:
        """Take in what a worker has sent."""
        try:
            answer = worker.receive()
        except WorkerError as error:
            self._ending = partial(WorkerError, *error.args)
            self.end()
            raise
        if answer is None:
            return
        self._deaths.forget_those_between_tasks()
        if answer.number in in_flight:
            in_flight.finish(answer.number, answer, answer.nbytes)
        else:  # of a run that has been given up, or done twice after a death
            worker.segments.forget(answer.places)

    def _send_backlog(self) -> None:
        try:
            while self._backlog:
                number, message = self._backlog[0]
                self._tasks[number % len(self._tasks)][0].send(message, wait=False)
                self._backlog.popleft()
        except BlockingIOError:  # later
            pass

    # ------------------------------------------------------------------ trouble

    def _bury(self, worker: Worker, in_flight: InFlight[Any, Answer]) -> None:
        """Deal with the death of a worker."""
        code = worker.process.wait(_PATIENCE)
        if code is None:
            worker.process.kill()  # it has closed its end and yet does not end
            code = worker.process.wait(_PATIENCE)
        if code == 0 and self._leaving:  # as it was told to
            self._leaving -= 1
            self._unwatch(worker)
            del self._workers[worker.number]
            return
        number = worker.report.task
        task = dict(in_flight.unfinished()).get(number) if number is not None else None
        comes_again = self._deaths.add(worker.number, number if task is not None else None)
        text = worker.death_text(code, task)
        if self._restart and not comes_again:
            self._replace(worker, in_flight)
            return
        if self._restart:
            text += f"; so did {Deaths.most} in a row, so it is not started again"
        self._ending = partial(WorkerDiedError, text, worker.process.pid, code)
        self.end()
        raise self._ending()

    def _replace(self, dead: Worker, in_flight: InFlight[Any, Answer]) -> None:
        """Start a new worker, and do what the dead one had in hand, or took without saying so."""
        self._unwatch(dead)
        self._start_late(dead.number)
        self._take_back()
        in_hand = {other.report.task for other in self._workers.values()}
        for number, task in in_flight.unfinished():
            if number not in in_hand:
                self.submit(number, task)
        self._send_backlog()

    def _unwatch(self, worker: Worker) -> None:
        for descriptor in worker.descriptors():
            self._poll.unregister(descriptor)
            del self._watched[descriptor]
        worker.close()

    def _timeout_text(self) -> str:
        return (
            f"no worker process gave a result within {self._timeout} seconds (timeout={self._timeout}); they are at\n"
            + "\n".join(worker.stacks() for worker in self._workers.values())
        )

    def interrupt(self) -> None:
        """End all workers at once: what came in with Ctrl-C may be lost, and nobody may come to end them."""
        self._ending = interrupted
        self.end()

    def end(self) -> None:
        """End all workers. Memory that the user refers to stays."""
        if self.is_home:  # a fork of that process has no say
            end_surely(self._end)

    def _end(self) -> None:
        if self.ended:
            return
        self._take_back()
        self.ended = True
        for worker in self._workers.values():
            worker.control.close()
        for ours, theirs in self._tasks:
            ours.close()
            theirs.close()
        self._end_processes()
        for worker in self._workers.values():
            worker.close()
            worker.segments.close()
        if self._setup is not None:
            os.close(self._setup[0])
            self._setup = None
        self._watched.clear()
        self._workers.clear()

    def _end_processes(self) -> None:
        """Wait for the processes; those that do not end by themselves, having something in hand, are told to."""
        running = self.processes
        for method, patience in (("poll", _GRACE), ("terminate", _PATIENCE), ("kill", _PATIENCE)):
            for process in running:
                getattr(process, method)()
            deadline = monotonic() + patience
            running = [process for process in running if process.wait(max(0.0, deadline - monotonic())) is None]


def _context(context: Any) -> Any:
    if not isinstance(context, str):
        return context
    import multiprocessing  # only needed where a start method is named

    return multiprocessing.get_context(context)
