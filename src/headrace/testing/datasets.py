"""The rules of a dataset, as a check that anyone's own dataset can run in its tests.

>>> class Squares:
...     def __len__(self):
...         return 10
...     def __getitem__(self, index):
...         return index**2
>>> check_dataset(Squares())
Traceback (most recent call last):
    ...
AssertionError: Squares: index 10 gave 100, but must raise IndexError: there are 10 samples
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import frameworks
from headrace.batch.capabilities import capability
from headrace.batch.collate import default_collate
from headrace.batch.tree import children
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.pipeline.compile import compile_dataset
from headrace.pipeline.hints import lengths
from headrace.pipeline.packed import sequence_of
from headrace.pipeline.reading import check_dataset as check_methods
from headrace.rng.context import use_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from headrace.pipeline.reading import Indexable

__all__ = ["check_dataset", "check_same"]

_KEY = 0x5EED  # of the samples' draws; any would do


def check_dataset(
    dataset: Indexable[Any], *, samples: int = 16, negative: bool = False, picklable: bool = False
) -> None:
    """Raise unless the dataset keeps the rules that a loader relies on.

    It has a length; each index below it gives a sample, the same one each time; the index after the
    last raises IndexError; and `get_batch` and `__getitems__`, where they count, give what single
    reading gives, in any order, with repeats, and one at a time; `lengths()` and `field_lengths(field)`
    tell the lengths of the sequences that samples have. Samples are read as a loader reads them:
    `headrace.sample_rng()` and headrace's transforms are repeatable, other randomness is not.

    Args:
        dataset: any object with `__len__` and `__getitem__`.
        samples: how many samples to look at, the first and the last among them.
        negative: whether index -1 must give the last sample.
        picklable: whether a pickled copy must give the same samples.

    Raises:
        AssertionError: a rule is broken; the text says which, by which sample, and how.

    >>> from headrace import TensorDataset
    >>> check_dataset(TensorDataset(np.eye(5), np.arange(5)), negative=True, picklable=True)
    """
    name = type(dataset).__name__
    length = _checked_length(dataset, name)
    chosen = np.unique(np.linspace(0, length - 1, min(samples, length)).astype(np.int64))
    alone = {index: _read_alone(dataset, index, name) for index in chosen.tolist()}
    for index, sample in alone.items():
        again = _read_alone(dataset, index, name)
        remedy = "draw from headrace.sample_rng() to be random and repeatable"
        check_same(again, sample, f"{name}: index {index} gave another sample when read again ({remedy})")
    _check_outside(dataset, length, length, name)
    if negative:
        for index, sample in alone.items():
            found = _read_alone(dataset, index - length, name, drawing_for=index)
            check_same(found, sample, f"{name}: index {index - length} differs from index {index}")
        _check_outside(dataset, -length - 1, length, name)
    _check_lengths(dataset, alone, name)
    for indices in _batches(chosen):
        _check_capabilities(dataset, indices, [alone[index] for index in indices.tolist()], name)
    if picklable:
        copy = _pickled_copy(dataset, name)
        for index, sample in alone.items():
            check_same(_read_alone(copy, index, name), sample, f"{name}: a pickled copy differs at index {index}")


def check_same(found: Any, expected: Any, what: str = "the batch") -> None:
    """Raise unless two samples or batches have the same structure, types, dtypes, shapes and bytes.

    Args:
        found: what was read.
        expected: what it must be.
        what: what it is, for the text.

    Raises:
        AssertionError: they differ; the text says where.

    >>> check_same({"x": np.ones(1)}, {"x": np.ones(1, int)})
    Traceback (most recent call last):
        ...
    AssertionError: the batch: at ['x'] got float64 (1,) array([1.]), not int64 (1,) array([1])
    """
    difference = _difference(found, expected, "")
    if difference:
        raise AssertionError(f"{what}: {difference}")


def _checked_length(dataset: Indexable[Any], name: str) -> int:
    try:
        check_methods(dataset, name)
        return len(dataset)
    except (ArgumentTypeError, TypeError, ValueError) as error:
        raise AssertionError(f"{name}: there is no length, or no reading by index: {error}") from error


def _read_alone(dataset: Indexable[Any], index: int, name: str, drawing_for: int | None = None) -> Any:
    numbers = np.array([index if drawing_for is None else drawing_for])
    return _attempt(
        lambda: compile_dataset(dataset).samples([index], singly=True)[0], numbers, f"{name}: index {index}"
    )


def _attempt(read: Callable[[], Any], indices: NDArray[np.int64], what: str) -> Any:
    try:
        with use_keys(_KEY, indices):
            return read()
    except Exception as error:
        raise AssertionError(f"{what} raised {type(error).__name__}: {error}") from error


def _check_outside(dataset: Indexable[Any], index: int, length: int, name: str) -> None:
    rule = f"must raise IndexError: there are {length} samples"
    try:
        found = dataset[index]
    except IndexError:
        return
    except Exception as error:
        raise AssertionError(f"{name}: index {index} raised {type(error).__name__}, but {rule}") from error
    raise AssertionError(f"{name}: index {index} gave {found!r:.80}, but {rule}")


def _batches(chosen: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Return batches of the chosen indices: the last alone, all of them backwards, some of them twice."""
    if len(chosen):
        yield chosen[-1:]
        yield chosen[::-1].copy()
        yield np.concatenate([chosen[:2], chosen, chosen[-2:]])


