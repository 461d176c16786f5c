from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ArgumentError, ArgumentTypeError, OutOfRangeError
from headrace.kernels import native, reference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.kernels import Kernels

Ranges = list[tuple[int, int, int]]


def integers(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def gathered(kernels: Kernels, sources: list[bytes], ranges: Ranges) -> bytes:
    which, offsets, lengths = np.array(ranges, np.int64).reshape(-1, 3).T
    out = np.full(lengths.sum(), 7, np.uint8)
    kernels.gather_ranges([np.frombuffer(source, np.uint8) for source in sources], which, offsets, lengths, out)
    return out.tobytes()


@st.composite
def sources_and_ranges(draw: st.DrawFn) -> tuple[list[bytes], Ranges]:
    sources = draw(st.lists(st.binary(max_size=3000), min_size=1, max_size=4))
    ranges = []
    for _ in range(draw(st.integers(0, 20))):
        which = draw(st.integers(0, len(sources) - 1))
        start = draw(st.integers(0, len(sources[which])))
        ranges.append((which, start, draw(st.integers(0, len(sources[which]) - start))))
    return sources, ranges


@given(sources_and_ranges())
def test_like_slices(case: tuple[list[bytes], Ranges]) -> None:
    sources, ranges = case
    expected = b"".join(sources[which][start : start + length] for which, start, length in ranges)
    for kernels in (reference, native.load()):
        if not isinstance(kernels, str):
            assert gathered(kernels, sources, ranges) == expected


@given(sources_and_ranges())
def test_slices_and_their_sums(case: tuple[list[bytes], Ranges]) -> None:
    sources, ranges = case
    expected = [sources[which][start : start + length] for which, start, length in ranges]
    arrays = [np.frombuffer(source, np.uint8) for source in sources]
    which, offsets, lengths = np.array(ranges, np.int64).reshape(-1, 3).T
    alone = [reference.crc32c(np.frombuffer(part, np.uint8), integers(0), integers(len(part)))[0] for part in expected]
    for kernels in (reference, native.load()):
        if not isinstance(kernels, str):
            assert kernels.slice_ranges(arrays, which, offsets, lengths) == expected
            assert kernels.crc32c_ranges(arrays, which, offsets, lengths).tolist() == alone


def test_slices_have_no_other_owner(kernels: Kernels) -> None:
    source = np.arange(100, dtype=np.uint8)
    first, second = kernels.slice_ranges([source], integers(0, 0), integers(2, 2), integers(3, 3))
    assert sys.getrefcount(first) == 2  # the name, and the argument of the function
    assert first is not second
    source[:] = 0
    assert first == second == bytes([2, 3, 4])


@pytest.mark.parametrize("bad", [(0, 3, 3), (0, -1, 2), (1, 0, 1), (0, 2**62, 2**62), (0, 6, 0), (0, 3, -1)])
def test_no_range_outside_is_sliced_or_summed(kernels: Kernels, bad: tuple[int, int, int]) -> None:
    which, offsets, lengths = np.array([(0, 1, 2), bad], np.int64).T
    sources = [np.zeros(5, np.uint8), np.zeros(0, np.uint8)]
    for kernel in (kernels.slice_ranges, kernels.crc32c_ranges):
        with pytest.raises(ArgumentError, match=r"^range 1 is -?\d+ bytes at -?\d+, but its source has [05] bytes"):
            kernel(sources, which, offsets, lengths)


@pytest.mark.parametrize("bad", [(0, 3, 3), (0, -1, 2), (1, 0, 1), (0, 2**62, 2**62), (0, 6, 0)])
def test_nothing_is_written_where_a_range_lies_outside(kernels: Kernels, bad: tuple[int, int, int]) -> None:
    which, offsets, lengths = np.array([(0, 1, 2), bad], np.int64).T
    sources = [np.zeros(5, np.uint8), np.zeros(0, np.uint8)]
    out = np.ones(min(int(lengths.sum()), 10), np.uint8)
    with pytest.raises(ArgumentError, match=r"^range 1 is \d+ bytes at -?\d+, but its source has [05] bytes|^out has"):
        kernels.gather_ranges(sources, which, offsets, lengths, out)
    assert out.all()


def test_a_negative_length_is_refused(kernels: Kernels) -> None:
    with pytest.raises(ArgumentError, match=r"^range 1 is -1 bytes at 3"):
        kernels.gather_ranges(
            [np.zeros(5, np.uint8)], integers(0, 0), integers(0, 3), integers(3, -1), np.ones(2, np.uint8)
        )


def test_arguments_are_checked(kernels: Kernels) -> None:
    source, out, one = np.zeros(5, np.uint8), np.zeros(1, np.uint8), integers(1)
    with pytest.raises(OutOfRangeError, match=r"^Index 1 out of range for dataset of size 1$"):
        kernels.gather_ranges([source], one, one, one, out)
    with pytest.raises(ArgumentTypeError, match="dtype float64"):
        kernels.gather_ranges([source], np.zeros(1), one, one, out)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="have 1, 2 and 1 items"):
        kernels.gather_ranges([source], integers(0), integers(0, 1), one, out)
    with pytest.raises(ArgumentError, match="contiguous uint8"):
        kernels.gather_ranges([source[::2]], integers(0), one, one, out)
    with pytest.raises(ArgumentError, match="out has 1 bytes, but 2, writable"):
        kernels.gather_ranges([source], integers(0), integers(0), integers(2), out)


