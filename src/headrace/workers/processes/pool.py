"""Workers that are processes: Python runs in all of them at the same time.

Nothing in the consumer runs beside it: no thread, no signal handler. Tasks wait where all workers
take them from, so whichever is free goes on by itself while the consumer computes, and a slow task
does not hold the others up. Arrays come back in memory that both sides have mapped (see `memory`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from headrace.workers.memory import private_memory
from headrace.workers.pickling.messages import load
from headrace.workers.processes.supervisor import Supervisor
from headrace.workers.supervised import SupervisedPool

if TYPE_CHECKING:
    from headrace.workers.base import MakeWork
    from headrace.workers.processes.worker import Answer

__all__ = ["ProcessPool"]

T = TypeVar("T")
R = TypeVar("R")


class ProcessPool(SupervisedPool[T, R, "Answer"]):
    """Does tasks in processes, a bounded number of them ahead of the consumer.

    Args:
        make_work: called in each process with its number; what it returns does the tasks there.
        workers: how many processes.
        in_flight: how many tasks may be begun or done before the consumer asks for their results.
        max_bytes: how large their results may be together, in bytes; None for no bound.
        in_order: give the results in the order of the tasks, else as they come.
        timeout: how long to wait for a result, in seconds; 0 waits for ever.
        turns: give task i to worker i mod `workers`, for workers that go on from task to task.
        context: a start method or context of `multiprocessing`; None starts clean interpreters.
        restart: start a new worker in place of one that dies, and do its task again.

    Raises:
        NotPicklableError: the work cannot be sent to a process.

    >>> with_one = ProcessPool(lambda worker: abs, workers=1, in_flight=2)
    >>> list(with_one.run(iter(range(-3, 0))))
    [3, 2, 1]
    >>> with_one.close()
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
        context: Any = None,
        restart: bool = False,
    ) -> None:
        spare = _spare(workers, in_flight)
        supervisor = Supervisor(make_work, workers, spare, timeout or None, context, turns=turns, restart=restart)
        self._processes = supervisor
        super().__init__(supervisor, in_flight, max_bytes, in_order=in_order)

    def resize(self, workers: int, in_flight: int, max_bytes: int | None) -> None:
        """Go on with another number of processes; see `ResizablePool`."""
        self.allow(in_flight, max_bytes)
        self._processes.resize(workers, _spare(workers, in_flight))

    def count_ready(self) -> int:
        """Return how many workers could begin with a task at once, or have died before they could."""
        return self._processes.count_ready()

    def worker_memory(self) -> int:
        """Return the bytes of memory of the largest worker that no other process has mapped."""
        return max((private_memory(process.pid) for process in self._processes.processes), default=0)

    def open(self, answer: Answer) -> Any:
        """Return the result that an answer holds."""
        return load(answer.payload, answer.worker.segments.views(answer.places))

    def forget(self, answer: Answer) -> None:
        """Give back the memory of an answer that nobody opens."""
        answer.worker.segments.forget(answer.places)


def _spare(workers: int, in_flight: int) -> int:
    """Return for how many batches a worker needs segments.

    For its share of the tasks in flight, the batch it writes, and two more: it may be ahead of the others, and segments
    take their time to come back. New ones cost more than batches do, since the system clears each page.
    """
    return -(-in_flight // workers) + 3
