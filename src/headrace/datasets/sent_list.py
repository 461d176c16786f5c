"""Lists of a dataset on their way to worker processes, which read them in shared memory."""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence
from contextlib import suppress
from operator import ge, gt, le, lt
from typing import Any, TypeVar, overload

from headrace.datasets.shared_list import SharedList
from headrace.errors import ArgumentTypeError

__all__ = ["SentList", "share_list", "share_lists"]

T = TypeVar("T")

_LARGE = 1 << 14  # items of a list, from which on sharing it is worth the while


class SentList(MutableSequence[T]):
    """A list of a dataset in a worker process: read in shared memory, and the worker's own once it is changed.

    It has all that a list has, so that the code of a dataset does not notice.

    Args:
        shared: the items.

    >>> sent = SentList(SharedList(["a", "b"]))
    >>> sent[1], sent == ["a", "b"]
    ('b', True)
    >>> sent.append("c")
    >>> list(sent)
    ['a', 'b', 'c']
    """

    def __init__(self, shared: SharedList[T]) -> None:
        self._shared = shared
        self._own: list[T] | None = None  # there is none before it is changed

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # isinstance asks for it, by which datasets tell lists from all else
        return list

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)  # as which it comes back in a batch

    def __len__(self) -> int:
        return len(self._shared if self._own is None else self._own)

    @overload
    def __getitem__(self, index: int, /) -> T: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[T]: ...
    def __getitem__(self, index: Any, /) -> Any:
        own = self._own
        return self._shared[index] if own is None else own[index]

    def __setitem__(self, index: Any, value: Any, /) -> None:
        self._owned()[index] = value

    def __delitem__(self, index: Any, /) -> None:
        del self._owned()[index]

    def __iter__(self) -> Any:
        return iter(self._shared if self._own is None else self._own)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, list) and len(other) == len(self) and list(self) == list(other)

    def __lt__(self, other: object) -> Any:
        return lt(*_ends(self, other)) if isinstance(other, list) else NotImplemented

    def __le__(self, other: object) -> Any:
        return le(*_ends(self, other)) if isinstance(other, list) else NotImplemented

    def __gt__(self, other: object) -> Any:
        return gt(*_ends(self, other)) if isinstance(other, list) else NotImplemented

    def __ge__(self, other: object) -> Any:
        return ge(*_ends(self, other)) if isinstance(other, list) else NotImplemented

    __hash__ = None  # type: ignore[assignment] # as of lists

    def __add__(self, other: object) -> list[T]:
        return [*self, *other] if isinstance(other, list) else NotImplemented

    def __radd__(self, other: object) -> list[T]:
        return [*other, *self] if isinstance(other, list) else NotImplemented

    def __mul__(self, times: int) -> list[T]:
        return list(self) * times

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return repr(self._shared if self._own is None else self._own)

    def insert(self, index: int, value: T) -> None:
        """Insert an item."""
        self._owned().insert(index, value)

    def sort(self, **given: Any) -> None:
        """Sort the items, as a list does."""
        self._owned().sort(**given)

    def copy(self) -> list[T]:
        """Return the items as a list."""
        return list(self)

    def _owned(self) -> list[T]:
        if self._own is None:
            self._own = list(self._shared)
        return self._own


def _ends(one: Sequence[Any], other: Sequence[Any]) -> tuple[Any, Any]:
    """Return what the order of two lists is that of: their first items that differ, or their lengths."""
    pairs = zip(one, other, strict=False)
    return next((pair for pair in pairs if pair[0] != pair[1]), (len(one), len(other)))


class _OnItsWay:
    """A list on its way to worker processes, where it arrives as a SentList.

    Args:
        shared: the items.
    """

    def __init__(self, shared: SharedList[Any]) -> None:
        self._shared = shared

    def __reduce__(self) -> tuple[Any, ...]:
        return SentList, (self._shared,)


def share_lists(state: Any, known: dict[int, tuple[Any, Any]]) -> Any:
    """Return the state of an object with large plain lists in it replaced, for worker processes to share.

    Args:
        state: of a dataset; only a dict of attributes is looked through.
        known: lists and what stands for them, by the identity of the lists; those that are found are added.
    """
    if not isinstance(state, dict):
        return state
    return {name: share_list(value, known) if type(value) is list else value for name, value in state.items()}


def share_list(values: list[Any], known: dict[int, tuple[Any, Any]]) -> Any:
    """Return what worker processes get of a list: itself, unless it is large, and its items are plain and alike."""
    if len(values) < _LARGE:
        return values
    if id(values) not in known:
        known[id(values)] = values, values
        with suppress(ArgumentTypeError):
            known[id(values)] = values, _OnItsWay(SharedList(values, only_plain=True))
    return known[id(values)][1]
