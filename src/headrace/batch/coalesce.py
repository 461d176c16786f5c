"""Small batches that are loaded several at a time: what a call of a worker costs is then paid once for all of them.

What a worker is told, and what it tells, takes some dozen microseconds, in which Python's lock is held; batches of
rows in memory take no longer themselves. As one large batch they are read at once, and handed out as parts of it.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from operator import is_
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.tree import count_bytes, fields, map_fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["LARGE", "MOST_BATCHES", "SMALL", "batches_to_coalesce", "split"]

# What is coalesced has no more bytes than this, so that little more is in flight than the batches of the prefetch,
# and a batch that is kept keeps little more than itself.
LARGE = 1 << 22
# Where the consumer itself loads, no more than this is gathered ahead: a fifth of a millisecond, after which the memory
# is still in a cache.
SMALL = 1 << 20
MOST_BATCHES = 32
_PLAIN = (tuple, list, dict)


def batches_to_coalesce(batch: Any, samples: int, limit: int) -> int:
    """Return how many batches like this one should be loaded as one.

    Args:
        batch: a batch.
        samples: how many samples it has.
        limit: bytes that they may have together.

    >>> batches_to_coalesce((np.zeros((64, 1000)), np.zeros(64)), 64, limit=2_100_000)
    4
    >>> batches_to_coalesce(["text"] * 64, 64, limit=2_100_000)
    1
    """
    if not all(_has_rows(leaf, samples) for leaf in fields(batch)):
        return 1
    return max(1, min(MOST_BATCHES, limit // max(1, count_bytes(batch))))


def split(batch: Any, parts: Sequence[int]) -> list[Any]:
    """Return the batches that were loaded as one.

    Args:
        batch: arrays, or containers of them.
        parts: how many samples each of the batches has.

    >>> split((np.arange(5), np.arange(5) * 10), (3, 2))
    [(array([0, 1, 2]), array([ 0, 10, 20])), (array([3, 4]), array([30, 40]))]
    """
    rows = [slice(start, stop) for start, stop in pairwise(accumulate(parts, initial=0))]
    if type(batch) is tuple and {np.ndarray}.issuperset(map(type, batch)):  # most batches, in a tenth of the time
        return list(zip(*[[array[some] for some in rows] for array in batch], strict=True))
    leaves, kind = fields(batch), type(batch)
    columns = [_parts(leaf, rows, parts) for leaf in leaves]
    items = list(batch.values() if kind is dict else batch) if kind in _PLAIN else None
    if items is not None and len(items) == len(leaves) and all(map(is_, items, leaves)):  # with no container inside
        together = zip(*columns, strict=True)
        if kind is dict:
            return [dict(zip(batch, part, strict=True)) for part in together]
        return list(together) if kind is tuple else list(map(list, together))
    return [_with_fields(batch, iter(column)) for column in zip(*columns, strict=True)]


def _parts(leaf: Any, rows: Sequence[slice], sizes: Sequence[int]) -> list[Any]:
    """Return the rows of an array in parts. To autograd those of a tensor are no views: one may be changed in place."""
    split_apart = getattr(leaf, "unsafe_split_with_sizes", None)
    return [leaf[some] for some in rows] if split_apart is None else list(split_apart(list(sizes)))


def _with_fields(batch: Any, leaves: Iterator[Any]) -> Any:
    return map_fields(lambda _: next(leaves), batch)


def _has_rows(leaf: Any, samples: int) -> bool:
    """Return whether it is an array whose rows are samples, and slices of it are views."""
    if not isinstance(leaf, np.ndarray):
        kind = type(leaf)
        if (kind.__module__, kind.__qualname__) != ("torch", "Tensor"):
            return False
    return leaf.ndim > 0 and len(leaf) == samples
