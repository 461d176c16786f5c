from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from headrace.errors import ArgumentError
from headrace.kernels import reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from headrace.kernels import Kernels

CHANCE = 1e-9  # of a false alarm for one statistic, were the seeds not fixed
LENGTHS = [4096, 4097, 5000, 65_536, 100_003, 1_000_000]
HUGE = [2**31 - 1, 2**31, 2**32 + 1, 2**62, 2**62 + 1, 2**63 - 25, 2**63]
SAMPLE = 1_000_000


def whole(kernels: Kernels, length: int) -> Iterator[NDArray[np.int64]]:
    """Permutations under adjacent keys, about `SAMPLE` elements of them and two at least."""
    for key in range(1000, 1000 + max(2, SAMPLE // length)):
        yield kernels.feistel(key, length, 0, length)


def starts(kernels: Kernels, length: int, count: int = 3000) -> NDArray[np.int64]:
    """The first two elements under each of many adjacent keys."""
    return np.array([kernels.feistel(key, length, 0, 2) for key in range(count)])


def cell_counts(values: NDArray[np.int64], length: int, cells: int = 64) -> NDArray[np.int64]:
    return np.bincount(values * cells // length, minlength=cells)


def joint_counts(left: NDArray[np.int64], right: NDArray[np.int64], length: int, cells: int = 32) -> NDArray[np.int64]:
    """How often a value in one cell of [0, length) goes with a value in another."""
    return np.bincount(left * cells // length * cells + right * cells // length, minlength=cells * cells)


def pair_counts(kernels: Kernels, length: int) -> NDArray[np.int64]:
    counts = np.zeros(32 * 32, dtype=np.int64)
    for order in whole(kernels, length):
        counts += joint_counts(order[:-1:2], order[1::2], length)
    return counts


def difference_counts(kernels: Kernels, length: int) -> NDArray[np.int64]:
    counts = np.zeros(64, dtype=np.int64)
    for order in whole(kernels, length):
        counts += cell_counts((order[1::2] - order[:-1:2]) % length, length)
    return counts


def chance_of(counts: NDArray[np.int64]) -> float:
    """The chance of counts at least as uneven, were all cells equally likely (they may differ by one)."""
    return float(stats.chisquare(counts).pvalue)


@given(length=st.integers(2, 3000), key=st.integers(0, 2**64 - 1))
def test_bijection_of_the_reference(length: int, key: int) -> None:
    assert sorted(reference.feistel(key, length, 0, length).tolist()) == list(range(length))


@pytest.mark.parametrize("length", [*range(2, 70), 255, 256, 257, 4095, *LENGTHS])
def test_bijection(kernels: Kernels, length: int) -> None:
    order = kernels.feistel(99, length, 0, length)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(length))


@pytest.mark.parametrize("length", [2, 3, 4, 5, 1000, *LENGTHS, *HUGE])
def test_native_is_the_reference(native_kernels: Kernels, length: int) -> None:
    for key in (0, 1, 2**64 - 1):
        for start in (0, length // 3, max(0, length - 3000)):
            stop = min(length, start + 3000)
            got = native_kernels.feistel(key, length, start, stop)
            np.testing.assert_array_equal(got, reference.feistel(key, length, start, stop))


@given(length=st.integers(2, 2**63), key=st.integers(0, 2**64 - 1), data=st.data())
def test_any_window_is_part_of_the_whole(length: int, key: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, length))
    stop = data.draw(st.integers(start, min(length, start + 600)))
    middle = data.draw(st.integers(start, stop))
    window = reference.feistel(key, length, start, stop)
    parts = [reference.feistel(key, length, start, middle), reference.feistel(key, length, middle, stop)]
    np.testing.assert_array_equal(np.concatenate(parts), window)
    assert np.unique(window).size == stop - start
    assert window.size == 0 or 0 <= window.min() <= window.max() < length


@pytest.mark.parametrize("length", HUGE)
def test_huge_lengths(kernels: Kernels, length: int) -> None:
    sample = np.concatenate(
        [kernels.feistel(3, length, 0, 50_000), kernels.feistel(3, length, length - 50_000, length)]
    )
    assert np.unique(sample).size == sample.size
    assert sample.min() >= 0
    assert sample.max() < length
    assert chance_of(np.bincount(sample // (length // 64 + 1), minlength=64)) > CHANCE


@pytest.mark.parametrize("length", LENGTHS)
def test_every_position_lands_everywhere(kernels: Kernels, length: int) -> None:
    here = np.arange(length)
    counts = np.sum([joint_counts(here, order, length) for order in whole(kernels, length)], axis=0)
    assert chance_of(counts) > CHANCE


@pytest.mark.parametrize("length", LENGTHS)
def test_first_positions_under_many_keys(kernels: Kernels, length: int) -> None:
    first, second = starts(kernels, length).T
    assert chance_of(cell_counts(first, length)) > CHANCE
    assert chance_of(cell_counts(second, length)) > CHANCE
    assert chance_of(cell_counts((second - first) % length, length)) > CHANCE
    assert chance_of(joint_counts(first, second, length, cells=8)) > CHANCE
    assert chance_of(joint_counts(first[:-1], first[1:], length, cells=8)) > CHANCE


@pytest.mark.parametrize("length", LENGTHS)
def test_neighbours_are_independent(kernels: Kernels, length: int) -> None:
    assert chance_of(pair_counts(kernels, length)) > CHANCE
    assert chance_of(difference_counts(kernels, length)) > CHANCE


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("lag", [1, 2, 64])
def test_no_serial_correlation(kernels: Kernels, length: int, lag: int) -> None:
    scores = []
    for order in whole(kernels, length):
        centred = (order - (length - 1) / 2) / np.sqrt((length**2 - 1) / 12)
        scores.append((centred[:-lag] @ centred[lag:] + 1) / np.sqrt(length - lag))  # a permutation's mean is -1
    assert abs(np.sum(scores)) / np.sqrt(len(scores)) < stats.norm.isf(CHANCE / 2)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("bit", [0, 1, 31, 32, 63])
def test_keys_that_differ_in_one_bit_are_independent(kernels: Kernels, length: int, bit: int) -> None:
    counts = np.zeros(32 * 32, dtype=np.int64)
    pairs = max(2, SAMPLE // 4 // length)
    agreements = 0
    for key in range(0, 4 * pairs, 4):
        left, right = (kernels.feistel(k, length, 0, length) for k in (key, key ^ 1 << bit))
        counts += joint_counts(left, right, length)
        agreements += int((left == right).sum())  # Poisson, one to be expected for each pair of keys
    assert chance_of(counts) > CHANCE
    assert stats.poisson.sf(agreements - 1, pairs) > CHANCE


@pytest.mark.parametrize("length", LENGTHS)
def test_two_rounds_would_be_noticed(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.kernels.reference.order.FEISTEL_ROUNDS", 2)
    assert chance_of(pair_counts(reference, length)) < CHANCE
    assert chance_of(difference_counts(reference, length)) < CHANCE


def test_four_rounds_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.kernels.reference.order.FEISTEL_ROUNDS", 4)
    assert chance_of(difference_counts(reference, 4096)) < CHANCE


def test_arguments_are_checked(kernels: Kernels) -> None:
    for length in (-1, 0, 1, 2**63 + 1):
        with pytest.raises(ArgumentError, match=f"length is {length}, but feistel permutes 2 to 9223372036854775808"):
            kernels.feistel(0, length, 0, 0)
    for start, stop in ((-1, 3), (3, 2), (0, 11), (2**70, 2**70)):
        with pytest.raises(ArgumentError, match=rf"positions \[{start}, {stop}\) do not lie in \[0, 10\)"):
            kernels.feistel(0, 10, start, stop)
    assert kernels.feistel(0, 10, 10, 10).tolist() == []
