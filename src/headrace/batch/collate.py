"""Collation: a list of samples becomes one batch of the same structure and types.

    ndarray, NumPy scalar, Python number -> ndarray      torch, JAX and boxed tensors -> their own kind
    str, bytes -> list                                   dict, tuple, namedtuple, dataclass, list -> the same

Every field must have one type, one dtype and one shape in all samples: a batch whose dtype depended
on which samples met in it would not be a function of the dataset. Errors name the path of the
field, the indices of the samples and what they hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import adapters
from headrace.batch import structure
from headrace.batch.arena import empty
from headrace.errors import ArgumentError, MixedSamplesError, RaggedSamplesError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from headrace.adapters import Adapter

__all__ = ["default_collate"]

_NUMBERS: dict[type, np.dtype[Any]] = {
    bool: np.dtype(np.bool_),
    int: np.dtype(np.int64),
    float: np.dtype(np.float64),
    complex: np.dtype(np.complex128),
}


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
    return _Collation(range(len(samples)) if indices is None else indices).field(list(samples), "")


class _Collation:
    """One call of `default_collate`: the indices that its errors name."""

    def __init__(self, indices: Sequence[Any] | NDArray[np.int64]) -> None:
        self._indices = indices

    def field(self, values: list[Any], path: str) -> Any:
        """The batch of one field, given what each sample has there."""
        first = values[0]
        if isinstance(first, str | bytes):
            return self._texts(values, path)
        number = _number_type(first)
        if isinstance(number, np.dtype):
            return self._numbers(values, number, path)
        adapter = adapters.find(first)
        if adapter is not None:
            return self._arrays(adapter, values, path)
        if isinstance(first, Mapping):
            return self._mappings(values, path)
        if isinstance(first, tuple | list):
            return self._sequences(values, path)
        if is_dataclass(first) and not isinstance(first, type):
            return self._dataclasses(values, path)
        raise MixedSamplesError(self._no_batch(first, path))

    def _numbers(self, values: list[Any], dtype: np.dtype[Any], path: str) -> NDArray[Any]:
        if len(set(map(type, values))) > 1 or dtype.kind in "mMV":  # units and fields are part of the dtype
            self._check_same(values, _number_type, "type", path)
        try:
            return np.array(values, dtype)
        except OverflowError as error:
            raise MixedSamplesError(
                f"{_place(path)} has Python integers beyond int64; return them as numpy.uint64 or as strings"
            ) from error

    def _texts(self, values: list[Any], path: str) -> list[Any]:
        text = str if isinstance(values[0], str) else bytes
        self._check_same(values, lambda value: text if isinstance(value, text) else type(value), "type", path)
        return values

    def _arrays(self, adapter: Adapter, values: list[Any], path: str) -> Any:
        types = set(map(type, values))
        if types == {np.ndarray}:
            return self._ndarrays(values, path)
        if len(types) > 1 and not all(map(adapter.owns, values)):
            self._check_same(values, type, "type", path)
        known = [array for array in map(adapter.to_numpy, values) if array is not None]
        if len(known) < len(values):  # memory that NumPy cannot see: the framework stacks it itself
            self._check_same(values, lambda value: tuple(value.shape), "shape", path)
            self._check_same(values, lambda value: value.dtype, "dtype", path)
            return adapter.stack(values)
        if len({array.dtype for array in known}) > 1:  # told in the framework's own words
            dtypes = [getattr(value, "dtype", array.dtype) for value, array in zip(values, known, strict=True)]
            self._check_same(dtypes, _dtype_family, "dtype", path)
        return adapter.from_numpy(self._ndarrays(known, path), values[0])

    def _ndarrays(self, arrays: list[NDArray[Any]], path: str) -> NDArray[Any]:
        if len({(array.shape, array.dtype) for array in arrays}) == 1:
            return _stack(arrays)
        self._check_same(arrays, lambda array: array.shape, "shape", path)
        self._check_same(arrays, lambda array: _dtype_family(array.dtype), "dtype", path)
        return np.stack(arrays)  # strings of different width

    def _mappings(self, values: list[Any], path: str) -> Any:
        first = values[0]
        self._check_same(values, type, "type", path)
        if any(value.keys() != first.keys() for value in values):
            self._check_same(values, lambda value: sorted(map(repr, value)), "keys", path)
        parts = [f"[{key!r}]" for key in first]
        return self._container(first, parts, ([value[key] for value in values] for key in first), path)

    def _sequences(self, values: list[Any], path: str) -> Any:
        first = values[0]
        if len(set(map(type, values))) > 1:
            self._check_same(values, type, "type", path)
        if len(set(map(len, values))) > 1:
            self._check_same(values, len, "length", path)
        parts = [f"[{position}]" for position in range(len(first))]
        return self._container(first, parts, map(list, zip(*values, strict=True)), path)

    def _dataclasses(self, values: list[Any], path: str) -> Any:
        self._check_same(values, type, "type", path)
        names = [field.name for field in fields(values[0])]
        columns = ([getattr(value, name) for value in values] for name in names)
        return self._container(values[0], [f".{name}" for name in names], columns, path)

    def _container(self, first: Any, parts: list[str], columns: Iterable[list[Any]], path: str) -> Any:
        items = [self.field(column, path + part) for part, column in zip(parts, columns, strict=True)]
        return structure.rebuild(first, items)

    def _check_same(self, values: list[Any], what: Callable[[Any], Any], name: str, path: str) -> None:
        """Raise if the samples differ in `what`, naming the two that show it."""
        expected = what(values[0])
        for position, value in enumerate(values):
            found = what(value)
            if found != expected:
                error = RaggedSamplesError if name in ("shape", "length") else MixedSamplesError
                raise error(
                    f"{_place(path)} differs in {name}: sample {self._indices[0]} has {_show(expected)}, "
                    f"sample {self._indices[position]} has {_show(found)}; {_REMEDIES[name]}"
                )

    def _no_batch(self, value: object, path: str) -> str:
        what = "None" if value is None else f"a {type(value).__module__}.{type(value).__qualname__}"
        return (
            f"{_place(path)} is {what} in sample {self._indices[0]}, which has no batch; allowed are arrays, "
            "tensors, numbers, str, bytes, and dicts, tuples, lists and dataclasses of them; "
            "convert it with dataset.map(...), or pass a collate_fn"
        )


_REMEDIES = {
    "shape": "crop, resize or pad the samples to one shape, or pass a collate_fn",
    "length": "give all samples the same number of items, or pass a collate_fn",
    "keys": "give all samples the same keys, or pass a collate_fn",
    "type": "give all samples the same type, or pass a collate_fn",
    "dtype": "convert the samples to one dtype, or pass a collate_fn",
}


def _number_type(value: object) -> object:
    """What the dtype of a batch of such numbers would be, or the type of what is no number."""
    if isinstance(value, np.generic):
        return value.dtype
    return next((_NUMBERS[kind] for kind in type(value).__mro__ if kind in _NUMBERS), type(value))


def _dtype_family(dtype: Any) -> Any:
    """The dtype, where the width of a string is no type of its own."""
    return dtype.type if getattr(dtype, "kind", None) in ("S", "U") else dtype


def _stack(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    """The arrays, of one shape and dtype, each copied once, to its row of the batch."""
    shape = arrays[0].shape
    out = empty((len(arrays), *shape), arrays[0].dtype)
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
