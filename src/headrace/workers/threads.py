"""Workers that are threads of this process: nothing is copied, and nothing has to be picklable.

They load at the same time where Python lets them: while a dataset reads, decodes or gathers without
the GIL, or all the time in an interpreter that has none.
"""

from __future__ import annotations

import os
import sys
import traceback
import weakref
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread, current_thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar

from headrace import frameworks
from headrace.batch.tree import count_bytes
from headrace.errors import WorkerDiedError, WorkerError, WorkerTimeoutError
from headrace.errors.notes import set_cause, text_of
from headrace.insight.clock import StageClock, timing
from headrace.insight.columns import ORDER
from headrace.workers.backends import Backend
from headrace.workers.base import check_home, failing, first_free, have_ended, interrupted
from headrace.workers.in_flight import InFlight
from headrace.workers.processes.interrupts import end_surely

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    from headrace.workers.base import MakeWork, PoolOptions

__all__ = ["BACKEND", "ThreadPool"]

T = TypeVar("T")
R = TypeVar("R")


class _Job(NamedTuple):
    number: int
    task: Any
    results: _Results


class _Result(NamedTuple):
    number: int
    value: Any
    error: BaseException | None
    nbytes: int
    timing: bytes | None


# What comes from the threads: results, and why a thread has ended that nobody asked to.
_Results: TypeAlias = SimpleQueue["_Result | WorkerDiedError"]


class _Reports:
    """Queues for what threads report that is not the result of a task."""

    def __init__(self) -> None:
        self.made: SimpleQueue[int] = SimpleQueue()  # the workers that are ready, or could not be made so
        self.results: _Results = SimpleQueue()  # of the run that is going on: a thread has ended unasked


