from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import kernels
from headrace.sampling.permutation import Sequential, Shuffled

EXACT_BELOW = 4096


def whole(length: int, key: int) -> list[int]:
    return list(map(int, Shuffled(length).indices(key, 0, length)))


@given(start=st.integers(0, 2**62), count=st.integers(0, 100))
def test_sequential(start: int, count: int) -> None:
    found = Sequential().indices(9, start, start + count)
    assert found.dtype == np.int64
    assert found.tolist() == list(range(start, start + count))


@given(length=st.integers(0, 3 * EXACT_BELOW), key=st.integers(0, 2**64 - 1))
def test_bijection(length: int, key: int) -> None:
    assert sorted(whole(length, key)) == list(range(length))


@given(data=st.data(), key=st.integers(0, 2**64 - 1))
@pytest.mark.parametrize("length", [1, 7, EXACT_BELOW - 1, EXACT_BELOW, EXACT_BELOW + 1, 20_000])
def test_any_piece_in_any_order_is_the_same(length: int, data: st.DataObject, key: int) -> None:
    expected = Shuffled(length).indices(key, 0, length)
    order = Shuffled(length)
    for _ in range(5):
        start = data.draw(st.integers(0, length))
        stop = data.draw(st.integers(start, length))
        found = order.indices(key, start, stop)
        np.testing.assert_array_equal(found, expected[start:stop])
        found[:] = -1  # the caller's own


@pytest.mark.parametrize("step", [1, 1000, 4095, 4096, 4097, 10_000])
def test_pieces_that_straddle_the_chunks(step: int) -> None:
    length, key = 3 * 4096 + 17, 5
    expected = Shuffled(length).indices(key, 0, length).tolist()
    order = Shuffled(length)
    starts = range(0, length, step) if step > 1 else range(4090, 4100)
    found = [index for at in starts for index in order.indices(key, at, min(at + step, length)).tolist()]
    assert found == (expected if step > 1 else expected[4090:4100])


def test_keys_alternate() -> None:
    """Two iterators of one loader stand in different epochs."""
    order = Shuffled(5000)
    for start in range(0, 5000, 500):
        for key in (0, 1, 2**64 - 1):
            expected = Shuffled(5000).indices(key, start, start + 500)
            np.testing.assert_array_equal(order.indices(key, start, start + 500), expected)


def test_threads_share_an_order() -> None:
    order, length = Shuffled(100_000), 100_000
    expected = {key: Shuffled(length).indices(key, 0, length) for key in range(4)}

    def walk(key: int) -> bool:
        return all(
            (order.indices(key, at, at + 100) == expected[key][at : at + 100]).all() for at in range(0, length, 100)
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(walk, range(4)))


def test_exact_below_a_cipher_above(monkeypatch: pytest.MonkeyPatch) -> None:
    key = 77
    assert whole(EXACT_BELOW - 1, key) == kernels.active().fisher_yates(key, EXACT_BELOW - 1).tolist()
    assert whole(EXACT_BELOW, key) == kernels.active().feistel(key, EXACT_BELOW, 0, EXACT_BELOW).tolist()


@pytest.mark.parametrize("length", [2**31 + 1, 2**53 + 1, 2**62 + 1, 2**63 - 1, 2**63])
def test_huge_lengths_at_both_ends(length: int) -> None:
    order = Shuffled(length)
    found = [*order.indices(3, 0, 500).tolist(), *order.indices(3, length - 500, length).tolist()]
    assert len(set(found)) == 1000
    assert 0 <= min(found) < length // 10
    assert length - length // 10 < max(found) < length


def test_memory_stays_small() -> None:
    """A call computes a few thousand positions, not the epoch."""
    order = Shuffled(10**15)
    order.indices(1, 0, 10)
    _, _, piece = order._pieces._latest[0]
    assert len(piece) <= 4096
