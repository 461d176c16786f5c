from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.kernels import reference
from headrace.kernels.scalar import philox_one

if TYPE_CHECKING:
    from headrace.kernels import Kernels

ONES = 2**32 - 1
UINT32 = st.integers(0, 2**32 - 1)
UINT64 = st.integers(0, 2**64 - 1)

# Random123's kat_vectors, philox4x32 with 10 rounds: key, two low counter words, the high ones, result.
KNOWN = [
    (0, 0, 0, 0, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    (2**64 - 1, 2**64 - 1, ONES, ONES, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        0x299F31D0A4093822,
        0x85A308D3243F6A88,
        0x13198A2E,
        0x03707344,
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


def as_indices(*indices: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(indices, dtype=np.uint64).view(np.int64)


@pytest.mark.parametrize(("key", "index", "stream", "block", "words"), KNOWN)
def test_known_answers(kernels: Kernels, key: int, index: int, stream: int, block: int, words: str) -> None:
    expected = [int(word, 16) for word in words.split()]
    for count in (1, 2):  # one index alone goes another way in the reference
        assert kernels.philox(key, as_indices(*[index] * count), stream, block).tolist() == [expected] * count


@pytest.mark.parametrize(("key", "index", "stream", "block", "words"), KNOWN)
def test_known_answers_of_one(key: int, index: int, stream: int, block: int, words: str) -> None:
    assert " ".join(f"{word:08x}" for word in philox_one(key, index, stream, block)) == words


@given(key=UINT64, indices=st.lists(UINT64, max_size=40), stream=UINT32, block=UINT32)
def test_all_agree(key: int, indices: list[int], stream: int, block: int) -> None:
    expected = [list(philox_one(key, index, stream, block)) for index in indices]
    assert reference.philox(key, as_indices(*indices), stream, block).tolist() == expected


def test_native_is_the_reference(native_kernels: Kernels) -> None:
    indices = np.arange(-1000, 100_000) * 0x9E3779B97F4A7
    for block in (0, 1, ONES):
        got = native_kernels.philox(0x0123456789ABCDEF, indices, 7, block)
        np.testing.assert_array_equal(got, reference.philox(0x0123456789ABCDEF, indices, 7, block))


def test_shape_and_dtype(kernels: Kernels) -> None:
    for count in (0, 1, 3, 17):
        words = kernels.philox(1, np.arange(count), 0)
        assert words.shape == (count, 4)
        assert words.dtype == np.uint32


def test_numbers_wrap(kernels: Kernels) -> None:
    indices = np.array([-1])
    wrapped = kernels.philox(5 - 2**64, indices, 2**32 + 3, -1)
    np.testing.assert_array_equal(wrapped, kernels.philox(5, indices, 3, ONES))
    assert tuple(wrapped[0].tolist()) == philox_one(5 - 2**64, -1, 2**32 + 3, -1)


def test_numpy_integers_are_integers(kernels: Kernels) -> None:
    indices = np.arange(3)
    got = kernels.philox(np.uint64(2**63), indices, np.int64(1), np.int32(2))  # type: ignore[arg-type]
    np.testing.assert_array_equal(got, kernels.philox(2**63, indices, 1, 2))


def test_strided_and_read_only_indices(kernels: Kernels) -> None:
    every = np.arange(20)
    every.flags.writeable = False
    np.testing.assert_array_equal(kernels.philox(1, every[::-2], 0), kernels.philox(1, every, 0)[::-2])


def test_indices_are_checked(kernels: Kernels) -> None:
    with pytest.raises(ArgumentTypeError, match=r"indices has dtype int32, but int64 is needed"):
        kernels.philox(0, np.arange(3, dtype=np.int32), 0)
    with pytest.raises(ArgumentError, match=r"indices has shape \(2, 3\), but one dimension is needed"):
        kernels.philox(0, np.zeros((2, 3), dtype=np.int64), 0)
