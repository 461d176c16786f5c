"""Reading samples and batches from anything that has `__getitem__`.

Two optional methods make reading faster: `__getitems__(indices) -> list of samples` (as in torch)
and `get_batch(indices) -> batch`.
"""

from __future__ import annotations

import operator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np

from headrace.batch.collate import default_collate, join_numbers
from headrace.data.hugging_face import collate_columns, gives_columns
from headrace.errors import ArgumentError, ArgumentTypeError, OutOfRangeError, UnexpectedStopIterationError
from headrace.faces import fast_face
from headrace.failures import add_note, without_frames
from headrace.keys import each_sample, notice_unnamed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from headrace.transforms.fuse import Step

__all__ = [
    "Indexable",
    "Rows",
    "check_dataset",
    "check_index",
    "check_indices",
    "open_rows",
    "read_batch",
    "read_readable",
    "read_samples",
    "reads_batches",
    "releases_gil",
]

T_co = TypeVar("T_co", covariant=True)


@runtime_checkable
class Indexable(Protocol[T_co]):
    """Anything that counts as a dataset: a list, an array, a Dataset of any library."""

    def __len__(self) -> int:
        """The number of samples."""

    def __getitem__(self, index: int, /) -> T_co:
        """The sample at an index."""


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
    """The index of a sample, counted from the front.

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
    """Indices of samples as an int64 array, counted from the front.

    Args:
        indices: integers, shape (n,); negative ones count from the end.
        length: the number of samples.

    Raises:
        ArgumentError: they are not one-dimensional.
        ArgumentTypeError: they are not integers.
        OutOfRangeError: one of them lies outside the dataset.
    """
    array = np.asarray(indices)
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


def reads_batches(dataset: object) -> bool:
    """Whether reading a batch from the dataset is anything else than reading each sample."""
    if fast_face(dataset, "get_batch", "__getitem__") is not None:
        asks = getattr(dataset, "reads_batches", None)  # a dataset over others depends on them
        return bool(asks()) if asks is not None else True
    return fast_face(dataset, "__getitems__", "__getitem__") is not None or gives_columns(dataset)


def releases_gil(dataset: object) -> bool:
    """Whether batches of the dataset can be read in several threads at the same time.

    A dataset says so in a method `releases_gil()`. One that does not is taken to hold the global
    interpreter lock (GIL), as Python code does.
    """
    asks = fast_face(dataset, "releases_gil", "__getitem__")
    return asks is not None and bool(asks())


def reads_together(dataset: object) -> bool:
    """Whether several batches of the dataset may be read as one, since a sample is the same in any batch.

    A dataset says so in a method `reads_together()`. It should say so only where that is quick, as it is for rows
    in memory, and where nothing is counted.
    """
    asks = fast_face(dataset, "reads_together", "get_batch")
    return asks is not None and reads_batches(dataset) and bool(asks())


class Rows(NamedTuple):
    """Some samples of a field that is an array, before they are gathered.

    Attributes:
        array: all samples of the field, shape (N, ...).
        rows: which of them, shape (n,), int64.
        wrap: makes of an ndarray what the field is in a batch.
        complete: makes a batch of what the field has become, and of the other fields.
        functions: what makes of the rows what the field is, each with the slots in which it draws; all
            of them work on batches.
    """

    array: NDArray[Any]
    rows: NDArray[np.int64]
    wrap: Callable[[NDArray[Any]], Any]
    complete: Callable[[Any], Any]
    functions: Sequence[Step] = ()


def open_rows(dataset: object, indices: NDArray[np.int64], field: int | str | None) -> Rows | None:
    """Where the samples of a field lie, if the dataset has them in an array; it says so in `open_rows`."""
    face = fast_face(dataset, "open_rows", "__getitem__")
    rows: Rows | None = None if face is None else face(indices, field)
    return rows


def read_samples(
    dataset: Indexable[Any], indices: Sequence[Any] | NDArray[np.int64], *, singly: bool = False
) -> list[Any]:
    """The samples at the indices, each with its own randomness.

    Args:
        dataset: any object with `__getitem__`.
        indices: the samples' indices, or other keys that the dataset knows.
        singly: ask for one sample at a time, also where the dataset offers `__getitems__`.

    Raises:
        Exception: what the dataset raised, with a note that names the index.
        UnexpectedStopIterationError: the dataset raised StopIteration, which would end the loop
            around the loader silently.
    """
    keys = indices.tolist() if isinstance(indices, np.ndarray) else indices
    face = None if singly else fast_face(dataset, "__getitems__", "__getitem__")
    if face is not None:
        with notice_unnamed() as draws:
            many = list(face(list(keys)))
        if not draws.noticed:
            return _checked(many, len(keys), dataset)
        # Transforms below drew without knowing for which sample: read alone, each has its own draws.
    samples: list[Any] = []
    try:
        with each_sample(len(keys)) as move_to:
            for position, index in enumerate(keys):
                move_to(position)
                samples.append(dataset[index])
    except StopIteration as error:
        raise _unexpected_stop(dataset, keys[len(samples)]) from error
    except Exception as error:
        add_note(error, _reading(dataset, keys[len(samples)]))
        raise
    return samples


def read_readable(
    dataset: Indexable[Any], indices: Sequence[Any] | NDArray[np.int64]
) -> tuple[dict[int, Any], dict[int, Exception]]:
    """The samples at the indices that can be read, one at a time, and the errors of the others.

    Args:
        dataset: any object with `__getitem__`.
        indices: the samples' indices, or other keys that the dataset knows.

    Returns:
        Both by their positions among the indices.

    Raises:
        MemoryError: it says nothing of the sample.
        UnexpectedStopIterationError: the dataset raised StopIteration, which is no way to fail.
    """
    keys = indices.tolist() if isinstance(indices, np.ndarray) else indices
    samples: dict[int, Any] = {}
    errors: dict[int, Exception] = {}
    with each_sample(len(keys)) as move_to:
        for position, index in enumerate(keys):
            move_to(position)
            try:
                samples[position] = dataset[index]
            except StopIteration as error:
                raise _unexpected_stop(dataset, index) from error
            except (MemoryError, UnexpectedStopIterationError) as error:
                add_note(error, _reading(dataset, index))
                raise
            except Exception as error:
                errors[position] = without_frames(error)
    return samples, errors


def _reading(dataset: object, index: object) -> str:
    return f"while reading sample {index!r} of {type(dataset).__name__}"


def _unexpected_stop(dataset: object, index: object) -> UnexpectedStopIterationError:
    return UnexpectedStopIterationError(
        f"{type(dataset).__name__}.__getitem__({index!r}) raised StopIteration; raise IndexError or another exception "
        "there"
    )


def _checked(samples: list[Any], count: int, dataset: object) -> list[Any]:
    if len(samples) != count:
        raise ArgumentError(
            f"{type(dataset).__name__}.__getitems__ returned {len(samples)} samples for {count} indices; "
            "one sample for each index is needed, in their order"
        )
    return samples


def read_batch(dataset: Indexable[Any], indices: NDArray[np.int64]) -> Any:
    """The batch of the samples at the indices, by the fastest way that the dataset offers."""
    face = fast_face(dataset, "get_batch", "__getitem__")
    if face is not None:
        return join_numbers(face(indices))
    columns = _read_columns(dataset, indices) if gives_columns(dataset) else None
    return default_collate(read_samples(dataset, indices), indices) if columns is None else join_numbers(columns)


def _read_columns(dataset: Any, indices: NDArray[np.int64]) -> dict[str, Any] | None:
    """The batch, from a dataset that gives columns; None if its samples must be read one by one, or are no dicts."""
    with notice_unnamed() as draws:
        columns = dataset[indices.tolist()]
    return collate_columns(columns, indices) if isinstance(columns, dict) and not draws.noticed else None
