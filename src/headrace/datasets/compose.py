"""Datasets made of others: a part of one, several end to end or side by side.

All of them read whole batches where what they are made of can, and hand every part of the chain its
own randomness, so that a batch holds the same bytes whichever way it was read.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.datasets.composed import ComposedDataset
from headrace.datasets.tables import as_dataset
from headrace.errors import ArgumentError
from headrace.pipeline.describe import describe
from headrace.pipeline.nodes import Concat, Node, Select, Zip
from headrace.pipeline.reading import Indexable, check_indices

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike


__all__ = ["ConcatDataset", "StackDataset", "Subset"]


class Subset(ComposedDataset[Any]):
    """The samples of a dataset at given indices.

    Args:
        dataset: any object with `__len__` and `__getitem__`, or a table: a dict of arrays, or a DataFrame.
        indices: integers, shape (n,); negative ones count from the end. Kept as an int64 array.

    Raises:
        OutOfRangeError: an index lies outside the dataset.

    >>> Subset("abcdef", [5, 0])[0]
    'f'
    """

    made_of = ("dataset", "indices")
    keeps_slots = keeps_stage = True

    def __init__(self, dataset: Indexable[Any], indices: ArrayLike) -> None:
        self.dataset = as_dataset(dataset)
        self.indices = np.array(check_indices(indices, len(self.dataset)))  # a copy, which the caller cannot change

    def __len__(self) -> int:
        return len(self.indices)

    def node(self) -> Node:
        """Return the description of the dataset."""
        return Select(self, describe(self.dataset), self.indices)


class ConcatDataset(ComposedDataset[Any]):
    """Several datasets end to end.

    Args:
        datasets: objects with `__len__` and `__getitem__`, at least one.

    Raises:
        ArgumentError: there are none.

    >>> (ConcatDataset(["ab", "cd"])[2], len(ConcatDataset(["ab", "cd"])))
    ('c', 4)
    """

    made_of = ("datasets", "cumulative_sizes")
    keeps_slots = True

    def __init__(self, datasets: Iterable[Indexable[Any]]) -> None:
        self.datasets = [as_dataset(each, f"dataset {position}") for position, each in enumerate(datasets)]
        if not self.datasets:
            raise ArgumentError("ConcatDataset needs at least one dataset, got none")
        self.cumulative_sizes = np.array(list(accumulate(map(len, self.datasets))), np.int64)

    def __len__(self) -> int:
        return int(self.cumulative_sizes[-1])

    def node(self) -> Node:
        """Return the description of the dataset."""
        return Concat(self, tuple(map(describe, self.datasets)), self.cumulative_sizes)


class StackDataset(ComposedDataset[Any]):
    """Several datasets side by side: a sample is the tuple, or dict, of their samples.

    Args:
        *datasets: the datasets of a tuple, all of one length; or
        **named: the datasets of a dict.

    Raises:
        ArgumentError: there are none, both kinds, or their lengths differ.

    >>> StackDataset(image="ab", label=[0, 1])[1]
    {'image': 'b', 'label': 1}
    """

    made_of = ("datasets", "_children")
    keeps_slots = True

    def __init__(self, *datasets: Indexable[Any], **named: Indexable[Any]) -> None:
        if bool(datasets) == bool(named):
            raise ArgumentError(
                f"StackDataset got {len(datasets)} datasets and {len(named)} named ones; give at least one, "
                "either all by position (samples are tuples) or all by name (samples are dicts)"
            )
        named = {name: as_dataset(dataset) for name, dataset in named.items()}
        unnamed = tuple(map(as_dataset, datasets))
        self.datasets: tuple[Indexable[Any], ...] | dict[str, Indexable[Any]] = unnamed or named
        self._children = list(named.values()) or list(unnamed)
        lengths = list(map(len, self._children))
        if len(set(lengths)) > 1:
            raise ArgumentError(f"StackDataset needs datasets of one length, got lengths {lengths}")

    def __len__(self) -> int:
        return len(self._children[0])

    def node(self) -> Node:
        """Return the description of the dataset."""
        names = tuple(self.datasets) if isinstance(self.datasets, dict) else None
        return Zip(self, tuple(map(describe, self._children)), names)
