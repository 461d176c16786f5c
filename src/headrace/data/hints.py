"""What a dataset may offer beside its samples, each a method that it need not have.

`will_need(indices)` hears early which samples will be read, `blocks()` says which of them lie together,
`counters()` what it has counted. None of them changes a sample, so they count also where a subclass
has overridden `__getitem__`. Only classes are asked, as for the faster faces.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["add_counters", "blocks", "concat_blocks", "counters", "has_counters", "reads_ahead", "will_need"]


def reads_ahead(dataset: object) -> bool:
    """Whether the dataset wants to hear which samples will be read; one over others asks them."""
    if _method(dataset, "will_need") is None:
        return False
    asks = _method(dataset, "reads_ahead")
    return asks is None or bool(asks())


def will_need(dataset: object, indices: NDArray[np.int64]) -> None:
    """Tell the dataset that the samples at the indices will be read soon, if it wants to hear.

    Its method `will_need(indices)` returns at once: it may ask the system for pages of a file, or let a
    thread of its own fetch what lies far away. It is called where the samples will be read: in the
    consumer, in several threads, or in each worker process for a part of the samples.

    Args:
        dataset: any object.
        indices: shape (n,), int64, in the order in which they will be read; not negative.
    """
    if reads_ahead(dataset):
        hear = _method(dataset, "will_need")
        assert hear is not None  # noqa: S101 - or it would not read ahead
        hear(indices)


def blocks(dataset: object) -> int | NDArray[np.int64] | None:
    """Which samples of the dataset lie together, and are best read together.

    Returns:
        What its method `blocks()` says: the number of samples a block; or where blocks of different
        sizes begin, and the last one ends, shape (blocks + 1,), int64; None where nobody says.

    Raises:
        ArgumentError: it says something else.
    """
    asks = _method(dataset, "blocks")
    found = None if asks is None else asks()
    if found is None:
        return None
    if np.ndim(found) == 0:
        if isinstance(found, int | np.integer) and found > 0:
            return int(found)
    else:
        bounds = np.asarray(found)
        if _are_bounds(bounds, len(dataset)):  # type: ignore[arg-type]
            return bounds.astype(np.int64, copy=False)
    raise ArgumentError(
        f"{type(dataset).__name__}.blocks() returned {found!r:.100}; it must be a number of samples, or the bounds of "
        "the blocks: integers that rise from 0 to the dataset's length"
    )


def concat_blocks(datasets: Sequence[Any]) -> NDArray[np.int64] | None:
    """The bounds of the blocks of datasets end to end; None if one does not say."""
    parts, start = [np.zeros(1, np.int64)], 0
    for dataset in datasets:
        found, length = blocks(dataset), len(dataset)
        if found is None:
            return None
        bounds = np.append(np.arange(0, length, found), length) if isinstance(found, int) else found
        parts.append(start + bounds[1:] if length else bounds[:0])
        start += length
    return np.concatenate(parts)


def has_counters(dataset: object) -> bool:
    """Whether the dataset counts anything."""
    return _method(dataset, "counters") is not None


def counters(dataset: object) -> dict[str, int]:
    """What the dataset has counted so far in this process: what its method `counters()` says, or nothing.

    They are totals that only rise, such as hits and misses of a cache, so that those of several
    processes add up.
    """
    asks = _method(dataset, "counters")
    return {} if asks is None else dict(asks())


def add_counters(counted: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Counters of several datasets, or processes, name by name.

    >>> add_counters([{"hits": 2}, {"hits": 3, "misses": 1}])
    {'hits': 5, 'misses': 1}
    """
    total: Counter[str] = Counter()
    for each in counted:
        total.update(each)
    return dict(total)


def _method(thing: object, name: str) -> Callable[..., Any] | None:
    return getattr(thing, name) if callable(getattr(type(thing), name, None)) else None


def _are_bounds(bounds: NDArray[Any], length: int) -> bool:
    return (
        bounds.ndim == 1
        and bounds.dtype.kind in "iu"
        and len(bounds) > 0
        and bounds[0] == 0
        and bounds[-1] == length
        and bool((bounds[1:] > bounds[:-1]).all())
    )
