"""Parts of dry runs: pages of files, and caches of samples."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import headrace as hr
from headrace.insight.dry_run import DryCache, DryProcess, Shared, _page_bytes
from headrace.io.ranges import FileRanges
from headrace.pipeline.read_plan import ReadCall


@given(st.lists(st.tuples(st.integers(0, 50_000), st.integers(0, 9000)), max_size=20))
def test_pages_count_once(ranges: list[tuple[int, int]]) -> None:
    offsets, lengths = np.array(ranges, np.int64).reshape(-1, 2).T
    source: Any = SimpleNamespace(path="a")
    pages = {byte // 4096 for start, length in ranges for byte in range(start, start + length)}
    assert _page_bytes(FileRanges(source, offsets, lengths)) == 4096 * len(pages)


def test_samples_that_two_processes_want_at_once() -> None:
    cached: Any = hr.TensorDataset(np.zeros((10, 2))).cache()
    shared, caches = Shared(), {id(cached): DryCache(cached, 16)}
    one, other = (DryProcess(name, shared, caches) for name in ("one", "other"))
    one.read([ReadCall(cached, np.array([1, 2, 2]))])
    assert one.counters == {"cache_misses": 3, "cache_hits": 0}
    one.read([ReadCall(cached, np.array([2, 3]))])
    assert not shared.timing
    other.read([ReadCall(cached, np.array([2, 3, 4]))])
    assert other.counters == {"cache_misses": 1, "cache_hits": 2}
    assert shared.timing == {"cached samples that another process may still be reading": 2}
    for cache in caches.values():
        cache.begin_epoch()
    one.read([ReadCall(cached, np.array([4]))])
    assert sum(shared.timing.values()) == 2  # it was stored an epoch ago
    assert cached.stats().misses == 0  # nothing was read
