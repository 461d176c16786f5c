"""Batches of indices, whoever decides on them: the plan computes them, a user's sampler is replayed."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from headrace.errors import ArgumentError, ArgumentTypeError, OutOfRangeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from headrace.plan import Plan

__all__ = ["BatchSampling", "PlanSampling", "Sampling", "Selection", "SingleSampling", "as_selection", "looking_ahead"]
# The samples of a batch: their indices or, where a sampler gives other keys, a list of those.
Selection: TypeAlias = NDArray[np.int64] | list[Any]


class Sampling(Protocol):
    """Which samples make up each batch of an epoch."""

    def steps(self) -> int:
        """The number of batches; TypeError where a sampler does not say."""

    def start(self, key: int, step: int) -> Iterator[Selection]:
        """The samples of the batches from `step` on, for the key of an epoch."""

    def at(self, key: int, step: int) -> Selection:
        """The samples of the batch at `step`."""


class PlanSampling:
    """Batches computed by a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def steps(self) -> int:
        """The number of batches."""
        return self._plan.steps

    def start(self, key: int, step: int) -> Iterator[NDArray[np.int64]]:
        """The indices of the batches from `step` on."""
        return (self._plan.indices(key, at) for at in range(step, self._plan.steps))

    def at(self, key: int, step: int) -> NDArray[np.int64]:
        """The indices of the batch at `step`."""
        return self._plan.indices(key, step)


class BatchSampling:
    """Batches given by a user's batch_sampler, found again by going through it from the start.

    Args:
        batch_sampler: yields the indices, or other keys, of one batch at a time.
    """

    def __init__(self, batch_sampler: Iterable[Sequence[Any]]) -> None:
        self._batches = batch_sampler
        self._started = False

    def steps(self) -> int:
        """The number of batches, as the batch_sampler says."""
        return _length(self._batches, "batch_sampler")

    def start(self, key: int, step: int) -> Iterator[Selection]:  # noqa: ARG002
        """The batches from `step` on."""
        batches = _restart(self._batches, "batch_sampler", again=self._started)
        self._started = True
        return map(as_selection, islice(batches, step, None))

    def at(self, key: int, step: int) -> Selection:
        """The batch at `step`."""
        _check_restarts(self._batches, "batch_sampler")
        return _first(self.start(key, step), step)


class SingleSampling:
    """Batches gathered from a user's sampler, found again by going through it from the start.

    Args:
        sampler: yields one index, or other key, at a time.
        batch_size: how many make up a batch; None for one that is no batch.
        drop_last: leave out the last ones if they do not fill a batch.
    """

    def __init__(self, sampler: Iterable[Any], batch_size: int | None, *, drop_last: bool) -> None:
        self._sampler = sampler
        self._batch_size = batch_size
        self._drop_last = drop_last
        self._started = False

    def steps(self) -> int:
        """The number of batches that the sampler's length makes."""
        length, size = _length(self._sampler, "sampler"), self._batch_size or 1
        return length // size if self._drop_last else -(-length // size)

    def start(self, key: int, step: int) -> Iterator[Selection]:  # noqa: ARG002
        """The batches from `step` on."""
        samples = _restart(self._sampler, "sampler", again=self._started)
        self._started = True
        return self._gather(islice(samples, step * (self._batch_size or 1), None))

    def at(self, key: int, step: int) -> Selection:
        """The batch at `step`."""
        _check_restarts(self._sampler, "sampler")
        return _first(self.start(key, step), step)

    def _gather(self, samples: Iterator[Any]) -> Iterator[Selection]:
        if self._batch_size is None:
            for sample in samples:
                yield as_selection([sample])
            return
        while batch := list(islice(samples, self._batch_size)):
            if len(batch) < self._batch_size and self._drop_last:
                return
            yield as_selection(batch)


def as_selection(batch: Sequence[Any]) -> Selection:
    """The keys of a batch as an int64 array if they are integers, else as a list.

    >>> as_selection((3, 1))
    array([3, 1])
    >>> as_selection(["a", "b"])
    ['a', 'b']

    Raises:
        ArgumentTypeError: the batch cannot be gone through.
    """
    try:
        keys = list(batch)
    except TypeError as error:
        raise ArgumentTypeError(
            f"the batch_sampler gave {batch!r:.100}, but each of its items is a list of indices; "
            "pass single indices as sampler="
        ) from error
    try:
        return np.array([operator.index(key) for key in keys], np.int64)
    except (TypeError, OverflowError):
        return keys


def looking_ahead(
    selections: Iterator[NDArray[np.int64]], distance: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64] | None]]:
    """Each selection with the one that is `distance` later, the first with all those up to it.

    So each is seen once before its turn, but for the first. None where there is none.

    >>> [(now.tolist(), later) for now, later in looking_ahead(iter(np.arange(8).reshape(4, 2)), 2)]
    [([0, 1], array([2, 3, 4, 5])), ([2, 3], array([6, 7])), ([4, 5], None), ([6, 7], None)]
    """
    following = deque(islice(selections, 1 + distance))
    later = list(following)[1:]
    while following:
        yield following.popleft(), np.concatenate(later) if later else None
        later = list(islice(selections, 1))
        following.extend(later)


def _length(sampler: object, name: str) -> int:
    try:
        return len(sampler)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"the loader has no length, because its {name} ({type(sampler).__name__}) has none") from None


def _restart(sampler: Iterable[Any], name: str, *, again: bool) -> Iterator[Any]:
    """A new pass through the sampler; refuse a used-up iterator, whose epoch would be silently empty."""
    items = iter(sampler)
    if not again or items is not sampler:
        return items
    try:
        first = next(items)
    except StopIteration:
        raise ArgumentError(
            f"the {name} is an iterator ({type(sampler).__name__}) and has been gone through once; pass a list or "
            "an object whose __iter__ starts anew"
        ) from None
    return _chain(first, items)


def _check_restarts(sampler: Iterable[Any], name: str) -> None:
    """Refuse to look for one batch in an iterator: that would take the batches before it away."""
    if isinstance(sampler, Iterator):
        raise ArgumentError(
            f"the {name} is an iterator ({type(sampler).__name__}), which can be gone through once; pass a list or "
            "an object whose __iter__ starts anew to ask for single batches"
        )


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _first(batches: Iterator[Selection], step: int) -> Selection:
    for batch in batches:
        return batch
    raise OutOfRangeError(f"there is no step {step}: the sampler ends before it")
