"""Errors of worker processes as torch tells them, with the original as the cause."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from headrace.errors import WorkerDiedError, WorkerTimeoutError, WorkerTraceback
from headrace.errors.notes import set_cause, text_of
from headrace.torch.work import worker_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["as_told_by_torch"]


_OUT_OF_MEMORY = (
    "It is possible that dataloader's workers are out of shared memory. Please try to raise your shared memory limit."
)


class _KeyErrorText(str):
    """A text that a KeyError shows as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def as_told_by_torch(error: Exception, timeout: float) -> Exception:
    """Return an error of a worker with torch's text; any other error itself.

    One that was raised in a worker process is of the same class, if one of that class can be made of a text, else a
    RuntimeError. Its cause is the error as it was raised, with its arguments, attributes and notes.

    Args:
        error: the error.
        timeout: the loader's, in seconds.
    """
    if isinstance(error, WorkerTimeoutError):
        return WorkerTimeoutError(f"DataLoader timed out after {timeout} seconds: {error}")
    if isinstance(error, WorkerDiedError) and error.pid is not None:
        return WorkerDiedError(f"{_death(error.pid, error.code)} ({error})", error.pid, error.code)
    worker = worker_of(error)
    return error if worker is None else _caught(error, worker)


def _death(pid: int, code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.strsignal(-code) or f"signal {-code}"
        return f"DataLoader worker (pid {pid}) is killed by signal: {name}. {_OUT_OF_MEMORY * (-code == signal.SIGBUS)}"
    known = "" if code is None else f" with exit code {code}"
    return (
        f"DataLoader worker (pid {pid}) exited unexpectedly{known}. Details are lost due to multiprocessing. "
        "Rerunning with num_workers=0 may give better error trace."
    )


def _caught(error: Exception, worker: int) -> Exception:
    kind, cause = type(error), error.__cause__
    trace = cause.args[0] if isinstance(cause, WorkerTraceback) and cause.args else text_of(error)
    told = _make(kind, f"Caught {kind.__name__} in DataLoader worker process {worker}.\nOriginal {trace}")
    set_cause(error, None)  # the text has it
    set_cause(told, error)
    if getattr(error, "errno", None) is not None:
        told.errno = error.errno  # type: ignore[attr-defined]
    return told


def _make(kind: Callable[..., Any], text: str) -> Exception:
    try:
        if kind is KeyError:
            return KeyError(_KeyErrorText(text))
        found = kind(message=text) if getattr(kind, "message", None) else kind(text)
    except Exception:
        return RuntimeError(text)
    return found if isinstance(found, Exception) else RuntimeError(text)
