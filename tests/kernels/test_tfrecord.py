from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ArgumentError
from headrace.formats.tfrecord.framing import frame
from headrace.kernels import Kernels, native, reference


def scanned(kernels: Kernels, data: bytes, position: int = 0, capacity: int = 100) -> tuple[list[bytes], int, int]:
    records, position, problem = kernels.scan_tfrecord(np.frombuffer(data, np.uint8), position, capacity)
    found = [data[start : start + length] for start, length in zip(records["offset"], records["length"], strict=True)]
    for record, crc in zip(found, records["crc"], strict=True):
        content = np.frombuffer(record, np.uint8)
        assert kernels.crc32c(content, np.zeros(1, np.int64), np.array([len(content)]))[0] == crc
    return found, position, problem


@given(st.lists(st.binary(max_size=500), max_size=8))
def test_finds_the_records(records: list[bytes]) -> None:
    data = b"".join(map(frame, records))
    for kernels in (reference, native.load()):
        if not isinstance(kernels, str):
            assert scanned(kernels, data) == (records, len(data), 0)


def test_as_many_as_asked_for(kernels: Kernels) -> None:
    data = frame(b"a") + frame(b"b") + frame(b"c")
    assert scanned(kernels, data, capacity=2) == ([b"a", b"b"], 34, 0)
    assert scanned(kernels, data, position=34) == ([b"c"], 51, 0)
    assert scanned(kernels, data, capacity=0) == ([], 0, 0)


@pytest.mark.parametrize("cut", [1, 4, 5, 9, 12, 16])
def test_data_that_end_early(kernels: Kernels, cut: int) -> None:
    data = frame(b"first") + frame(b"a")
    assert scanned(kernels, data[:-cut]) == ([b"first"], 21, 1)


@pytest.mark.parametrize("place", range(12))
def test_a_wrong_length(kernels: Kernels, place: int) -> None:
    data = bytearray(frame(b"first") + frame(b"a"))
    data[21 + place] ^= 16
    assert scanned(kernels, bytes(data)) == ([b"first"], 21, 2)


def test_a_length_that_fits_its_sum_but_no_file(kernels: Kernels) -> None:
    length = (2**64 - 1).to_bytes(8, "little")
    with_sum = frame(length)[12:24]  # of which the sum over the length is that of a record with these bytes
    assert scanned(kernels, with_sum + bytes(100)) == ([], 0, 1)


def test_arguments_are_checked(kernels: Kernels) -> None:
    with pytest.raises(ArgumentError, match="position is 3, but data has 2 bytes"):
        kernels.scan_tfrecord(np.zeros(2, np.uint8), 3, 1)
    with pytest.raises(ArgumentError, match="contiguous uint8"):
        kernels.scan_tfrecord(np.zeros(2), 0, 1)  # type: ignore[arg-type]
