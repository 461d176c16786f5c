"""The template process: it imports what workers need, forks them, and tells how they end."""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import os
import pickle
import select
import signal
import socket
import sys
import threading
import traceback
import warnings
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TypeAlias

from headrace.workers.info import be_worker_process
from headrace.workers.processes.channel import Channel
from headrace.workers.processes.serve import serve_descriptors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from headrace.workers.processes.start import WorkerProcess

__all__ = ["run_template"]

# jemalloc's own thread, which each process with pyarrow has: jemalloc makes forks safe, as glibc's malloc does.
_HARMLESS = {"jemalloc_bg_thd"}
# How long workers have to end by themselves when the program has died, in seconds: they notice it, too.
_PATIENCE = 5.0


def run_template(connection: int, program: int) -> None:
    """Be a template until the program ends or closes the connection; in each process forked from here, be a worker.

    Args:
        connection: the descriptor of the connection to the program.
        program: the number of its process.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a program that ignores it would hide how workers end
    _write_nowhere(2)  # what it has kept open, others may wait for
    template = _TemplateServer(Channel(socket.socket(fileno=connection)), program)
    files = template.run()
    if files is not None:
        files.use_streams()
        _exit_after(partial(serve_descriptors, files.descriptors, program))


def _exit_after(serve: Callable[[], None]) -> NoReturn:
    """Serve, and end this process as an interpreter ends, but for taking all modules apart.

    That would touch, and so copy, the memory of whatever the template has imported: with torch it takes longer than
    all of the start.
    """
    code: object = 0
    try:
        serve()
    except SystemExit as stop:
        code = stop.code
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001 - nobody else waits for other threads
    atexit._run_exitfuncs()  # noqa: SLF001 - as `multiprocessing` does in its own children
    be_worker_process(None)  # what this replaces, and who waits for an import to tell it, knows of the dataset
    sys.meta_path.clear()
    gc.collect()  # what a dataset has open may be held in circles
    files = [each for each in gc.get_objects() if issubclass(type(each), io.IOBase)]
    for file in (*files, sys.stdout, sys.stderr):  # the standard streams are of before the fork, and not always listed
        with suppress(Exception):  # closed, or nobody reads it
            file.flush()
    os._exit(code if isinstance(code, int) else code is not None)


def _write_nowhere(stream: int) -> None:
    file = os.open(os.devnull, os.O_WRONLY)
    os.dup2(file, stream)
    os.close(file)


class _WorkerFiles(NamedTuple):
    """The open files of a worker."""

    control: int
    tasks: int
    report: int
    status: int
    directory: int
    output: int
    errors: int

    @property
    def descriptors(self) -> tuple[int, int, int]:
        return self.control, self.tasks, self.report

    def use_streams(self) -> None:
        """Write to the streams of the program in this process."""
        for file, number, stream in ((self.output, 1, sys.stdout), (self.errors, 2, sys.stderr)):
            os.dup2(file, number)
            os.close(file)
            if stream is not None:
                stream.reconfigure(line_buffering=number == 2 or os.isatty(number))  # type: ignore[union-attr]


class _Forked:
    """A worker that was forked, with what the template asks of any."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.sentinel: int | None = os.pidfd_open(pid)

    def poll(self) -> int | None:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        if self.sentinel is not None:
            os.close(self.sentinel)
            self.sentinel = None


_Child: TypeAlias = "_Forked | WorkerProcess"


