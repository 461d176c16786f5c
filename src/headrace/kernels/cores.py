"""The number of threads that kernels may use: the cores of this process, shared among worker processes."""

from __future__ import annotations

import os
from contextvars import ContextVar

__all__ = ["available_cores", "bound_threads", "share_cores", "threads"]

_sharers: ContextVar[int] = ContextVar("headrace_sharers", default=1)
_bound: ContextVar[int | None] = ContextVar("headrace_threads", default=None)


def share_cores(processes: int) -> None:
    """Share the cores with so many worker processes, this one among them, in the present thread from now on."""
    _sharers.set(processes)


def bound_threads(number: int) -> None:
    """Let kernels use so many threads, and no share of the cores, in the present thread from now on."""
    _bound.set(number)


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Return how many threads the kernels called from here may use, at least one.

    It is a number for all calls of a process together: the kernels themselves share it among those that run at the
    same time, in whichever threads.

    >>> threads() >= 1
    True
    """
    cores = available_cores()
    bound = _bound.get()
    return max(1, cores // _sharers.get() if bound is None else min(cores, bound))
