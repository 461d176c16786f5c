"""The parser of tf.train.Example: records that were encoded, and bytes that are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ArgumentError
from headrace.formats.tfrecord.example import encode
from headrace.kernels import native, reference
from headrace.kernels.scans import FeatureScan

if TYPE_CHECKING:
    from headrace.kernels import Kernels

NAMES = [b"a", b"label", b"image", b""]


def packed(records: list[bytes]) -> tuple[Any, Any]:
    return np.frombuffer(b"".join(records), np.uint8), np.cumsum([0, *map(len, records)], dtype=np.int64)


def noted(kernels: Kernels, records: list[bytes], scan: FeatureScan) -> tuple[Any, ...]:
    """All that the kernels note of the features of the records, after those before them."""
    data, bounds = packed(records)
    ended = kernels.note_features(data, bounds[:-1], np.diff(bounds), scan)
    names = scan.text[: scan.bounds[scan.names]].tobytes()
    bounds = scan.bounds[: scan.names + 1].tolist()
    return ended, scan.records, names, bounds, scan.table[: scan.names].tolist()


def parsed(kernels: Kernels, records: list[bytes]) -> tuple[Any, ...]:
    """All that the kernels say of the records, as lists."""
    data, bounds = packed(records)
    spans, bad = kernels.find_features(data, bounds, NAMES)
    scan = FeatureScan(capacity=4, room=14)
    notes = [noted(kernels, records, scan), noted(kernels, records[::-1], scan)]
    if bad >= 0:
        return bad, notes
    found: list[Any] = [notes]
    for place in range(len(NAMES)):
        for kind in (1, 2, 3):
            chosen = spans[:, place] * (spans[:, place, 2:3] == kind)
            values, wrong = kernels.read_features(data, chosen, kind)
            found.append((values.tobytes() if wrong < 0 else b"", wrong))
    return spans.tolist(), found


VALUES = st.one_of(
    st.binary(max_size=20),
    st.lists(st.binary(max_size=5), min_size=1, max_size=3),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4).map(lambda numbers: np.array(numbers, np.int64)),
    st.lists(st.floats(width=32), max_size=4).map(lambda numbers: np.array(numbers, np.float32)),
)
RECORDS = st.dictionaries(st.sampled_from([name.decode() for name in NAMES] + ["other"]), VALUES)


@given(st.lists(RECORDS, max_size=5))
def test_reads_what_was_encoded(samples: list[dict[str, Any]]) -> None:
    records = list(map(encode, samples))
    data, bounds = packed(records)
    expected = parsed(reference, records)
    found = native.load()
    if not isinstance(found, str):
        assert parsed(found, records) == expected
    spans, bad = reference.find_features(data, bounds, NAMES)
    assert bad == -1
    for sample, row in zip(samples, spans, strict=True):
        for name, span in zip(NAMES, row, strict=True):
            value = sample.get(name.decode())
            if value is None:
                assert span.tolist() == [0, 0, 0, 0]
                continue
            values, bad = reference.read_features(data, span[np.newaxis], int(span[2]))
            assert bad == -1
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(values, value)
            else:
                texts = [data[start : start + length].tobytes() for start, length in values]
                assert texts == ([value] if isinstance(value, bytes) else value)


@given(st.lists(RECORDS, min_size=1, max_size=3), st.data())
def test_both_say_the_same_of_damaged_records(samples: list[dict[str, Any]], data: st.DataObject) -> None:
    found = native.load()
    if isinstance(found, str):
        pytest.skip(found)
    records = [bytearray(encode(sample)) for sample in samples]
    for record in records:
        for _ in range(data.draw(st.integers(0, 3))):
            if record:
                record[data.draw(st.integers(0, len(record) - 1))] = data.draw(st.integers(0, 255))
    assert parsed(found, list(map(bytes, records))) == parsed(reference, list(map(bytes, records)))


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=3))
def test_both_say_the_same_of_any_bytes(records: list[bytes]) -> None:
    found = native.load()
    if not isinstance(found, str):
        assert parsed(found, records) == parsed(reference, records)


@pytest.mark.parametrize(
    "record",
    [
        b"\x0a",  # ends within a field
        b"\x0a\x05abc",  # a field that ends behind the record
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # by far
        b"\x0a" + b"\xff" * 11,  # a number without end
        b"\x0b",  # a group
        b"\x02\x00",  # field 0
        b"\x08\x05",  # features that are a number
        b"\x0a\x02\x08\x05",  # an entry that is a number
        b"\x0a\x04\x0a\x02\x08\x05",  # a key that is a number
    ],
)
def test_bytes_that_are_no_example(kernels: Kernels, record: bytes) -> None:
    assert parsed(kernels, [encode({"label": 1}), record])[0] == 1


def test_values_written_singly(kernels: Kernels) -> None:
    """As old programs did, before they were packed."""
    integers = b"\x1a\x04\x08\x05\x08\x06"
    floats = b"\x12\x05\x0d\x00\x00\x80\x3f"
    entries = [
        b"\x0a\x05label\x12" + bytes([len(integers)]) + integers,
        b"\x0a\x01a\x12" + bytes([len(floats)]) + floats,
    ]
    features = b"".join(b"\x0a" + bytes([len(entry)]) + entry for entry in entries)
    data, bounds = packed([b"\x0a" + bytes([len(features)]) + features])
    spans, bad = kernels.find_features(data, bounds, [b"label", b"a"])
    assert bad == -1
    assert kernels.read_features(data, spans[:, 0], 3)[0].tolist() == [5, 6]
    assert kernels.read_features(data, spans[:, 1], 2)[0].tolist() == [1.0]


def test_bits_of_floats_stay(kernels: Kernels) -> None:
    """Of signalling NaNs too, which a conversion makes quiet."""
    bits = np.array([0x7FA80000, 0xFF800001, 0x80000000, 1], np.uint32)
    data, bounds = packed([encode({"a": bits.view(np.float32)})])
    spans, _ = kernels.find_features(data, bounds, [b"a"])
    assert kernels.read_features(data, spans[:, 0], 2)[0].view(np.uint32).tolist() == bits.tolist()


def test_arguments_are_checked(kernels: Kernels) -> None:
    data, zero = np.zeros(5, np.uint8), np.zeros((1, 4), np.int64)
    for bounds in ([0, 6], [-1, 2], [3, 2], []):
        with pytest.raises(ArgumentError, match="bounds must rise"):
            kernels.find_features(data, np.array(bounds, np.int64), [b"a"])
    with pytest.raises(ArgumentError, match="lies outside of data"):
        kernels.read_features(data, np.array([[3, 3, 0, 0]]), 1)
    with pytest.raises(ArgumentError, match="other values than those of kind 1, or more than there are bytes"):
        kernels.read_features(data, np.array([[0, 3, 2, 1]]), 1)
    with pytest.raises(ArgumentError, match="more than there are bytes"):
        kernels.read_features(data, np.array([[0, 1, 1, 2]]), 1)
    with pytest.raises(ArgumentError, match=r"of shape \(4,\) of kind 1"):
        kernels.read_features(data, zero[0], 1)


def test_features_are_noted(kernels: Kernels) -> None:
    scan = FeatureScan()
    records = [encode({"a": 1, "b": [b"x", b"y"]}), encode({"a": 0.5, "c": np.zeros(0, np.float32)}), encode({"a": 2})]
    ended, count, names, _, table = noted(kernels, records, scan)
    assert (ended, count, names) == (-1, 3, b"abc")
    assert table == [[1, 0b1100, 3, 1, 1, 2], [1, 0b10, 1, 2, 2, 0], [1, 0b100, 1, 0, 0, 1]]


def test_features_of_steps_are_noted(kernels: Kernels) -> None:
    values = [b"\x1a\x03\x0a\x01\x05", b"\x1a\x04\x0a\x02\x05\x06", b""]  # lists of one, two and no integers
    steps = b"".join(b"\x0a" + bytes([len(each)]) + each for each in values)
    entry = b"\x0a\x01s\x12" + bytes([len(steps)]) + steps
    lists = b"\x0a" + bytes([len(entry)]) + entry
    record = encode({"s": 1}) + b"\x12" + bytes([len(lists)]) + lists
    ended, _, names, _, table = noted(kernels, [record], FeatureScan())
    assert (ended, names) == (-1, b"ss")
    assert table == [[1, 0b1000, 1, 1, 1, 0], [2, 0b1001, 1, 0, 2, 0]]


def test_room_for_features_ends(kernels: Kernels) -> None:
    assert noted(kernels, [encode({"a": 1, "b": 1})], FeatureScan(capacity=1))[:3] == (-2, 0, b"a")
    assert noted(kernels, [encode({"aa": 1, "bb": 1})], FeatureScan(room=3))[:3] == (-2, 0, b"aa")
    with pytest.raises(ArgumentError, match="range 0 is"):
        kernels.note_features(np.zeros(3, np.uint8), np.array([0]), np.array([4]), FeatureScan())
