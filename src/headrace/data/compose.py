"""Datasets made of others: a part of one, several end to end or side by side, one with a function.

All of them read whole batches where what they are made of can, and hand every part of the chain its
own randomness, so that a batch holds the same bytes whichever way it was read.
"""

from __future__ import annotations

import copy
import math
from contextlib import nullcontext
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.adapters import draw_seed
from headrace.batch.collate import default_collate
from headrace.batch.merge import merge
from headrace.batch.structure import get_field, replace_field
from headrace.data.cache import CachedDataset
from headrace.data.dataset import Dataset
from headrace.data.encoded import EncodedField, as_encoded, note
from headrace.data.hints import add_counters, blocks, concat_blocks, counters, reads_ahead, will_need
from headrace.data.reading import (
    Indexable,
    Rows,
    check_dataset,
    check_index,
    check_indices,
    open_rows,
    read_batch,
    read_samples,
    reads_batches,
    releases_gil,
)
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.faces import batch_function
from headrace.keys import check_seed, epoch_key, part, slot
from headrace.order.permutation import Shuffled
from headrace.transforms.encoded import begins_encoded
from headrace.transforms.fuse import apply_to_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import ArrayLike, NDArray

    from headrace.transforms.fuse import Step

__all__ = ["ConcatDataset", "MapDataset", "StackDataset", "Subset", "random_split"]


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

    def note(self, index: int) -> str:
        """What to add to an error of a sample."""
        return note(self.dataset, int(self.indices[index]))

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

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """The batch of the samples at the indices, shape (n,), int64, read from each dataset at once."""
        indices = check_indices(indices, len(self))
        which = np.searchsorted(self.cumulative_sizes, indices, side="right")
        numbers = np.unique(which).tolist() or [0]
        positions = [np.flatnonzero(which == number) for number in numbers]
        batches = []
        for number, rows in zip(numbers, positions, strict=True):
            with part(rows, len(indices)), slot(number):
                batches.append(read_batch(self.datasets[number], indices[rows] - self._start(number)))
        return batches[0] if len(batches) == 1 else merge(batches, positions)

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


class MapDataset(Dataset[Any]):
    """A dataset with a function applied to each sample, or to one field of it.

    A function with the batch face of `headrace.transforms.Transform` is applied to whole batches
    where the dataset reads them, with the same result.

    Args:
        dataset: any object with `__len__` and `__getitem__`.
        fn: takes a sample, or the field, and returns what replaces it.
        field: a tuple position, a dict key or the name of a dataclass or namedtuple field; None for
            the whole sample.

    Raises:
        ArgumentTypeError: fn cannot be called, or field is neither a position nor a name.

    >>> MapDataset("abc", str.upper)[1]
    'B'
    """

    def __init__(self, dataset: Indexable[Any], fn: Callable[[Any], Any], field: int | str | None = None) -> None:
        check_dataset(dataset)
        if not callable(fn):
            raise ArgumentTypeError(f"map needs a function of one sample, got {fn!r}")
        if isinstance(field, bool) or not isinstance(field, int | str | None):
            raise ArgumentTypeError(f"field must be a tuple position, a key or None, got {field!r}")
        self.dataset = dataset
        self.fn = fn
        self.field = field
        self._stage = _stages(dataset) + 1

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int, /) -> Any:
        position = check_index(index, len(self))
        encoded = self.as_encoded(self.field)
        if encoded is not None and encoded.decodes:
            return encoded.sample(position)
        with self._below():
            sample = self.dataset[position]
        return self._apply(self.fn, sample)

    def reads_batches(self) -> bool:
        """Whether the dataset and the function both work on whole batches, or all functions of the field together."""
        if reads_batches(self.dataset) and batch_function(self.fn) is not None:
            return True
        encoded = self.as_encoded(self.field)
        return encoded is not None and encoded.reads_batches

    def releases_gil(self) -> bool:
        """Whether the dataset can be read, and the function applied, in several threads at the same time."""
        return releases_gil(self.dataset) and self.reads_batches() and bool(getattr(self.fn, "releases_gil", False))

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """The batch of the samples at the indices, shape (n,), int64."""
        batch = self._in_one_pass(indices)
        if batch is not None:
            return batch
        function = batch_function(self.fn) if reads_batches(self.dataset) else None
        if function is None:
            return default_collate(read_samples(self, indices, singly=True), indices)
        with self._below():
            batch = read_batch(self.dataset, indices)
        return self._apply(function, batch)

    def reads_ahead(self) -> bool:
        """Whether the dataset wants to hear which samples will be read."""
        return reads_ahead(self.dataset)

    def will_need(self, indices: NDArray[np.int64]) -> None:
        """Tell the dataset which samples will be read soon."""
        will_need(self.dataset, indices)

    def blocks(self) -> int | NDArray[np.int64] | None:
        """Which samples of the dataset lie together."""
        return blocks(self.dataset)

    def counters(self) -> dict[str, int]:
        """What the dataset has counted."""
        return counters(self.dataset)

    def as_encoded(self, field: int | str | None) -> EncodedField | None:
        """The encoded images that the field is made of, if it is one of such."""
        if field != self.field:
            return None
        lowest, functions = self._chain()
        encoded = as_encoded(lowest.dataset, field)
        if encoded is None:
            return EncodedField(_Below(lowest), field, functions) if begins_encoded(functions) else None
        below = () if _in_view(lowest.dataset) else (0,)
        own = [((*below, *path), function) for path, function in encoded.functions]
        return encoded._replace(functions=own + functions)

    def _in_one_pass(self, indices: NDArray[np.int64]) -> Any:
        """The batch, if all functions of this field can be done in one pass over rows or encoded images."""
        encoded = self.as_encoded(self.field)
        if encoded is not None and encoded.reads_batches:
            return encoded.batch(check_indices(indices, len(self)))
        if batch_function(self.fn) is None:
            return None
        lowest, functions = self._chain()
        rows = open_rows(lowest.dataset, indices, self.field)
        if rows is None:
            return None
        value = apply_to_rows(rows.array, rows.rows, functions, rows.wrap)
        return None if value is None else rows.complete(value)

    def _chain(self) -> tuple[MapDataset, list[Step]]:
        """The lowest of the maps of this field that can be done together, and their functions, with where each draws.

        Nothing below a Decode is done together with it: there are no pixels yet.
        """
        functions: list[Step] = []
        lowest: Any = self
        while True:
            functions.append(((_FUNCTIONS + lowest._stage,), lowest.fn))  # noqa: SLF001 - of the same class
            below = lowest.dataset
            if type(below) is not MapDataset or below.field != self.field or begins_encoded(functions[-1:]):
                return lowest, functions[::-1]
            lowest = below

    def _apply(self, function: Callable[[Any], Any], value: Any) -> Any:
        with slot(_FUNCTIONS + self._stage):
            return replace_field(value, self.field, function(get_field(value, self.field)))

    def _below(self) -> AbstractContextManager[None]:
        """The place where the dataset below draws.

        Datasets of headrace's own keep places of their own, so that one more map changes no draw of theirs.
        Others may hide a map, which would otherwise come to the place of this one.
        """
        return nullcontext() if _in_view(self.dataset) else slot(0)


