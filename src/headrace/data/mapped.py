"""A dataset with a function applied to its samples: whole batches at once, or all in one pass, where that can be."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from headrace.batch.collate import default_collate
from headrace.batch.structure import get_field, replace_field
from headrace.data.cache import CachedDataset
from headrace.data.compose import ConcatDataset, StackDataset, Subset
from headrace.data.dataset import Dataset
from headrace.data.encoded import EncodedField, annotate, as_encoded, encoded_fields
from headrace.data.hints import blocks, counters, reads_ahead, will_need
from headrace.data.placed import Located, Parts, Placed, as_parts
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
    reads_together,
    releases_gil,
)
from headrace.data.tensors import TensorDataset
from headrace.errors import ArgumentTypeError
from headrace.faces import batch_function
from headrace.keys import slot
from headrace.transforms.encoded import begins_encoded
from headrace.transforms.fuse import Writer, apply_to_rows, flat_steps, is_own

if TYPE_CHECKING:
    from collections.abc import Callable

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
        below = encoded_fields(dataset)
        self._encoded_fields = (*below, field) if begins_encoded([((), fn)]) else below
        self._writer = Writer()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int, /) -> Any:
        position = check_index(index, len(self))
        if self._encoded_fields:
            parts = self.as_parts()
            if parts is not None:
                return parts.sample(position)
            encoded = self.as_encoded(self.field)
            if encoded is not None and encoded.decodes:
                return encoded.sample(position)
        return self._apply(self.fn, self._read(position))

    def reads_batches(self) -> bool:
        """Whether the dataset and the function both work on whole batches, or all functions of a field together."""
        if reads_batches(self.dataset) and batch_function(self.fn) is not None:
            return True
        if self._encoded() is not None:
            return True
        parts = self.as_parts() if self._encoded_fields else None
        return parts is not None and any(reads_batches(parts.part(number)) for number in range(parts.length))

    def releases_gil(self) -> bool:
        """Whether the dataset can be read, and the function applied, in several threads at the same time."""
        return releases_gil(self.dataset) and self.reads_batches() and bool(getattr(self.fn, "releases_gil", False))

    def reads_together(self) -> bool:
        """Whether the dataset reads several batches as one, and the function makes the same of a sample in each."""
        steps = flat_steps([((), self.fn)])
        ours = all(is_own(step) and batch_function(step) is not None for _, step in steps)
        return ours and reads_together(self.dataset)

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """The batch of the samples at the indices, shape (n,), int64."""
        batch = self._in_one_pass(indices)
        if batch is None:
            batch = self._part_by_part(indices)
        if batch is not None:
            return batch
        function = batch_function(self.fn) if reads_batches(self.dataset) else None
        if function is None:
            return default_collate(read_samples(self, indices, singly=True), indices)
        return self._apply(function, read_batch(self._source(), indices))

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

    def annotate(self, error: Exception, index: int) -> None:
        """Let an error say of which sample it is."""
        annotate(error, self.dataset, index)

    # ------------------------------------------------------------------ functions that are done together

    def as_encoded(self, field: int | str | None) -> EncodedField | None:
        """The encoded images that a field is made of, if it is made of some.

        Functions of the field are done together, also where one of another field stands between them.
        Nothing below a Decode is done together with it: there are no pixels yet.
        """
        apart = _are_apart(field, self.field)
        if field != self.field and not apart:
            return None
        encoded = as_encoded(self._source(), field)
        if apart:
            return encoded and encoded._replace(dataset=self._over(encoded.dataset))
        own = [self._step()]
        if begins_encoded(own) and (encoded is None or encoded.functions):
            return EncodedField(self._source(), field, own)
        return encoded and encoded._replace(functions=[*encoded.functions, *own])

    def encoded_fields(self) -> tuple[int | str | None, ...]:
        """The fields that are made of encoded images."""
        return self._encoded_fields

    def open_rows(self, indices: NDArray[np.int64], field: int | str | None) -> Rows | None:
        """Where the samples of a field lie, if the dataset knows, and what is done to them, if all works on batches."""
        apart, function = _are_apart(field, self.field), batch_function(self.fn)
        if function is None or (field != self.field and not apart):
            return None
        rows = open_rows(self._source(), indices, field)
        if rows is None:
            return None
        if apart:
            return rows._replace(complete=lambda value: self._apply(function, rows.complete(value)))
        return rows._replace(functions=[*rows.functions, self._step()])

    def as_parts(self) -> Parts | None:
        """The function over each of the datasets that stand end to end below it, if such do."""
        parts = as_parts(self._source())
        return parts and parts.over(self._over)

    def _in_one_pass(self, indices: NDArray[np.int64]) -> Any:
        """The batch, if all functions of a field can be done in one pass over rows or encoded images."""
        rows = self.open_rows(indices, self.field)
        if rows is not None:
            value = apply_to_rows(rows.array, rows.rows, rows.functions, rows.wrap, self._writer)
            if value is not None:
                return rows.complete(value)
        encoded = self._encoded()
        return None if encoded is None else encoded.batch(check_indices(indices, len(self)))

    def _encoded(self) -> EncodedField | None:
        """The encoded images, of whichever field, that its functions make a batch of in one pass, if they do."""
        for field in dict.fromkeys((self.field, *self._encoded_fields)) if self._encoded_fields else ():
            encoded = self.as_encoded(field)
            if encoded is not None and encoded.reads_batches:
                return encoded
        return None

    def _part_by_part(self, indices: NDArray[np.int64]) -> Any:
        """The batch, if there is one to be had from several datasets end to end, each read in one pass."""
        parts = self.as_parts()
        if parts is None or not self.reads_batches():
            return None
        located = parts.locate(check_indices(indices, len(self)))
        return parts.read(located) if self._gains(parts, located) else None

    def _gains(self, parts: Parts, located: list[Located]) -> bool:
        """Whether parts are to be read by themselves: there are images to decode, or enough rows in each."""
        if sum(len(each.positions) for each in located) >= _ROWS * len(located):
            return True
        views: list[Any] = [parts.part(each.number) for each in located]
        return any(view._encoded() is not None for view in views)  # noqa: SLF001 - of the same class

    def _over(self, dataset: Indexable[Any]) -> MapDataset:
        """The same function at the same place over another dataset."""
        view = copy.copy(self)
        view.dataset = dataset
        return view

    def _step(self) -> Step:
        """The function, with where it draws."""
        return (_FUNCTIONS + self._stage,), self.fn

    def _apply(self, function: Callable[[Any], Any], value: Any) -> Any:
        with slot(_FUNCTIONS + self._stage):
            return replace_field(value, self.field, function(get_field(value, self.field)))

    def _read(self, index: int) -> Any:
        """The sample of the dataset, as `_source` has it, which would take longer."""
        if _in_view(self.dataset):
            return self.dataset[index]
        with slot(0):
            return self.dataset[index]

    def _source(self) -> Indexable[Any]:
        """The dataset, as it is read here.

        Datasets of headrace's own keep places of their own for what they draw, so that one more map changes no draw
        of theirs. Others may hide a map, which would otherwise come to the place of this one.
        """
        return self.dataset if _in_view(self.dataset) else Placed(self.dataset, 0)


def _in_view(dataset: object) -> bool:
    """Whether a dataset keeps places of its own for its draws, or draws nothing."""
    return type(dataset) in _IN_VIEW


def _are_apart(one: int | str | None, other: int | str | None) -> bool:
    """Whether two fields are surely not the same: a name may be that of a position, one may count from the end."""
    if isinstance(one, int) and isinstance(other, int):
        return one != other and (one < 0) == (other < 0)
    return isinstance(one, str) and isinstance(other, str) and one != other


_IN_VIEW = (MapDataset, TensorDataset, Subset, ConcatDataset, StackDataset, CachedDataset, Placed)
_ROWS = 8  # of a dataset, for which it is worth to read it by itself


# Where mapped functions draw, by stage: far from the slots of the datasets in a ConcatDataset or StackDataset.
_FUNCTIONS = 2**30


def _stages(dataset: object) -> int:
    """How many functions are mapped, one over the other, as far as that is in plain view."""
    if isinstance(dataset, Subset | CachedDataset) and type(dataset) in (Subset, CachedDataset):
        return _stages(dataset.dataset)
    return dataset._stage if type(dataset) is MapDataset else 0  # noqa: SLF001 - of the same class
