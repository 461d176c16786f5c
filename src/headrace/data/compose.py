"""Datasets made of others: a part of one, several end to end or side by side.

All of them read whole batches where what they are made of can, and hand every part of the chain its
own randomness, so that a batch holds the same bytes whichever way it was read.
"""

from __future__ import annotations

import copy
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.data.dataset import Dataset
from headrace.data.encoded import EncodedField, annotate, as_encoded, encoded_fields
from headrace.data.hints import add_counters, blocks, concat_blocks, counters, reads_ahead, will_need
from headrace.data.placed import Located, Parts, Placed, as_parts
from headrace.data.reading import (
    Indexable,
    Rows,
    check_dataset,
    check_index,
    check_indices,
    open_rows,
    read_batch,
    reads_batches,
    reads_together,
    releases_gil,
)
from headrace.errors import ArgumentError
from headrace.keys import slot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import ArrayLike, NDArray


__all__ = ["ConcatDataset", "StackDataset", "Subset"]


class Subset(Dataset[Any]):
    """The samples of a dataset at given indices.

    Args:
        dataset: any object with `__len__` and `__getitem__`.
        indices: integers, shape (n,); negative ones count from the end. Kept as an int64 array.

    Raises:
        OutOfRangeError: an index lies outside the dataset.

    >>> Subset("abcdef", [5, 0])[0]
    'f'
    """

    def __init__(self, dataset: Indexable[Any], indices: ArrayLike) -> None:
        check_dataset(dataset)
        self.dataset = dataset
        self.indices = np.array(check_indices(indices, len(dataset)))  # a copy, which nobody else changes

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int, /) -> Any:
        return self.dataset[int(self.indices[check_index(index, len(self.indices))])]

    def reads_batches(self) -> bool:
        """Whether the dataset reads whole batches."""
        return reads_batches(self.dataset)

    def releases_gil(self) -> bool:
        """Whether the dataset can be read in several threads at the same time."""
        return releases_gil(self.dataset)

    def reads_together(self) -> bool:
        """Whether the dataset reads several batches as one."""
        return reads_together(self.dataset)

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """The batch of the samples at the indices, shape (n,), int64."""
        return read_batch(self.dataset, self.indices[check_indices(indices, len(self))])

    def open_rows(self, indices: NDArray[np.int64], field: int | str | None) -> Rows | None:
        """Where the samples of a field lie, if the dataset knows."""
        return open_rows(self.dataset, self.indices[check_indices(indices, len(self))], field)

    def as_encoded(self, field: int | str | None) -> EncodedField | None:
        """The encoded images that a field is made of, if the dataset says so."""
        encoded = as_encoded(self.dataset, field)
        if encoded is None:
            return None
        part = copy.copy(self)
        part.dataset = encoded.dataset
        return encoded._replace(dataset=part)

    def encoded_fields(self) -> tuple[int | str | None, ...]:
        """The fields that are made of encoded images, as far as the dataset says so."""
        return encoded_fields(self.dataset)

    def as_parts(self) -> Parts | None:
        """The datasets that the samples come from, if the dataset is made of some."""
        parts = as_parts(self.dataset)
        return parts and parts._replace(locate=lambda indices: parts.locate(self.indices[indices]))

    def annotate(self, error: Exception, index: int) -> None:
        """Let an error say of which sample it is."""
        annotate(error, self.dataset, int(self.indices[index]))

    def reads_ahead(self) -> bool:
        """Whether the dataset wants to hear which samples will be read."""
        return reads_ahead(self.dataset)

    def will_need(self, indices: NDArray[np.int64]) -> None:
        """Tell the dataset which samples will be read soon."""
        will_need(self.dataset, self.indices[indices])

    def counters(self) -> dict[str, int]:
        """What the dataset has counted."""
        return counters(self.dataset)


