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

from headrace.insight import columns as at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from headrace.insight.loader_clock import LoaderClock

__all__ = ["TraceWriter", "record"]

_CONSUMER = 0  # its row; that of worker n is n + 1


class TraceWriter:
    """Writes the records of a loader's clock as a trace.

    Args:
        path: of the trace.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._unfinished = self._path.with_name(f"{self._path.name}.{os.getpid()}.unfinished")
        self._file = self._unfinished.open("w", encoding="utf-8")
        self._file.write('{"displayTimeUnit":"ms","traceEvents":[\n')
        self._file.write(json.dumps({"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "headrace"}}))
        self._rows: set[int] = set()
        self._write(self._named(_CONSUMER, "consumer"))

    def add(self, steps: NDArray[Any], tasks: NDArray[Any]) -> None:
        """Take in records of steps and tasks, by the columns of `headrace.insight.columns`."""
        for step in steps.tolist():
            self._write(_events_of_step(step))
        for task in tasks.tolist():
            worker = task[at.TIMES + at.WORKER]
            if worker >= 0:
                self._write(self._named(worker + 1, f"worker {worker}"))
                self._write(_events_of_task(task))

    def close(self) -> None:
        """Finish the trace and put it where it belongs."""
        if not self._file.closed:
            self._file.write("\n]}\n")
            self._file.close()
            self._unfinished.replace(self._path)

    def _named(self, row: int, name: str) -> Iterator[dict[str, Any]]:
        if row not in self._rows:
            self._rows.add(row)
            yield {"ph": "M", "name": "thread_name", "pid": 1, "tid": row, "args": {"name": name}}

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


def _slice(row: int, name: str, begun: int, ended: int, **arguments: int) -> dict[str, Any]:
    times = {"ts": begun / 1e3, "dur": (ended - begun) / 1e3}
    return {"ph": "X", "cat": "loader", "name": name, "pid": 1, "tid": row, **times, "args": arguments}


def _arrow(kind: str, row: int, time: int, epoch: int, step: int) -> dict[str, Any]:
    """Return one end of the arrow of a batch, just before a time, inside of the slice that ends then."""
    event = {"ph": kind, "cat": "batch", "name": "batch", "id": epoch << 32 | step, "pid": 1, "tid": row}
    return {**event, "ts": (time - 1) / 1e3, **({"bp": "e"} if kind == "f" else {})}


def _events_of_step(step: list[int]) -> Iterator[dict[str, Any]]:
    which = {"epoch": step[at.EPOCH_OF_STEP], "step": step[at.STEP]}
    if which["step"] < 0:
        return
    asked, between = step[at.ASKED], step[at.BETWEEN]
    if between > 0:
        yield _slice(_CONSUMER, "consume", asked - between, asked)
    sizes = {"samples": step[at.SAMPLES_OF_STEP], "bytes": step[at.BYTES_OF_STEP]}
    yield _slice(_CONSUMER, "wait", asked, step[at.GOT], **which, **sizes)
    yield _arrow("f", _CONSUMER, step[at.GOT], **which)


def _events_of_task(task: list[int]) -> Iterator[dict[str, Any]]:
    times, epoch, first = task[at.TIMES :], task[at.EPOCH], task[at.FIRST_STEP]
    row, begun, ended = times[at.WORKER] + 1, times[at.BEGUN], times[at.ENDED]
    yield _slice(row, "load", begun, ended, epoch=epoch, step=first, steps=task[at.STEPS])
    for number, stage in enumerate(at.STAGES):  # one after the other, though those of samples take turns
        took = times[at.FIRST_STAGE + 2 * number]
        if took:
            yield _slice(row, stage, begun, min(begun + took, ended))
            begun = min(begun + took, ended)
    for step in range(first, first + task[at.STEPS]):
        yield _arrow("s", row, ended, epoch, step)
    yield {"ph": "C", "name": "ready", "pid": 1, "ts": task[at.WANTED] / 1e3, "args": {"batches": task[at.DEPTH]}}
