"""Samples being loaded, and the place in the chain of transforms that has been reached: what draws belong to.

The loader says with `use_keys` which samples it is loading. Datasets and transforms that hold others open
a `slot` for each of them, so that what one of them draws never shifts what another one draws.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from functools import lru_cache, reduce
from operator import length_hint
from typing import TYPE_CHECKING, Any, Self

from headrace.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType, TracebackType

    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Chain",
    "NoDraws",
    "NotedKeys",
    "SampleKeys",
    "below",
    "each_sample",
    "loading",
    "no_draws",
    "notice_unnamed",
    "part",
    "read_in_turn",
    "slot",
    "slots",
    "use_keys",
    "who_draws",
    "whole_batch",
]

_WORD = 2**32 - 1
_BELOW = 2**29  # the branch of samples that others are made of, far from the slots of datasets and functions


class SampleKeys:
    """The samples being loaded, and the place in the chain of transforms that has been reached."""

    __slots__ = ("batch", "count", "drawn", "key", "path", "position", "turns", "unnamed")

    def __init__(self, key: int, indices: NDArray[np.int64]) -> None:
        self.key = key
        self.batch = indices
        self.position: int | None = None  # of the one sample in the batch that draws belong to; None for all
        self.turns: _Turns | None = None  # of samples that are read one after the other
        self.path = 0
        self.count = 0
        # Words by their stream: of which few samples of which batch, and the words of each.
        self.drawn: dict[int, tuple[int, NDArray[np.int64], list[list[int]]]] = {}
        self.unnamed = 0  # draws for one sample of the batch that did not say which

    @property
    def indices(self) -> NDArray[np.int64]:
        """The samples that draws belong to."""
        self.settle()
        return self.batch if self.position is None else self.batch[self.position : self.position + 1]

    def settle(self) -> None:
        """Find out whose turn it is; asked by what draws or changes the place, so that others need not wait for it."""
        if self.turns is not None:
            self.turns.settle(self)

    def next_stream(self) -> int:
        """Return the stream of the next random step at this place."""
        self.settle()
        stream = _mix(self.path, self.count)
        self.count += 1
        return stream

    def next_unnamed(self) -> int:
        """Return a number for a draw of one sample where only the whole batch is known.

        So it is in a `collate_fn`, and under a `__getitems__` of another library, whose samples all
        come to the same place. They draw differently, in the order in which they are read.
        """
        self.unnamed += 1
        return self.unnamed


class _Turns:
    """The turns of samples that are read one after the other, each of which starts at the same place.

    Args:
        keys: an iterator over a list, which gives the key of each when its turn comes: how many are left tells whose
            turn it is.
        count: how many draws there were where they start.
    """

    __slots__ = ("_count", "_keys", "_left")

    def __init__(self, keys: Iterator[Any], count: int) -> None:
        self._keys = keys
        self._count = count
        self._left = -1  # when it was asked last

    def settle(self, loaded: SampleKeys) -> None:
        """Let draws belong to the sample whose turn it is."""
        left = length_hint(self._keys)
        if left != self._left:
            self._left = left
            loaded.position, loaded.count = len(loaded.batch) - left - 1, self._count


class NoDraws(SampleKeys):
    """Samples that must not be random."""

    __slots__ = ()

    def next_stream(self) -> int:
        """Refuse to draw."""
        raise CacheError(
            f"{who_draws()} draws random numbers for a sample that is being cached, so all epochs would get the same "
            "ones; put .cache(...) before what is random: dataset.cache(...).map(augment)"
        )


def who_draws() -> str:
    """Return the function, or the class of the transform, that has called into this package."""
    frame = sys._getframe()  # noqa: SLF001 - the only way to know
    while frame.f_back is not None and _is_between(frame):
        frame = frame.f_back
    owner = frame.f_locals.get("self")
    return frame.f_code.co_qualname if owner is None else type(owner).__qualname__


def _is_between(frame: FrameType) -> bool:
    """Return whether a frame is of this package, or of a comprehension, so that another one has called for it."""
    inside = frame.f_globals.get("__name__", "").rpartition(".")[0] == __package__
    return inside or frame.f_code.co_name in ("<listcomp>", "<genexpr>", "<dictcomp>")


class NotedKeys(SampleKeys):
    """Samples for which is noted what is drawn, and by whom.

    Attributes:
        drawing: the functions and transforms that have drawn, in that order.
        notes: what transforms say about it, values by name: by the place in the chain, and the transform's name.
    """

    __slots__ = ("drawing", "notes")

    def __init__(self, key: int, indices: NDArray[np.int64]) -> None:
        super().__init__(key, indices)
        self.drawing: dict[str, None] = {}
        self.notes: dict[tuple[int, int, str], dict[str, Any]] = {}

    def next_stream(self) -> int:
        """Return the stream of the next random step at this place."""
        self.drawing[who_draws()] = None
        return super().next_stream()


loading: ContextVar[SampleKeys | None] = ContextVar("headrace_sample_keys", default=None)


@lru_cache(4096)  # a chain has few places, at which each sample draws
def _mix(path: int, number: int) -> int:
    """Return a 32-bit hash of a path and the number of a branch (the finaliser of MurmurHash3)."""
    word = (path * 0x9E3779B1 + number + 1) & _WORD
    word = ((word ^ (word >> 16)) * 0x85EBCA6B) & _WORD
    word = ((word ^ (word >> 13)) * 0xC2B2AE35) & _WORD
    return word ^ (word >> 16)


class use_keys:  # noqa: N801 - a context manager reads like a function
    """While this is open, draws belong to these samples.

    Args:
        key: the key of the epoch, below 2**64.
        indices: the samples' indices, shape (n,), int64.
    """

    __slots__ = ("_keys", "_token")

    def __init__(self, key: int, indices: NDArray[np.int64]) -> None:
        self._keys = SampleKeys(key, indices)

    def __enter__(self) -> None:
        self._token = loading.set(self._keys)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loading.reset(self._token)


class no_draws(use_keys):  # noqa: N801 - a context manager reads like a function
    """While this is open, these samples are read, and a draw for one of them is an error.

    Args:
        indices: the samples' indices, shape (n,), int64.
    """

    __slots__ = ()

    def __init__(self, indices: NDArray[np.int64]) -> None:
        self._keys = NoDraws(0, indices)


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
                keys.path = _mix(keys.path, number)
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
            path = _mix(path, number)
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
            paths = [reduce(_mix, slots, start) for slots in self._slots]
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
            keys.path, keys.count = _mix(keys.path, _BELOW), 0

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
    loaded.position, loaded.turns = 0, _Turns(keys, count)
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


def whole_batch(count: int) -> SampleKeys | None:
    """Return the samples being loaded, if they are a batch of `count` and draws belong to all of them."""
    keys = loading.get()
    return keys if keys is not None and keys.position is None and len(keys.batch) == count else None


def _stay(place: object) -> None:
    """Move nowhere: no samples are being loaded."""
