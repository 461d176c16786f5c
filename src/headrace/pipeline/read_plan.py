"""Plans by which samples and batches of a dataset are read: what `headrace.pipeline.compile` makes of its nodes.

All that depends on the dataset alone is known here already: which functions are applied in which order, where each
draws, which of them become one pass, and whether whole batches can be read. Every plan reads a sample (`sample`) and
a batch (`batch`) with the same bytes; `reads_batches` tells whether a batch is more than its samples, collated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace.batch.capabilities import batch_function, capability
from headrace.batch.collate import default_collate
from headrace.batch.tree import count_array_bytes, get_field, replace_field
from headrace.errors.notes import add_note
from headrace.images.layout import in_layout
from headrace.insight.columns import COLLATE, READ, TRANSFORM
from headrace.pipeline.hugging_face import collate_columns, gives_columns
from headrace.pipeline.reading import check_indices, getter, read_each, read_many
from headrace.rng.places import Chain, notice_unnamed, slot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from headrace.images.layout import Step
    from headrace.insight.clock import StageClock
    from headrace.pipeline.nodes import IndexArray

__all__ = ["MapPlan", "Mapped", "OwnMapPlan", "PlanNode", "ReadCall", "Rows", "SelectPlan", "SourcePlan"]


class ReadCall(NamedTuple):
    """A call that reads samples of a dataset.

    Attributes:
        dataset: the dataset, which reads by itself.
        indices: of the samples that it reads at once, shape (n,), int64.
    """

    dataset: Any
    indices: NDArray[np.int64]


class Mapped(NamedTuple):
    """A function mapped over a field.

    Attributes:
        slots: where it draws, one slot in the other, from where the whole plan stands.
        function: the function.
        field: the field; None for the whole sample.
        is_own: whether it is part of the source that it is applied to.
        layout: where the channels of the images are that it is applied to, if that is known.
    """

    slots: tuple[int, ...]
    function: Callable[[Any], Any]
    field: int | str | None
    is_own: bool = False
    layout: str | None = None

    @property
    def step(self) -> Step:
        """The function, with where it draws."""
        return self.slots, self.function


class Rows(NamedTuple):
    """Some samples of a field that is an array, before they are gathered.

    Attributes:
        array: all samples of the field, shape (N, ...).
        rows: which of them, shape (n,), int64.
        wrap: makes of an ndarray what the field is in a batch.
        complete: makes a batch of what the field has become, and of the other fields.
    """

    array: NDArray[Any]
    rows: NDArray[np.int64]
    wrap: Callable[[NDArray[Any]], Any]
    complete: Callable[[Any], Any]


class PlanNode(ABC):
    """Reads the samples of a dataset.

    Attributes:
        name: of the dataset's class, for the texts of errors.
        reads_batches: whether a batch is read by another way than sample by sample.
        decodes: whether whole batches of encoded images are decoded in one pass.
        reads_ragged: whether sequences of different lengths may be read end to end.
        clock: times the stages of reading.
    """

    name: str
    clock: StageClock
    reads_batches: bool
    decodes = False
    reads_ragged = False

    @abstractmethod
    def sample(self, index: Any) -> Any:
        """Read the sample at an index."""

    @abstractmethod
    def batch(self, indices: NDArray[np.int64]) -> Any:
        """Read the batch of the samples at the indices, shape (n,), int64."""

    def ragged(self, indices: NDArray[np.int64]) -> Any:  # noqa: ARG002 - for those that can
        """Read the batch of the samples at the indices with sequences as Ragged; None where that cannot be."""
        return None

    def samples(self, indices: NDArray[np.int64]) -> list[Any]:
        """Read the samples at the indices, each with its own randomness."""
        return read_each(self.sample, indices.tolist(), self.name, self.clock)

    @abstractmethod
    def sample_calls(self, index: int) -> Iterator[ReadCall]:
        """Return the calls that read the sample at an index."""

    @abstractmethod
    def batch_calls(self, indices: NDArray[np.int64]) -> Iterator[ReadCall]:
        """Return the calls that read the batch of the samples at the indices, shape (n,), int64."""

    def samples_calls(self, indices: NDArray[np.int64]) -> Iterator[ReadCall]:
        """Return the calls that read the samples at the indices."""
        for index in indices.tolist():
            yield from self.sample_calls(index)

    def collated(self, indices: NDArray[np.int64]) -> Any:
        """Read the batch of the samples at the indices sample by sample."""
        samples = self.samples(indices)
        self.clock.lap(READ)
        batch = default_collate(samples, indices)
        self.clock.lap(COLLATE, count_array_bytes(batch))
        return batch

    def annotate(self, error: Exception, index: int) -> None:
        """Let an error say of which sample it is."""
        add_note(error, f"while decoding sample {index} of {self.name}")


class SourcePlan(PlanNode):
    """Reads a dataset that reads by itself.

    Args:
        dataset: the dataset.
        slots: where it draws.
        clock: times the stages of reading.
    """

    def __init__(self, dataset: Any, slots: tuple[int, ...], clock: StageClock) -> None:
        self.clock = clock
        self.name = type(dataset).__name__
        self.dataset = dataset
        self._slots = slots
        self._get_batch = capability(dataset, "get_batch")
        self._getitems = capability(dataset, "__getitems__")
        self._get_ragged = capability(dataset, "get_ragged")
        self.reads_ragged = self._get_ragged is not None
        self._gives_columns = gives_columns(dataset)
        self._annotate = capability(dataset, "annotate")
        self.open_rows = capability(dataset, "open_rows")
        self.reads_batches = bool(self._get_batch or self._getitems or self._gives_columns)
        if not slots:  # nothing stands between
            self.sample = getter(dataset)  # type: ignore[method-assign, assignment]
            if self._get_batch is not None:
                self.batch = self._get_batch  # type: ignore[method-assign]

    def sample(self, index: Any) -> Any:
        with slot(*self._slots):
            return self.dataset[index]

    def batch(self, indices: NDArray[np.int64]) -> Any:
        with slot(*self._slots):
            if self._get_batch is not None:
                return self._get_batch(indices)
            columns = self._columns(indices) if self._gives_columns else None
            return default_collate(self._samples(indices), indices) if columns is None else columns

    def ragged(self, indices: NDArray[np.int64]) -> Any:
        with slot(*self._slots):
            return None if self._get_ragged is None else self._get_ragged(indices)

    def samples(self, indices: NDArray[np.int64]) -> list[Any]:
        with slot(*self._slots):
            return self._samples(indices)

    def sample_calls(self, index: int) -> Iterator[ReadCall]:
        yield ReadCall(self.dataset, np.array([index]))

    def samples_calls(self, indices: NDArray[np.int64]) -> Iterator[ReadCall]:
        if self._getitems is None:
            yield from super().samples_calls(indices)
        else:
            yield ReadCall(self.dataset, indices)

    def batch_calls(self, indices: NDArray[np.int64]) -> Iterator[ReadCall]:
        if self.reads_batches:
            yield ReadCall(self.dataset, indices)
        else:
            yield from super().samples_calls(indices)

    def annotate(self, error: Exception, index: int) -> None:
        if self._annotate is None:
            super().annotate(error, index)
        else:
            self._annotate(error, index)

    def _samples(self, indices: NDArray[np.int64]) -> list[Any]:
        keys = indices.tolist()
        samples = None if self._getitems is None else read_many(self._getitems, keys, self.name)
        if samples is not None:
            return samples
        return read_each(getter(self.dataset), keys, self.name, self.clock)

    def _columns(self, indices: NDArray[np.int64]) -> dict[str, Any] | None:
        """Read columns; None if the samples must be read one by one, or are no dicts."""
        with notice_unnamed() as draws:
            columns = self.dataset[indices.tolist()]
        return collate_columns(columns, indices) if isinstance(columns, dict) and not draws.noticed else None


class SelectPlan(PlanNode):
    """Reads samples of another plan by other indices.

    Args:
        input: the other plan.
        selected: for each dataset that takes some of the samples of the one below it, the outermost first, which.
    """

    def __init__(self, input: PlanNode, selected: Sequence[IndexArray]) -> None:  # noqa: A002
        self.name, self.clock = input.name, input.clock
        self.reads_batches, self.decodes, self.reads_ragged = input.reads_batches, input.decodes, input.reads_ragged
        self._input = input
        self._selected = list(selected)

    def sample(self, index: Any) -> Any:
        for indices in self._selected:
            index = int(indices[index])
        return self._input.sample(index)

    def batch(self, indices: NDArray[np.int64]) -> Any:
        return self._input.batch(self._below(indices))

    def ragged(self, indices: NDArray[np.int64]) -> Any:
        return self._input.ragged(self._below(indices))

    def sample_calls(self, index: int) -> Iterator[ReadCall]:
        return self._input.sample_calls(int(self._below(np.array([index]))[0]))

    def batch_calls(self, indices: NDArray[np.int64]) -> Iterator[ReadCall]:
        return self._input.batch_calls(self._below(indices))

    def annotate(self, error: Exception, index: int) -> None:
        for indices in self._selected:
            index = int(indices[index])
        self._input.annotate(error, index)

    def _below(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        for selected in self._selected:
            indices = selected[check_indices(indices, len(selected))]
        return indices


class MapPlan(PlanNode):
    """Applies functions one after the other.

    Args:
        input: reads what they are applied to.
        steps: the functions.
    """

    def __init__(self, input: PlanNode, steps: Sequence[Mapped]) -> None:  # noqa: A002
        self.name, self.clock = input.name, input.clock
        self._input = input
        self._one = _chain(steps, batched=False)
        self._all = batch_chain(steps)
        self.reads_batches = input.reads_batches and self._all is not None
        self.decodes = self.reads_batches and input.decodes

    def sample(self, index: Any) -> Any:
        value, clock = self._input.sample(index), self.clock
        if not clock.fine:
            return self._one(value)
        clock.lap(READ)
        value = self._one(value)
        clock.lap(TRANSFORM)
        return value

    def batch(self, indices: NDArray[np.int64]) -> Any:
        if self._all is None or not self._input.reads_batches:
            return self.collated(indices)
        value = self._input.batch(indices)
        self.clock.lap(READ)
        value = self._all(value)
        self.clock.lap(TRANSFORM)
        return value

    def sample_calls(self, index: int) -> Iterator[ReadCall]:
        return self._input.sample_calls(index)

    def batch_calls(self, indices: NDArray[np.int64]) -> Iterator[ReadCall]:
        at_once = self._all is not None and self._input.reads_batches
        return self._input.batch_calls(indices) if at_once else self.samples_calls(indices)

    def annotate(self, error: Exception, index: int) -> None:
        self._input.annotate(error, index)


class OwnMapPlan(MapPlan):
    """Applies functions that are part of a source, whose errors say which of its samples they are of."""

    def sample(self, index: Any) -> Any:
        value = self._input.sample(index)
        try:
            return self._one(value)
        except Exception as error:
            self._input.annotate(error, index)
            raise


def batch_chain(steps: Sequence[Mapped]) -> Chain | None:
    """Return what applies functions to whole batches; None if there are none, or one works on samples only."""
    if not steps or any(batch_function(step.function) is None for step in steps):
        return None
    return _chain(steps, batched=True)


def _chain(steps: Sequence[Mapped], *, batched: bool) -> Chain:
    """Return what applies functions one after the other; a field is taken out once for those in a row that want it."""
    if not all(step.slots and step.field is not None for step in steps):  # some leave the place of draws to the next
        return Chain((step.slots, _on_field(_in_place(step, batched=batched), step.field)) for step in steps)
    rows = groupby(steps, attrgetter("field"))
    chains = [(field, Chain((step.slots, _in_place(step, batched=batched)) for step in some)) for field, some in rows]
    return Chain(((), _on_field(chain, field)) for field, chain in chains)


def _in_place(step: Mapped, *, batched: bool) -> Callable[[Any], Any]:
    return in_layout(step.function, step.layout, batched=batched)


def _on_field(function: Callable[[Any], Any], field: int | str | None) -> Callable[[Any], Any]:
    """Return the function of a sample, or batch, that applies one to a field of it."""
    if field is None:
        return function

    def apply(value: Any) -> Any:
        if type(value) is tuple and type(field) is int and -len(value) <= field < len(value):
            items = list(value)
            items[field] = function(items[field])
            return tuple(items)
        return replace_field(value, field, function(get_field(value, field)))

    return apply
