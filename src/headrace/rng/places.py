"""Places in the chain of transforms: what one function draws never shifts what another one draws.

Datasets and transforms that hold others open a `slot` for each of them, and read samples one at a time or in parts.
"""

from __future__ import annotations

from functools import reduce
from operator import length_hint
from typing import TYPE_CHECKING, Any, Self

from headrace.rng.context import Turns, loading, mix_place, whole_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Chain", "below", "each_sample", "notice_unnamed", "part", "read_in_turn", "slot", "slots"]

_BELOW = 2**29  # the branch of samples that others are made of, far from the slots of datasets and functions


class slot:  # noqa: N801 - a context manager reads like a function
    """While this is open, draws belong to branch `number` of the present place.

    Code that holds several sources of draws (a chain of transforms, a dataset and the function mapped
    over it) opens one slot for each. Several numbers are as several nested slots. Does nothing outside a
    loader.
    """

    __slots__ = ("_keys", "_numbers", "_saved")

    def __init__(self, *numbers: int) -> None:
        self._keys = loading.get()
        self._numbers = numbers

    def __enter__(self) -> None:
        keys = self._keys
        if keys is not None:
            keys.settle()
            self._saved = keys.path, keys.count
            for number in self._numbers:
                keys.path = mix_place(keys.path, number)
            keys.count = 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keys is not None:
            self._keys.path, self._keys.count = self._saved


class slots:  # noqa: N801 - a context manager reads like a function
    """Go through branches of the present place, so that draws belong to one of them at a time.

    The context is a function: called with numbers it moves on to a branch, as several nested slots would. Every branch
    starts anew, whatever the one before it drew. Does nothing outside a loader.
    """

    __slots__ = ("_count", "_keys", "_start")

    def __init__(self) -> None:
        self._keys = loading.get()

    def __enter__(self) -> Callable[[tuple[int, ...]], None]:
        keys = self._keys
        if keys is None:
            return _stay
        keys.settle()
        self._start, self._count = keys.path, keys.count
        return self._move_to

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keys is not None:
            self._keys.path, self._keys.count = self._start, self._count

    def _move_to(self, numbers: tuple[int, ...]) -> None:
        keys, path = self._keys, self._start
        assert keys is not None  # noqa: S101 - __enter__ hands this method out only then
        for number in numbers:
            path = mix_place(path, number)
        keys.path, keys.count = path, 0


class Chain:
    """Functions that run one after the other, each of which draws in slots of its own.

    Args:
        steps: of each function the slots, one in the other, and the function; one with no slots draws where the
            chain stands.

    >>> Chain([((1,), str.strip), ((2,), str.upper)])(" a ")
    'A'
    """

    __slots__ = ("_functions", "_hashed", "_slots")

    def __init__(self, steps: Iterable[tuple[tuple[int, ...], Callable[[Any], Any]]]) -> None:
        steps = list(steps)
        self._slots = [slots for slots, _ in steps]
        self._functions = [function for _, function in steps]
        self._hashed: tuple[int, list[int]] = (-1, [])  # the path where the chain stood last, and those of its steps

    def __call__(self, value: Any) -> Any:
        """Return what the functions make of a value."""
        keys = loading.get()
        if keys is None:
            for function in self._functions:
                value = function(value)
            return value
        keys.settle()
        start, count = keys.path, keys.count
        hashed, paths = self._hashed
        if hashed != start:
            paths = [reduce(mix_place, slots, start) for slots in self._slots]
            self._hashed = start, paths
        try:
            for path, slots, function in zip(paths, self._slots, self._functions, strict=True):
                if slots:
                    keys.path, keys.count = path, 0
                value = function(value)
        finally:
            keys.path, keys.count = start, count
        return value


