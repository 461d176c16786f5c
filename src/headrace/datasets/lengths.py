"""The lengths of sequences: told by the dataset, or measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.io.progress import Progress
from headrace.pipeline.compile import compile_dataset
from headrace.pipeline.hints import lengths
from headrace.pipeline.packed import sequence_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.reading import Indexable

__all__ = ["sequence_lengths"]

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


def _measured(dataset: Indexable[Any], field: int | str | None) -> NDArray[np.int64]:
    plan, found = compile_dataset(dataset), np.empty(len(dataset), np.int64)
    start = 0
    with Progress(lambda: f"measured {start:,} of {len(found):,} sequences") as show:
        for start in range(0, len(found), _AT_ONCE):
            samples = plan.samples(np.arange(start, min(start + _AT_ONCE, len(found))))
            found[start : start + len(samples)] = [len(sequence_of(sample, field)) for sample in samples]
            show()
    return found
