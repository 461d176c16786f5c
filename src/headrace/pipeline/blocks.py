"""The blocks, lengths and counters of datasets: checked, and put together for several of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

__all__ = ["add_counters", "checked_blocks", "checked_lengths", "concat_blocks"]


def checked_blocks(dataset: Any, found: Any) -> int | NDArray[np.int64] | None:
    """Return what a dataset says of its blocks: the samples of each, or the bounds of all.

    Args:
        dataset: the dataset.
        found: what its method `blocks()` returned.

    Returns:
        A number of samples; or where blocks begin, and the last one ends, shape (blocks + 1,), int64; or None.

    Raises:
        ArgumentError: it is something else.
    """
    if found is None:
        return None
    if np.ndim(found) == 0:
        if isinstance(found, int | np.integer) and found > 0:
            return int(found)
    else:
        bounds = np.asarray(found)
        if _are_bounds(bounds, len(dataset)):
            return bounds.astype(np.int64, copy=False)
    raise ArgumentError(
        f"{type(dataset).__name__}.blocks() returned {found!r:.100}; it must be a number of samples, or the bounds of "
        "the blocks: integers that rise from 0 to the dataset's length"
    )


def checked_lengths(dataset: Any, found: Any, said: str | None = None) -> NDArray[np.int64]:
    """Return what is said of the lengths of a dataset's samples.

    Args:
        dataset: the dataset.
        found: the lengths.
        said: how they were said; by default in its method `lengths()`.

    Returns:
        Shape (n,), int64.

    Raises:
        ArgumentError: it is something else than one non-negative integer for each sample.
    """
    array = np.asarray(found)
    if array.shape != (len(dataset),) or array.dtype.kind not in "iu" or (len(array) and array.min() < 0):
        raise ArgumentError(
            f"{said or f'{type(dataset).__name__}.lengths() returned'} {found!r:.100}; it must be an array of "
            f"{len(dataset)} integers that are not negative, one for each sample"
        )
    return array.astype(np.int64, copy=False)


def concat_blocks(found: Iterable[int | NDArray[np.int64] | None], lengths: Iterable[int]) -> NDArray[np.int64] | None:
    """Return the bounds of the blocks of datasets end to end; None if one does not say.

    Args:
        found: what each says of its blocks.
        lengths: how many samples each has.
    """
    parts, start = [np.zeros(1, np.int64)], 0
    for each, length in zip(found, lengths, strict=True):
        if each is None:
            return None
        bounds = np.append(np.arange(0, length, each), length) if isinstance(each, int) else each
        parts.append(start + bounds[1:] if length else bounds[:0])
        start += length
    return np.concatenate(parts)


def add_counters(counted: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Add the counters of several datasets, or processes, name by name.

    >>> add_counters([{"hits": 2}, {"hits": 3, "misses": 1}])
    {'hits': 5, 'misses': 1}
    """
    total: Counter[str] = Counter()
    for each in counted:
        total.update(each)
    return dict(total)


def _are_bounds(bounds: NDArray[Any], length: int) -> bool:
    return (
        bounds.ndim == 1
        and bounds.dtype.kind in "iu"
        and len(bounds) > 0
        and bounds[0] == 0
        and bounds[-1] == length
        and bool((bounds[1:] > bounds[:-1]).all())
    )
