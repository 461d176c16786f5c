"""Parts of a dataset drawn at random."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.datasets.compose import Subset
from headrace.datasets.tables import as_dataset
from headrace.errors import ArgumentError
from headrace.frameworks import draw_seed
from headrace.rng.keys import check_seed, epoch_key
from headrace.sampling.permutation import Shuffled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.pipeline.reading import Indexable

__all__ = ["random_split"]


def random_split(
    dataset: Indexable[Any], lengths: Sequence[float], generator: Any = None, *, seed: int | None = None
) -> list[Subset]:
    """Split a dataset at random into parts that do not overlap.

    Args:
        dataset: any object with `__len__` and `__getitem__`, or a table: a dict of arrays, or a DataFrame.
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
    dataset = as_dataset(dataset)
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
