"""Descriptions of datasets: of which others, and of which functions, they are made.

A dataset of headrace's says so in its method `node()`; every other dataset is a `Source`. Nodes are data: they
read nothing. `headrace.pipeline.compile` makes the plan of them by which samples and batches are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.batch.capabilities import capability

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from headrace.pipeline.reading import Indexable

__all__ = ["Cached", "Concat", "Map", "Node", "Select", "Source", "Zip", "describe"]


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
    indices: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Concat:
    """Several datasets end to end; each draws in the slot of its number.

    Attributes:
        dataset: the dataset that is described.
        inputs: the datasets.
        stops: where each of them ends, shape (len(inputs),), int64.
    """

    dataset: Indexable[Any]
    inputs: tuple[Node, ...]
    stops: NDArray[np.int64]


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


Node = Source | Map | Select | Concat | Zip | Cached


def describe(dataset: Any) -> Node:
    """Return the node of a dataset: a Source unless its class says more, and no derived class reads otherwise."""
    node = capability(dataset, "node")
    found: Node = Source(dataset) if node is None else node()
    return found
