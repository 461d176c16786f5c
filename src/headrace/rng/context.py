"""Samples being loaded, and the place in the chain of transforms that has been reached: what draws belong to.

The loader says with `use_keys` which samples it is loading; `headrace.rng.places` moves on in the chain.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from functools import lru_cache
from operator import length_hint
from typing import TYPE_CHECKING, Any

from headrace.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType

    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "NoDraws",
    "NotedKeys",
    "SampleKeys",
    "Turns",
    "loading",
    "mix_place",
    "no_draws",
    "use_keys",
    "who_draws",
    "whole_batch",
]

_WORD = 2**32 - 1


class SampleKeys:
    """The samples being loaded, and the place in the chain of transforms that has been reached."""

    __slots__ = ("batch", "count", "drawn", "key", "path", "position", "turns", "unnamed")

    def __init__(self, key: int, indices: NDArray[np.int64]) -> None:
        self.key = key
        self.batch = indices
        self.position: int | None = None  # of the one sample in the batch that draws belong to; None for all
        self.turns: Turns | None = None  # of samples that are read one after the other
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
        stream = mix_place(self.path, self.count)
        self.count += 1
        return stream

    def next_unnamed(self) -> int:
        """Return a number for a draw of one sample where only the whole batch is known.

        So it is in a `collate_fn`, and under a `__getitems__` of another library, whose samples all
        come to the same place. They draw differently, in the order in which they are read.
        """
        self.unnamed += 1
        return self.unnamed


class Turns:
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
def mix_place(path: int, number: int) -> int:
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


def whole_batch(count: int) -> SampleKeys | None:
    """Return the samples being loaded, if they are a batch of `count` and draws belong to all of them."""
    keys = loading.get()
    return keys if keys is not None and keys.position is None and len(keys.batch) == count else None
