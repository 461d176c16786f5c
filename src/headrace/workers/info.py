"""Which worker the present code runs in."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

__all__ = ["WorkerInfo", "get_worker_info", "use_worker_info"]


@dataclass(frozen=True)
class WorkerInfo:
    """What a worker is told of itself, named as in torch.utils.data.

    Attributes:
        id: its number, 0 ... num_workers - 1.
        num_workers: how many workers load together.
        seed: a number of its own, the same in every run with the same seed.
        dataset: the dataset that it reads: a copy of its own in a process, and of a stream in a thread.

    >>> WorkerInfo(id=0, num_workers=2, seed=7, dataset=range(10))
    WorkerInfo(id=0, num_workers=2, seed=7)
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any = field(repr=False)


_info: ContextVar[WorkerInfo | None] = ContextVar("headrace_worker_info", default=None)


def get_worker_info() -> WorkerInfo | None:
    """The worker that this code runs in, or None outside of workers.

    An IterableDataset uses it to read its own share of the samples. With `DataLoader(shard=True)`
    that is not needed: the samples are dealt out for it, and it is read as if there were no workers.

    >>> get_worker_info() is None
    True
    """
    return _info.get()


def use_worker_info(info: WorkerInfo | None) -> None:
    """Let `get_worker_info` give this, in the present thread from now on."""
    _info.set(info)
