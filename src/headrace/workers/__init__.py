"""Pools of workers: threads or processes that are given tasks and give the results back.

A pool knows nothing of datasets or batches. Every pool has the face of `Pool` and passes
`headrace.testing.check_pool`, so any of them can stand for any other.
"""

from typing import TYPE_CHECKING, Any

from headrace.workers.base import MakeWork, Pool, PoolOptions, Results
from headrace.workers.info import WorkerInfo, be_worker_process, be_worker_thread, get_worker_info
from headrace.workers.inline import InlinePool

if TYPE_CHECKING:
    from headrace.workers.threads import ThreadPool

__all__ = [
    "InlinePool",
    "MakeWork",
    "Pool",
    "PoolOptions",
    "Results",
    "ThreadPool",
    "WorkerInfo",
    "be_worker_process",
    "be_worker_thread",
    "get_worker_info",
]


def __getattr__(name: str) -> Any:
    """Import what a loader without workers does not need."""
    if name != "ThreadPool":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from headrace.workers.threads import ThreadPool

    globals()[name] = ThreadPool
    return ThreadPool
