from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ArgumentError
from headrace.kernels import native, reference

if TYPE_CHECKING:
    from headrace.kernels import Kernels


def native_if_there() -> Kernels:
    found = native.load()
    return reference if isinstance(found, str) else found


@st.composite
def packings(draw: st.DrawFn) -> tuple[Any, int, int, int]:
    capacity = draw(st.sampled_from([1, 7, 63, 64, 65, 4096, 300_000]))
    lengths = draw(st.lists(st.integers(1, capacity), max_size=60))
    return np.array(lengths, np.int64), capacity, draw(st.integers(1, 70)), draw(st.integers(1, 70))


@given(packings(), st.booleans())
def test_rows_hold_every_sequence_once(packing: tuple[Any, int, int, int], first_fit: bool) -> None:
    lengths, capacity, window, most = packing
    members, ends = reference.pack(*packing, first_fit=first_fit)
    assert sorted(members.tolist()) == list(range(len(lengths)))
    assert len(ends) == 0 or ends[-1] == len(lengths)
    for row in np.split(members, ends[:-1]):
        assert lengths[row].sum() <= capacity
        assert len(row) <= most
        assert len(set((row // window).tolist())) <= 1


@given(packings(), st.booleans())
def test_native_rows_are_the_reference(packing: tuple[Any, int, int, int], first_fit: bool) -> None:
    expected = reference.pack(*packing, first_fit=first_fit)
    for found, wanted in zip(native_if_there().pack(*packing, first_fit=first_fit), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_many_lengths_are_packed_alike_and_full(kernels: Kernels) -> None:
    lengths = np.random.default_rng(0).lognormal(np.log(800), 0.7, 40_000).astype(np.int64).clip(1, 2048)
    members, ends = kernels.pack(lengths, 2048, 4096, 4096, first_fit=False)
    assert lengths.sum() / (2048 * len(ends)) > 0.99
    np.testing.assert_array_equal(members, reference.pack(lengths, 2048, 4096, 4096, first_fit=False)[0])


@pytest.mark.parametrize("lengths", [[0], [9], [-1, 3]])
def test_lengths_that_do_not_fit(kernels: Kernels, lengths: list[int]) -> None:
    with pytest.raises(ArgumentError, match="lengths must be from 1 to 8"):
        kernels.pack(np.array(lengths), 8, 4, 4, first_fit=True)


@pytest.mark.parametrize("wrong", [(0, 1, 1), (2**24, 1, 1), (8, 0, 1), (8, 1, 0)])
def test_packings_that_are_none(kernels: Kernels, wrong: tuple[int, int, int]) -> None:
    with pytest.raises(ArgumentError, match="can be packed, but got"):
        kernels.pack(np.array([1]), *wrong, first_fit=True)


@given(
    st.sampled_from(["u1", "i2", "f4", "i8", "c16"]),
    st.sampled_from([(), (3,)]),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9), st.integers(0, 4)), max_size=9),
    st.integers(0, 5),
)
def test_pieces_are_placed(dtype: str, tail: tuple[int, ...], pieces: list[tuple[int, int, int]], rest: int) -> None:
    values = np.arange(30 * (3 if tail else 1)).astype(dtype).reshape(30, *tail)
    starts, lengths, gaps = (np.array([piece[at] for piece in pieces], np.int64) for at in range(3))
    places = np.cumsum(gaps + np.concatenate([[0], lengths])[: len(lengths)]) if len(lengths) else gaps
    size = int((lengths + gaps).sum()) + rest
    found, expected = np.zeros((size, *tail), dtype), np.full((size, *tail), 7, dtype)
    for start, length, place in zip(starts, lengths, places, strict=True):
        expected[place : place + length] = values[start : start + length]
    for kernels in (reference, native_if_there()):
        kernels.place_pieces(values, starts, lengths, places, 7, found)
        np.testing.assert_array_equal(found, expected)


@given(
    st.sampled_from(["u1", "i2", "f4", "i8", "c16"]),
    st.sampled_from([(), (3,)]),
    st.lists(st.integers(0, 9), min_size=1, max_size=9),
    st.integers(0, 12),
    st.booleans(),
)
def test_native_padding_is_the_reference(
    dtype: str, tail: tuple[int, ...], lengths: list[int], most: int, before: bool
) -> None:
    values = np.arange(sum(lengths) * (3 if tail else 1)).astype(dtype).reshape(-1, *tail)
    rows = [np.zeros((len(lengths), 9, *tail), dtype) for _ in range(2)]
    for kernels, out in zip((reference, native_if_there()), rows, strict=True):
        kernels.pad(values, np.array(lengths), np.full(tail, 7, dtype), out, most=most, before=before)
    np.testing.assert_array_equal(rows[0], rows[1])


@pytest.mark.parametrize("lengths", [[2, 2], [-1], [3]])
def test_sequences_without_room(kernels: Kernels, lengths: list[int]) -> None:
    out = np.zeros((len(lengths), 2), np.int64)
    with pytest.raises(ArgumentError, match=r"sequence \d has -?\d items; all must lie in 3 values"):
        kernels.pad(np.arange(3), np.array(lengths), np.array(0), out, most=9, before=False)


@pytest.mark.parametrize(("start", "length", "place"), [(-1, 1, 0), (4, 2, 0), (0, 1, 3), (0, -1, 0), (0, 1, -1)])
def test_pieces_outside(kernels: Kernels, start: int, length: int, place: int) -> None:
    with pytest.raises(ArgumentError, match=r"piece 0 is .* of 5 values from .* and goes to place"):
        kernels.place_pieces(
            np.arange(5), np.array([start]), np.array([length]), np.array([place]), 0, np.zeros(3, np.int64)
        )


@given(
    st.sampled_from(["u1", ">i2", "f2", "f4", "i8", "M8[s]", "c16"]),
    st.lists(st.integers(0, 9), min_size=1, max_size=9),
    st.none() | st.integers(1, 12),
    st.integers(1, 5),
    st.booleans(),
)
def test_arrays_are_padded_where_they_lie(
    dtype: str, lengths: list[int], most: int | None, multiple: int, before: bool
) -> None:
    arrays = [np.arange(1, length + 1).astype(dtype) for length in lengths]
    fill = np.array(7, dtype)
    rows = []
    for kernels in (reference, native_if_there()):
        found = kernels.pad_arrays(arrays, fill, np.empty, most=most, multiple=multiple, before=before)
        assert found is not None
        assert found[1].tolist() == lengths
        rows.append(found[0])
    np.testing.assert_array_equal(rows[0], rows[1], strict=True)
    width = rows[0].shape[1]
    assert width % multiple == 0
    for row, array in zip(rows[0], arrays, strict=True):
        kept = array[:most]
        padding = np.full(width - len(kept), fill)
        np.testing.assert_array_equal(row, np.concatenate([padding, kept] if before else [kept, padding]))


@pytest.mark.parametrize(
    "other",
    [
        np.zeros((2, 2)),
        np.zeros(()),
        np.zeros(6)[::2],
        np.zeros(2, np.float32),
        "text",
        [1.0],
        None,
    ],
    ids=repr,
)
def test_arrays_that_are_not_padded_so(other: Any) -> None:
    native_kernels = native_if_there()
    if native_kernels is reference:
        pytest.skip("there is no kernel in C")
    arrays = [np.zeros(3), other, np.zeros(1)]
    found = native_kernels.pad_arrays(arrays, np.array(0.0), np.empty, most=None, multiple=1, before=False)
    assert found is None
    if isinstance(other, np.ndarray) and (other.ndim != 1 or not other.flags.c_contiguous):
        assert reference.pad_arrays(arrays, np.array(0.0), np.empty, most=None, multiple=1, before=False) is None


def test_objects_are_counted(kernels: Kernels) -> None:
    values = np.array([object() for _ in range(3)])
    counts = [sys.getrefcount(value) for value in values]
    filler = np.array(None)
    rows, pieces = np.empty((2, 2), object), np.empty(4, object)
    kernels.pad(values, np.array([1, 2]), filler, rows, most=2, before=False)
    kernels.place_pieces(values, np.array([1]), np.array([2]), np.array([1]), None, pieces)
    assert rows.tolist() == [[values[0], None], [values[1], values[2]]]
    assert pieces.tolist() == [None, values[1], values[2], None]
    assert [sys.getrefcount(value) for value in values] == [counts[0] + 1, counts[1] + 2, counts[2] + 2]
    assert kernels.pad_arrays([values], filler, np.empty, most=None, multiple=1, before=False) is None
