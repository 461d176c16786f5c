"""The parser of tf.train.Example in Python; `headrace.kernels.reference` offers it with the other kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace.kernels.scans import VALUE_DTYPES, check_bounds, check_crc32c, check_spans

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from headrace.kernels.scans import FeatureScan

__all__ = [
    "find_features",
    "message_fields",
    "note_features",
    "read_entries",
    "read_features",
    "read_list",
    "read_span",
]

_BYTES, _FLOATS, _INTEGERS = 1, 2, 3
_VARINT, _FIXED_8, _CHUNK, _FIXED_4 = 0, 1, 2, 5


class _MessageField(NamedTuple):
    """A field of a message.

    Attributes:
        number: of the field.
        way: how it is written.
        value: of a varint.
        start, stop: where its content is.
    """

    number: int
    way: int
    value: int
    start: int
    stop: int


def message_fields(data: bytes, at: int, end: int) -> Iterator[_MessageField]:
    """Yield the fields of the message that data[at:end] are.

    Raises:
        ValueError: they are none.

    The format: https://protobuf.dev/programming-guides/encoding
    """
    while at < end:
        tag, at = _varint(data, at, end)
        number, way, value, length = tag >> 3, tag & 7, 0, 0
        if not 0 < number < 1 << 32:
            raise ValueError("there is no such field")
        if way == _VARINT:
            value, at = _varint(data, at, end)
        elif way == _CHUNK:
            length, at = _varint(data, at, end)
        elif way in (_FIXED_8, _FIXED_4):
            length = 8 if way == _FIXED_8 else 4
        else:
            raise ValueError("there is no such way to write a field")
        if length > end - at:
            raise ValueError("a field ends behind its message")
        yield _MessageField(number, way, value, at, at + length)
        at += length


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at == end:
            break
        byte, at = data[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise ValueError("a number has no end")


def find_features(
    data: NDArray[np.uint8], bounds: NDArray[np.int64], names: Sequence[bytes]
) -> tuple[NDArray[np.int64], int]:
    """Find features by name in records that are tf.train.Example.

    Args:
        data: The records, end to end, uint8.
        bounds: int64 of shape (n + 1,): where each begins, and the last one ends.
        names: The features, without repetition.

    Returns:
        int64 of shape (n, len(names), 4): where in `data` the list of values begins, its bytes, its kind (1 bytes,
        2 floats, 3 integers, 0 if there is no such feature), and how many values it has. And the number of the
        first record that is no Example, or -1.

    Raises:
        ArgumentTypeError: A dtype does not match.
        ArgumentError: A shape does not match, or a record lies outside of the data.

    The format: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/example/example.proto
    """
    check_bounds(data, bounds)
    spans = np.zeros((len(bounds) - 1, len(names), 4), np.int64)
    places = {name: place for place, name in enumerate(names)}
    content = data.tobytes()
    for number, (start, stop) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
        try:
            for name, *feature in read_entries(content, start, stop):
                if name in places:
                    spans[number, places[name]] = read_span(content, *feature)
        except ValueError:
            return spans, number
    return spans, -1


class _Full(Exception):  # noqa: N818 - it ends a scan and goes no further
    """There is no room for another name."""


def note_features(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], lengths: NDArray[np.int64], scan: FeatureScan
) -> int:
    """Note which features records have that are tf.train.Example or SequenceExample.

    Args:
        data: What the records lie in, uint8.
        offsets: int64 of shape (n,): where each begins.
        lengths: int64 of shape (n,): the bytes of each.
        scan: What was found in the records before, which is added to.

    Returns:
        The number of the first record that is no Example; -1 if all are; -2 where there is no room for a name.

    Raises:
        ArgumentTypeError: A dtype does not match.
        ArgumentError: A record lies outside of the data.
    """
    check_crc32c(data, offsets, lengths)
    content = data.tobytes()
    for number, (start, length) in enumerate(zip(offsets.tolist(), lengths.tolist(), strict=True)):
        try:
            for message in message_fields(content, start, start + length):
                if message.number <= 2:
                    _check(message.way == _CHUNK)
                    _note_map(content, message, scan)
        except ValueError:
            return number
        except _Full:
            return -2
        scan.records += 1
    return -1


def _note_map(data: bytes, features: _MessageField, scan: FeatureScan) -> None:
    for entry in message_fields(data, features.start, features.stop):
        if entry.number == 1:
            _check(entry.way == _CHUNK)
            name, start, stop = _entry(data, entry)
            row = _note_name(scan, name, features.number)
            for first, last in [(start, stop)] if features.number == 1 else _steps(data, start, stop):
                _, _, kind, count = read_span(data, first, last)
                row[1] |= 1 << kind
                row[3:5] = min(row[3], count), max(row[4], count)
            row[2] += row[5] != scan.records
            row[5] = scan.records


def _steps(data: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
    for step in _values(data, start, stop):
        _check(step.way == _CHUNK)
        yield step.start, step.stop


def _note_name(scan: FeatureScan, name: bytes, section: int) -> Any:
    bounds = scan.bounds.tolist()
    for place in range(scan.names):
        if scan.table[place, 0] == section and scan.text[bounds[place] : bounds[place + 1]].tobytes() == name:
            return scan.table[place]
    start, place = bounds[scan.names], scan.names
    if place == len(scan.table) or len(name) > len(scan.text) - start:
        raise _Full
    scan.text[start : start + len(name)] = list(name)
    scan.bounds[place + 1] = start + len(name)
    scan.table[place] = section, 0, 0, np.iinfo(np.int64).max, 0, -1
    scan.names += 1
    return scan.table[place]


def read_entries(data: bytes, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name of each feature of an Example, and where it is.

    Raises:
        ValueError: it is none.
    """
    for features in message_fields(data, start, stop):
        if features.number == 1:
            _check(features.way == _CHUNK)
            for entry in message_fields(data, features.start, features.stop):
                if entry.number == 1:
                    _check(entry.way == _CHUNK)
                    yield _entry(data, entry)