def _check_capabilities(dataset: Indexable[Any], indices: NDArray[np.int64], alone: list[Any], name: str) -> None:
    plan = compile_dataset(dataset)
    if plan.reads_many:
        asked = f"{name}: __getitems__ of the indices {indices.tolist()}"
        found = _attempt(lambda: plan.samples(indices), indices, asked)
        check_same(found, alone, f"{asked} differs from single reading")
    if capability(dataset, "get_batch") is not None and plan.reads_batches:
        asked = f"{name}: get_batch of the indices {indices.tolist()}"
        batch = _attempt(lambda: plan.batch(indices), indices, asked)
        check_same(batch, default_collate(alone, indices), f"{asked} differs from default_collate of single samples")


def _check_lengths(dataset: Indexable[Any], alone: dict[int, Any], name: str) -> None:
    for field in (None, *_fields_of(next(iter(alone.values()), None))):
        told = lengths(dataset, field) if field is None or capability(dataset, "field_lengths") else None
        if told is not None:
            for index, sample in alone.items():
                _check_length(sample, field, int(told[index]), f"{name}: index {index}")


def _check_length(sample: Any, field: Any, told: int, what: str) -> None:
    try:
        sequence = sequence_of(sample, field)
    except ArgumentError:  # there is no telling which field is meant
        return
    adapter = None if hasattr(sequence, "__len__") else frameworks.find(sequence)
    sized: Any = sequence if adapter is None else adapter.to_numpy(sequence)
    try:
        found = len(sized)
    except TypeError:  # it is no sequence
        found = None
    if found != told:
        where = "" if field is None else f" of field {field!r}"
        raise AssertionError(f"{what}: its length{where} is told to be {told}, but is {found}")


def _fields_of(sample: Any) -> list[Any]:
    """Return the names, or positions, of the fields of a dict or tuple."""
    return list(sample) if isinstance(sample, dict) else list(range(len(sample))) if type(sample) is tuple else []


def _pickled_copy(dataset: Indexable[Any], name: str) -> Any:
    try:
        return pickle.loads(pickle.dumps(dataset))  # noqa: S301 - it was written a moment ago
    except Exception as error:
        raise AssertionError(f"{name}: it cannot be pickled: {type(error).__name__}: {error}") from error


def _difference(found: Any, expected: Any, path: str) -> str:
    """Return where and how the two differ, or nothing."""
    place = f"at {path} " if path else ""
    parts, others = children(found), children(expected)
    if parts is not None and others is not None and type(found) is type(expected):
        names = [name for name, _ in parts]
        if names != [name for name, _ in others]:
            return f"{place}got the fields {names}, not {[name for name, _ in others]}"
        pairs = zip(parts, others, strict=True)
        return next(filter(None, (_difference(a, b, f"{path}[{name!r}]") for (name, a), (_, b) in pairs)), "")
    if _same_array(found, expected):
        return ""
    return f"{place}got {_show(found)}, not {_show(expected)}"


def _same_array(found: Any, expected: Any) -> bool:
    adapter = frameworks.find(found)
    if adapter is None or not adapter.owns(expected):
        return type(found) is type(expected) and _same_value(found, expected)
    a, b = adapter.to_numpy(found), adapter.to_numpy(expected)
    if a is None or b is None:
        return found.shape == expected.shape and found.dtype == expected.dtype and bool((found == expected).all())
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return _same_value(a.tolist(), b.tolist()) if a.dtype.hasobject else a.tobytes() == b.tobytes()


def _same_value(found: Any, expected: Any) -> bool:
    try:
        return bool(found == expected) or pickle.dumps(found) == pickle.dumps(expected)  # NaN equals NaN
    except Exception:  # what cannot be compared, nor pickled
        return False


def _show(value: Any) -> str:
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", type(value).__name__)
    return f"{value!r:.80}" if not shape else f"{dtype} {tuple(shape)} {value!r:.80}"