class part:  # noqa: N801 - a context manager reads like a function
    """While this is open, draws belong to the samples at these positions of the batch.

    Every part starts at the same place, whatever the one before it drew. Does nothing where not
    `count` samples are being loaded: then they are not the batch's.

    Args:
        positions: where the samples stand among those being loaded, shape (m,), int64.
        count: how many samples are being loaded, as far as the caller knows.
    """

    __slots__ = ("_keys", "_positions", "_saved")

    def __init__(self, positions: NDArray[np.int64], count: int) -> None:
        self._keys = whole_batch(count)
        self._positions = positions

    def __enter__(self) -> None:
        if self._keys is not None:
            self._saved = self._keys.batch, self._keys.count
            self._keys.batch = self._keys.batch[self._positions]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keys is not None:
            self._keys.batch, self._keys.count = self._saved


class below:  # noqa: N801 - a context manager reads like a function
    """While this is open, draws belong to other samples, of which those being loaded are made.

    They follow from the indices of these, whatever is made of them. Does nothing outside a loader.

    Args:
        indices: the indices of these samples in their own dataset, shape (m,), int64.
    """

    __slots__ = ("_indices", "_keys", "_saved")

    def __init__(self, indices: NDArray[np.int64]) -> None:
        self._keys = loading.get()
        self._indices = indices

    def __enter__(self) -> None:
        keys = self._keys
        if keys is not None:
            keys.settle()
            self._saved = keys.batch, keys.position, keys.path, keys.count, keys.turns
            keys.batch, keys.position, keys.turns = self._indices, None, None
            keys.path, keys.count = mix_place(keys.path, _BELOW), 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keys is not None:
            keys = self._keys
            keys.batch, keys.position, keys.path, keys.count, keys.turns = self._saved


class each_sample:  # noqa: N801 - a context manager reads like a function
    """Go through the samples being loaded, so that draws belong to one of them at a time.

    The context is a function: called with a position it moves on to the sample there. Every sample
    starts at the same place, whatever the one before it drew. Where not `count` samples are being
    loaded, the draws belong to the same samples as before.

    Args:
        count: how many samples will be gone through.
    """

    __slots__ = ("_keys", "_path", "_start")

    def __init__(self, count: int) -> None:
        self._keys = whole_batch(count)

    def __enter__(self) -> Callable[[int], None]:
        if self._keys is None:
            return _stay
        self._path, self._start = self._keys.path, self._keys.count
        return self._move_to

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keys is not None:
            self._keys.position, self._keys.path, self._keys.count = None, self._path, self._start

    def _move_to(self, position: int) -> None:
        keys = self._keys
        assert keys is not None  # noqa: S101 - __enter__ hands this method out only then
        keys.position, keys.path, keys.count = position, self._path, self._start


def read_in_turn(read: Callable[[Any], Any], keys: Iterator[Any]) -> list[Any]:
    """Return what is read of each of the samples being loaded, as it is with `each_sample`, which takes longer.

    Args:
        read: reads one.
        keys: an iterator over a list of the samples' keys; where reading raises, the last key that it gave was wrong.
    """
    loaded = whole_batch(length_hint(keys))
    if loaded is None:
        return [read(key) for key in keys]  # no `map`, which a StopIteration of the dataset would end without a word
    path, count = loaded.path, loaded.count
    loaded.position, loaded.turns = 0, Turns(keys, count)
    try:
        return [read(key) for key in keys]
    finally:
        loaded.position = loaded.turns = None
        loaded.path, loaded.count = path, count


class notice_unnamed:  # noqa: N801 - a context manager reads like a function
    """Notice draws for one sample of the batch being loaded that do not say for which.

    After the exit, `noticed` tells whether there were any; if so they are as good as not made.
    """

    __slots__ = ("_before", "_keys", "noticed")

    def __init__(self) -> None:
        self._keys = loading.get()
        self.noticed = False

    def __enter__(self) -> Self:
        if self._keys is not None:
            self._keys.settle()
            self._before = self._keys.count, self._keys.unnamed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keys is not None and self._keys.unnamed != self._before[1]:
            self.noticed = True
            self._keys.count, self._keys.unnamed = self._before


def _stay(place: object) -> None:
    """Move nowhere: no samples are being loaded."""