class _TemplateServer:
    """The process itself.

    Args:
        connection: to the program.
        program: the number of its process.
    """

    def __init__(self, connection: Channel, program: int) -> None:
        self._connection = connection
        self._program = program
        self._program_file = os.pidfd_open(program)
        self._children: dict[int, tuple[_Child, Channel]] = {}  # by their sentinels
        self._threaded: list[str] = []
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._poll.register(self._program_file, select.POLLIN)

    def run(self) -> _WorkerFiles | None:
        """Start workers as long as the program may ask for some, and see to their end.

        Returns:
            In a worker, its open files. In the template None, when nobody needs it any more.
        """
        asked = True
        while asked or self._children:
            for file, _ in self._poll.poll():
                if file == self._program_file:
                    self._end_children()
                    return None
                if file in self._children:
                    self._bury(file)
                    continue
                try:
                    message, files = self._connection.receive()
                except (EOFError, OSError):
                    self._poll.unregister(self._connection)
                    asked = False
                    continue
                if not files:
                    self._prepare(message)
                elif self._start(_WorkerFiles(*files)):
                    return _WorkerFiles(*files)
        return None

    def _prepare(self, message: bytes) -> None:
        """Take the program's state over, and import what workers need."""
        state, modules = pickle.loads(message)  # noqa: S301 - from the process that started this one
        state.apply()
        if self._import(modules):
            # What is there stays: collecting garbage in a worker would write to the pages of all that it looks at.
            gc.collect()
            gc.freeze()

    def _import(self, modules: Iterable[str]) -> bool:
        """Return whether there was anything to import. Nothing more is imported once there are threads."""
        missing = [name for name in modules if name not in sys.modules]
        for name in missing:
            if self._threaded:
                break
            with suppress(Exception, SystemExit):  # the worker that needs it will say so
                importlib.import_module(name)
            if _has_threads():
                self._threaded = [name]
                self._connection.send(pickle.dumps(self._threaded))
        return bool(missing)

    def _start(self, files: _WorkerFiles) -> bool:
        """Start a worker, and return whether this is it."""
        status = Channel(socket.socket(fileno=files.status))
        child: _Child | None = None
        try:
            if not _is_readable(status):  # else the program does not want it any more
                os.fchdir(files.directory)
                if _has_threads():
                    from headrace.workers.processes.start import (
                        start_clean,  # what it imports is imported in no worker else
                    )

                    child = start_clean(files.descriptors, self._program, (files.output, files.errors))
                elif (pid := _fork()) == 0:
                    self._leave(files, status)
                    return True
                else:
                    child = _Forked(pid)
        except OSError as error:
            os.write(files.errors, f"headrace: a worker could not be started: {error}\n".encode())
        for file in {*files} - {files.status}:
            os.close(file)
        if child is None or child.sentinel is None:
            status.close()
        else:
            self._watch(child, child.sentinel, status)
        return False

    def _watch(self, child: _Child, sentinel: int, status: Channel) -> None:
        self._children[sentinel] = child, status
        self._poll.register(sentinel, select.POLLIN)
        with suppress(OSError):  # the program has gone
            status.send(str(child.pid).encode(), [sentinel])

    def _leave(self, files: _WorkerFiles, status: Channel) -> None:
        """Close in a new worker what is the template's."""
        for sentinel, (_, other) in self._children.items():
            os.close(sentinel)
            other.close()
        status.close()
        self._connection.close()
        os.close(self._program_file)
        os.close(files.directory)

    def _bury(self, sentinel: int) -> None:
        """Tell how a worker has ended."""
        child, status = self._children[sentinel]
        code = child.poll()
        if code is None:
            return
        self._poll.unregister(sentinel)
        del self._children[sentinel]
        with suppress(OSError):  # the program does not listen any more
            status.send(str(code).encode())
        status.close()
        child.close()

    def _end_children(self) -> None:
        """End the workers of a program that has died, if they do not by themselves."""
        deadline = monotonic() + _PATIENCE
        for sentinel, (child, _) in self._children.items():
            if not _is_readable(sentinel, max(0.0, deadline - monotonic())):
                child.kill()


def _is_readable(file: int | Channel, timeout: float = 0.0) -> bool:
    """Return whether the file becomes readable, or closed at its other end, within so many seconds."""
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


def _fork() -> int:
    """Fork, and let nobody warn of jemalloc's thread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return os.fork()


def _has_threads() -> bool:
    """Return whether this process has threads that a fork of it would miss."""
    names = [path.read_text(encoding="utf-8").strip() for path in Path("/proc/self/task").glob("*/comm")]
    return len([name for name in names if name not in _HARMLESS]) > 1
