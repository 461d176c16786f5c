"""A cache of what was decoded last, bounded by its bytes."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

__all__ = ["DecodedPieces", "Recent"]

T = TypeVar("T")


class DecodedPieces(NamedTuple):
    """DecodedPieces of files that are decoded as a whole, and kept in a cache, by those who read samples in them.

    Attributes:
        counter: the name by which those that were decoded are counted.
        limit: of the cache, in bytes.
        sizes: of each piece that is asked for, in order, its key and its bytes when it is decoded.
        estimated: whether the sizes are not known before a piece is decoded.
    """

    counter: str
    limit: int
    sizes: Sequence[tuple[Hashable, int]]
    estimated: bool


class Recent(Generic[T]):
    """Values by key, the least recently used of which are given up.

    Several threads may ask at once: each value is made by one of them, and the others wait for it. It pickles as an
    empty one.

    Args:
        limit: how large the values may be together, in bytes; a larger one is kept alone.

    Attributes:
        made: how often a value was made.

    >>> recent = Recent(limit=100)
    >>> recent.get("a", lambda: ("value", 60)), recent.get("a", lambda: ("not made again", 60))
    ('value', 'value')
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.made = 0
        self._lock = Lock()
        self._entries: OrderedDict[Hashable, _Entry[T]] = OrderedDict()
        self._size = 0

    def __reduce__(self) -> tuple[type[Recent[T]], tuple[int]]:
        return type(self), (self.limit,)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable, make: Callable[[], tuple[T, int]]) -> T:
        """Return the value of a key.

        Args:
            key: which.
            make: makes the value where it is not there, and says how large it is in bytes.
        """
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
        with entry.lock:
            if not entry.values:
                try:
                    value, size = make()
                except BaseException:
                    self._drop(key, entry)
                    raise
                entry.values.append(value)
                self._keep(key, entry, size)
            return entry.values[0]

    def _drop(self, key: Hashable, entry: _Entry[T]) -> None:
        with self._lock:
            if self._entries.get(key) is entry:
                del self._entries[key]

    def _keep(self, key: Hashable, entry: _Entry[T], size: int) -> None:
        """Count the value in, and give up others until all fit."""
        with self._lock:
            self.made += 1
            if self._entries.get(key) is not entry:  # given up while it was made
                return
            entry.size = size
            self._size += size
            for other in list(self._entries):
                if self._size <= self.limit:
                    break
                if other != key:
                    self._size -= self._entries.pop(other).size


class _Entry(Generic[T]):
    """A place for one value, which is there once `values` has it."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.values: list[T] = []
        self.size = 0
