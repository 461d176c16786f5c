"""The worker that the present code runs in: one answer for headrace's own streams and those written for torch."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from headrace import frameworks

__all__ = ["WorkerInfo", "be_worker_process", "be_worker_thread", "get_worker_info"]


@dataclass(frozen=True)
class WorkerInfo:
    """Information about the current worker, named as in torch.utils.data.

    Attributes:
        id: its number, 0 ... num_workers - 1.
        num_workers: how many workers load together.
        seed: a number of its own, the same in every run with the same seed.
        dataset: the dataset that it reads: a copy of its own in a process.

    >>> WorkerInfo(id=0, num_workers=2, seed=7, dataset=range(10))
    WorkerInfo(id=0, num_workers=2, seed=7)
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any = field(repr=False)


class _Process:
    """Holds what all threads of a worker process are told: a dataset may read in threads of its own."""

    info: WorkerInfo | None = None


_thread: ContextVar[WorkerInfo | None] = ContextVar("headrace_worker_info", default=None)


def get_worker_info() -> WorkerInfo | None:
    """Return the worker that this code runs in, or None outside of workers.

    An IterableDataset uses it to read its own share of the samples. Where one stream is dealt out to the
    workers, with `DataLoader(shard=True)` and in threads, that is not needed: it is read as if there were no
    workers. In a worker of torch's own DataLoader it is what `torch.utils.data.get_worker_info` says.

    >>> get_worker_info() is None
    True
    """
    info = _thread.get() or _Process.info
    if info is not None:
        return info
    theirs = frameworks.worker_info()
    return None if theirs is None else WorkerInfo(theirs.id, theirs.num_workers, theirs.seed, theirs.dataset)


def be_worker_process(info: WorkerInfo | None) -> None:
    """Let `get_worker_info`, and that of a framework, give this in all of the present process from now on."""
    _thread.set(None)  # that of a worker thread which has forked this process
    _Process.info = info
    frameworks.enter_worker(info)


def be_worker_thread(info: WorkerInfo | None) -> None:
    """Let `get_worker_info` give this in the present thread from now on.

    A framework's own function has one answer for the whole process, and goes on to say that this is no worker.
    """
    _thread.set(info)
