"""Traces of a loader in the Trace Event Format, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

The consumer and each worker have a row of their own; an arrow leads from where a batch was loaded to where it was
handed out. Events go to a file beside the trace as they come, so it takes no memory. It is there, and whole, once the
loader is closed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.insight import columns as at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from headrace.insight.loader_clock import LoaderClock

__all__ = ["TraceWriter", "record"]

_CONSUMER = 0  # its row; that of worker n is n + 1
_APART = 1000  # from a row to the next of the same name
_LITTLE = 0.25  # nanoseconds
_SLACK = 1000  # nanoseconds by which two slices may overlap that follow each other


class TraceWriter:
    """Writes the records of a loader's clock as a trace.

    Args:
        path: of the trace.

    Raises:
        ArgumentError: no file can be written there (also a ValueError).
        ArgumentTypeError: it is no path (also a TypeError).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = _checked(path)
        self._unfinished = self._path.with_name(f"{self._path.name}.{os.getpid()}.unfinished")
        self._file = self._unfinished.open("w", encoding="utf-8")
        self._file.write('{"displayTimeUnit":"ms","traceEvents":[\n')
        self._file.write(json.dumps({"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "headrace"}}))
        self._ends: dict[str, list[int]] = {}  # of each row of a name: when its last slice ended
        self._row("consumer", _CONSUMER, 0, 0)

    def add(self, steps: NDArray[Any], tasks: NDArray[Any]) -> None:
        """Take in records of steps and tasks, by the columns of `headrace.insight.columns`."""
        for step in steps.tolist():
            if step[at.STEP] >= 0:
                begun = step[at.ASKED] - max(step[at.BETWEEN], 0)
                self._write(_events_of_step(step, self._row("consumer", _CONSUMER, begun, step[at.GOT])))
        for task in tasks.tolist():
            worker, begun, ended = (task[at.TIMES + column] for column in (at.WORKER, at.BEGUN, at.ENDED))
            if worker >= 0:
                self._write(_events_of_task(task, self._row(f"worker {worker}", worker + 1, begun, ended)))

    def close(self) -> None:
        """Finish the trace and put it where it belongs."""
        if not self._file.closed:
            self._file.write("\n]}\n")
            self._file.close()
            self._unfinished.replace(self._path)

    def _row(self, name: str, first: int, begun: int, ended: int) -> int:
        """Return a row that is free at a time: slices of one row must not overlap, or pages leave some of them out.

        Where a loader has several iterators at a time, as many rows have the same name.
        """
        ends = self._ends.setdefault(name, [])
        number = next((number for number, end in enumerate(ends) if end <= begun + _SLACK), len(ends))
        if number == len(ends):
            ends.append(0)
            self._write(_named(first + number * _APART, name, first))
        ends[number] = ended
        return first + number * _APART

    def _write(self, events: Iterator[dict[str, Any]]) -> None:
        for event in events:
            self._file.write(f",\n{json.dumps(event)}")


def record(path: str | os.PathLike[str], clock: LoaderClock) -> Callable[[], None]:
    """Begin a trace of what a clock takes in; return the function that finishes it."""
    writer = TraceWriter(path)
    clock.listener = writer.add

    def finish() -> None:
        clock.totals()  # what has been told and not added up
        clock.listener = None
        writer.close()

    return finish


def _checked(path: Any) -> Path:
    """Return the path of a trace, at which a file can be written."""
    if not isinstance(path, str | os.PathLike):
        raise ArgumentTypeError(f"trace must be the path of a file, or None, but got trace={path!r}")
    found = Path(path)
    if found.is_dir():
        raise ArgumentError(f"trace must be the path of a file, but {path!s} is a folder")
    if not found.parent.is_dir():
        raise ArgumentError(f"there is no folder for trace={str(path)!r}; make it first")
    return found


def _named(row: int, name: str, place: int) -> Iterator[dict[str, Any]]:
    """Yield the name of a row, and its place among the others."""
    yield {"ph": "M", "name": "thread_name", "pid": 1, "tid": row, "args": {"name": name}}
    yield {"ph": "M", "name": "thread_sort_index", "pid": 1, "tid": row, "args": {"sort_index": place}}


def _slice(row: int, name: str, begun: int, ended: int, **arguments: int) -> dict[str, Any]:
    # Pages cut off what is less than a nanosecond. So that a slice never ends after the next one begins, it begins a
    # little after its nanosecond, and is as much shorter.
    times = {"ts": (begun + _LITTLE) / 1e3, "dur": max(ended - begun - _LITTLE, 0) / 1e3}
    return {"ph": "X", "cat": "loader", "name": name, "pid": 1, "tid": row, **times, "args": arguments}


def _arrow(kind: str, row: int, time: int, epoch: int, step: int) -> dict[str, Any]:
    """Return one end of the arrow of a batch, just before a time, inside of the slice that ends then."""
    event = {"ph": kind, "cat": "batch", "name": "batch", "id": epoch << 32 | step, "pid": 1, "tid": row}
    return {**event, "ts": (time - 1 + _LITTLE) / 1e3, **({"bp": "e"} if kind == "f" else {})}


def _events_of_step(step: list[int], row: int) -> Iterator[dict[str, Any]]:
    which = {"epoch": step[at.EPOCH_OF_STEP], "step": step[at.STEP]}
    asked, between = step[at.ASKED], step[at.BETWEEN]
    if between > 0:
        yield _slice(row, "consume", asked - between, asked)
    sizes = {"samples": step[at.SAMPLES_OF_STEP], "bytes": step[at.BYTES_OF_STEP]}
    yield _slice(row, "wait", asked, step[at.GOT], **which, **sizes)
    yield _arrow("f", row, step[at.GOT], **which)


def _events_of_task(task: list[int], row: int) -> Iterator[dict[str, Any]]:
    times, epoch, first = task[at.TIMES :], task[at.EPOCH], task[at.FIRST_STEP]
    begun, ended = times[at.BEGUN], times[at.ENDED]
    yield _slice(row, "load", begun, ended, epoch=epoch, step=first, steps=task[at.STEPS])
    for number, stage in enumerate(at.STAGES):  # one after the other, though those of samples take turns
        took = times[at.FIRST_STAGE + 2 * number]
        if took:
            yield _slice(row, stage, begun, min(begun + took, ended))
            begun = min(begun + took, ended)
    for step in range(first, first + task[at.STEPS]):
        yield _arrow("s", row, ended, epoch, step)
    yield {"ph": "C", "name": "ready", "pid": 1, "ts": task[at.WANTED] / 1e3, "args": {"batches": task[at.DEPTH]}}
