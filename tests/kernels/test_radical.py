from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headrace.kernels import native, reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.kernels import Kernels

BITS = 62
VALUES = st.integers(0, 2**BITS)


def value(position: int) -> int:
    """The bits of a position in reverse."""
    return int(f"{position:0{BITS}b}"[::-1], 2)


FIRST = [value(position) for position in range(200)]


def both() -> Iterator[Kernels]:
    """The implementations that are there."""
    yield reference
    found = native.load()
    if not isinstance(found, str):
        yield found


def uint64(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.array(numbers, np.uint64)


@given(st.integers(0, 199), VALUES)
def test_counts_are_those_of_going_through(position: int, bound: int) -> None:
    counted = sum(each < bound for each in FIRST[:position])
    assert reference.radical_count(np.array([position]), uint64(bound)) == counted


@given(st.lists(VALUES, min_size=2, max_size=2, unique=True).map(sorted))
def test_found_are_those_of_going_through(ends: list[int]) -> None:
    low, high = ends
    members = [position for position, each in enumerate(FIRST) if low <= each < high]
    count = len(members)
    found = reference.radical_find(uint64(*[low] * count), uint64(*[high] * count), np.arange(count))
    assert found.tolist() == members


@given(st.lists(st.tuples(st.integers(0, 2**BITS - 1), VALUES), min_size=1, max_size=50))
def test_native_counts_are_the_reference(asked: list[tuple[int, int]]) -> None:
    positions, bounds = np.array([each for each, _ in asked]), uint64(*[each for _, each in asked])
    counted = reference.radical_count(positions, bounds)
    for kernels in both():
        np.testing.assert_array_equal(kernels.radical_count(positions, bounds), counted)


@given(st.lists(st.integers(0, 2**BITS - 1), min_size=1, max_size=50), st.integers(2, 64))
def test_finding_undoes_counting(positions: list[int], parts: int) -> None:
    edges = np.array([2**BITS * number // parts for number in range(parts + 1)], np.uint64)
    which = np.searchsorted(edges, uint64(*map(value, positions)), side="right") - 1
    lows, highs, places = edges[which], edges[which + 1], np.array(positions)
    ranks = reference.radical_count(places, highs) - reference.radical_count(places, lows)
    for kernels in both():
        np.testing.assert_array_equal(kernels.radical_find(lows, highs, ranks), places)
