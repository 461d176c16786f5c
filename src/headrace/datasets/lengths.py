"""The lengths of sequences: told by the dataset, or measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.io.progress import Progress
from headrace.pipeline.compile import compile_dataset
from headrace.pipeline.describe import describe
from headrace.pipeline.hints import lengths, mixed_node
from headrace.pipeline.packed import sequence_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.pipeline.nodes import Mixed
    from headrace.pipeline.reading import Indexable

__all__ = ["lengths_at", "sequence_lengths"]

_AT_ONCE = 256  # samples


def sequence_lengths(dataset: Indexable[Any], field: int | str | None = None) -> NDArray[np.int64]:
    """Return how many items the sequence of each sample has.

    Args:
        dataset: any object with `__len__` and `__getitem__`. One with a method `lengths()` tells them; of others all
            samples are read, with a line on stderr that says how far it is.
        field: the field of a sample that has the sequence; None for "input_ids", "tokens", the only field, or a
            sample that is the sequence.

    Returns:
        int64 of shape (n,).

    Raises:
        ArgumentError: a sample has no such field, or there is no telling which is meant.

    >>> sequence_lengths([[1, 2, 3], [4]])
    array([3, 1])
    """
    known = lengths(dataset)
    return _measured(dataset, field) if known is None else known


def lengths_at(dataset: Indexable[Any]) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
    """Return a function that gives the lengths of the samples at indices, also of those of a mixture beyond its end.

    >>> lengths_at([[1, 2, 3], [4]])(np.array([1, 0]))
    array([1, 3])
    """
    mixed = mixed_node(describe(dataset))
    if mixed is None:
        return sequence_lengths(dataset).__getitem__
    return _lengths_of_mixture(mixed)


def _lengths_of_mixture(mixed: Mixed) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
    known = [
        sequence_lengths(each.dataset).__getitem__ if inner is None else _lengths_of_mixture(inner)
        for each, inner in ((each, mixed_node(each)) for each in mixed.inputs)
    ]

    def at(indices: NDArray[np.int64]) -> NDArray[np.int64]:
        which, inside = mixed.find(indices)
        found = np.empty(len(indices), np.int64)
        for number in np.unique(which).tolist():
            here = which == number
            found[here] = known[number](inside[here])
        return found

    return at


def _measured(dataset: Indexable[Any], field: int | str | None) -> NDArray[np.int64]:
    plan, found = compile_dataset(dataset), np.empty(len(dataset), np.int64)
    start = 0
    with Progress(lambda: f"measured {start:,} of {len(found):,} sequences") as show:
        for start in range(0, len(found), _AT_ONCE):
            samples = plan.samples(np.arange(start, min(start + _AT_ONCE, len(found))))
            found[start : start + len(samples)] = [len(sequence_of(sample, field)) for sample in samples]
            show()
    return found