class ConcatDataset(Dataset[Any]):
    """Several datasets end to end.

    Args:
        datasets: objects with `__len__` and `__getitem__`, at least one.

    Raises:
        ArgumentError: there are none.

    >>> (ConcatDataset(["ab", "cd"])[2], len(ConcatDataset(["ab", "cd"])))
    ('c', 4)
    """

    def __init__(self, datasets: Iterable[Indexable[Any]]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ArgumentError("ConcatDataset needs at least one dataset, got none")
        for position, dataset in enumerate(self.datasets):
            check_dataset(dataset, f"dataset {position}")
        self.cumulative_sizes = np.array(list(accumulate(map(len, self.datasets))), np.int64)

    def __len__(self) -> int:
        return int(self.cumulative_sizes[-1])

    def __getitem__(self, index: int, /) -> Any:
        position = check_index(index, len(self))
        which = int(np.searchsorted(self.cumulative_sizes, position, side="right"))
        with slot(which):
            return self.datasets[which][position - self._start(which)]

    def reads_batches(self) -> bool:
        """Whether one of the datasets reads whole batches."""
        return any(map(reads_batches, self.datasets))

    def releases_gil(self) -> bool:
        """Whether all of the datasets can be read in several threads at the same time."""
        return all(map(releases_gil, self.datasets))

    def reads_together(self) -> bool:
        """Whether all of the datasets read several batches as one."""
        return all(map(reads_together, self.datasets))

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """The batch of the samples at the indices, shape (n,), int64, read from each dataset at once."""
        return self.as_parts().read(self._locate(check_indices(indices, len(self))))

    def as_encoded(self, field: int | str | None) -> EncodedField | None:
        """The encoded images that a field is made of, if all of the datasets decode them alike, and do nothing else."""
        first, *others = [as_encoded(dataset, field) for dataset in self.datasets]
        if first is None or not all(first.is_like(other) for other in (first, *others)):
            return None
        whole = copy.copy(self)
        whole.datasets = [encoded.dataset for encoded in (first, *others) if encoded is not None]
        return first._replace(dataset=whole)

    def annotate(self, error: Exception, index: int) -> None:
        """Let an error say of which sample it is."""
        ((number, _, (place,)),) = self._locate(np.array([index]))
        annotate(error, self.datasets[number], int(place))

    def encoded_fields(self) -> tuple[int | str | None, ...]:
        """The fields that are made of encoded images in one of the datasets."""
        return tuple(dict.fromkeys(field for dataset in self.datasets for field in encoded_fields(dataset)))

    def as_parts(self) -> Parts:
        """The datasets, each as it is read inside of this one."""
        return Parts(len(self.datasets), lambda number: Placed(self.datasets[number], number), self._locate)

    def _locate(self, indices: NDArray[np.int64]) -> list[Located]:
        """The samples by the dataset that they lie in; none of them lie in the first one."""
        which = np.searchsorted(self.cumulative_sizes, indices, side="right")
        located = []
        for number in np.unique(which).tolist() or [0]:
            rows = np.flatnonzero(which == number)
            located.append(Located(number, rows, indices[rows] - self._start(number)))
        return located

    def reads_ahead(self) -> bool:
        """Whether one of the datasets wants to hear which samples will be read."""
        return any(map(reads_ahead, self.datasets))

    def will_need(self, indices: NDArray[np.int64]) -> None:
        """Tell each dataset which of its samples will be read soon."""
        which = np.searchsorted(self.cumulative_sizes, indices, side="right")
        for number in np.unique(which).tolist():
            will_need(self.datasets[number], indices[which == number] - self._start(number))

    def blocks(self) -> NDArray[np.int64] | None:
        """Which samples lie together, if all of the datasets know."""
        return concat_blocks(self.datasets)

    def counters(self) -> dict[str, int]:
        """What the datasets have counted together."""
        return add_counters(map(counters, self.datasets))

    def _start(self, which: int) -> int:
        return int(self.cumulative_sizes[which - 1]) if which else 0


class StackDataset(Dataset[Any]):
    """Several datasets side by side: a sample is the tuple, or dict, of their samples.

    Args:
        *datasets: the datasets of a tuple, all of one length; or
        **named: the datasets of a dict.

    Raises:
        ArgumentError: there are none, both kinds, or their lengths differ.

    >>> StackDataset(image="ab", label=[0, 1])[1]
    {'image': 'b', 'label': 1}
    """

    def __init__(self, *datasets: Indexable[Any], **named: Indexable[Any]) -> None:
        if bool(datasets) == bool(named):
            raise ArgumentError(
                f"StackDataset got {len(datasets)} datasets and {len(named)} named ones; give at least one, "
                "either all by position (samples are tuples) or all by name (samples are dicts)"
            )
        self.datasets: tuple[Indexable[Any], ...] | dict[str, Indexable[Any]] = datasets or named
        self._children = list(named.values()) or list(datasets)
        for dataset in self._children:
            check_dataset(dataset)
        lengths = list(map(len, self._children))
        if len(set(lengths)) > 1:
            raise ArgumentError(f"StackDataset needs datasets of one length, got lengths {lengths}")

    def __len__(self) -> int:
        return len(self._children[0])

    def __getitem__(self, index: int, /) -> Any:
        position = check_index(index, len(self))
        return self._gather(lambda dataset: dataset[position])

    def reads_batches(self) -> bool:
        """Whether one of the datasets reads whole batches."""
        return any(map(reads_batches, self._children))

    def releases_gil(self) -> bool:
        """Whether all of the datasets can be read in several threads at the same time."""
        return all(map(releases_gil, self._children))

    def reads_together(self) -> bool:
        """Whether all of the datasets read several batches as one."""
        return all(map(reads_together, self._children))

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """The tuple or dict of the datasets' batches at the indices, shape (n,), int64."""
        indices = check_indices(indices, len(self))
        return self._gather(lambda dataset: read_batch(dataset, indices))

    def reads_ahead(self) -> bool:
        """Whether one of the datasets wants to hear which samples will be read."""
        return any(map(reads_ahead, self._children))

    def will_need(self, indices: NDArray[np.int64]) -> None:
        """Tell each dataset which of its samples will be read soon."""
        for dataset in self._children:
            will_need(dataset, indices)

    def blocks(self) -> int | NDArray[np.int64] | None:
        """Which samples lie together in the first dataset that knows."""
        return next((found for found in map(blocks, self._children) if found is not None), None)

    def counters(self) -> dict[str, int]:
        """What the datasets have counted together."""
        return add_counters(map(counters, self._children))

    def _gather(self, read: Callable[[Indexable[Any]], Any]) -> Any:
        items = []
        for number, dataset in enumerate(self._children):
            with slot(number):
                items.append(read(dataset))
        return dict(zip(self.datasets, items, strict=True)) if isinstance(self.datasets, dict) else tuple(items)
