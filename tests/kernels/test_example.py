"""The parser of tf.train.Example: records that were encoded, and bytes that are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ArgumentError
from headrace.kernels import native, reference
from headrace.storage.example import encode

if TYPE_CHECKING:
    from headrace.kernels import Kernels

NAMES = [b"a", b"label", b"image", b""]


def packed(records: list[bytes]) -> tuple[Any, Any]:
    return np.frombuffer(b"".join(records), np.uint8), np.cumsum([0, *map(len, records)], dtype=np.int64)


def parsed(kernels: Kernels, records: list[bytes]) -> tuple[Any, ...]:
    """All that the kernels say of the records, as lists."""
    data, bounds = packed(records)
    spans, bad = kernels.find_features(data, bounds, NAMES)
    if bad >= 0:
        return (bad,)
    found = []
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
    assert parsed(kernels, [encode({"label": 1}), record]) == (1,)


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
