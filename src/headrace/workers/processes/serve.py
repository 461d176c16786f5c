"""The main loop of a worker process: it takes tasks, does them, and sends the results."""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import sys
from contextlib import suppress
from functools import partial
from threading import Thread
from time import sleep
from typing import TYPE_CHECKING, Any

from headrace.batch.arena import use_arena
from headrace.insight.clock import StageClock, present_clock, timing
from headrace.insight.columns import TRANSPORT
from headrace.workers.base import failing
from headrace.workers.pickling.messages import dump_error, dump_result, load
from headrace.workers.processes.channel import Channel
from headrace.workers.processes.orphans import end_with
from headrace.workers.processes.report import ReportWriter
from headrace.workers.processes.segments import SharedArena, map_privately

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.workers.base import MakeWork
    from headrace.workers.processes.start import Descriptor

__all__ = ["LEAVE", "NUMBER_BYTES", "serve_context", "serve_descriptors"]

# A message with a task begins with its number.
NUMBER_BYTES = 8
# The message in place of one to the worker that takes it: there are too many, so it ends.
LEAVE = b"\xff" * NUMBER_BYTES

# How often a worker looks for its parent where the system does not tell of its death, in seconds.
_POLL = 1.0
# How long it has to end when the parent has died, in seconds, and how often it is told to: first after
# a while in which it may notice by itself.
_PATIENCE = 2.0
_ATTEMPTS = 10


def serve_descriptors(descriptors: tuple[int, int, int], parent: int) -> None:
    """Serve in a clean interpreter.

    Args:
        descriptors: those of the connection to the consumer, of the one that tasks come from, and of
            the report.
        parent: the number of the process that this one must not outlive.
    """
    control, tasks = (Channel(socket.socket(fileno=file)) for file in descriptors[:2])
    _Server(control, tasks, descriptors[2], parent).serve(None)


def serve_context(
    control: Descriptor,
    tasks: Descriptor,
    report: Descriptor,
    parent: int,
    make_work: MakeWork[Any, Any] | None,
    worker: int,
) -> None:
    """Serve in a process of a context of `multiprocessing`.

    Args:
        control: the connection to the consumer.
        tasks: the connection that tasks come from.
        report: the file of the report.
        parent: the number of the process that this one must not outlive.
        make_work: what a forked process has inherited; None where it comes over the connection.
        worker: the number of this worker.
    """
    channels = [Channel(socket.socket(fileno=os.dup(end.detach()))) for end in (control, tasks)]
    server = _Server(channels[0], channels[1], report.detach(), parent)
    server.serve(None if make_work is None else partial(_make_work_of, make_work, worker))


