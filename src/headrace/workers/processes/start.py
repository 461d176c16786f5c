"""The start of worker processes: as clean interpreters, or by a context of `multiprocessing`.

A clean interpreter is not a fork of this process, whose threads and locks it would inherit half,
and does not run the main script again, so that needs no guard. All it gets are a few descriptors.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from headrace.errors import WorkerError
from headrace.workers.processes.process_state import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = [
    "CODE_UNKNOWN",
    "Descriptor",
    "WorkerProcess",
    "check_executable",
    "interpreter_flags",
    "is_readable",
    "open_process",
    "start_clean",
    "start_in_context",
    "without_interrupts",
]

# In place of an exit code, all of which are smaller, where nobody has been told of it.
CODE_UNKNOWN = 1 << 10
# How long after the end of a process its exit code may take to come from where it is waited for, in seconds.
_CODE_PATIENCE = 1.0


_PROGRAM = """
import sys
sys.path[:] = {path!r}
from headrace.workers.processes.serve import serve_descriptors
serve_descriptors({descriptors!r}, {parent!r})
"""


class WorkerProcess(Protocol):
    """A process that has been started."""

    @property
    def pid(self) -> int:
        """Its number; 0 as long as it has not begun."""

    @property
    def sentinel(self) -> int | None:
        """A descriptor that becomes readable when it ends; None where the system has none."""

    def poll(self) -> int | None:
        """Return its exit code, or minus the signal that killed it; None while it runs."""

    def wait(self, timeout: float) -> int | None:
        """Return the same, waited for, in seconds."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it."""

    def close(self) -> None:
        """Give up what this process holds of it, once it has ended."""


def start_clean(descriptors: Sequence[int], parent: int, streams: tuple[int, int] | None = None) -> WorkerProcess:
    """Start a clean interpreter.

    Args:
        descriptors: open files for `serve_descriptors`.
        parent: the number of the process that it must not outlive.
        streams: open files for its output and its errors; None for those of this process.

    Raises:
        WorkerError: this interpreter does not know its own program.
    """
    check_executable()
    path = [str(entry) for entry in sys.path]
    program = _PROGRAM.format(path=path, descriptors=tuple(descriptors), parent=parent)
    output, errors = (None, None) if streams is None else streams
    with without_interrupts():
        process = subprocess.Popen(  # noqa: S603 - this interpreter
            [sys.executable, *interpreter_flags(), "-c", program],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env=environment(),
            pass_fds=descriptors,
        )
    return _CleanProcess(process)


def check_executable() -> None:
    """Refuse to start interpreters where that cannot be.

    Raises:
        WorkerError: this interpreter does not know its own program.
    """
    if not sys.executable:
        raise WorkerError(
            "this interpreter does not know its own program (sys.executable is empty), so it cannot start worker "
            'processes; set it, or take multiprocessing_context="fork" or backend="thread"'
        )


def interpreter_flags() -> list[str]:
    """Return the options that this interpreter was started with."""
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined] # noqa: SLF001 - as multiprocessing does
    return flags


def start_in_context(context: Any, serve: Callable[..., None], arguments: tuple[Any, ...]) -> WorkerProcess:
    """Start a process of a context of `multiprocessing`.

    Args:
        context: the context.
        serve: what the process does.
        arguments: what that is called with; file descriptors as `Descriptor`.
    """
    from multiprocessing import process as registry

    process = context.Process(target=serve, args=arguments, name="headrace worker", daemon=False)
    with without_interrupts():
        process.start()
    # Its end is the pool's business. multiprocessing would see to that, too, where a fork of this process
    # exits; and it allows a daemon, as it calls those that it ends, no processes of its own.
    getattr(registry, "_children", set()).discard(process)
    return _ContextProcess(process)


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back, for the child too: it inherits this until it can deal with it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Descriptor:
    """An open file that a process of a context inherits.

    Args:
        file: the descriptor.
    """

    def __init__(self, file: int) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, ...]:
        from multiprocessing.reduction import DupFd

        return _received, (DupFd(self._file),)

    def detach(self) -> int:
        """Return the descriptor, in the process that it is meant for."""
        return self._file


def _received(duplicate: Any) -> Descriptor:
    return Descriptor(duplicate.detach())


def open_process(pid: int) -> int | None:
    """Return a descriptor of a process, which becomes readable when it ends; None where the system has none."""
    if hasattr(os, "pidfd_open"):
        with suppress(OSError):  # a kernel or a sandbox without it
            return os.pidfd_open(pid)
    return None


def is_readable(file: int, timeout: float) -> bool:
    """Return whether the file becomes readable, or closed at its other end, within so many seconds."""
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


class _CleanProcess:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._code_is_lost = False
        self.pid = process.pid
        self.sentinel = open_process(process.pid)

    def poll(self) -> int | None:
        if self._process.returncode is None and _is_reaped(self.pid):
            self._code_is_lost = True
        code = self._process.poll()
        return CODE_UNKNOWN if self._code_is_lost else code

    def wait(self, timeout: float) -> int | None:
        if self.sentinel is not None:  # it tells at once, where subprocess would look from time to time
            is_readable(self.sentinel, timeout)
            return self.poll()
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout)
        return None

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        if self.sentinel is not None:
            os.close(self.sentinel)
            self.sentinel = None


class _ContextProcess:
    def __init__(self, process: Any) -> None:
        self._process = process
        self.pid: int = process.pid
        self.sentinel: int | None = process.sentinel
        # Of a process whose exit code was taken by another, multiprocessing never says that it has ended.
        self._file = open_process(self.pid)

    def poll(self) -> int | None:
        return self.wait(0)

    def wait(self, timeout: float) -> int | None:
        self._process.join(timeout)
        code: int | None = self._process.exitcode
        if code is None and self._file is not None and is_readable(self._file, 0):
            self._process.join(_CODE_PATIENCE)  # a server of multiprocessing may not have sent it yet
            code = self._process.exitcode
            if code is None:
                code = CODE_UNKNOWN
                self._process._popen.returncode = code  # noqa: SLF001 - or it cannot be closed
        return code

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self.sentinel = None
        if self._file is not None:
            os.close(self._file)
            self._file = None
        with suppress(ValueError):  # not even SIGKILL has ended it yet
            self._process.close()


def _is_reaped(pid: int) -> bool:
    """Return whether the exit code of a child has gone elsewhere: to nobody, where SIGCHLD is ignored, for one."""
    if not hasattr(os, "waitid"):
        return False
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False
