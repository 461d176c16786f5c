"""Plans of datasets that are made of several others: end to end, mixed, or side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from headrace.batch.collate import join_numbers
from headrace.batch.scatter import merge
from headrace.insight.columns import COLLATE, READ
from headrace.pipeline.read_plan import MapPlan, PlanNode
from headrace.rng.places import part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from headrace.pipeline.read_plan import ReadCall

__all__ = ["ConcatPlan", "PartsPlan", "ZipPlan"]

_ROWS = 8  # of a dataset, for which it is worth to read it by itself


class Places(Protocol):
    """The datasets that samples lie in."""

    def find(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return which dataset each sample is of, and its index there."""

    def find_one(self, index: int) -> tuple[int, int]:
        """Return which dataset a sample is of, and its index there."""


class _InputRows(NamedTuple):
    """Some of the samples of a batch, which lie in one of several datasets.

    Attributes:
        number: which dataset.
        positions: where they stand in the batch, shape (n,), int64.
        indices: their indices in the dataset, shape (n,), int64.
    """

    number: int
    positions: NDArray[np.int64]
    indices: NDArray[np.int64]


class ConcatPlan(PlanNode):
    """Reads several datasets that stand end to end, or are mixed, each of them at once.

    Args:
        name: of the class that holds them.
        inputs: their plans.
        places: where each sample lies.
    """

    def __init__(self, name: str, inputs: Sequence[PlanNode], places: Places) -> None:
        self.name, self.clock = name, inputs[0].clock
        self.inputs = list(inputs)
        self._places = places
        self.reads_batches = any(each.reads_batches for each in inputs)
        self.decodes = any(each.decodes for each in inputs)

    def sample(self, index: Any) -> Any:
        number, inner = self._places.find_one(index)
        return self.inputs[number].sample(inner)

    def batch(self, indices: NDArray[np.int64]) -> Any:
        return self.read(self.locate(indices))

    def sample_calls(self, index: int) -> Iterator[ReadCall]:
        number, inner = self._places.find_one(index)
        return self.inputs[number].sample_calls(inner)

    def batch_calls(self, indices: NDArray[np.int64]) -> Iterator[ReadCall]:
        for number, _, inner in self.locate(indices):
            yield from self.inputs[number].batch_calls(inner)

    def locate(self, indices: NDArray[np.int64]) -> list[_InputRows]:
        """Return the samples by the dataset that they lie in; none of them lie in the first one."""
        which, inner = self._places.find(indices)
        located = []
        for number in np.unique(which).tolist() or [0]:
            rows = np.flatnonzero(which == number)
            located.append(_InputRows(number, rows, inner[rows]))
        return located

    def read(self, located: list[_InputRows]) -> Any:
        """Read the batch of samples that have been located, those of each dataset at once."""
        count = sum(len(each.positions) for each in located)
        batches = []
        for number, positions, indices in located:
            with part(positions, count):
                batches.append(join_numbers(self.inputs[number].batch(indices)))  # as parts that were collated
        self.clock.lap(READ)
        batch = batches[0] if len(batches) == 1 else merge(batches, [each.positions for each in located])
        self.clock.lap(COLLATE)
        return batch

    def annotate(self, error: Exception, index: int) -> None:
        ((number, _, (place,)),) = self.locate(np.array([index]))
        self.inputs[number].annotate(error, int(place))


class PartsPlan(PlanNode):
    """Applies functions to datasets that stand end to end: in each of them, or behind all, as is faster.

    Args:
        inside: reads the datasets with the functions applied to each.
        behind: makes a plan that applies them to all together.
    """

    def __init__(self, inside: ConcatPlan, behind: Callable[[], MapPlan]) -> None:
        self.name, self.clock = inside.name, inside.clock
        self._inside = inside
        self._behind = behind
        self._compiled: MapPlan | None = None
        self.decodes = inside.decodes
        self.reads_batches = inside.reads_batches

    def sample(self, index: Any) -> Any:
        return self._inside.sample(index)

    def batch(self, indices: NDArray[np.int64]) -> Any:
        located = self._inside.locate(indices)
        return self._inside.read(located) if self._gains(located) else self._as_one().batch(indices)

    def sample_calls(self, index: int) -> Iterator[ReadCall]:
        return self._inside.sample_calls(index)

    def batch_calls(self, indices: NDArray[np.int64]) -> Iterator[ReadCall]:
        gains = self._gains(self._inside.locate(indices))
        return (self._inside if gains else self._as_one()).batch_calls(indices)

    def _as_one(self) -> MapPlan:
        """Return the plan that applies the functions behind all datasets."""
        if self._compiled is None:
            self._compiled = self._behind()
        return self._compiled

    def annotate(self, error: Exception, index: int) -> None:
        self._inside.annotate(error, index)

    def _gains(self, located: list[_InputRows]) -> bool:
        """Return whether parts are read by themselves: there are images to decode, or enough rows in each."""
        if not self.reads_batches:
            return False
        if sum(len(each.positions) for each in located) >= _ROWS * len(located):
            return True
        return any(self._inside.inputs[each.number].decodes for each in located)


class ZipPlan(PlanNode):
    """Reads datasets that stand side by side.

    Args:
        name: of the class that holds them.
        inputs: their plans.
        names: of the fields of a sample; None for a tuple.
    """

    def __init__(self, name: str, inputs: Sequence[PlanNode], names: tuple[str, ...] | None) -> None:
        self.name, self.clock = name, inputs[0].clock
        self._inputs = list(inputs)
        self._names = names
        self.reads_batches = any(each.reads_batches for each in inputs)

    def sample(self, index: Any) -> Any:
        return self._named([each.sample(index) for each in self._inputs])

    def batch(self, indices: NDArray[np.int64]) -> Any:
        return self._named([each.batch(indices) for each in self._inputs])

    def sample_calls(self, index: int) -> Iterator[ReadCall]:
        for each in self._inputs:
            yield from each.sample_calls(index)

    def batch_calls(self, indices: NDArray[np.int64]) -> Iterator[ReadCall]:
        for each in self._inputs:
            yield from each.batch_calls(indices)

    def _named(self, items: list[Any]) -> Any:
        return tuple(items) if self._names is None else dict(zip(self._names, items, strict=True))
