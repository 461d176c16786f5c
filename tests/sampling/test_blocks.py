from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from headrace.sampling.blocks import Blocks, BlockShuffled, EqualBlocks, GivenBlocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEYS = st.integers(0, 2**64 - 1)
SIZES = st.lists(st.integers(1, 40), max_size=40)


def whole(blocks: Blocks, window: int, key: int) -> list[int]:
    return list(map(int, BlockShuffled(blocks, window).indices(key, 0, blocks.length)))


def given_blocks(sizes: list[int]) -> GivenBlocks:
    return GivenBlocks(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))


def windows_of(found: list[int], bounds: list[int], window: int) -> list[list[int]]:
    """The numbers of the blocks that each window holds, if the order keeps to blocks and windows."""
    block_of = {index: number for number, (a, b) in enumerate(pairwise(bounds)) for index in range(a, b)}
    windows, rest, seen = [], list(found), 0
    while rest:
        numbers: list[int] = []
        while seen < len(found) and len(set(numbers) | {block_of[found[seen]]}) <= window:
            if block_of[found[seen]] not in numbers:
                numbers.append(block_of[found[seen]])
            seen += 1
        size = sum(bounds[number + 1] - bounds[number] for number in numbers)
        inside = {index for number in numbers for index in range(bounds[number], bounds[number + 1])}
        assert set(rest[:size]) == inside
        rest = rest[size:]
        seen = len(found) - len(rest)
        windows.append(numbers)
    return windows


@given(length=st.integers(0, 1000), size=st.integers(1, 1100), window=st.integers(1, 20), key=KEYS)
def test_equal_blocks_keep_to_blocks_and_windows(length: int, size: int, window: int, key: int) -> None:
    found = whole(EqualBlocks(length, size), window, key)
    assert sorted(found) == list(range(length))
    bounds = [*range(0, length, size), length] if length else [0]
    windows = windows_of(found, bounds, window)
    assert [len(each) for each in windows[:-1]] == [window] * (len(windows) - 1)
    assert sorted(number for each in windows for number in each) == list(range(len(bounds) - 1))


@given(sizes=SIZES, window=st.integers(1, 20), key=KEYS)
def test_given_blocks_keep_to_blocks_and_windows(sizes: list[int], window: int, key: int) -> None:
    blocks = given_blocks(sizes)
    found = whole(blocks, window, key)
    assert sorted(found) == list(range(sum(sizes)))
    windows = windows_of(found, [0, *np.cumsum(sizes).tolist()], window)
    assert [len(each) for each in windows[:-1]] == [window] * (len(windows) - 1)


@settings(max_examples=10, deadline=None)
@given(data=st.data(), key=KEYS)
@pytest.mark.parametrize(
    "blocks",
    [
        EqualBlocks(1, 5),
        EqualBlocks(1000, 7),
        EqualBlocks(50_000, 1024),  # windows beyond a real permutation
        EqualBlocks(13_000, 3),  # more blocks than that
        given_blocks([3000, 1, 20_000, 50, 7, 5000]),
    ],
)
def test_any_piece_in_any_order_is_the_same(blocks: Blocks, data: st.DataObject, key: int) -> None:
    expected = BlockShuffled(blocks, 6).indices(key, 0, blocks.length)
    order = BlockShuffled(blocks, 6)
    for _ in range(5):
        start = data.draw(st.integers(0, blocks.length))
        stop = data.draw(st.integers(start, blocks.length))
        found = order.indices(key, start, stop)
        np.testing.assert_array_equal(found, expected[start:stop])
        found[:] = -1  # the caller's own


@given(size=st.integers(1, 50), full=st.integers(0, 30), window=st.integers(1, 9), key=KEYS)
def test_blocks_of_one_size_given_as_bounds_are_shuffled_alike(size: int, full: int, window: int, key: int) -> None:
    """Without a shorter block both ways have the same order of blocks."""
    np.testing.assert_array_equal(
        whole(EqualBlocks(full * size, size), window, key), whole(given_blocks([size] * full), window, key)
    )


@pytest.mark.parametrize(("length", "size"), [(2**62 + 3, 1024), (2**63 - 1, 1000), (2**63 - 1, 2**40), (10**18, 1)])
def test_huge_lengths(length: int, size: int) -> None:
    order = BlockShuffled(EqualBlocks(length, size), 8)
    found = [int(i) for at in (0, length // 3, length - 300) for i in order.indices(3, at, at + 300)]
    assert len(set(found)) == 900
    assert 0 <= min(found) <= max(found) < length
    assert len({index // size for index in found[:300]}) == (8 if size > 1 else 300)


def test_memory_stays_small() -> None:
    order = BlockShuffled(EqualBlocks(10**15, 10**6), 8)
    order.indices(1, 10**14, 10**14 + 10)
    assert all(len(piece) <= 4096 for _, _, piece in order._pieces._latest)


def epochs(blocks: Blocks, window: int, count: int) -> NDArray[np.int64]:
    return np.array([whole(blocks, window, key) for key in range(count)])


def test_every_place_is_as_likely() -> None:
    """Chi-squared over 3000 epochs, for samples in equal blocks."""
    orders = epochs(EqualBlocks(12, 4), 2, 3000)
    for index in (0, 6, 11):
        _, places = np.nonzero(orders == index)
        assert stats.chisquare(np.bincount(places, minlength=12)).pvalue > 1e-4


def test_the_short_block_comes_anywhere() -> None:
    orders = epochs(EqualBlocks(9, 2), 1, 3000)  # places 0, 2, 4, 6 and 8
    _, places = np.nonzero(orders == 8)
    counts = np.bincount(places, minlength=9)
    assert counts[1::2].sum() == 0
    assert stats.chisquare(counts[::2]).pvalue > 1e-4


def test_windows_are_shuffled_apart_from_each_other() -> None:
    orders = epochs(EqualBlocks(8, 2), 2, 3000)
    first, second = orders[:, :4] % 2, orders[:, 4:] % 2
    same = (first == second).all(axis=1).mean()
    assert abs(same - 1 / 6) < 0.03  # of the six ways to deal two odd and two even numbers


def test_identity() -> None:
    bounds = np.array([0, 3, 8])
    assert EqualBlocks(8, 3).identity == EqualBlocks(90, 3).identity == 3
    assert GivenBlocks(bounds).identity == GivenBlocks(bounds.copy()).identity
    assert GivenBlocks(bounds).identity != GivenBlocks(np.array([0, 4, 8])).identity
