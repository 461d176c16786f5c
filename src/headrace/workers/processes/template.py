"""The template: a process that has imported what workers need, and from which they are forked.

There is one for each program. It has no threads and no work, so a fork of it is as clean as a new interpreter; but it
costs no imports, and the memory of what is imported is shared. What a worker has from the program otherwise (the
environment, open files, limits) is sent with each start, as it is then.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import weakref
from contextlib import suppress
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from headrace.workers.processes.channel import Channel
from headrace.workers.processes.preload import modules_to_preload
from headrace.workers.processes.process_state import ProcessState, environment
from headrace.workers.processes.start import (
    CODE_UNKNOWN,
    check_executable,
    interpreter_flags,
    is_readable,
    start_clean,
    without_interrupts,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from headrace.workers.processes.start import WorkerProcess

__all__ = ["prepare_template", "start_from_template"]

_PROGRAM = """
import sys
sys.path[:] = {path!r}
from headrace.workers.processes.template_process import run_template
run_template({connection!r}, {program!r})
"""
# What an interpreter or a library reads as it is loaded: another value takes another template.
_READ_AT_LOAD = ("PYTHON", "LD_", "OMP_", "OPENBLAS_", "MKL_", "KMP_", "GOMP_", "MALLOC_", "GLIBC_")


def prepare_template() -> None:
    """Start the template if there is none, and do not wait for it.

    Raises:
        WorkerError: this interpreter does not know its own program.
    """
    _templates.prepare()


def start_from_template(descriptors: Sequence[int], modules: Iterable[str]) -> WorkerProcess:
    """Start a worker as a fork of the template, or as a clean interpreter where that cannot be.

    Args:
        descriptors: open files for `serve_descriptors`.
        modules: names of modules that the worker needs.

    Raises:
        WorkerError: this interpreter does not know its own program.
    """
    return _templates.start(descriptors, modules)


class _Templates:
    """The templates of this process: the present one, and those that it replaced."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._present: _TemplateHandle | None = None
        self._former: list[_TemplateHandle] = []  # some may have workers still
        self._excluded: set[str] = set()  # modules that start threads
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def prepare(self) -> None:
        if _is_possible():
            with self._lock:
                self._fitting()

    def start(self, descriptors: Sequence[int], modules: Iterable[str]) -> WorkerProcess:
        if not _is_possible():
            return start_clean(descriptors, os.getpid())
        with self._lock:
            names = modules_to_preload(modules)
            for _ in range(2):  # it may have died without a word; then a new one serves
                template = self._fitting()
                with suppress(ConnectionError):
                    return template.start(descriptors, [name for name in names if name not in self._excluded])
                self._retire()
        return start_clean(descriptors, os.getpid())

    def _fitting(self) -> _TemplateHandle:
        if self._present is not None:
            threaded = self._present.threaded_modules()
            if threaded or not self._present.fits():
                self._excluded.update(threaded)
                self._retire()
        if self._present is None:
            self._present = _TemplateHandle()
        return self._present

    def _retire(self) -> None:
        if self._present is not None:
            self._present.retire()
            self._former = [template for template in [*self._former, self._present] if not template.has_ended()]
            self._present = None

    def _forget(self) -> None:
        """Leave the templates to the process that this one was forked from."""
        for template in [*self._former, *([] if self._present is None else [self._present])]:
            template.disown()
        self._lock = Lock()
        self._present = None
        self._former = []


_templates = _Templates()


