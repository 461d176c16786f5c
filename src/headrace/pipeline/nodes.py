"""Descriptions of datasets: of which others, and of which functions, they are made.

Nodes are data: they read nothing. `headrace.pipeline.describe` makes them of datasets, and `headrace.pipeline.compile`
makes the plan of them by which samples and batches are read.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from headrace.pipeline.reading import check_indices

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.pipeline.reading import Indexable
    from headrace.sampling.mixture import Mixture
    from headrace.sampling.packing import RowTable

__all__ = ["Cached", "Concat", "IndexArray", "Map", "Mixed", "Node", "Packing", "Select", "Source", "Zip"]


class IndexArray(Protocol):
    """Indices of samples: an int64 array of shape (n,), or what reads them when it is asked, as such an array."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, places: Any, /) -> Any:
        """Return those at some places, as an array is indexed."""


@dataclass(frozen=True, slots=True)
class Source:
    """A dataset that reads its samples by itself.

    Attributes:
        dataset: the dataset.
        draws: whether reading may draw random numbers; rows of arrays are known not to.
    """

    dataset: Indexable[Any]
    draws: bool = True


@dataclass(frozen=True, slots=True)
class Map:
    """A function applied to each sample, or to one field of it.

    Attributes:
        dataset: the dataset that is described.
        input: what the function is applied to.
        fn: the function.
        field: the field; None for the whole sample.
        slots: where the function draws, one slot in the other; none for a function that is part of its source.
        input_slot: where the input draws, if it does not draw in places of its own.
    """

    dataset: Indexable[Any]
    input: Node
    fn: Callable[[Any], Any]
    field: int | str | None
    slots: tuple[int, ...] = ()
    input_slot: int | None = None


@dataclass(frozen=True, slots=True)
class Select:
    """Samples at given indices.

    Attributes:
        dataset: the dataset that is described.
        input: what they are taken from.
        indices: which, shape (n,), int64, counted from the front.
    """

    dataset: Indexable[Any]
    input: Node
    indices: IndexArray


@dataclass(frozen=True, slots=True)
class Concat:
    """Several datasets end to end.

    Attributes:
        dataset: the dataset that is described.
        inputs: the datasets.
        stops: where each of them ends, shape (len(inputs),), int64.
        has_slots: whether each draws in the slot of its number; if not, all draw where the dataset stands.
    """

    dataset: Indexable[Any]
    inputs: tuple[Node, ...]
    stops: NDArray[np.int64]
    has_slots: bool = True
    _starts: NDArray[np.int64] = field(init=False)
    _edges: list[int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_starts", np.append(0, self.stops[:-1]))
        object.__setattr__(self, "_edges", self.stops.tolist())

    def find(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return which dataset each sample is of, and its index there."""
        indices = check_indices(indices, int(self.stops[-1]))
        which = np.searchsorted(self.stops, indices, side="right")
        return which, indices - self._starts[which]

    def find_one(self, index: int) -> tuple[int, int]:
        """Return which dataset a sample is of, and its index there."""
        which = bisect_right(self._edges, index)
        return which, index - (self._edges[which - 1] if which else 0)


@dataclass(frozen=True, slots=True)
class Mixed:
    """Several datasets mixed; each draws in the slot of its number.

    Attributes:
        dataset: the dataset that is described.
        inputs: the datasets.
        mixture: which sample of which of them each index is.
    """

    dataset: Indexable[Any]
    inputs: tuple[Node, ...]
    mixture: Mixture

    def find(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return which dataset each sample is of, and its index there; they go on beyond the end of an epoch."""
        if len(indices) and indices.min() < 0:
            indices = np.where(indices < 0, indices + self.mixture.length, indices)
        return self.mixture.find(indices)

    def find_one(self, index: int) -> tuple[int, int]:
        """Return which dataset a sample is of, and its index there."""
        return self.mixture.find_one(index)


@dataclass(frozen=True, slots=True)
class Packing:
    """Sequences packed into rows.

    Attributes:
        dataset: the dataset that is described.
        input: the sequences.
        table: which of them each row has.
        style: the form of the rows, as headrace.pipeline.packed has it.
    """

    dataset: Indexable[Any]
    input: Node
    table: RowTable
    style: Any


@dataclass(frozen=True, slots=True)
class Zip:
    """Several datasets side by side; each draws in the slot of its number.

    Attributes:
        dataset: the dataset that is described.
        inputs: the datasets.
        names: of the fields of a sample, which is a dict then; None where it is a tuple.
    """

    dataset: Indexable[Any]
    inputs: tuple[Node, ...]
    names: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Cached:
    """A dataset that keeps its samples once they have been read.

    Attributes:
        dataset: the dataset that is described. It reads by itself what is kept and what is not.
        input: what it keeps.
    """

    dataset: Indexable[Any]
    input: Node


Node = Source | Map | Select | Concat | Mixed | Zip | Packing | Cached
