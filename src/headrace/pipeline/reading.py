"""Datasets as anything that has `__len__` and `__getitem__`: their indices checked, their samples read one by one."""

from __future__ import annotations

import operator
from contextlib import suppress
from functools import partial
from operator import length_hint
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from headrace.errors import ArgumentError, ArgumentTypeError, OutOfRangeError, UnexpectedStopIterationError
from headrace.errors.notes import add_note, without_frames
from headrace.rng.places import each_sample, notice_unnamed, read_in_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from headrace.insight.clock import StageClock

__all__ = [
    "Indexable",
    "check_dataset",
    "check_index",
    "check_indices",
    "getter",
    "read_each",
    "read_many",
    "read_readable",
]

_INT64 = np.dtype(np.int64)

T_co = TypeVar("T_co", covariant=True)


@runtime_checkable
class Indexable(Protocol[T_co]):
    """Anything that counts as a dataset: a list, an array, a Dataset of any library."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, index: int, /) -> T_co:
        """Return the sample at an index."""


def check_dataset(dataset: object, name: str = "dataset") -> None:
    """Refuse what has no `__len__` and `__getitem__`.

    Raises:
        ArgumentTypeError: with the name of what is missing.
    """
    missing = [method for method in ("__len__", "__getitem__") if not hasattr(type(dataset), method)]
    if missing:
        raise ArgumentTypeError(
            f"{name} is a {type(dataset).__name__} without {' and '.join(missing)}; a dataset is any object "
            "with both (for a stream of samples derive from IterableDataset)"
        )


def check_index(index: int, length: int) -> int:
    """Return the index of a sample, counted from the front.

    Args:
        index: an integer of any kind; negative ones count from the end.
        length: the number of samples.

    Raises:
        ArgumentTypeError: the index is a slice, a bool, or no integer.
        OutOfRangeError: there is no such sample.
    """
    position = index if type(index) is int else _as_integer(index)
    if not -length <= position < length:
        raise OutOfRangeError(f"Index {position} out of range for dataset of size {length}")
    return position + length if position < 0 else position


def _as_integer(index: Any) -> int:
    if isinstance(index, np.integer):
        return int(index)
    if not isinstance(index, bool) and str(getattr(index, "dtype", "")) not in ("bool", "torch.bool"):
        with suppress(TypeError):
            return operator.index(index)
    raise ArgumentTypeError(
        f"a sample index is an integer, got {index!r}; for several samples use dataset.subset(indices)"
    )


def check_indices(indices: ArrayLike, length: int) -> NDArray[np.int64]:
    """Return indices of samples as an int64 array, counted from the front.

    Args:
        indices: integers, shape (n,); negative ones count from the end.
        length: the number of samples.

    Raises:
        ArgumentError: they are not one-dimensional.
        ArgumentTypeError: they are not integers.
        OutOfRangeError: one of them lies outside the dataset.
    """
    array = np.asarray(indices)
    if array.ndim == 1 and array.size and array.dtype == _INT64 and array.view(np.uint64).max() < length:
        return array  # a negative one is a huge one in that view, so one look tells of all that is common
    if array.ndim != 1:
        raise ArgumentError(f"indices must have one dimension, got shape {array.shape}")
    if array.size and array.dtype.kind not in "iu":
        remedy = "; turn a mask into indices with numpy.flatnonzero" if array.dtype.kind == "b" else ""
        raise ArgumentTypeError(f"indices must be integers, got {array.dtype}{remedy}")
    if array.size and not (-length <= array.min() and array.max() < length):
        wrong = array[(array < -length) | (array >= length)][0]
        raise OutOfRangeError(f"Index {wrong} out of range for dataset of size {length}")
    array = array.astype(np.int64, copy=False)
    return np.where(array < 0, array + length, array) if array.size and array.min() < 0 else array


def getter(dataset: Any) -> Callable[[Any], Any]:
    """Return what reads a sample as `dataset[key]` does, without a search for the method each time."""
    method = getattr(type(dataset), "__getitem__", None)
    if isinstance(method, FunctionType):
        return MethodType(method, dataset)
    if method is list.__getitem__:
        found: Callable[[Any], Any] = dataset.__getitem__
        return found
    return partial(operator.getitem, dataset)


def read_each(
    sample: Callable[[Any], Any], keys: Sequence[Any], name: str, clock: StageClock | None = None
) -> list[Any]:
    """Read samples one at a time, each with its own randomness.

    Args:
        sample: reads one.
        keys: the samples' indices, or other keys that the dataset knows.
        name: of the dataset, for the texts of errors.
        clock: times it; None where nobody does.

    Raises:
        Exception: what reading raised, with a note that names the index.
        UnexpectedStopIterationError: reading raised StopIteration, which would end the loop around the loader
            silently.
    """
    keys = list(keys)
    waiting = iter(keys)
    if clock is not None and not clock.on:
        clock = None
    began = 0 if clock is None else clock.last
    try:
        return read_in_turn(sample if clock is None else clock.each(sample), waiting)
    except StopIteration as error:
        raise _unexpected_stop(name, keys[-1 - length_hint(waiting)]) from error
    except Exception as error:
        add_note(error, _reading(name, keys[-1 - length_hint(waiting)]))
        raise
    finally:
        if clock is not None:
            clock.read_all(len(keys) - length_hint(waiting), began)


def read_readable(
    sample: Callable[[Any], Any], keys: Sequence[Any], name: str, clock: StageClock
) -> tuple[dict[int, Any], dict[int, Exception]]:
    """Read those samples that can be read, one at a time, and note the errors of the others.

    Args:
        sample: reads one.
        keys: the samples' indices, or other keys that the dataset knows.
        name: of the dataset, for the texts of errors.
        clock: times it.

    Returns:
        Samples and errors, both by their positions among the keys.

    Raises:
        MemoryError: it says nothing of the sample.
        UnexpectedStopIterationError: reading raised StopIteration, which is no way to fail.
    """
    samples: dict[int, Any] = {}
    errors: dict[int, Exception] = {}
    began, read = clock.last, clock.each(sample)
    with each_sample(len(keys)) as move_to:
        for position, key in enumerate(keys):
            move_to(position)
            try:
                samples[position] = read(key)
            except StopIteration as error:
                raise _unexpected_stop(name, key) from error
            except (MemoryError, UnexpectedStopIterationError) as error:
                add_note(error, _reading(name, key))
                raise
            except Exception as error:
                errors[position] = without_frames(error)
    clock.read_all(len(keys), began)
    return samples, errors


def read_many(read: Callable[[list[Any]], Any], keys: Sequence[Any], name: str) -> list[Any] | None:
    """Read all samples by a dataset's `__getitems__`.

    Returns:
        The samples; None if transforms below drew without knowing for which sample: read alone, each has its own
        draws.

    Raises:
        ArgumentError: there are not as many samples as keys.
    """
    with notice_unnamed() as draws:
        samples = list(read(list(keys)))
    if draws.noticed:
        return None
    if len(samples) != len(keys):
        raise ArgumentError(
            f"{name}.__getitems__ returned {len(samples)} samples for {len(keys)} indices; "
            "one sample for each index is needed, in their order"
        )
    return samples


def _reading(name: str, key: object) -> str:
    return f"while reading sample {key!r} of {name}"


def _unexpected_stop(name: str, key: object) -> UnexpectedStopIterationError:
    return UnexpectedStopIterationError(
        f"{name}.__getitem__({key!r}) raised StopIteration; raise IndexError or another exception there"
    )