class _Below:
    """What is below a map, read where it draws.

    Args:
        mapped: the map.
    """

    def __init__(self, mapped: MapDataset) -> None:
        self._mapped = mapped

    def __len__(self) -> int:
        return len(self._mapped)

    def __getitem__(self, index: int, /) -> Any:
        with self._mapped._below():  # noqa: SLF001 - its other half
            return self._mapped.dataset[index]

    def reads_batches(self) -> bool:
        """Whether the dataset reads whole batches."""
        return reads_batches(self._mapped.dataset)

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """The batch of the samples at the indices, shape (n,), int64."""
        with self._mapped._below():  # noqa: SLF001 - its other half
            return read_batch(self._mapped.dataset, indices)

    def note(self, index: int) -> str:
        """What to add to an error of a sample."""
        return f"while decoding sample {index} of {type(self._mapped.dataset).__name__}"


def _in_view(dataset: object) -> bool:
    """Whether a dataset keeps places of its own for its draws."""
    return type(dataset) in (MapDataset, Subset, ConcatDataset, StackDataset, CachedDataset)


# Where mapped functions draw, by stage: far from the slots of the datasets in a ConcatDataset or StackDataset.
_FUNCTIONS = 2**30


def _stages(dataset: object) -> int:
    """How many functions are mapped, one over the other, as far as that is in plain view."""
    if isinstance(dataset, Subset | CachedDataset) and type(dataset) in (Subset, CachedDataset):
        return _stages(dataset.dataset)
    return dataset._stage if type(dataset) is MapDataset else 0  # noqa: SLF001 - of the same class


def random_split(
    dataset: Indexable[Any], lengths: Sequence[float], generator: Any = None, *, seed: int | None = None
) -> list[Subset]:
    """Split a dataset at random into parts that do not overlap.

    Args:
        dataset: any object with `__len__` and `__getitem__`.
        lengths: the numbers of samples, which add up to the dataset's; or fractions that add up to 1
            (rounded down, the rest dealt out from the first part on, as torch does).
        generator: where the order comes from: a NumPy Generator, a random.Random or a torch
            Generator; by default Python's `random`.
        seed: an integer in place of a generator.

    Returns:
        One Subset a length.

    Raises:
        ArgumentError: the lengths are negative or do not add up, or both seed and generator are given.

    >>> [len(part) for part in random_split(range(10), [0.8, 0.2], seed=0)]
    [8, 2]
    """
    check_dataset(dataset)
    counts = _split_counts(lengths, len(dataset))
    if seed is not None and generator is not None:
        raise ArgumentError("seed and generator are mutually exclusive: each alone decides the split")
    key = epoch_key(draw_seed(generator) if seed is None else check_seed(seed), 0, "split")
    order = Shuffled(len(dataset)).indices(key, 0, len(dataset))
    stops = list(accumulate(counts))
    return [Subset(dataset, order[stop - count : stop]) for count, stop in zip(counts, stops, strict=True)]


def _split_counts(lengths: Sequence[float], total: int) -> list[int]:
    if all(isinstance(length, int | np.integer) and not isinstance(length, bool) for length in lengths):
        counts = [int(length) for length in lengths]
        if min(counts, default=0) < 0:
            raise ArgumentError(f"the lengths {counts} must not be negative")
        if sum(counts) != total:
            raise ArgumentError(
                f"the lengths {counts} add up to {sum(counts)}, but the dataset has {total} samples; "
                "give lengths that add up to it, or fractions that add up to 1"
            )
        return counts
    if any(not 0 <= length <= 1 for length in lengths) or not math.isclose(sum(lengths), 1):
        raise ArgumentError(f"the fractions {list(lengths)} must each lie in [0, 1] and add up to 1")
    counts = [math.floor(total * length) for length in lengths]
    for extra in range(total - sum(counts)):
        counts[extra % len(counts)] += 1
    return counts
