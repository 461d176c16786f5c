"""The memory that a loader takes: predicted from one batch, and measured while it loads."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.batch.tree import count_bytes
from headrace.bench.processes import PeakMemory, family, private_memory
from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.loader.dataloader import DataLoader

__all__ = ["MemoryUse", "batches_held", "measure_memory"]

_INDEX = 8  # bytes of an index, of which a stored shuffle has one for each sample
_PER_WORKER = 2  # batches that are loaded ahead for each, unless the loader says otherwise


@dataclass(frozen=True)
class MemoryUse:
    """The memory that a loader takes at one batch size. All sizes are in bytes.

    Attributes:
        batch_size: samples a batch.
        sample: of one sample.
        batch: of a batch, as it was loaded. As much is written to collate it, once.
        predicted: of the batches that the loader may hold: the one that the loop has, and for each worker those ahead.
        measured: by which this process and the workers grew while batches were loaded, interpreters of workers
            included; 0 where the system does not say.
        each_worker: of one worker process alone, which no other shares; 0 for threads, and without workers.
        shuffle: of the order of an epoch.
        stored_shuffle: of the same order as a stored permutation.
    """

    batch_size: int
    sample: int
    batch: int
    predicted: int
    measured: int
    each_worker: int
    shuffle: int
    stored_shuffle: int


def measure_memory(
    make_loader: Callable[[int], DataLoader[Any]], batch_sizes: Sequence[int], *, batches: int = 8
) -> list[MemoryUse]:
    """Predict and measure the memory of a loader at some batch sizes.

    Args:
        make_loader: makes the loader of a batch size.
        batch_sizes: samples a batch.
        batches: how many are loaded of each, at most.

    Raises:
        ArgumentError: a size is no positive integer, or an epoch has no batches of that size.

    >>> import numpy as np
    >>> from headrace import DataLoader, TensorDataset
    >>> rows = TensorDataset(np.zeros((100, 250), np.float32))
    >>> [found] = measure_memory(lambda size: DataLoader(rows, size), [32])
    >>> found.sample, found.batch, found.predicted
    (1000, 32000, 32000)
    """
    for size in batch_sizes:
        _check_size(size)
    return [_measure(make_loader(size), size, batches) for size in batch_sizes]


def batches_held(loader: DataLoader[Any]) -> int:
    """Return how many batches a loader may hold: the one that the loop has, and for each worker those ahead."""
    return 1 + loader.num_workers * (loader.prefetch_factor or _PER_WORKER)


def _check_size(size: Any) -> None:
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ArgumentError(f"batch sizes must be positive integers, but got {size!r}")


def _measure(loader: DataLoader[Any], size: int, batches: int) -> MemoryUse:
    first = loader.batch(0)
    batch = count_bytes(first)
    samples = min(size, len(loader.dataset))
    del first
    with PeakMemory() as memory, closing(loader):
        before = set(family())
        held, workers = None, [0]
        for step, each in enumerate(loader):
            held = each
            workers += [private_memory(process) for process in family() if process not in before]
            if step + 1 == batches:
                break
    del held
    return MemoryUse(
        batch_size=size,
        sample=batch // samples,
        batch=batch,
        predicted=batch * batches_held(loader),
        measured=memory.grown,
        each_worker=max(workers),
        shuffle=0,
        stored_shuffle=_INDEX * len(loader.dataset),
    )
