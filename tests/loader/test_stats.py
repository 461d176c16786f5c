from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader, Dataset, IterableDataset, LoaderStats, TensorDataset
from headrace.insight.loader_clock import LoaderClock, pack_step
from headrace.loader import iterator

if TYPE_CHECKING:
    from collections.abc import Iterator

LOADING, CONSUMING = 3.0, 5.0  # seconds on the clock below


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> int:
        return int(self.now * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(iterator, "perf_counter_ns", clock)
    return clock


class Slow(Dataset[float]):
    """Takes LOADING seconds of the clock a sample."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int, /) -> float:
        self.clock.now += LOADING
        if index == 2:
            raise KeyError(index)
        return float(index)


def test_stats_before_the_first_batch() -> None:
    assert DataLoader(range(4)).stats() == LoaderStats()
    assert LoaderStats().wait_share == LoaderStats().samples_per_second == 0.0


def test_repr_shows_what_follows() -> None:
    stats = LoaderStats(batches=2, samples=64, bytes=512, wait_seconds=1.0, consumer_seconds=3.0)
    assert repr(stats) == (
        "LoaderStats(batches=2, samples=64, bytes=512, wait_seconds=1.0, consumer_seconds=3.0, bad_samples=0, "
        "counters={}, wait_share=0.25, samples_per_second=16.0)"
    )


def test_batches_samples_and_bytes() -> None:
    loader = DataLoader(TensorDataset(np.zeros((10, 3), np.float32), np.zeros(10, np.int64)), 4)
    for _ in range(2):
        list(loader)
    found = loader.stats()
    assert (found.batches, found.samples, found.bytes) == (6, 20, 20 * (3 * 4 + 8))


def test_bytes_of_strings_and_dicts() -> None:
    samples = [{"text": "ab", "raw": b"xyz", "x": np.zeros(2)}] * 4
    loader = DataLoader(samples, 4)
    list(loader)
    assert loader.stats().bytes == 4 * (2 + 3 + 16)


def test_samples_of_streams_and_samplers() -> None:
    class Stream(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            return iter(range(7))

    given: list[tuple[Any, dict[str, Any]]] = [
        (Stream(), {"batch_size": 3}),
        (range(9), {"batch_sampler": [[1, 2, 3], [4], [5, 6, 7]]}),
        (range(9), {"sampler": range(7), "batch_size": 3}),
    ]
    for dataset, arguments in given:
        loader = DataLoader(dataset, **arguments)
        list(loader)
        assert (loader.stats().batches, loader.stats().samples) == (3, 7)


def test_batch_asked_for_is_not_counted() -> None:
    loader = DataLoader(range(4))
    loader.batch(2)
    assert loader.stats() == LoaderStats()


def test_waiting_and_consuming(clock: Clock) -> None:
    loader = DataLoader(Slow(clock), sampler=[0, 1, 3], batch_size=1)
    for _ in loader:
        clock.now += CONSUMING
    found = loader.stats()
    assert found.wait_seconds == 3 * LOADING
    assert found.consumer_seconds == 3 * CONSUMING
    assert found.wait_share == pytest.approx(LOADING / (LOADING + CONSUMING))
    assert found.samples_per_second == pytest.approx(1 / (LOADING + CONSUMING))


def test_time_between_epochs_is_not_counted(clock: Clock) -> None:
    loader = DataLoader(Slow(clock), sampler=[0])
    for _ in range(2):
        batches = iter(loader)
        clock.now += 100
        next(batches)
        clock.now += CONSUMING
        assert next(batches, None) is None
        clock.now += 100
        assert next(batches, None) is None
    assert loader.stats().consumer_seconds == 2 * CONSUMING
    assert loader.stats().wait_seconds == 2 * LOADING


def test_a_failed_batch_is_not_handed_out(clock: Clock) -> None:
    loader = DataLoader(Slow(clock))
    batches = iter(loader)
    next(batches)
    next(batches)
    with pytest.raises(KeyError):
        next(batches)
    next(batches)
    assert (loader.stats().batches, loader.stats().wait_seconds) == (3, 3 * LOADING)


def test_two_iterators_add_up(clock: Clock) -> None:
    loader = DataLoader(Slow(clock), sampler=[0, 1])
    one, other = iter(loader), iter(loader)
    next(one)
    next(other)
    clock.now += CONSUMING
    next(one)
    assert loader.stats().batches == 3
    assert loader.stats().wait_seconds == 3 * LOADING
    assert loader.stats().consumer_seconds == LOADING + CONSUMING


def test_a_snapshot_stays_as_it_is() -> None:
    loader = DataLoader(range(4), 2)
    batches = iter(loader)
    next(batches)
    before = loader.stats()
    next(batches)
    assert (before.batches, loader.stats().batches) == (1, 2)
    with pytest.raises(FrozenInstanceError):
        before.batches = 7  # type: ignore[misc]


def test_real_time_adds_up() -> None:
    loader = DataLoader(range(1000), 10)
    for _ in loader:
        pass
    assert loader.stats().wait_seconds > 0
    assert loader.stats().consumer_seconds > 0
    assert 0 < loader.stats().wait_share < 1


def test_stats_from_many_threads() -> None:
    clock = LoaderClock()

    def feed(_: int) -> None:
        for step in range(1000):
            clock.steps.append(pack_step(10, 15, 7, 2, 3, 0, step))
            clock.consumed(4)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(feed, range(4)))
    totals = clock.totals()
    found = totals.batches, totals.samples, totals.bytes, totals.wait, totals.consumer
    assert found == (4000, 8000, 12_000, 20_000, 44_000)
