"""Lists of many small objects in little memory, which worker processes share."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from headrace.errors import ArgumentTypeError
from headrace.pipeline.reading import check_index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray


__all__ = ["SharedList"]

T = TypeVar("T")

_CHUNK = 1 << 12  # items that are made at a time by iterating
_NUMBERS: dict[type, Any] = {int: np.int64, float: np.float64, bool: np.bool_}
_PLAIN = {str, bytes, *_NUMBERS}
_ERRORS = "surrogatepass"  # strings that are no Unicode come back as they were


class SharedList(Sequence[T]):
    """A list whose items lie in a few arrays, from which each is made when it is asked for.

    A list of a million tuples is millions of objects, which each worker process would make anew, in its own memory.
    This goes to workers as arrays, which they share. Strings, bytes, numbers and tuples of these, all alike, lie in
    columns; other items are pickled one by one. It cannot be changed.

    Lists of more than 16,384 strings, bytes, numbers or tuples of these that are attributes of a dataset are shared so
    by themselves, and stay what they are for its code: worker processes get them as something that has all that a list
    has, and becomes a list of the worker's own if it is changed there.

    Args:
        items: any objects that can be pickled; read once.
        only_plain: refuse items that would have to be pickled.

    Raises:
        ArgumentTypeError: with only_plain, items are something else, or of several types.

    >>> samples = SharedList([("cat/1.jpg", 0), ("dog/2.jpg", 1)])
    >>> len(samples), samples[1], samples[:1]
    (2, ('dog/2.jpg', 1), [('cat/1.jpg', 0)])
    """

    def __init__(self, items: Iterable[T], *, only_plain: bool = False) -> None:
        values = items if isinstance(items, list) else list(items)
        columns = _plain_columns(values)
        if only_plain and columns is None:
            raise ArgumentTypeError("items must be strings, bytes, numbers or tuples of these, all alike, but are not")
        self._length = len(values)
        self._is_pickled = columns is None
        self._is_tuple = columns is not None and type(values[0]) is tuple
        self._columns = [_string_column(*_packed(list(map(_dump, values)), bytes))] if columns is None else columns

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int, /) -> T: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[T]: ...
    def __getitem__(self, index: Any, /) -> Any:
        if isinstance(index, slice):
            return [self._item(position) for position in range(self._length)[index]]
        return self._item(check_index(index, self._length))

    def __iter__(self) -> Iterator[T]:
        for start in range(0, self._length, _CHUNK):
            yield from self[start : start + _CHUNK]

    def __repr__(self) -> str:
        shown = ", ".join(repr(item) for item in self[:2])
        return f"<SharedList: {self._length} items{': ' if shown else ''}{shown}{', ...' if self._length > 2 else ''}>"

    def _item(self, position: int) -> Any:
        if self._is_tuple:
            return tuple([column.item(position) for column in self._columns])
        value = self._columns[0].item(position)
        return pickle.loads(value) if self._is_pickled else value  # noqa: S301 - pickled by this class


class _NumberColumn:
    """Numbers of one type."""

    def __init__(self, values: NDArray[Any]) -> None:
        self._values = values
        self.item: Callable[[int], Any] = values.data.__getitem__  # in half of the time of the array's

    def __reduce__(self) -> tuple[Any, ...]:
        return _NumberColumn, (self._values,)


class _StringColumn:
    """Bytes, or strings as bytes, end to end.

    Args:
        content: the bytes.
        bounds: where each begins, and the last one ends.
        is_text: whether they are strings.
    """

    def __init__(self, content: NDArray[np.uint8], bounds: NDArray[np.int64], *, is_text: bool) -> None:
        self._arrays = content, bounds
        self._content, self._bounds = content.data, bounds.data
        self._is_text = is_text

    def item(self, position: int) -> Any:
        """Return one of them."""
        content = self._content[self._bounds[position] : self._bounds[position + 1]]
        return str(content, "utf-8", _ERRORS) if self._is_text else content.tobytes()

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(_StringColumn, is_text=self._is_text), self._arrays


def _string_column(content: bytes, lengths: NDArray[np.int64], *, is_text: bool = False) -> _StringColumn:
    bounds = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=bounds[1:])
    return _StringColumn(np.frombuffer(content, np.uint8), bounds, is_text=is_text)


_dump: Callable[[Any], bytes] = partial(pickle.dumps, protocol=pickle.HIGHEST_PROTOCOL)


def _packed(values: list[Any], kind: type) -> tuple[bytes, NDArray[np.int64]]:
    """Return strings or bytes as bytes, end to end, and how many each has."""
    if kind is str:
        text = "".join(values)
        if text.isascii():  # the common case, in a fraction of the time
            return text.encode(), _lengths(values)
        values = [value.encode("utf-8", _ERRORS) for value in values]
    return b"".join(values), _lengths(values)


def _lengths(values: list[Any]) -> NDArray[np.int64]:
    return np.fromiter(map(len, values), np.int64, len(values))


def _plain_columns(values: list[Any]) -> list[_NumberColumn | _StringColumn] | None:
    """Return the columns of items that are plain and alike; None of others."""
    parts: list[list[Any]] = []
    kinds: list[type] = []
    for start in range(0, len(values), _CHUNK):  # so few that they stay in the cache from one look to the next
        chunk = values[start : start + _CHUNK]
        columns = _columns_of(chunk) or []
        found = list(map(_kind_of, columns))
        kinds = kinds or found
        if found != kinds or not set(found) <= _PLAIN or type(chunk[0]) is not type(values[0]):
            return None
        try:
            parts.append([_part(column, kind) for column, kind in zip(columns, kinds, strict=True)])
        except OverflowError:  # an integer beyond 64 bits
            return None
    return [_join(column, kind) for column, kind in zip(zip(*parts, strict=True), kinds, strict=True)] or None


def _kind_of(values: list[Any]) -> type:
    """Return the type of values; that of None where they have several."""
    kinds = set(map(type, values))
    return kinds.pop() if len(kinds) == 1 else type(None)


def _part(values: list[Any], kind: type) -> Any:
    return np.array(values, _NUMBERS[kind]) if kind in _NUMBERS else _packed(values, kind)


def _join(parts: Sequence[Any], kind: type) -> _NumberColumn | _StringColumn:
    if kind in _NUMBERS:
        return _NumberColumn(np.concatenate(parts))
    content, lengths = zip(*parts, strict=True)
    return _string_column(b"".join(content), np.concatenate(lengths), is_text=kind is str)


def _columns_of(chunk: list[Any]) -> list[list[Any]] | None:
    """Return the columns of tuples of one length, or other items as one column; None where both occur."""
    kinds = set(map(type, chunk))
    if tuple not in kinds:
        return [chunk]
    if len(kinds) > 1 or len(set(map(len, chunk))) > 1:
        return None
    return [list(map(itemgetter(place), chunk)) for place in range(len(chunk[0]))]
