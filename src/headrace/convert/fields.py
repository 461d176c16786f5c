"""Samples and batches become named columns, whatever containers their values stand in."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import frameworks
from headrace.batch import tree as structure
from headrace.errors import ArgumentError, ArgumentTypeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headrace.formats.writer import Column, Columns

__all__ = ["Fields"]

# Values that are fields as they are: most of them, so they are told first.
_PLAIN = frozenset((bytes, str, int, float, bool, type(None)))
_NUMBERS = (bool, int, float, complex, np.number, np.bool_)


class Fields:
    """The names of the values in a dataset's samples.

    A value in a dict, a dataclass or a namedtuple is called as it is there, one in a tuple or list
    by its position; one in a container in a container by both, with a dot between. A sample that is
    itself a value has the name "".

    Args:
        names: what to call the positions of a sample that is a tuple; None for their numbers.
        sample: one of the samples, from whose structure that of a batch is known.

    Raises:
        ArgumentError: there is another number of names than of positions, or two values of one name.
        ArgumentTypeError: a value is of a kind that cannot be stored.

    >>> fields = Fields(["image", "label"], (np.zeros((2, 2)), 3))
    >>> list(fields.of_samples([(np.zeros((2, 2)), 3), (np.ones((2, 2)), 4)]))
    ['image', 'label']
    """

    def __init__(self, names: Sequence[str] | None, sample: Any) -> None:
        self._positions = None if names is None else list(names)
        self._row(sample)
        self._paths = [(name, path) for name, path, _ in self._walk(sample, "", ())]

    @property
    def names(self) -> list[str]:
        """The names, in the order of the values."""
        return [name for name, _ in self._paths]

    def of_samples(self, samples: Sequence[Any]) -> Columns:
        """Return the columns of some samples."""
        if set(map(type, samples)) <= _PLAIN:
            return {"": _column(list(samples))}
        rows = list(map(self._row, samples))
        return {name: _column([row.get(name) for row in rows]) for name in dict.fromkeys(chain(*rows))}

    def of_batch(self, batch: Any, count: int) -> Columns:
        """Return the columns of a batch of so many samples."""
        columns = {name: _batch_column(_follow(batch, path), name) for name, path in self._paths}
        if any(len(column) != count for column in columns.values()):
            raise ArgumentError(f"a batch of {count} samples has fields of other lengths")
        return columns

    def _row(self, sample: Any) -> dict[str, Any]:
        """Return the values of a sample by name."""
        row: dict[str, Any] = {}
        for name, _, value in self._walk(sample, "", ()):
            if name in row:
                raise ArgumentError(
                    f"two fields of a sample would be called {name!r}; rename one with dataset.map(...)"
                )
            row[name] = value
        return row

    def _walk(self, value: Any, name: str, path: tuple[Any, ...]) -> Iterator[tuple[str, tuple[Any, ...], Any]]:
        """Yield the name, the path and the value of each field."""
        pairs = _children(value)
        if pairs is None:
            yield _checked(name), path, _value(value, name)
            return
        if not pairs:
            what = f"field {name!r}" if name else "a sample"
            raise ArgumentError(
                f"{what} is an empty {type(value).__name__}, of which a file would "
                "keep nothing; leave it out, or give it a value, with dataset.map(...)"
            )
        for (key, item), called in zip(pairs, self._called(pairs, value, path), strict=True):
            yield from self._walk(item, f"{name}.{called}" if name else called, (*path, key))

    def _called(self, pairs: list[tuple[Any, Any]], value: Any, path: tuple[Any, ...]) -> list[str]:
        names = self._positions
        if path or names is None or not isinstance(value, tuple | list):
            return list(getattr(value, "_fields", None) or (str(key) for key, _ in pairs))
        if len(names) != len(pairs):
            raise ArgumentError(f"fields names {len(names)} fields, {names}, but a sample has {len(pairs)}")
        return names


def _children(value: Any) -> list[tuple[Any, Any]] | None:
    """Return the parts of a sample; a list of numbers is an array and has none."""
    if type(value) in _PLAIN:
        return None
    if isinstance(value, list) and all(isinstance(item, _NUMBERS) for item in value):
        return None
    return structure.children(value)


def _follow(batch: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        batch = batch[key] if isinstance(batch, tuple | list) or hasattr(batch, "keys") else getattr(batch, key)
    return batch


def _checked(name: str) -> str:
    if not name.isascii():
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise ArgumentError(
                f"field {name!r} has a name that is no Unicode; rename it with dataset.map(...)"
            ) from error
    return name


def _value(value: Any, name: str) -> Any:
    """Return a field of a sample as a writer takes it."""
    if type(value) in _PLAIN or isinstance(value, int | float | complex):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    array = _of_list(value) if isinstance(value, list) else _array(value)
    if array is None or array.dtype.hasobject:
        raise ArgumentTypeError(
            f"field {name!r} is a {type(value).__module__}.{type(value).__qualname__}, which no format stores; allowed "
            "are arrays, tensors, numbers, str, bytes, and dicts, tuples, lists and dataclasses of them; convert it "
            "with dataset.map(...)"
        )
    return array[()] if array.ndim == 0 else array


def _array(value: Any) -> Any:
    if isinstance(value, np.generic):
        return np.asarray(value)
    adapter = frameworks.find(value)
    array = None if adapter is None else adapter.to_numpy(value)
    if (
        array is not None and not array.dtype.isnative
    ):  # the order of bytes is no content, and half of the formats have one
        return array.astype(array.dtype.newbyteorder("="))
    return array


def _of_list(values: list[Any]) -> Any:
    """Return a list of numbers as an array; an array of objects where that would change one of them, None of texts."""
    if any(isinstance(item, str | bytes) for item in values):
        return None
    array = np.asarray(values)
    is_rounded = array.dtype.kind == "f" and all(isinstance(value, int | np.integer) for value in values) and values
    return array.astype(object) if is_rounded else array


def _batch_column(value: Any, name: str) -> Column:
    """Return a field of a batch as a column."""
    if isinstance(value, list):
        return _column([_value(item, name) for item in value])
    array = _array(value)
    if array is None or array.ndim == 0:
        raise ArgumentError(f"field {name!r} of a batch is a {type(value).__name__}, not an array or a list")
    return array.tolist() if array.dtype.kind in "OSU" and array.ndim == 1 else array


def _column(values: list[Any]) -> Column:
    """Return numbers of one type, and arrays of one shape, as one array."""
    kind = type(values[0])
    if set(map(type, values)) != {kind} or issubclass(kind, str | bytes):
        return values
    if kind is np.ndarray:
        return np.stack(values) if len({(value.shape, value.dtype) for value in values}) == 1 else values
    if values[0] is None:
        return values
    array = np.array(values)
    is_same = (
        array.dtype.kind in "iu"
        if kind is int
        else all(np.dtype(value.dtype) == array.dtype for value in values if isinstance(value, np.generic))
    )
    return array if is_same and not array.dtype.hasobject else values