def _entry(data: bytes, entry: _MessageField) -> tuple[bytes, int, int]:
    """Return the key of an entry of a map, and where its value is."""
    key, start, stop = b"", entry.stop, entry.stop
    for part in message_fields(data, entry.start, entry.stop):
        if part.number <= 2:
            _check(part.way == _CHUNK)
            if part.number == 1:
                key = data[part.start : part.stop]
            else:
                start, stop = part.start, part.stop
    return key, start, stop


def read_span(data: bytes, start: int, stop: int) -> tuple[int, int, int, int]:
    """Return where the list of a feature begins, its bytes, its kind, and how many values it has.

    Raises:
        ValueError: it is none.
    """
    span = (0, 0, 0, 0)
    for part in message_fields(data, start, stop):
        if part.number <= _INTEGERS:
            _check(part.way == _CHUNK and span[2] == 0)
            count = sum(_count(data, value, part.number) for value in _values(data, part.start, part.stop))
            span = (part.start, part.stop - part.start, part.number, count)
    return span


def _values(data: bytes, start: int, stop: int) -> Iterator[_MessageField]:
    return (part for part in message_fields(data, start, stop) if part.number == 1)


def _count(data: bytes, part: _MessageField, kind: int) -> int:
    length = part.stop - part.start
    if kind == _BYTES:
        _check(part.way == _CHUNK)
        return 1
    if kind == _FLOATS:
        _check(part.way == _FIXED_4 or (part.way == _CHUNK and length % 4 == 0))
        return length // 4
    if part.way == _VARINT:
        return 1
    _check(part.way == _CHUNK and (length == 0 or data[part.stop - 1] < 0x80))
    return sum(byte < 0x80 for byte in data[part.start : part.stop])


def _check(condition: bool) -> None:  # noqa: FBT001 - as assert, but of data
    if not condition:
        raise ValueError("the record is no Example")


def read_features(data: NDArray[np.uint8], spans: NDArray[np.int64], kind: int) -> tuple[NDArray[Any], int]:
    """Read the values of one feature of each record.

    Args:
        data: The records, end to end, uint8.
        spans: int64 of shape (n, 4), as `find_features` gives them, all of one kind or without values.
        kind: 1 bytes, 2 floats, 3 integers.

    Returns:
        The values of all records, end to end: float32 or int64 of shape (sum of the counts,), or for bytes int64
        of shape (sum of the counts, 2): where in `data` each begins, and its bytes. And the number of the first
        record whose values are none, or -1.

    Raises:
        ArgumentTypeError: A dtype does not match.
        ArgumentError: A shape does not match, or a span lies outside of the data.
    """
    check_spans(data, spans, kind)
    content, found = data.tobytes(), []
    for number, (start, length, _, count) in enumerate(spans.tolist()):
        try:
            values = read_list(content, start, start + length, kind)
            _check(len(values) == count)
        except ValueError:
            return _array([], kind), number
        found += values
    return _array(found, kind), -1


def _array(values: list[Any], kind: int) -> NDArray[Any]:
    return np.array(values, VALUE_DTYPES[kind]).reshape((-1, 2) if kind == _BYTES else -1)


def read_list(data: bytes, start: int, stop: int, kind: int) -> list[Any]:
    """Return the values of a list: floats, integers, or for bytes where each begins and how many they are.

    Raises:
        ValueError: it is none.
    """
    values: list[Any] = []
    for part in _values(data, start, stop):
        if kind == _BYTES:
            values.append((part.start, part.stop - part.start))
        elif kind == _FLOATS:
            values.extend(np.frombuffer(data[part.start : part.stop], "<f4"))  # Python's floats would change some NaNs
        elif part.way == _VARINT:
            values.append(_signed(part.value))
        else:
            at = part.start
            while at < part.stop:
                value, at = _varint(data, at, part.stop)
                values.append(_signed(value))
    return values


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