class _Server:
    def __init__(self, control: Channel, tasks: Channel, report: int, parent: int) -> None:
        self._control = control
        self._tasks = tasks
        self._report_file = report
        self._parent = parent
        self._stopping = False  # it has been told to end
        self._leaving = False  # it is about to
        self._arena = SharedArena()
        self._clock = StageClock()

    def serve(self, make: Callable[[], Callable[[Any], Any]] | None) -> None:
        """Do tasks until the consumer has closed the connection.

        Args:
            make: makes the work; None asks the consumer for it.
        """
        self._handle_signals()
        end_with(self._parent)
        Thread(target=_end_with, args=(self._parent, self._control), daemon=True).start()
        self._report = ReportWriter(self._report_file)
        try:
            with suppress(EOFError, BrokenPipeError, ConnectionError):  # nobody is there any more
                work = self._make_work(make)
                with use_arena(self._arena):
                    while not self._stopping:  # a dataset that catches everything has caught the order to end, too
                        self._do_next(work)
        finally:
            self._leaving = True
            self._tasks.close()

    def _handle_signals(self) -> None:
        # Ctrl-C goes to all processes of a terminal. The consumer's own will end this one.
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.signal(signal.SIGTERM, self._stop)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def _stop(self, *_: object) -> None:
        """End this process in an orderly way, whatever it does, so that what is open gets closed."""
        self._stopping = True
        if not self._leaving:
            sys.exit(128 + signal.SIGTERM)

    def _make_work(self, make: Callable[[], Callable[[Any], Any]] | None) -> Callable[[Any], Any]:
        if make is None:
            message, files = self._control.receive()
            make = partial(_unpack_work, message, files)
        try:
            with timing(self._clock):
                return make()
        except BaseException as error:
            if self._stopping:
                raise
            return failing(error)

    def _do_next(self, work: Callable[[Any], Any]) -> None:
        self._report.wait()
        message, _ = self._tasks.receive()
        if message == LEAVE:
            self._stopping = True
            return
        number = int.from_bytes(message[:NUMBER_BYTES], "little")
        self._report.begin(number)
        if self._arena.has_segments:
            self._take_blocks_back()
        try:
            self._clock.start()
            task = pickle.loads(memoryview(message)[NUMBER_BYTES:])  # noqa: S301 - as above
            self._clock.lap(TRANSPORT)
            pickled = dump_result(work(task))
            places = self._arena.place(pickled.buffers)
            self._clock.lap(TRANSPORT)
            answer = pickle.dumps((number, True, pickled.payload, places, self._clock.take()))
        except BaseException as error:
            if self._stopping:
                raise
            answer = pickle.dumps((number, False, dump_error(error), [], self._clock.take()))
        try:
            self._send(answer)
        except ConnectionError:
            raise
        except OSError as error:  # no descriptor or no memory is left for a long one
            self._control.send(pickle.dumps((number, False, dump_error(error), [], b"")))

    def _send(self, answer: bytes) -> None:
        for segment in self._arena.announce():
            self._announce(*segment)
        self._control.send(answer)

    def _announce(self, number: int, nbytes: int, file: int) -> None:
        try:
            self._control.send(pickle.dumps((number, nbytes)), [file])
        finally:
            os.close(file)

    def _take_blocks_back(self) -> None:
        with suppress(BlockingIOError):
            while True:
                message, _ = self._control.receive(wait=False)
                back, superfluous = pickle.loads(message)  # noqa: S301 - as above
                self._arena.take_back(back)
                self._arena.drop(superfluous)


def _unpack_work(message: bytes, files: list[int]) -> Callable[[Any], Any]:
    """Make the work that the consumer has sent."""
    worker, arguments, places = pickle.loads(message)  # noqa: S301 - from the process that started this one
    sys.argv[:] = arguments
    file, *shared = files
    payload, *buffers = map_privately(file, places)
    os.close(file)
    try:
        make_work = load(payload, buffers, shared)
    except ImportError as error:
        error.add_note(
            f"worker {worker} imports what the dataset needs by its name; make it importable (sys.path), "
            'or take multiprocessing_context="fork" or backend="thread"'
        )
        raise
    return _make_work_of(make_work, worker)


def _make_work_of(make_work: MakeWork[Any, Any], worker: int) -> Callable[[Any], Any]:
    present_clock().worker = worker
    return make_work(worker)


def _end_with(parent: int, control: Channel) -> None:
    """Wait in a thread for the end of the parent, then end this process, whatever it does."""
    if hasattr(signal, "pthread_sigmask"):
        # A signal that comes here, as one after Ctrl-C can, would not wake the main thread, which acts on it.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    poll = select.poll()
    poll.register(control, 0)  # tells when the other end is closed
    watched = None
    with suppress(AttributeError, OSError):
        watched = os.pidfd_open(parent)
        poll.register(watched, select.POLLIN)  # and when others, forked from it, keep that end open
    while not poll.poll(None if watched is not None else _POLL * 1000) and _is_alive(parent):
        pass
    for _ in range(_ATTEMPTS):  # what it raises may be lost, in a finalizer for one
        sleep(_PATIENCE / _ATTEMPTS)
        os.kill(os.getpid(), signal.SIGTERM)
    sleep(_PATIENCE)
    os._exit(1)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