class ThreadPool(Generic[T, R]):
    """Does tasks in threads, a bounded number of them ahead of the consumer.

    Whichever thread is free takes the next task, so a slow one does not hold the others up.

    Args:
        make_work: called in each thread with its number; what it returns does the tasks there.
        workers: how many threads.
        in_flight: how many tasks may be begun or done before the consumer asks for their results.
        max_bytes: how large their results may be together, in bytes; None for no bound.
        in_order: give the results in the order of the tasks, else as they come.
        timeout: how long to wait for a result, in seconds; 0 waits for ever.
        turns: give task i to worker i mod `workers`, for workers that go on from task to task.

    >>> with_two = ThreadPool(lambda worker: abs, workers=2, in_flight=4)
    >>> list(with_two.run(iter(range(-3, 0))))
    [3, 2, 1]
    >>> with_two.close()
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
    ) -> None:
        self._size = in_flight
        self._max_bytes = max_bytes
        self._in_order = in_order
        self._timeout = timeout or None
        self._home = os.getpid()
        self._queues: list[SimpleQueue[_Job | None]] = [SimpleQueue() for _ in range(workers if turns else 1)]
        self._reports = _Reports()
        self._make_work = make_work
        self._in_flight: InFlight[T, _Result] | None = None  # of the run that is going on
        self._leaving = 0  # threads that have been told to end, and are not known to have
        self._threads: dict[int, Thread] = {}  # by their numbers
        self._end = weakref.finalize(self, _end, self._threads, self._queues)
        try:
            for number in range(workers):
                self._start(number)
        except BaseException:
            self._end()
            raise

    def _start(self, number: int) -> None:
        thread = Thread(
            target=_serve,
            args=(number, self._make_work, self._queues[number % len(self._queues)], self._reports),
            name=f"headrace worker {number}",
            daemon=True,  # an interpreter that ends asks them to, and waits only so long
        )
        self._threads[number] = thread  # before it is started, so that it is told to end whatever comes between
        thread.start()

    def resize(self, workers: int, in_flight: int, max_bytes: int | None) -> None:
        """Go on with another number of threads; see `ResizablePool`."""
        self._size, self._max_bytes = in_flight, max_bytes
        if self._in_flight is not None:
            self._in_flight.resize(in_flight, max_bytes)
        self._bury_leaving()
        while len(self._threads) - self._leaving > workers:
            self._leaving += 1
            self._queues[0].put(None)
        while len(self._threads) - self._leaving < workers:
            self._start(first_free(self._threads))

    def _bury_leaving(self) -> None:
        """Forget threads that have ended as they were told to."""
        for number, thread in list(self._threads.items()):
            if self._leaving and not thread.is_alive():
                self._leaving -= 1
                del self._threads[number]

    def count_ready(self) -> int:
        """Return how many threads there are: they are ready at once."""
        return len(self._threads)

    def worker_memory(self) -> int:
        """Return 0: threads have all memory together."""
        return 0

    @property
    def closed(self) -> bool:
        """Whether it has no threads: they have ended, or belong to a process that this one was forked from."""
        return not self._end.alive or os.getpid() != self._home

    @property
    def threads(self) -> list[Thread]:
        """Its threads."""
        return list(self._threads.values())

    def wait_for_workers(self) -> None:
        """Wait until `make_work` has been called in all threads.

        Raises:
            WorkerTimeoutError: one of them has not come back from it in time.
        """
        for _ in self._threads:
            try:
                self._reports.made.get(timeout=self._timeout)
            except Empty:
                raise self._timed_out() from None

    def run(self, tasks: Iterator[T]) -> _ThreadResults[T, R]:
        """Begin to do the tasks."""
        in_flight: InFlight[T, _Result] = InFlight(tasks, self._size, self._max_bytes, in_order=self._in_order, first=0)
        self._in_flight = in_flight
        self._reports.results = SimpleQueue()  # a run's own: late results of another are not mixed in
        return _ThreadResults(self, in_flight, self._reports.results)

    def close(self) -> None:
        """End the threads, and wait for the tasks that they have begun."""
        self._end()

    def submit(self, job: _Job) -> None:
        """Let a worker do the job."""
        self._queues[job.number % len(self._queues)].put(job)

    def give_up(self) -> None:
        """Forget the jobs that no worker has begun."""
        for queue in self._queues:
            for job in _drain(queue):
                if job is None and not self.closed:  # for a thread that has yet to hear that it is to end
                    queue.put(None)

    def wait(self, results: _Results) -> _Result:
        """Return the next result to come.

        Raises:
            WorkerTimeoutError: none came in time; the text says where each thread is.
            WorkerDiedError: a thread has ended, though nobody asked it to.
            WorkerError: the pool has been closed meanwhile, by another thread.
        """
        deadline = None if self._timeout is None else monotonic() + self._timeout
        while True:
            found: _Result | WorkerDiedError | None = None
            with suppress(Empty):
                found = results.get(timeout=_LOOK if deadline is None else min(_LOOK, max(0.0, deadline - monotonic())))
            if isinstance(found, _Result):
                return found
            if found is not None:
                try:
                    raise found
                finally:
                    del found  # it refers to this frame, which must not refer to it
            self._look_after_threads()
            if deadline is not None and monotonic() >= deadline:
                raise self._timed_out()

    def _timed_out(self) -> WorkerTimeoutError:
        return WorkerTimeoutError(
            f"no worker thread gave a result within {self._timeout} seconds (timeout={self._timeout}); they "
            f"are at\n{_stacks(self.threads)}"
        )

    def _look_after_threads(self) -> None:
        """Refuse to wait for threads that are there no more."""
        if self.closed:
            raise have_ended()
        self._bury_leaving()
        for number, thread in self._threads.items():
            if not thread.is_alive():  # and could not even say so
                raise _death(number, "without a word")


class _ThreadResults(Generic[T, R]):
    """The results of one run."""

    def __init__(self, pool: ThreadPool[T, R], in_flight: InFlight[T, _Result], results: _Results) -> None:
        self._pool = pool
        self._in_flight = in_flight
        self._results = results
        self.task: T | None = None
        self.clock = StageClock(-1)
        self.timing: bytes | None = None
        self.waiting = 0
        self._home = os.getpid()
        self._ending: Callable[[], WorkerError] | None = None  # makes the error that says why it cannot go on
        self._submit()

    def __iter__(self) -> _ThreadResults[T, R]:
        return self

    def __next__(self) -> R:
        self.task = self.timing = None
        if self._ending is not None:
            raise self._ending()
        check_home(self._home)
        try:
            number = self._wait()
        except WorkerDiedError as error:
            self._stop(partial(WorkerDiedError, *error.args))
            self._pool.close()
            raise
        except WorkerError:
            raise
        except BaseException:  # raised by a signal's handler, as Ctrl-C is: a result that just came may be lost
            self._stop(interrupted)
            raise
        if number is None:
            raise StopIteration
        self.task, outcome = self._in_flight.hand_out(number)
        if isinstance(outcome, BaseException):
            outcome = _Result(number, None, outcome, 0, None)
        self.timing = outcome.timing
        if outcome.error is not None:
            try:
                raise outcome.error
            finally:
                del outcome  # the error refers to this frame, which must not refer to it
        value: R = outcome.value
        return value

    def _stop(self, ending: Callable[[], WorkerError]) -> None:
        self._ending = ending
        self.close()

    def _wait(self) -> int | None:
        """Return the number of the task whose result comes next, once it is there; None if there are no more."""
        self._submit()
        self.waiting = self._in_flight.waiting + self._results.qsize()
        while len(self._in_flight) and self._in_flight.ready() is None:
            result = self._pool.wait(self._results)
            self._in_flight.finish(result.number, result, result.nbytes)
        return self._in_flight.ready()

    def close(self) -> None:
        """Give up the tasks that no thread has begun."""
        self._in_flight.clear()
        self._pool.give_up()

    def _submit(self) -> None:
        self.clock.start()
        drawn = self._in_flight.draw()
        self.clock.lap(ORDER)
        for number, task in drawn:
            self._pool.submit(_Job(number, task, self._results))


def _serve(number: int, make_work: MakeWork[Any, Any], queue: SimpleQueue[_Job | None], reports: _Reports) -> None:
    """Do tasks in a worker thread until it is given None."""
    try:
        _do_tasks(number, make_work, queue, reports.made)
    except BaseException as error:  # raised by other than the work: memory has run out, or someone ended the thread
        death = _death(number, f"by {type(error).__name__}: {text_of(error)}")
        set_cause(death, error)
        reports.results.put(death)
        reports.made.put(number)  # or its start would be waited for


def _do_tasks(
    number: int, make_work: MakeWork[Any, Any], queue: SimpleQueue[_Job | None], made: SimpleQueue[int]
) -> None:
    clock = StageClock(number, alone=False)
    try:
        with timing(clock):
            work = make_work(number)
    except BaseException as error:
        work = failing(error)
    made.put(number)
    while (job := queue.get()) is not None:
        job.results.put(_do(work, job, clock))
        del job  # or the batch would be kept while there is nothing to do


def _do(work: Callable[[Any], Any], job: _Job, clock: StageClock) -> _Result:
    clock.start()
    try:
        value = work(job.task)
        return _Result(job.number, value, None, count_bytes(value), clock.take())
    except BaseException as error:  # it is the consumer's
        return _Result(job.number, None, error, 0, clock.take())


def _death(number: int, how: str) -> WorkerDiedError:
    return WorkerDiedError(f"worker thread {number} ended {how}; begin a new iterator")


def _end(threads: dict[int, Thread], queues: list[SimpleQueue[_Job | None]]) -> None:
    end_surely(partial(_tell_to_end, threads, queues))
    deadline = monotonic() + _PATIENCE
    for thread in list(threads.values()):
        if thread.ident is not None and thread is not current_thread():
            thread.join(max(0.0, deadline - monotonic()))


def _tell_to_end(threads: dict[int, Thread], queues: list[SimpleQueue[_Job | None]]) -> None:
    for queue in queues:
        _drain(queue)
    for number in threads:
        queues[number % len(queues)].put(None)


# How long the end of a pool waits for tasks that have begun, in seconds: a thread that is stuck cannot
# be stopped, and goes with the process.
_PATIENCE = 5.0
# How often a thread that waits for a result looks whether there still are workers, in seconds.
_LOOK = 0.5


def _drain(queue: SimpleQueue[Any]) -> list[Any]:
    """Empty the queue, and return what was in it."""
    found = []
    with suppress(Empty):
        while True:
            found.append(queue.get_nowait())
    return found


def _stacks(threads: list[Thread]) -> str:
    """Return the traceback of each thread."""
    frames = sys._current_frames()  # noqa: SLF001 - as the standard library's own debuggers do
    try:
        return "\n".join(f"{thread.name}:\n{_stack(frames.get(thread.ident or 0))}" for thread in threads)
    finally:
        frames.clear()  # this one is among them, and would refer to itself


def _stack(frame: FrameType | None) -> str:
    return "".join(traceback.format_stack(frame)) if frame else "  (it has ended)\n"


class _Threads(Backend):
    """Threads of this process."""

    name = "thread"
    separate = False

    def make_pool(
        self, make_work: MakeWork[Any, Any], options: PoolOptions, given: Mapping[str, Any]
    ) -> ThreadPool[Any, Any]:
        if given["worker_init_fn"] is None:
            return ThreadPool(make_work, **options)
        states = frameworks.global_states()
        pool: ThreadPool[Any, Any] = ThreadPool(make_work, **options)
        try:
            pool.wait_for_workers()
        except BaseException:
            pool.close()
            raise
        finally:
            # A worker_init_fn seeds those of a process, and here they are the program's.
            frameworks.restore_globals(states)
        return pool


BACKEND = _Threads()
