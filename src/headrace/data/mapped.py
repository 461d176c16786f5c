"""A dataset with a function applied to its samples: whole batches at once, or all in one pass, where that can be."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from headrace.batch.collate import default_collate
from headrace.batch.structure import get_field, replace_field
from headrace.data.cache import CachedDataset
from headrace.data.compose import ConcatDataset, StackDataset, Subset
from headrace.data.dataset import Dataset
from headrace.data.encoded import EncodedField, annotate, as_encoded
from headrace.data.hints import blocks, counters, reads_ahead, will_need
from headrace.data.reading import (
    Indexable,
    check_dataset,
    check_index,
    check_indices,
    open_rows,
    read_batch,
    read_samples,
    reads_batches,
    releases_gil,
)
from headrace.errors import ArgumentTypeError
from headrace.faces import batch_function
from headrace.keys import slot
from headrace.transforms.encoded import begins_encoded
from headrace.transforms.fuse import Writer, apply_to_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray

    from headrace.transforms.fuse import Step

__all__ = ["MapDataset"]


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
        self._writer = Writer()

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
        value = apply_to_rows(rows.array, rows.rows, functions, rows.wrap, self._writer)
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

    def annotate(self, error: Exception, index: int) -> None:
        """Let an error say of which sample it is."""
        annotate(error, self._mapped.dataset, index)


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