class _TemplateHandle:
    """One template process, seen from the program."""

    def __init__(self) -> None:
        check_executable()
        self._needs = _needs()
        self._sent: bytes | None = None  # the state that it knows
        self._connection, theirs = Channel.pair()
        program = _PROGRAM.format(
            path=[str(entry) for entry in sys.path], connection=theirs.fileno(), program=os.getpid()
        )
        with without_interrupts():
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter
                [sys.executable, *interpreter_flags(), "-c", program],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=environment(),
                pass_fds=[theirs.fileno()],
            )
        theirs.close()
        self._end = weakref.finalize(self, _end, self._process, self._connection)

    def fits(self) -> bool:
        """Return whether it runs, and is as a new one would be."""
        return self._process.poll() is None and self._needs == _needs()

    def threaded_modules(self) -> set[str]:
        """Return the modules whose import has started threads there, so that it cannot be forked any more."""
        found: set[str] = set()
        with suppress(BlockingIOError, EOFError):
            while True:
                message, _ = self._connection.receive(wait=False)
                found.update(pickle.loads(message))  # noqa: S301 - from a process of this one's
        return found

    def start(self, descriptors: Sequence[int], modules: list[str]) -> WorkerProcess:
        """Have a worker started, and do not wait for it.

        Raises:
            ConnectionError: the template has died.
        """
        state = pickle.dumps((ProcessState.now(), modules))
        if state != self._sent:
            self._connection.send(state)
            self._sent = state
        status, theirs = Channel.pair()
        directory, *streams = opened = [os.open(".", os.O_PATH), _stream(1), _stream(2)]
        try:
            self._connection.send(b"", [*descriptors, theirs.fileno(), directory, *streams])
        except BaseException:
            status.close()
            raise
        finally:
            theirs.close()
            for file in opened:
                os.close(file)
        return _ForkedProcess(status)

    def retire(self) -> None:
        """Let it end as soon as its workers have."""
        self._connection.close()

    def has_ended(self) -> bool:
        """Return whether it has ended."""
        return self._process.poll() is not None

    def disown(self) -> None:
        """Forget it in a fork of the program, whose child it is not."""
        self._end.detach()
        self._connection.close()
        self._process.returncode = 0  # or its end would be asked for


def _end(process: subprocess.Popen[bytes], connection: Channel) -> None:
    """End a template at once: it has nothing to lose, and its workers do not need it."""
    connection.close()
    process.kill()
    process.wait()


def _is_possible() -> bool:
    """Return whether the system tells of the end of a process that is not a child of this one."""
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:  # a sandbox without it
        return False
    return True


def _needs() -> tuple[object, ...]:
    """Return what no process can change once it runs, and no worker may have otherwise than the program."""
    variables = {name: value for name, value in environment().items() if name.startswith(_READ_AT_LOAD)}
    return sys.executable, interpreter_flags(), variables, os.getresuid(), os.getresgid(), os.getgroups()


def _stream(file: int) -> int:
    """Return a copy of an open file of this process, or of one that takes nothing if it is closed."""
    try:
        return os.dup(file)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)


class _ForkedProcess:
    """A worker that the template starts.

    The template says over a connection that it has, and how the worker has ended. If the template dies, the worker's
    end can still be seen, but not how it ended.

    Args:
        status: the connection.
    """

    def __init__(self, status: Channel) -> None:
        self.sentinel: int | None = status.fileno()
        self._status: Channel | None = status
        self._number = 0
        self._file: int | None = None  # of the process
        self._code: int | None = None

    @property
    def pid(self) -> int:
        self.poll()
        return self._number

    def poll(self) -> int | None:
        with suppress(BlockingIOError):
            while self._code is None and self._status is not None:
                self._take(self._status)
        if self._status is None and self._code is None and self._file is not None and is_readable(self._file, 0):
            self._code = CODE_UNKNOWN
        return self._code

    def wait(self, timeout: float) -> int | None:
        deadline = monotonic() + timeout
        while self.poll() is None and self.sentinel is not None:
            if not is_readable(self.sentinel, max(0.0, deadline - monotonic())):
                break
        return self._code

    def terminate(self) -> None:
        self._send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self._send_signal(signal.SIGKILL)

    def close(self) -> None:
        if self._status is not None:
            self._status.close()
        elif self.sentinel is not None:
            os.close(self.sentinel)
        if self._file is not None:
            os.close(self._file)
        self._status = self.sentinel = self._file = None

    def _take(self, status: Channel) -> None:
        """Take in what the template says.

        Raises:
            BlockingIOError: it says nothing.
        """
        try:
            message, files = status.receive(wait=False)
        except EOFError:  # the template has gone
            self._watch_process(status)
            return
        if files:
            self._file = files[0]
            self._number = int(message)
        else:
            self._code = int(message)

    def _watch_process(self, status: Channel) -> None:
        """Let the sentinel, which others have noted already, tell of the end of the process itself."""
        if self._file is None:  # it has not started, and will not
            self._code = CODE_UNKNOWN
            return
        self._status = None
        os.dup2(self._file, status.socket.detach(), inheritable=False)

    def _send_signal(self, number: signal.Signals) -> None:
        self.poll()
        if self._file is None:
            self._code = CODE_UNKNOWN  # the template will find nobody to start it for
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._file, number)
