"""The lengths of sequences: told by the dataset, or measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.capabilities import capability
from headrace.batch.ragged import Ragged, sequence_field
from headrace.datasets.kept_lengths import place_of_lengths
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.io.progress import Progress
from headrace.pipeline.compile import compile_dataset
from headrace.pipeline.describe import describe
from headrace.pipeline.hints import lengths, mixed_node
from headrace.pipeline.hugging_face import gives_columns
from headrace.pipeline.nodes import Concat
from headrace.pipeline.packed import sequence_of
from headrace.sampling.blend import ENDLESS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from headrace.datasets.kept_lengths import KeptLengths
    from headrace.pipeline.nodes import Mixed
    from headrace.pipeline.reading import Indexable

__all__ = ["find_kept_lengths", "known_lengths", "lengths_at", "read_lengths", "sequence_lengths"]

_SAMPLES_AT_ONCE, _ROWS_AT_ONCE = 256, 8192
_LOOKED_AT = 8  # samples, where a function makes them


def sequence_lengths(dataset: Indexable[Any], field: int | str | None = None) -> NDArray[np.int64]:
    """Return how many items the sequence of each sample has.

    Args:
        dataset: any object with `__len__` and `__getitem__`. One with a method `lengths()` tells them; columns of lists
            of Arrow have them in their offsets; of others as much is read as it takes, with a line on stderr that says
            how far it is. What was read for it is kept beside the dataset's files, if it has such.
        field: the field of a sample that has the sequence; None for "input_ids", "tokens", the only field, or a
            sample that is the sequence.

    Returns:
        int64 of shape (n,).

    Raises:
        ArgumentError: a sample has no such field, or there is no telling which is meant.
        ArgumentTypeError: it is no sequence.

    >>> sequence_lengths([[1, 2, 3], [4]])
    array([3, 1])
    """
    known = lengths(dataset, field)
    if known is not None:
        return known
    node = describe(dataset)
    if isinstance(node, Concat):
        return np.concatenate([sequence_lengths(each.dataset, field) for each in node.inputs])
    places: dict[int, KeptLengths | None] = {}

    def find(each: Indexable[Any]) -> NDArray[np.int64] | None:
        place = places[id(each)] = place_of_lengths(each, field)
        return _find_right(place, each, field)

    known = lengths(dataset, field, find)
    if known is not None:
        return known
    place = places.get(id(dataset))
    found = read_lengths(dataset, field)
    if place is not None:
        place.keep(found)
    return found


def known_lengths(dataset: Indexable[Any]) -> NDArray[np.int64] | None:
    """Return the same as far as it is told, or was kept, without a sample being read; else None.

    >>> known_lengths([[1, 2, 3], [4]]) is None
    True
    """
    return lengths(dataset, None, _kept_of_files)


def _kept_of_files(dataset: Indexable[Any]) -> NDArray[np.int64] | None:
    place = place_of_lengths(dataset, None)
    return None if place is None or place.maps else place.find()


def find_kept_lengths(dataset: Indexable[Any], field: int | str | None = None) -> NDArray[np.int64] | None:
    """Return lengths that were measured before and kept beside the dataset's files, if they are those of its samples.

    Where a function makes the samples, some of them are read to see.
    """
    return _find_right(place_of_lengths(dataset, field), dataset, field)


def _find_right(
    place: KeptLengths | None, dataset: Indexable[Any], field: int | str | None
) -> NDArray[np.int64] | None:
    found = None if place is None else place.find()
    if place is None or found is None or (place.maps and not _are_right(found, dataset, field)):
        return None
    return found


def _are_right(found: NDArray[np.int64], dataset: Indexable[Any], field: int | str | None) -> bool:
    """Return whether some samples have the lengths that were kept."""
    some = np.unique(np.linspace(0, len(found) - 1, _LOOKED_AT, dtype=np.int64)) if len(found) else found
    samples = compile_dataset(dataset).samples(some)
    now = [_length(sample, field, index) for sample, index in zip(samples, some.tolist(), strict=True)]
    return bool(np.array_equal(now, found[some]))


def lengths_at(dataset: Indexable[Any]) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
    """Return a function that gives the lengths of the samples at indices, also of those of a mixture beyond its end.

    >>> lengths_at([[1, 2, 3], [4]])(np.array([1, 0]))
    array([1, 3])
    """
    mixed = mixed_node(describe(dataset))
    if mixed is None:
        return sequence_lengths(dataset).__getitem__
    return _lengths_of_mixture(mixed)


def _lengths_of_mixture(mixed: Mixed) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
    known = [
        sequence_lengths(each.dataset).__getitem__ if inner is None else _lengths_of_mixture(inner)
        for each, inner in ((each, mixed_node(each)) for each in mixed.inputs)
    ]

    def at(indices: NDArray[np.int64]) -> NDArray[np.int64]:
        which, inside = mixed.find(indices)
        found = np.empty(len(indices), np.int64)
        for number in np.unique(which).tolist():
            here = which == number
            found[here] = known[number](inside[here])
        return found

    return at


def read_lengths(
    dataset: Indexable[Any], field: int | str | None = None, progress: Callable[[int], None] | None = None
) -> NDArray[np.int64]:
    """Return how many items the sequence of each sample has, from as much of the samples as must be read for it.

    Args:
        dataset: any object with `__len__` and `__getitem__`.
        field: as for `sequence_lengths`.
        progress: called with the samples that are done, in place of a line on stderr.

    Raises:
        ArgumentError: it is a mixture that never ends.

    >>> read_lengths([[1, 2, 3], [4]])
    array([3, 1])
    """
    if len(dataset) >= ENDLESS:
        raise ArgumentError(
            "a mixture without an end has more sequences than can be measured; give mix another stop than 'never', or "
            "pack its sources"
        )
    found, done = np.empty(len(dataset), np.int64), 0
    with Progress(lambda: f"measured {done:,} of {len(found):,} sequences", wanted=False if progress else None) as show:
        for part in _lengths_by_parts(dataset, field):
            found[done : done + len(part)] = part
            done += len(part)
            show()
            if progress is not None:
                progress(done)
    return found


def _lengths_by_parts(dataset: Indexable[Any], field: int | str | None) -> Iterator[Any]:
    done = 0
    for part in _parts(dataset, field) or ():
        if part is None:  # the samples must be read
            break
        yield part
        done += len(part)
    yield from _measured(dataset, field, done)


def _parts(dataset: Any, field: int | str | None) -> Iterator[NDArray[np.int64] | None] | None:
    """Return lengths that are found without the samples, by and by; None where there are none."""
    reads = capability(dataset, "read_lengths")
    if reads is not None:
        parts: Iterator[NDArray[np.int64] | None] | None = reads(field)
        return parts
    return _parts_of_hugging_face(dataset, field) if gives_columns(dataset) else None


def _parts_of_hugging_face(dataset: Any, field: int | str | None) -> Iterator[NDArray[np.int64] | None] | None:
    given = dataset.format
    names = dataset.column_names if given["output_all_columns"] else given["columns"]
    name = sequence_field(names, field)
    if name is None or given["type"] == "custom":  # a function makes the samples
        return None
    from headrace.formats.arrow.memory import ArrowColumn

    rows = dataset.select_columns([name]).with_format("arrow")
    starts = range(0, len(rows), _ROWS_AT_ONCE)
    return (ArrowColumn(rows[start : start + _ROWS_AT_ONCE].column(name), name).row_lengths() for start in starts)


def _measured(dataset: Indexable[Any], field: int | str | None, done: int) -> Iterator[Any]:
    """Yield the lengths of the sequences of samples, from one on."""
    plan, get_ragged = compile_dataset(dataset), capability(dataset, "get_ragged")
    at_once = _SAMPLES_AT_ONCE if get_ragged is None else _ROWS_AT_ONCE
    for start in range(done, len(dataset), at_once):
        indices = np.arange(start, min(start + at_once, len(dataset)))
        known = None if get_ragged is None else _lengths_in(get_ragged(indices), field)
        if known is None:
            known = [_length(sample, field, index) for index, sample in enumerate(plan.samples(indices), start)]
        yield np.broadcast_to(known, len(indices))


def _length(sample: Any, field: int | str | None, index: int) -> int:
    sequence = sequence_of(sample, field)
    try:
        return len(sequence)
    except TypeError as error:
        where = "" if field is None else f"field {field!r} of "
        raise ArgumentTypeError(
            f"{where}sample {index} must be a sequence, or have one, but is {sequence!r:.60}; say which field has the "
            "tokens with field=, or give samples sequences with dataset.map(...)"
        ) from error


def _lengths_in(columns: Any, field: int | str | None) -> Any:
    """Return the lengths of sequences that were read end to end; None where they were not."""
    if columns is None:
        return None
    sequences = columns if isinstance(columns, Ragged) else sequence_of(columns, field)
    if isinstance(sequences, Ragged):
        return sequences.lengths
    return sequences.shape[1] if isinstance(sequences, np.ndarray) and sequences.ndim > 1 else None
