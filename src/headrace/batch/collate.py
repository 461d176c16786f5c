"""Collation: a list of samples becomes one batch of the same structure and types.

    ndarray, NumPy scalar, Python number -> ndarray      torch, JAX and boxed tensors -> their own kind
    str, bytes -> list                                   dict, tuple, namedtuple, dataclass, list -> the same

Numbers of a sample that holds tensors of torch or JAX become tensors too. Every field must have one kind and one shape
in all samples; numbers, and arrays of numbers, of several dtypes get the one to which NumPy, or the framework,
promotes them, in whatever order they come. Errors name the path of the field, the indices of the samples and what they
hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import cached_property
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import frameworks
from headrace.batch import tree as structure
from headrace.batch.arena import empty
from headrace.batch.promotion import promotable, promoted
from headrace.errors import ArgumentError, MixedSamplesError, RaggedSamplesError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from headrace.frameworks import Adapter

__all__ = ["Collation", "default_collate", "join_numbers"]

_DTYPE = attrgetter("dtype")
_NUMERIC = frozenset("biufc")
_TEXTS = frozenset((str, bytes))
_NUMBERS: dict[type, np.dtype[Any]] = {
    bool: np.dtype(np.bool_),
    int: np.dtype(np.int64),
    float: np.dtype(np.float64),
    complex: np.dtype(np.complex128),
}
_USUAL = frozenset((np.ndarray, tuple, dict, *_NUMBERS))


def default_collate(samples: Sequence[Any], indices: Sequence[Any] | NDArray[np.int64] | None = None) -> Any:
    """Make one batch of the samples.

    Args:
        samples: the samples, at least one, all of one structure.
        indices: their indices in the dataset, for the texts of errors; by default their positions.

    Returns:
        A batch of the samples' structure, each array with a new first dimension of len(samples).

    Raises:
        RaggedSamplesError: a field differs in shape or length (also a ValueError).
        MixedSamplesError: a field differs in type, dtype or keys, is None, or is of a type that has
            no batch (also a TypeError).

    >>> default_collate([{"x": np.zeros(3), "y": 1}, {"x": np.ones(3), "y": 2}])["y"]
    array([1, 2])
    """
    if len(samples) == 0:
        raise ArgumentError("default_collate got no samples; a batch needs at least one")
    try:
        return Collation(samples[0], range(len(samples)) if indices is None else indices).field(list(samples), "")
    except RecursionError as error:
        raise MixedSamplesError(
            "the samples are nested without an end, since one holds itself, or too deeply; convert them with "
            "dataset.map(...), or pass a collate_fn"
        ) from error


def join_numbers(batch: Any) -> Any:
    """Return a batch that was not made of samples with its numbers as collation has them beside tensors.

    Args:
        batch: any batch. Its arrays of one dimension are numbers, one for each sample.

    >>> join_numbers((np.zeros((2, 2)), np.array([0, 1])))[1]
    array([0, 1])
    """
    if type(batch) is np.ndarray or not frameworks.framework_in_use():
        return batch
    kind = type(batch)
    if kind is dict or kind is tuple:
        items = batch.values() if kind is dict else batch
        if all(map(_is_of_no_framework, items)):  # as most batches are, which is told in a fifth of the time
            return batch
    fields = structure.fields(batch)
    if not any(map(_are_numbers, fields)):
        return batch
    framework = frameworks.common_framework(fields)
    if framework is None:
        return batch
    return structure.map_fields(lambda field: framework.from_numbers(field) if _are_numbers(field) else field, batch)


def _is_of_no_framework(field: Any) -> bool:
    kind = type(field)
    return kind is np.ndarray or (kind is list and _TEXTS.issuperset(map(type, field)))


def _are_numbers(field: Any) -> bool:
    return type(field) is np.ndarray and field.ndim == 1


class Collation:
    """One call of `default_collate`: the indices that its errors name, and the framework of its tensors."""

    def __init__(self, sample: Any, indices: Sequence[Any] | NDArray[np.int64]) -> None:
        self._sample = sample
        self._indices = indices

    @cached_property
    def _framework(self) -> Adapter | None:
        """The framework whose tensors a sample holds, if there is one; asked where there are numbers."""
        if not frameworks.framework_in_use():
            return None
        return frameworks.common_framework(structure.fields(self._sample))

    def field(self, values: list[Any], path: str) -> Any:
        """Return the batch of one field, given what each sample has there."""
        kind: Any = type(values[0])
        if kind in _USUAL and len(set(map(type, values))) == 1:  # told first, and once
            if kind is np.ndarray:
                return self._ndarrays(values, path)
            if kind is tuple:
                return self._alike_sequences(values, path)
            if kind is dict:
                return self._alike_mappings(values, path)
            return self._plain_numbers(values, _NUMBERS[kind], path)
        stack = frameworks.plain_stacker(kind)
        batch = None if stack is None else stack(values)
        return self._other_field(values, path) if batch is None else batch

    def _other_field(self, values: list[Any], path: str) -> Any:
        """Return the batch of a field of values of whatever kind."""
        first = values[0]
        if isinstance(first, str | bytes):
            return self._texts(values, path)
        number = _number_type(first)
        if isinstance(number, np.dtype):
            return self._numbers(values, number, path)
        adapter = frameworks.find(first)
        if adapter is not None:
            return self._arrays(adapter, values, path)
        if isinstance(first, Mapping):
            return self._mappings(values, path)
        if isinstance(first, tuple | list):
            return self._sequences(values, path)
        if is_dataclass(first) and not isinstance(first, type):
            return self._dataclasses(values, path)
        raise MixedSamplesError(self._no_batch(first, path))

    def _numbers(self, values: list[Any], dtype: np.dtype[Any], path: str) -> Any:
        if len(set(map(type, values))) > 1 or dtype.kind in "mMV":  # units and fields are part of the dtype
            types = [_number_type(value) for value in values]
            self._check_same(types, promotable, "type", path, types)
            dtype = promoted(types)
        return self._plain_numbers(values, dtype, path)

    def _plain_numbers(self, values: list[Any], dtype: np.dtype[Any], path: str) -> Any:
        try:
            numbers = np.array(values, dtype)
        except OverflowError as error:
            raise MixedSamplesError(
                f"{_place(path)} has Python integers beyond int64; return them as numpy.uint64 or as strings"
            ) from error
        return numbers if not path or self._framework is None else self._framework.from_numbers(numbers)

    def _texts(self, values: list[Any], path: str) -> list[Any]:
        text = str if isinstance(values[0], str) else bytes
        self._check_same(values, lambda value: text if isinstance(value, text) else type(value), "type", path)
        return values

    def _arrays(self, adapter: Adapter, values: list[Any], path: str) -> Any:
        types = set(map(type, values))
        if types == {np.ndarray}:
            return self._ndarrays(values, path)
        if not adapter.own_all(values):
            self._check_same(values, type, "type", path)
            position = next(number for number, value in enumerate(values) if not adapter.owns(value))
            raise MixedSamplesError(self._no_batch(values[position], path, position))
        known = list(map(adapter.to_numpy, values)) if all(map(adapter.rebuilds, types)) else [None]
        arrays = [array for array in known if array is not None]
        alike = len(arrays) == len(values) and len({array.dtype for array in arrays}) == 1
        if alike and not (arrays[0].ndim > 3 and frameworks.is_channels_last(values[0])):
            return adapter.from_numpy(self._ndarrays(arrays, path), values[0])
        return self._stacked(adapter, values, path)

    def _stacked(self, adapter: Adapter, values: list[Any], path: str) -> Any:
        """Return the batch of arrays that NumPy cannot see, or would not stack as their framework does."""
        reason = adapter.explain(values[0])
        if reason:
            raise MixedSamplesError(f"{_place(path)} in sample {self._indices[0]}: {reason}")
        self._check_same(values, lambda value: tuple(value.shape), "shape", path)
        try:
            return adapter.stack(values)
        except Exception as error:
            dtypes = [getattr(value, "dtype", None) for value in values]
            self._check_same(dtypes, lambda dtype: dtype, "dtype", path)
            raise MixedSamplesError(
                f"{_place(path)} cannot be stacked, in samples {self._indices[0]} ... {self._indices[-1]}: {error}; "
                "convert it with dataset.map(...), or pass a collate_fn"
            ) from error

    def _ndarrays(self, arrays: list[NDArray[Any]], path: str) -> NDArray[Any]:
        dtype = arrays[0].dtype
        if dtype.kind in _NUMERIC and len(set(map(_DTYPE, arrays))) == 1:
            batch = empty((len(arrays), *arrays[0].shape), dtype)
            with suppress(ValueError):  # whose text names no sample
                batch[...] = arrays  # which compares their shapes first, and more quickly than asking each for it
                return batch
        self._check_same(arrays, lambda array: array.shape, "shape", path)
        return _stack(arrays, self._common_dtype(arrays, path))

    def _common_dtype(self, arrays: list[NDArray[Any]], path: str) -> np.dtype[Any]:
        dtypes = [array.dtype for array in arrays]
        self._check_same(dtypes, promotable, "dtype", path, dtypes)
        return promoted(dtypes)

    def _mappings(self, values: list[Any], path: str) -> Any:
        if len(set(map(type, values))) > 1:
            self._check_same(values, type, "type", path)
        return self._alike_mappings(values, path)

    def _alike_mappings(self, values: list[Any], path: str) -> Any:
        """Return the batch of mappings of one type."""
        first = values[0]
        columns = _columns(values) if type(first) is dict else None
        if columns is None:
            if any(value.keys() != first.keys() for value in values):
                self._check_same(values, lambda value: sorted(map(repr, value)), "keys", path)
            columns = [[value[key] for value in values] for key in first]
        return self._container(first, [f"[{key!r}]" for key in first], columns, path)

    def _sequences(self, values: list[Any], path: str) -> Any:
        if len(set(map(type, values))) > 1:
            self._check_same(values, type, "type", path)
        return self._alike_sequences(values, path)

    def _alike_sequences(self, values: list[Any], path: str) -> Any:
        """Return the batch of tuples or lists of one type."""
        first = values[0]
        try:
            columns = list(map(list, zip(*values, strict=True)))
        except ValueError:
            self._check_same(values, len, "length", path)
            raise
        parts = [f"[{position}]" for position in range(len(first))]
        return self._container(first, parts, columns, path)

    def _dataclasses(self, values: list[Any], path: str) -> Any:
        self._check_same(values, type, "type", path)
        names = [field.name for field in fields(values[0])]
        columns = ([getattr(value, name) for value in values] for name in names)
        return self._container(values[0], [f".{name}" for name in names], columns, path)

    def _container(self, first: Any, parts: list[str], columns: Iterable[list[Any]], path: str) -> Any:
        items = [self.field(column, path + part) for part, column in zip(parts, columns, strict=True)]
        return structure.rebuild(first, items)

    def _check_same(
        self,
        values: list[Any],
        what: Callable[[Any], Any],
        name: str,
        path: str,
        shown: list[Any] | None = None,
    ) -> None:
        """Raise if the samples differ in `what`, naming the two that show it, with what is shown of each."""
        expected = what(values[0])
        for position, value in enumerate(values):
            found = what(value)
            if found != expected:
                error = RaggedSamplesError if name in ("shape", "length") else MixedSamplesError
                one, other = (expected, found) if shown is None else (shown[0], shown[position])
                raise error(
                    f"{_place(path)} differs in {name}: sample {self._indices[0]} has {_show(one)}, "
                    f"sample {self._indices[position]} has {_show(other)}{_only_one(one, other)}; "
                    f"{_REMEDIES['None' if type(None) in (one, other) else name]}"
                )

    def _no_batch(self, value: object, path: str, position: int = 0) -> str:
        what = "None" if value is None else f"a {type(value).__module__}.{type(value).__qualname__}"
        hint = frameworks.explain(value) or _hint(value)
        return (
            f"{_place(path)} is {what} in sample {self._indices[position]}, which has no batch"
            f"{f' ({hint})' if hint else ''}; allowed are arrays, "
            "tensors, numbers, str, bytes, and dicts, tuples, lists and dataclasses of them; "
            "convert it with dataset.map(...), or pass a collate_fn"
        )


_REMEDIES = {
    "shape": "crop, resize or pad the samples to one shape, or pass a collate_fn: headrace.pad_collate pads sequences",
    "length": "give all samples the same number of items, or pass a collate_fn: headrace.pad_collate pads sequences",
    "keys": "give all samples the same keys, or pass a collate_fn",
    "None": "give samples a value in place of None with dataset.map(...), or pass a collate_fn",
    "type": "give all samples the same type, or pass a collate_fn",
    "dtype": "convert the samples to one dtype, or pass a collate_fn",
}

# What to make of values that are often in samples, by the name of their class.
_HINTS = {
    "datetime.timedelta": "numpy.timedelta64(value) has one, and value.total_seconds()",
    "datetime.date": "numpy.datetime64(value) has one, without a time zone; and value.timestamp() of a datetime",
    "decimal.Decimal": "float(value) has one",
    "pathlib.PurePath": "str(value) has one",
    "PIL.Image.Image": "numpy.asarray(value) has one",
    "pandas.core.series.Series": "value.to_numpy() has one, and value.to_dict()",
}


def _hint(value: object) -> str:
    names = (f"{cls.__module__}.{cls.__qualname__}" for cls in type(value).__mro__)
    return next((_HINTS[name] for name in names if name in _HINTS), "")


def _only_one(one: Any, other: Any) -> str:
    """Return the keys that only one of two samples has, as a part of the sentence that has named them all."""
    if not (isinstance(one, list) and isinstance(other, list)):
        return ""
    return f" (only one of them has {', '.join(sorted(set(one) ^ set(other)))})"


def _columns(samples: list[dict[Any, Any]]) -> list[list[Any]] | None:
    """Return what the samples have by each key; None if their keys differ, which takes longer to ask beforehand."""
    if len(set(map(len, samples))) > 1:
        return None
    try:
        return [list(map(itemgetter(key), samples)) for key in samples[0]]
    except KeyError:
        return None


def _number_type(value: object) -> object:
    """Return what the dtype of a batch of such numbers would be, or the type of what is no number."""
    if isinstance(value, np.generic):
        return value.dtype
    for kind in type(value).__mro__:
        if kind in _NUMBERS:
            return _NUMBERS[kind]
    return type(value)


def _stack(arrays: list[NDArray[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the arrays, of one shape, each copied once, to its row of the batch."""
    shape = arrays[0].shape
    out = empty((len(arrays), *shape), dtype)
    if shape and shape[0] > 0:  # rows end to end are the quickest way that NumPy has
        np.concatenate(arrays, out=out.reshape(len(arrays) * shape[0], *shape[1:]))
    else:
        np.stack(arrays, out=out)
    return out


def _place(path: str) -> str:
    return f"field sample{path}" if path else "the sample"


def _show(what: object) -> str:
    if isinstance(what, type):
        return what.__name__
    return f"[{', '.join(what)}]" if isinstance(what, list) else str(what)
