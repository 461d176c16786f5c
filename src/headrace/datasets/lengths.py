"""The lengths of sequences: told by the dataset, or measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.capabilities import capability
from headrace.batch.ragged import Ragged
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

_SAMPLES_AT_ONCE, _ROWS_AT_ONCE = 256, 8192


def sequence_lengths(dataset: Indexable[Any], field: int | str | None = None) -> NDArray[np.int64]:
    """Return how many items the sequence of each sample has.

    Args:
        dataset: any object with `__len__` and `__getitem__`. One with a method `lengths()` tells them; columns of lists
            (Arrow, Parquet) have them in their offsets; of others all samples are read, with a line on stderr that says
            how far it is.
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
    plan, get_ragged = compile_dataset(dataset), capability(dataset, "get_ragged")
    found, start = np.empty(len(dataset), np.int64), 0
    at_once = _SAMPLES_AT_ONCE if get_ragged is None else _ROWS_AT_ONCE
    with Progress(lambda: f"measured {start:,} of {len(found):,} sequences") as show:
        for start in range(0, len(found), at_once):
            indices = np.arange(start, min(start + at_once, len(found)))
            known = None if get_ragged is None else _lengths_in(get_ragged(indices), field)
            if known is None:
                known = [len(sequence_of(sample, field)) for sample in plan.samples(indices)]
            found[start : start + len(indices)] = known
            show()
    return found


def _lengths_in(columns: Any, field: int | str | None) -> Any:
    """Return the lengths of sequences that were read end to end; None where they were not."""
    if columns is None:
        return None
    sequences = columns if isinstance(columns, Ragged) else sequence_of(columns, field)
    if isinstance(sequences, Ragged):
        return sequences.lengths
    return sequences.shape[1] if isinstance(sequences, np.ndarray) and sequences.ndim > 1 else None