def test_sources_over_four_gigabytes(kernels: Kernels) -> None:
    """Sparse memory: only the pages that are touched take any."""
    source = np.zeros(2**32 + 10, np.uint8)
    source[-3:] = [1, 2, 3]
    out = np.zeros(3, np.uint8)
    kernels.gather_ranges([source], integers(0), integers(len(source) - 3), integers(3), out)
    assert out.tolist() == [1, 2, 3]


@given(sources_and_ranges(), st.sampled_from(["|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<i8"]))
def test_integers_are_widened(case: tuple[list[bytes], Ranges], dtype: str) -> None:
    sources, ranges = case
    size = np.dtype(dtype).itemsize
    parts = [sources[which][start : start + length // size * size] for which, start, length in ranges]
    expected = np.concatenate([np.empty(0, np.int64), *(np.frombuffer(part, dtype) for part in parts)])
    which, offsets, lengths = np.array(ranges, np.int64).reshape(-1, 3).T
    for kernels in (reference, native.load()):
        if not isinstance(kernels, str):
            out = np.full(len(expected), 7)
            arrays = [np.frombuffer(source, np.uint8) for source in sources]
            kernels.widen_ranges(arrays, which, offsets, lengths // size, np.dtype(dtype), out)
            np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("bad", [(0, 3, 2), (0, -1, 1), (1, 0, 1), (0, 2**62, 2), (0, 6, 0)])
def test_nothing_is_widened_where_a_range_lies_outside(kernels: Kernels, bad: tuple[int, int, int]) -> None:
    which, offsets, lengths = np.array([(0, 1, 1), bad], np.int64).T
    out = np.full(int(lengths.sum()), 7)
    with pytest.raises(ArgumentError, match=r"^range 1 is \d+ bytes at -?\d+, but its source has [05] bytes"):
        kernels.widen_ranges(
            [np.zeros(5, np.uint8), np.zeros(0, np.uint8)], which, offsets, lengths, np.dtype("<u2"), out
        )
    assert (out == 7).all()


@given(
    st.lists(st.binary(max_size=80), min_size=1, max_size=3),
    st.data(),
    st.integers(0, 5),
    st.integers(1, 3),
    st.sampled_from(["|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<i8"]),
)
def test_windows_are_widened(sources: list[bytes], data: st.DataObject, length: int, shifts: int, dtype: str) -> None:
    size = np.dtype(dtype).itemsize
    taken = (length + shifts - 1) * size
    roomy = [number for number, source in enumerate(sources) if len(source) >= taken]
    which = data.draw(st.lists(st.sampled_from(roomy), max_size=9)) if roomy else []
    offsets = [data.draw(st.integers(0, len(sources[number]) - taken)) for number in which]
    expected = np.zeros((shifts, len(which), length), np.int64)
    for row, (number, offset) in enumerate(zip(which, offsets, strict=True)):
        for shift in range(shifts):
            expected[shift, row] = np.frombuffer(sources[number], dtype, length, offset + shift * size)
    for kernels in (reference, native.load()):
        if not isinstance(kernels, str):
            out = np.full_like(expected, 7)
            arrays = [np.frombuffer(source, np.uint8) for source in sources]
            kernels.widen_windows(arrays, integers(*which), integers(*offsets), np.dtype(dtype), out)
            np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("bad", [(0, 6), (0, -1), (1, 0), (0, 2**62), (0, 2**63 - 1)])
def test_no_window_is_widened_where_one_lies_outside(kernels: Kernels, bad: tuple[int, int]) -> None:
    which, offsets = np.array([(0, 1), bad], np.int64).T
    out = np.full((2, 2, 1), 7)
    with pytest.raises(ArgumentError, match=r"^range 1 is 4 bytes at -?\d+, but its source has [09] bytes"):
        kernels.widen_windows([np.zeros(9, np.uint8), np.zeros(0, np.uint8)], which, offsets, np.dtype("<u2"), out)
    assert (out == 7).all()
    for missing in (-1, 2):
        with pytest.raises(OutOfRangeError, match=f"Index {missing} "):
            kernels.widen_windows([np.zeros(9, np.uint8)] * 2, integers(0, missing), offsets, np.dtype("<u2"), out)


def test_windows_that_cannot_be_widened(kernels: Kernels) -> None:
    source, zero = np.zeros(8, np.uint8), integers(0)
    with pytest.raises(ArgumentTypeError, match="one of integers that int64 can hold is needed"):
        kernels.widen_windows([source], zero, zero, np.dtype("<f4"), np.zeros((1, 1, 1), np.int64))
    for out in (np.zeros((1, 1, 1), np.int32), np.zeros((1, 1), np.int64), np.zeros((1, 1, 4), np.int64)[..., ::2]):
        with pytest.raises(ArgumentError, match="a contiguous int64 array of three dimensions"):
            kernels.widen_windows([source], zero, zero, np.dtype("<u2"), out)  # type: ignore[arg-type]
    for out in (np.zeros((1, 2, 1), np.int64), np.zeros((0, 1, 1), np.int64)):
        with pytest.raises(ArgumentError, match="all must have as many, and be there once or more"):
            kernels.widen_windows([source], zero, zero, np.dtype("<u2"), out)
    with pytest.raises(ArgumentError, match="sources must be contiguous uint8"):
        kernels.widen_windows([source[::2]], zero, zero, np.dtype("<u2"), np.zeros((1, 1, 1), np.int64))


def test_what_cannot_be_widened(kernels: Kernels) -> None:
    source, one = np.zeros(8, np.uint8), integers(1)
    for dtype in ("<u8", "<f4", ">u2"):
        with pytest.raises(ArgumentTypeError, match="one of integers that int64 can hold is needed"):
            kernels.widen_ranges([source], integers(0), integers(0), one, np.dtype(dtype), np.zeros(1, np.int64))
    for out in (np.zeros(1, np.int32), np.zeros((1, 1), np.int64)):
        with pytest.raises(ArgumentError, match="a contiguous int64 array"):
            kernels.widen_ranges([source], integers(0), integers(0), one, np.dtype("<u2"), out)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="out has 2 items, but 1 are needed"):
        kernels.widen_ranges([source], integers(0), integers(0), one, np.dtype("<u2"), np.zeros(2, np.int64))
