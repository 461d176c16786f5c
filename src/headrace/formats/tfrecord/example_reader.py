"""Reading records that are tf.train.Example or SequenceExample, without TensorFlow."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import kernels
from headrace.errors import ArgumentError, CorruptDataError, StorageError
from headrace.formats.tfrecord.example import BYTES, FLOATS, INTEGERS, Feature, make_feature
from headrace.kernels.reference.example import message_fields, read_list, read_span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from headrace.io.source import Packed

__all__ = ["ExampleReader"]

_KINDS = {0: "no values", BYTES: "bytes", FLOATS: "floats", INTEGERS: "integers"}
_Span = tuple[int, int, int, int]  # of the list of values of a feature: where it begins, its bytes, kind, values


class ExampleReader:
    """Reads chosen features of records.

    Args:
        features: by name, those of an Example, or of the context of a SequenceExample.
        steps: by name, those of the steps of a SequenceExample, whose values are lists of one a step.

    Raises:
        ArgumentTypeError: a feature is described as what there is not.
    """

    def __init__(self, features: Mapping[str, Any], steps: Mapping[str, Any] | None = None) -> None:
        self.features = {name: make_feature(description) for name, description in features.items()}
        self.steps = {name: make_feature(description) for name, description in (steps or {}).items()}
        both = self.features.keys() & self.steps.keys()
        if both:
            raise ArgumentError(f"there cannot be a feature and a sequence of the same name {min(both)!r}")

    def read(self, packed: Packed, where: Callable[[int], str]) -> dict[str, Any]:
        """Return the features of some records, each as an array of shape (n, ...) or a list of n values.

        Args:
            packed: the records.
            where: which record one of them is, by its place, for the texts of errors.

        Raises:
            CorruptDataError: a record is no Example.
            StorageError: it has no such feature, or one of another kind or shape.
        """
        names = [name.encode() for name in self.features]
        spans, bad = kernels.active().find_features(packed.buffer, packed.bounds, names)
        if bad >= 0:
            raise CorruptDataError(f"{where(bad)} is no tf.train.Example: its bytes cannot be parsed as one")
        columns = {}
        for place, (name, feature) in enumerate(self.features.items()):
            columns[name] = _column(packed, spans[:, place], feature, name, where)
        for name, feature in self.steps.items():
            columns[name] = [_sequence(record, feature, name, where(place)) for place, record in _records(packed)]
        return columns


def _column(packed: Packed, spans: NDArray[np.int64], feature: Feature, name: str, where: Callable[[int], str]) -> Any:
    """Return the values of one feature in all records."""
    is_there = spans[:, 2] > 0
    if feature.is_optional and not is_there.all():
        places = np.flatnonzero(is_there)
        known = replace(feature, is_optional=False)
        found = iter(_column(packed, spans[places], known, name, lambda place: where(int(places[place]))))
        return [next(found) if there else None for there in is_there]
    _check(spans, feature, name, where)
    values, bad = kernels.active().read_features(packed.buffer, spans, feature.kind)
    if bad >= 0:
        raise CorruptDataError(f"{where(bad)} is no tf.train.Example: the values of {name!r} cannot be parsed")
    if feature.dtype is None:
        texts = _texts(packed.buffer, values)
        if feature.is_text:
            texts = _decode(texts, lambda place: f"{where(_record_of(place, spans))} has {name!r}")
        return _cut(texts, spans, single=feature.shape == ())
    values = values.astype(feature.dtype, copy=False)
    return _cut(values, spans) if feature.shape is None else values.reshape(len(spans), *feature.shape)


def _cut(values: Any, spans: NDArray[np.int64], *, single: bool = False) -> Any:
    """Return the values of each record by themselves."""
    return values if single else [values[start:stop] for start, stop in pairwise([0, *np.cumsum(spans[:, 3]).tolist()])]


def _check(spans: NDArray[np.int64], feature: Feature, name: str, where: Callable[[int], str]) -> None:
    """Raise unless each record has the feature, of its kind and with as many values as it should have."""
    kinds, counts = spans[:, 2], spans[:, 3]
    wanted = None if feature.shape is None else math.prod(feature.shape)
    wrong = (counts != wanted) if wanted is not None else np.zeros(len(spans), np.bool_)
    wrong |= (kinds != feature.kind) & ((counts > 0) | (wanted is not None))
    if not wrong.any():
        return
    bad = int(wrong.argmax())
    found = f"{counts[bad]} {_KINDS[int(kinds[bad])]}" if kinds[bad] else "no such feature"
    number = "any number of" if wanted is None else str(wanted)
    raise StorageError(
        f"{where(bad)} has {found} in {name!r}, but {number} {_KINDS[feature.kind]} are needed; give the dtype and "
        "shape that it has, with the shape None where the number differs"
    )


def _texts(buffer: NDArray[np.uint8], ranges: NDArray[np.int64]) -> list[Any]:
    content = memoryview(buffer)  # type: ignore[arg-type]
    return [bytes(content[start : start + length]) for start, length in ranges.tolist()]


def _decode(texts: list[bytes], where: Callable[[int], str]) -> list[str]:
    decoded: list[str] = []
    try:
        for text in texts:
            decoded.append(text.decode())  # noqa: PERF401 - so that the one which fails is known
    except UnicodeDecodeError as error:
        raise StorageError(f"{where(len(decoded))} in other bytes than UTF-8: {error}; take it as bytes") from error
    return decoded


def _record_of(value: int, spans: NDArray[np.int64]) -> int:
    """Return the record that has a value, by the value's position among those of all records."""
    return int(np.searchsorted(np.cumsum(spans[:, 3]), value, side="right"))


# -- sequences


def _records(packed: Packed) -> Iterator[tuple[int, bytes]]:
    bounds = packed.bounds.tolist()
    for place, (start, stop) in enumerate(pairwise(bounds)):
        yield place, packed.buffer[start:stop].tobytes()


def _step_spans(record: bytes) -> Iterator[tuple[str, list[_Span]]]:
    """Yield the name of each list of features, and the span of each of its steps."""
    for lists in message_fields(record, 0, len(record)):
        if lists.number == 2:
            for entry in message_fields(record, lists.start, lists.stop):
                fields = {part.number: part for part in message_fields(record, entry.start, entry.stop)}
                if 1 in fields and 2 in fields:
                    steps = message_fields(record, fields[2].start, fields[2].stop)
                    yield (
                        record[fields[1].start : fields[1].stop].decode(),
                        [read_span(record, step.start, step.stop) for step in steps],
                    )


def _sequence(record: bytes, feature: Feature, name: str, where: str) -> Any:
    """Read a feature of the steps of one record: an array of shape (steps, ...), or a list of one item a step."""
    try:
        spans = next((spans for found, spans in _step_spans(record) if found == name), [])
        lists = [read_list(record, start, start + length, kind) for start, length, kind, _ in spans]
    except ValueError as error:
        raise CorruptDataError(f"{where} is no tf.train.SequenceExample: {error}") from error
    if spans:
        _check(np.array(spans), feature, name, lambda step: f"{where}, in step {step},")
    if feature.dtype is None:
        return [_step_texts(record, values, feature, f"{where} has {name!r}") for values in lists]
    if feature.shape is None:
        return [np.array(values, feature.dtype) for values in lists]
    return np.array(lists, feature.dtype).reshape(len(lists), *feature.shape)


def _step_texts(record: bytes, ranges: list[tuple[int, int]], feature: Feature, where: str) -> Any:
    texts = [record[start : start + length] for start, length in ranges]
    decoded = _decode(texts, lambda _: where) if feature.is_text else texts
    return decoded[0] if feature.shape == () else decoded
