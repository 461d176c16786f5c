"""One worker process as the consumer sees it: the talk with it, its segments, and what became of it."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections import deque
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.errors import WorkerError
from headrace.workers.processes.channel import Channel
from headrace.workers.processes.interrupts import hold_signals
from headrace.workers.processes.report import Report
from headrace.workers.processes.segments import MappedSegments, SegmentRange
from headrace.workers.processes.serve import serve_context
from headrace.workers.processes.start import CODE_UNKNOWN, Descriptor, WorkerProcess, start_in_context
from headrace.workers.processes.template import start_from_template

if TYPE_CHECKING:
    from collections.abc import Collection

    from headrace.workers.base import MakeWork
    from headrace.workers.shared_file import SharedFile

__all__ = ["Answer", "Worker"]


class Answer(NamedTuple):
    """A worker's result of a task, or its error."""

    worker: Worker
    number: int  # of the task
    good: bool
    payload: bytes
    places: list[SegmentRange | bytearray]
    timing: bytes

    @property
    def nbytes(self) -> int:
        """The memory that the result takes, in bytes."""
        return len(self.payload) + sum(
            place.nbytes if isinstance(place, SegmentRange) else len(place) for place in self.places
        )


class Worker:
    """One of the worker processes of a supervisor.

    Args:
        number: which of them.
        most_held: how many of its segments the consumer may hold.
    """

    def __init__(self, number: int, most_held: int) -> None:
        self.number = number
        self.segments = MappedSegments(most_held)
        self._unsent: deque[bytes] = deque()  # messages about segments; waiting to send one could be for ever
        self.control, self._theirs = Channel.pair()
        self.report = Report()  # last: what it holds is not given up by itself if something fails here
        self._process: WorkerProcess | None = None  # until it is started

    @property
    def is_started(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    @property
    def process(self) -> WorkerProcess:
        """The process, once it has been started."""
        assert self._process is not None  # noqa: S101 - a supervisor has only workers that have
        return self._process

    def start(
        self, tasks: Channel, context: Any, forked: MakeWork[Any, Any] | None, modules: Collection[str] = ()
    ) -> None:
        """Start the process.

        Args:
            tasks: where it takes tasks from.
            context: of `multiprocessing`; None for a process as clean as a new interpreter.
            forked: makes its work, where it inherits that.
            modules: names of those that its work needs.
        """
        files = self._theirs.fileno(), tasks.fileno(), self.report.file
        # Or a Ctrl-C could leave a process that nobody knows, and its files. A fork would inherit the handlers.
        with hold_signals() if forked is None else nullcontext():
            if context is None:
                self._process = start_from_template(files, modules)
            else:
                arguments = (*map(Descriptor, files), os.getpid(), forked, self.number)
                self._process = start_in_context(context, serve_context, arguments)
            self._theirs.close()  # so that this process hears when the worker closes it

    def descriptors(self) -> list[int]:
        """Return the descriptors that become readable when the worker has sent something or ended."""
        sentinel = self.process.sentinel
        return [self.control.fileno(), *([] if sentinel is None else [sentinel])]

    def send_setup(self, file: int, places: list[tuple[int, int, bool]], shared: list[SharedFile]) -> None:
        """Send the work, which lies in a file, and the shared files that it refers to."""
        files = [file, *(each.descriptor for each in shared)]
        with suppress(OSError):  # it has died already, which will be noticed
            self.control.send(pickle.dumps((self.number, sys.argv, places)), files)

    def receive(self) -> Answer | None:
        """Return the next answer that has come; None if it was a segment instead, which a later answer needs.

        Raises:
            BlockingIOError: nothing has come.
            EOFError: it has closed its end.
            WorkerError: this process has too many files open to take a segment in.
        """
        try:
            message, files = self.control.receive(wait=False)
            content = pickle.loads(message)  # noqa: S301 - from a process of this one's
            if not files:
                return Answer(self, *content)
            number, nbytes = content
            try:
                self.segments.map(number, nbytes, files[0])
            finally:
                os.close(files[0])
        except BlockingIOError:
            raise
        except OSError as error:
            raise WorkerError(
                f"a batch of worker {self.number} cannot be taken in: {error}; keep fewer batches, or copies of them, "
                "since each takes a descriptor, or let this process have more (ulimit -n)"
            ) from error
        return None

    def return_segments(self, spare: int) -> None:
        """Give segments back to the worker once their last views are gone.

        Args:
            spare: for how many batches it needs segments.
        """
        if self.segments.some_ended:
            self._unsent.append(pickle.dumps(self.segments.take_ended(spare)))
        if self._unsent:
            with suppress(OSError):  # it is too busy to read, or has died
                while self._unsent:
                    self.control.send(self._unsent[0], wait=False)
                    self._unsent.popleft()

    def stacks(self) -> str:
        """Return the worker's name and the traceback of each of its threads."""
        pid = self.process.pid
        return f"worker {self.number} (pid {pid}):\n{self.report.stacks(pid)}"

    def death_text(self, code: int | None, task: object) -> str:
        """Return a sentence that says how the worker died.

        Args:
            code: its exit code, or minus a signal; None if it has closed its connection and still runs.
            task: what it had in hand; None for nothing.
        """
        what = "between tasks" if task is None else f"while it loaded {task}"
        if not self.report.ready:
            what = "while it started (its standard error may say why)"
        memory = self.report.memory
        used = f"; before that it had {memory / 1e6:.0f} MB of memory" if memory else ""
        return f"worker {self.number} (process {self.process.pid}) {_end_text(code)} {what}{used}"

    def close(self) -> None:
        """Give up all that this process holds of it, except memory that the user refers to."""
        self._theirs.close()
        self.control.close()
        self.report.close()
        if self._process is not None:
            self._process.close()


def _end_text(code: int | None) -> str:
    if code is None:
        return "closed its connection"
    if code == CODE_UNKNOWN:
        return "ended, of what is not known (its exit code went elsewhere, as it does where SIGCHLD is ignored),"
    if code >= 0:
        return f"ended with exit code {code}"
    by_system = ", as the system does when memory runs out," if -code == signal.SIGKILL else ""
    return f"was killed by signal {-code} ({_signal_name(-code)}){by_system}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
