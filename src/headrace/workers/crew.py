"""The processes of a pool, and all that connects them with the consumer.

Tasks wait in one connection that all workers take from; each worker answers over one of its own. A
worker that dies is noticed by the end of that connection, and by its sentinel.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import sys
from collections import deque
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.errors import WorkerDiedError, WorkerError, WorkerTimeoutError
from headrace.workers.base import check_home, have_ended, interrupted
from headrace.workers.channel import Channel
from headrace.workers.memory import MappedBlocks, Place, place_once
from headrace.workers.pickling import dump_work
from headrace.workers.report import Report
from headrace.workers.serve import NUMBER_BYTES, serve_context
from headrace.workers.start import Descriptor, WorkerProcess, start_clean, start_in_context

if TYPE_CHECKING:
    from headrace.workers.base import MakeWork
    from headrace.workers.window import Window

__all__ = ["Answer", "Crew"]

# How long workers have to end when their connections do, in seconds; and when they are told to.
_GRACE = 0.1
_PATIENCE = 2.0
# How often to look for the death of a worker where the system does not tell, and for the end of the pool
# by another thread, in seconds.
_LOOK = 0.2
# A task that so many workers died of, or so many deaths with no result in between, are no accident.
_MOST_DEATHS = 3
# So many blocks the consumer may hold; batches that are kept beyond are copied out of their blocks.
# Each block takes a descriptor, of which a process often has no more than 1024.
_MOST_HELD = 256


class Answer(NamedTuple):
    """What a worker made of a task."""

    worker: _Worker
    good: bool
    payload: bytes
    places: list[Place | bytearray]


class _Worker:
    """One of the processes, as the consumer sees it."""

    def __init__(self, number: int, most_held: int) -> None:
        self.number = number
        self.blocks = MappedBlocks(most_held)
        self.unsent: deque[bytes] = deque()  # messages about blocks; waiting to send one could be for ever
        self.control, self.theirs = Channel.pair()
        self.report = Report()  # last: what it holds is not given up by itself if something fails here
        self.process: WorkerProcess | None = None  # until it is started

    def descriptors(self) -> list[int]:
        """What to watch: they become readable when it has sent something or ended."""
        sentinel = None if self.process is None else self.process.sentinel
        return [self.control.fileno(), *([] if sentinel is None else [sentinel])]

    def close(self) -> None:
        """Give up all that this process holds of it, except memory that the user refers to."""
        self.theirs.close()
        self.control.close()
        self.report.close()
        if self.process is not None:
            self.process.close()


class Crew:
    """The processes of a pool, seen from the consumer.

    Args:
        make_work: called in each process with its number; what it returns does the tasks there.
        size: how many processes.
        spare: for how many batches each worker needs blocks.
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
        self._error: WorkerError | None = None  # why it has ended
        self._workers: list[_Worker] = []
        self._tasks = [Channel.pair() for _ in range(size if turns else 1)]
        self._backlog: deque[tuple[int, bytes]] = deque()  # tasks that found no room in their connection
        self._poll = select.poll()
        self._watched: dict[int, _Worker] = {}
        self._setup: tuple[int, list[tuple[int, int, bool]]] | None = None
        self._deaths: dict[int | None, int] = {}  # of each task; None for those between tasks

    # ------------------------------------------------------------------ starting

    def start(self) -> None:
        """Start all workers, then send them the work, which takes longer than starting."""
        for number in range(self.size):
            self._workers.append(self._start(number))
        if not self._forks:
            pickled = dump_work(self._make_work, "loader")
            self._setup = place_once(pickled.payload, pickled.buffers)
            for worker in self._workers:
                self._send_setup(worker)

    @property
    def _forks(self) -> bool:
        return self._context is not None and self._context.get_start_method() == "fork"

    def _start(self, number: int) -> _Worker:
        worker = _Worker(number, max(1, _MOST_HELD // self.size))
        tasks = self._tasks[number % len(self._tasks)][1]
        files = worker.theirs.fileno(), tasks.fileno(), worker.report.file
        try:
            if self._context is None:
                worker.process = start_clean(files)
            else:
                inherited = self._make_work if self._forks else None
                arguments = (*map(Descriptor, files), os.getpid(), inherited, number)
                worker.process = start_in_context(self._context, serve_context, arguments)
        except BaseException:
            worker.close()
            raise
        worker.theirs.close()  # so that this process hears when the worker closes it
        for descriptor in worker.descriptors():
            self._poll.register(descriptor, select.POLLIN)
            self._watched[descriptor] = worker
        return worker

    def _send_setup(self, worker: _Worker) -> None:
        assert self._setup is not None  # noqa: S101 - forked workers are sent none
        file, places = self._setup
        with suppress(OSError):  # it has died already, which will be noticed
            worker.control.send(pickle.dumps((worker.number, sys.argv, places)), [file])

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
        if self._error is not None:
            raise self._error
        check_home(self._home)
        if self.ended:
            raise have_ended()

    def submit(self, number: int, task: object) -> None:
        """Let a worker do the task."""
        self._backlog.append((number, number.to_bytes(NUMBER_BYTES, "little") + pickle.dumps(task)))

    def give_up(self) -> None:
        """Take back the tasks that no worker has begun."""
        self._backlog.clear()
        if not self.ended and self.is_home:
            for _, theirs in self._tasks:
                with suppress(BlockingIOError, EOFError):
                    while True:
                        theirs.receive(wait=False)

    def receive(self, window: Window[Any, Answer], *, wait: bool = True) -> None:
        """Take in what workers have sent.

        Args:
            window: where the answers belong.
            wait: until there is something.

        Raises:
            WorkerDiedError: one has died.
            WorkerTimeoutError: nothing came in time.
        """
        self._give_blocks_back()
        self._send_backlog()
        deadline = None if self._timeout is None else monotonic() + self._timeout
        while True:
            events = self._poll.poll(self._patience(deadline) if wait else 0)
            self.check()  # another thread may have closed the pool
            for descriptor, _ in events:
                self._hear(descriptor, window)
            if events or not wait:
                return
            for worker in self._workers:
                self._look_after(worker, window)
            if deadline is not None and monotonic() >= deadline:
                raise WorkerTimeoutError(self._timeout_text())

    def _patience(self, deadline: float | None) -> float:
        """How long to wait for an event before looking around, in milliseconds."""
        return 1000 * (_LOOK if deadline is None else min(_LOOK, max(0.0, deadline - monotonic())))

    def _hear(self, descriptor: int, window: Window[Any, Answer]) -> None:
        """Take in one message of a worker, or its end."""
        worker = self._watched.get(descriptor)
        if worker is None:  # it has just been buried
            return
        if descriptor != worker.control.fileno():
            self._look_after(worker, window)
            return
        try:
            self._take(worker, *worker.control.receive(wait=False), window)
        except BlockingIOError:
            pass
        except EOFError:
            self._bury(worker, window)

    def _look_after(self, worker: _Worker, window: Window[Any, Answer]) -> None:
        """See whether a worker has ended; if so, take in what it has sent before."""
        if worker.process is None or worker.process.poll() is None:
            return
        with suppress(BlockingIOError, EOFError):
            while True:
                self._take(worker, *worker.control.receive(wait=False), window)
        self._bury(worker, window)

    def _take(self, worker: _Worker, message: bytes, files: list[int], window: Window[Any, Answer]) -> None:
        """Take in an answer, or a block that comes before the answer that needs it."""
        content = pickle.loads(message)  # noqa: S301 - from a process of this one's
        if files:
            number, nbytes = content
            try:
                worker.blocks.map(number, nbytes, files[0])
            finally:
                os.close(files[0])
            return
        number, good, payload, places = content
        self._deaths.pop(None, None)
        if number in window:
            window.finish(number, Answer(worker, good, payload, places), _count_bytes(payload, places))
        else:  # of a run that has been given up, or done twice after a death
            worker.blocks.forget(places)

    def _send_backlog(self) -> None:
        try:
            while self._backlog:
                number, message = self._backlog[0]
                self._tasks[number % len(self._tasks)][0].send(message, wait=False)
                self._backlog.popleft()
        except BlockingIOError:  # later
            pass

    def _give_blocks_back(self) -> None:
        for worker in self._workers:
            if worker.blocks.some_ended:
                worker.unsent.append(pickle.dumps(worker.blocks.take_ended(self._spare)))
            if worker.unsent:
                with suppress(OSError):  # it is too busy to read, or has died
                    while worker.unsent:
                        worker.control.send(worker.unsent[0], wait=False)
                        worker.unsent.popleft()

    # ------------------------------------------------------------------ trouble

    def _bury(self, worker: _Worker, window: Window[Any, Answer]) -> None:
        """Deal with the death of a worker."""
        assert worker.process is not None  # noqa: S101 - it has run
        code = worker.process.wait(_PATIENCE)
        if code is None:
            worker.process.kill()  # it has closed its end and yet does not end
            code = worker.process.wait(_PATIENCE)
        number = worker.report.task
        task = dict(window.unfinished()).get(number) if number is not None else None
        cause = number if task is not None else None
        self._deaths[cause] = self._deaths.get(cause, 0) + 1
        text = _death_text(worker, code, task)
        if self._restart and self._deaths[cause] < _MOST_DEATHS:
            self._replace(worker, window)
            return
        if self._restart:
            text += f"; so did {_MOST_DEATHS} in a row, so it is not started again"
        self._error = WorkerDiedError(text)
        self.end()
        raise self._error

    def _replace(self, dead: _Worker, window: Window[Any, Answer]) -> None:
        """Start a new worker, and do what the dead one had in hand, or took without saying so."""
        self._unwatch(dead)
        worker = self._start(dead.number)
        self._workers[dead.number] = worker
        if not self._forks:
            self._send_setup(worker)
        self.give_up()
        in_hand = {other.report.task for other in self._workers}
        for number, task in window.unfinished():
            if number not in in_hand:
                self.submit(number, task)
        self._send_backlog()

    def _unwatch(self, worker: _Worker) -> None:
        for descriptor in worker.descriptors():
            self._poll.unregister(descriptor)
            del self._watched[descriptor]
        worker.close()

    def _timeout_text(self) -> str:
        stacks = (
            f"worker {worker.number} (pid {worker.process.pid}):\n{worker.report.stacks(worker.process.pid)}"
            for worker in self._workers
            if worker.process is not None
        )
        return (
            f"no worker process gave a result within {self._timeout} seconds (timeout={self._timeout}); they are at\n"
            + "\n".join(stacks)
        )

    def interrupt(self) -> None:
        """End all workers at once: what came in with Ctrl-C may be lost, and nobody may come to end them."""
        self._error = interrupted()
        self.end()

    def end(self) -> None:
        """End all workers. Memory that the user refers to stays."""
        if self.ended or not self.is_home:  # a fork of that process has no say
            return
        self.give_up()
        self.ended = True
        for worker in self._workers:
            worker.control.close()
        for ours, theirs in self._tasks:
            ours.close()
            theirs.close()
        self._end_processes()
        for worker in self._workers:
            worker.close()
        if self._setup is not None:
            os.close(self._setup[0])
        self._watched.clear()
        self._workers.clear()

    def _end_processes(self) -> None:
        """Wait for the processes; those that do not end by themselves, having something in hand, are told to."""
        running = [worker.process for worker in self._workers if worker.process is not None]
        for method, patience in (("poll", _GRACE), ("terminate", _PATIENCE), ("kill", _PATIENCE)):
            for process in running:
                getattr(process, method)()
            deadline = monotonic() + patience
            running = [process for process in running if process.wait(max(0.0, deadline - monotonic())) is None]


def _context(context: Any) -> Any:
    if not isinstance(context, str):
        return context
    import multiprocessing  # only whoever names a start method needs it

    return multiprocessing.get_context(context)


def _count_bytes(payload: bytes, places: list[Place | bytearray]) -> int:
    return len(payload) + sum(place.nbytes if isinstance(place, Place) else len(place) for place in places)


def _death_text(worker: _Worker, code: int | None, task: object) -> str:
    assert worker.process is not None  # noqa: S101 - it has run
    if code is None:
        end = "closed its connection"
    elif code < 0:
        end = f"was killed by signal {-code} ({_signal_name(-code)})"
    else:
        end = f"ended with exit code {code}"
    what = "between tasks" if task is None else f"while it loaded {task}"
    if not worker.report.ready:
        what = "while it started (its standard error may say why)"
    memory = worker.report.memory
    used = f"; before that it had {memory / 1e6:.0f} MB of memory" if memory else ""
    return f"worker {worker.number} (process {worker.process.pid}) {end} {what}{used}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
