"""How many threads a kernel may use: the cores of this process, shared among the workers that load together."""

from __future__ import annotations

import os
from contextvars import ContextVar

__all__ = ["share_cores", "threads"]

_sharers: ContextVar[int] = ContextVar("headrace_sharers", default=1)


def share_cores(workers: int) -> None:
    """Share the cores with so many workers, this one among them, in the present thread from now on."""
    _sharers.set(workers)


def threads() -> int:
    """How many threads a kernel called from here may use, at least one.

    >>> threads() >= 1
    True
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // _sharers.get())
