"""CRC32C: published values, both implementations alike, and a slow third one that is plainly right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.kernels import native, reference

if TYPE_CHECKING:
    from headrace.kernels import Kernels

PUBLISHED = {  # RFC 3720, B.4, and the check value of the catalogue of parametrised CRC algorithms
    bytes(32): 0x8A9136AA,
    b"\xff" * 32: 0x62A8AB43,
    bytes(range(32)): 0x46DD794E,
    bytes(range(31, -1, -1)): 0x113FDB5C,
    b"123456789": 0xE3069283,
    b"": 0,
}


def bit_by_bit(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def crc32c(kernels: Kernels, data: bytes) -> int:
    sums = kernels.crc32c(np.frombuffer(data, np.uint8), np.zeros(1, np.int64), np.array([len(data)]))
    assert sums.dtype == np.uint32
    return int(sums[0])


@pytest.mark.parametrize(("data", "expected"), PUBLISHED.items())
def test_published_values(kernels: Kernels, data: bytes, expected: int) -> None:
    assert crc32c(kernels, data) == bit_by_bit(data) == expected


@pytest.mark.parametrize("length", [*range(0, 60, 7), 383, 384, 385, 767, 1023, 3071, 3072, 3073, 3456, 9999])
def test_any_length(kernels: Kernels, length: int) -> None:
    data = np.random.default_rng(length).bytes(length)
    assert crc32c(kernels, data) == bit_by_bit(data)


@given(st.binary(max_size=5000), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=5))
def test_ranges(data: bytes, fractions: list[tuple[float, float]]) -> None:
    offsets = np.array([int(len(data) * a) for a, _ in fractions], np.int64)
    lengths = np.array(
        [int((len(data) - start) * b) for start, (_, b) in zip(offsets, fractions, strict=True)], np.int64
    )
    content = np.frombuffer(data, np.uint8)
    expected = reference.crc32c(content, offsets, lengths)
    found = native.load()
    if not isinstance(found, str):
        np.testing.assert_array_equal(found.crc32c(content, offsets, lengths), expected)
    for offset, length, crc in zip(offsets, lengths, expected, strict=True):
        assert crc32c(reference, data[offset : offset + length]) == crc


def test_long_data_are_summed_in_lanes(kernels: Kernels) -> None:
    data = np.random.default_rng(0).bytes(100_003)
    assert crc32c(kernels, data) == bit_by_bit(data)


def test_arguments_are_checked(kernels: Kernels) -> None:
    data, zero = np.zeros(5, np.uint8), np.zeros(1, np.int64)
    with pytest.raises(ArgumentError, match="range 0 is 6 bytes at 0, but data has 5 bytes"):
        kernels.crc32c(data, zero, zero + 6)
    with pytest.raises(ArgumentError, match="range 0 is 0 bytes at -1"):
        kernels.crc32c(data, zero - 1, zero)
    with pytest.raises(ArgumentError, match="1 offsets and 2 lengths"):
        kernels.crc32c(data, zero, np.zeros(2, np.int64))
    with pytest.raises(ArgumentError, match="contiguous uint8"):
        kernels.crc32c(data[::2], zero, zero)
    with pytest.raises(ArgumentTypeError, match="int32"):
        kernels.crc32c(data, zero.astype(np.int32), zero)
