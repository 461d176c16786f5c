"""Hugging Face's datasets, which give the columns of many samples at once: `dataset[[3, 1]]` is a dict of columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import frameworks
from headrace.batch.collate import default_collate
from headrace.errors import CollateError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["collate_columns", "gives_columns", "gives_samples", "unshare_epoch"]


def gives_columns(dataset: object) -> bool:
    """Return whether the dataset gives columns for a list of indices: it is one of Hugging Face's own.

    Nothing is imported to see that. One derived from theirs that has its own `__getitem__` is not taken for one.
    """
    for cls in type(dataset).__mro__:
        if "__getitem__" in cls.__dict__:
            return getattr(cls.__dict__["__getitem__"], "__module__", None) == "datasets.arrow_dataset"
    return False


def gives_samples(dataset: object) -> bool:
    """Return whether the dataset is one of Hugging Face's streams, whose `__getitem__` gives a column and no sample."""
    return any(
        (cls.__module__, cls.__name__) == ("datasets.iterable_dataset", "IterableDataset")
        for cls in type(dataset).__mro__
    )


def unshare_epoch(dataset: object) -> None:
    """Give one of their streams an epoch number of its own, where it shares it with the processes it was forked with.

    They let the number lie in shared memory, and `set_epoch` adds to it what is missing: workers that begin an epoch
    at the same time add it several times, shuffle their shards differently, and lose samples.
    """
    epoch: Any = getattr(dataset, "_epoch", None)
    if gives_samples(dataset) and hasattr(epoch, "clone"):
        vars(dataset)["_epoch"] = epoch.clone()


def collate_columns(columns: Mapping[str, Any], indices: Sequence[int] | NDArray[np.int64]) -> dict[str, Any]:
    """Return the batch of samples of which the columns are known.

    Args:
        columns: lists, arrays or tensors, each of as many values as there are samples.
        indices: of the samples, for the texts of errors.

    Raises:
        CollateError: the values of a column do not fit together.

    >>> collate_columns({"text": ["a", "b"], "label": [0, 1]}, [7, 8])
    {'text': ['a', 'b'], 'label': array([0, 1])}
    """
    try:
        return {name: _collate(column, indices) for name, column in columns.items()}
    except CollateError:  # told once more, with the name of the field
        rows = zip(*columns.values(), strict=True)
        batch: dict[str, Any] = default_collate([dict(zip(columns, row, strict=True)) for row in rows], indices)
        return batch


def _collate(column: Any, indices: Sequence[int] | NDArray[np.int64]) -> Any:
    """Return a column as a field of a batch; an array or tensor of numbers is one already."""
    adapter = frameworks.find(column)
    if adapter is None or getattr(getattr(column, "dtype", None), "kind", "f") in "OSTU":
        return default_collate(list(column), indices)
    if isinstance(column, np.ndarray) and not column.flags.writeable:  # it is the dataset's, and a batch is one's own
        return column.copy()
    return column
