"""Iterators of a user's sampler: begun late, gone through, or found to be empty."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from headrace.errors import ArgumentError, OutOfRangeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["exhaust", "first", "lazily", "length_of", "refilled"]

T = TypeVar("T")


def length_of(sampler: object, name: str) -> int:
    """Return the length of a sampler; TypeError where it has none."""
    try:
        return len(sampler)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"the loader has no length, because its {name} ({type(sampler).__name__}) has none") from None


def lazily(sampler: Iterable[Any]) -> Iterator[Any]:
    """Go through a sampler, and ask for its iterator when that is needed first: there it may draw."""
    yield from sampler


def refilled(items: Iterator[Any], name: str) -> Iterator[Any]:
    """Return the iterator if there is anything left in it."""
    try:
        first = next(items)
    except StopIteration:
        raise ArgumentError(
            f"the {name} is an iterator ({type(items).__name__}) and has been gone through once; pass a list or "
            "an object whose __iter__ starts anew"
        ) from None
    return _chain(first, items)


def exhaust(batches: Iterator[Any]) -> None:
    """Go through what is left."""
    deque(batches, maxlen=0)


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def first(batches: Iterator[T], step: int) -> T:
    """Return the next one, at a step; OutOfRangeError where there is none."""
    for batch in batches:
        return batch
    raise OutOfRangeError(f"there is no step {step}: the sampler ends before it")
