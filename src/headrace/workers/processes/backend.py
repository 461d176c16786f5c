"""Processes as a backend: the arguments of a loader that they take, and how they are made of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from headrace.errors import ArgumentError, ArgumentTypeError, NotYetError
from headrace.workers.backends import Backend

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.workers.base import MakeWork, Pool, PoolOptions

__all__ = ["BACKEND"]

_CONTEXTS = ("fork", "forkserver", "spawn")


class _Processes(Backend):
    """Processes on this machine."""

    name = "process"
    separate = True
    options = ("multiprocessing_context",)

    def is_available(self) -> bool:
        return os.name == "posix"

    def check(self, given: Mapping[str, Any]) -> None:
        if not self.is_available():
            raise NotYetError("worker processes are not there yet on this system; use backend='thread'")
        _check_context(given["multiprocessing_context"])

    def make_pool(
        self, make_work: MakeWork[Any, Any], options: PoolOptions, given: Mapping[str, Any]
    ) -> Pool[Any, Any]:
        from headrace.workers.processes.pool import ProcessPool  # what it needs is imported with it

        restart = given["on_worker_death"] == "restart"
        return ProcessPool(make_work, **options, context=given["multiprocessing_context"], restart=restart)


def _check_context(context: object) -> None:
    allowed = ", ".join(map(repr, _CONTEXTS))
    if isinstance(context, str) and context not in _CONTEXTS:
        raise ArgumentError(
            f"multiprocessing_context must be one of {allowed}, but got multiprocessing_context={context!r}"
        )
    if not (context is None or isinstance(context, str) or hasattr(context, "Process")):
        raise ArgumentTypeError(
            f"multiprocessing_context must be {allowed}, a context of multiprocessing or None, but got {context!r}"
        )


BACKEND = _Processes()
