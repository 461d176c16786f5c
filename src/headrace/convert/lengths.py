"""The lengths of sequences, measured by workers and kept in a file."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.convert.workers import useful_workers
from headrace.datasets.base import Dataset
from headrace.datasets.lengths import find_kept_lengths, read_lengths
from headrace.datasets.tables import as_dataset
from headrace.errors import ArgumentError
from headrace.io.new_file import new_file
from headrace.loader.dataloader import DataLoader
from headrace.pipeline.hints import lengths
from headrace.pipeline.reading import check_index

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.pipeline.reading import Indexable

__all__ = ["measure_lengths"]

_AT_ONCE = 1024  # samples


def measure_lengths(
    dataset: Indexable[Any],
    field: int | str | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    workers: int = 0,
    backend: str = "auto",
    progress: Callable[[int, int, int], None] | None = None,
) -> NDArray[np.int64]:
    """Measure how many items the sequence of each sample has, for `pack_sequences(lengths=...)`.

    Args:
        dataset: any object with `__len__` and `__getitem__`. One that knows its lengths, or has them kept beside its
            files, is not read.
        field: the field of a sample that has the sequence; None for "input_ids", "tokens", the only field, or a
            sample that is the sequence.
        path: where to keep them, as a .npy file; what is there is replaced when all is measured. None for nowhere.
        workers: workers that read; 0 reads in the calling thread.
        backend: what they are, "thread", "process" or "ray"; "auto" as for the DataLoader.
        progress: called with the samples measured, all samples, and 0.

    Returns:
        int64 of shape (n,).

    Raises:
        ArgumentError: a sample has no such field, there is no telling which is meant, or the path does not end in .npy.

    >>> measure_lengths([[1, 2, 3], [4]])
    array([3, 1])
    """
    if path is not None and not str(path).endswith(".npy"):
        raise ArgumentError(f"lengths are kept in a .npy file, but got {path}; let its name end so")
    dataset = as_dataset(dataset)
    found = lengths(dataset, field, partial(find_kept_lengths, field=field))
    if found is None:
        found = _measure(dataset, field, workers, backend, progress)
    if path is not None:
        with new_file(Path(path)) as file:
            np.save(file, found)
    return found


def _measure(dataset: Indexable[Any], field: int | str | None, workers: int, backend: str, progress: Any) -> Any:
    if not workers and backend == "auto":
        tell = None if progress is None else lambda done: progress(done, len(dataset), 0)
        return read_lengths(dataset, field, tell)
    parts = _Parts(dataset, field)
    measured = [np.zeros(0, np.int64)]
    useful = useful_workers(workers, len(parts))
    with DataLoader(parts, None, seed=0, num_workers=useful, backend=backend) as loader:
        for part in loader:
            measured.append(part)
            if progress is not None:
                progress(sum(map(len, measured)), len(dataset), 0)
    return np.concatenate(measured)


class _Parts(Dataset["NDArray[np.int64]"]):
    """For each part of a dataset the lengths of its samples."""

    def __init__(self, dataset: Indexable[Any], field: int | str | None) -> None:
        self._dataset = dataset
        self._field = field

    def __len__(self) -> int:
        return -(-len(self._dataset) // _AT_ONCE)

    def __getitem__(self, index: int, /) -> NDArray[np.int64]:
        from headrace.datasets.compose import Subset

        start = check_index(index, len(self)) * _AT_ONCE
        stop = min(start + _AT_ONCE, len(self._dataset))
        return read_lengths(Subset(self._dataset, range(start, stop)), self._field)
