"""Spans that ranges are asked for in, and those asked for early, against what is plain to see."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headrace.io.spans import SpansAhead, join_ranges

RANGES = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 1 << 12)), max_size=30)


@given(RANGES)
def test_spans_hold_all_ranges_once_and_far_from_each_other(ranges: list[tuple[int, int]]) -> None:
    offsets, lengths = np.array(ranges, np.int64).reshape(-1, 2).T
    spans = join_ranges(offsets, lengths)
    assert all(stop + (1 << 16) < start for (_, stop), (start, _) in pairwise(spans))
    for start, length in ranges:
        assert sum(first <= start and start + length <= stop for first, stop in spans) == (length > 0) or not length
    ends = {edge for start, length in ranges if length for edge in (start, start + length)}
    assert {edge for span in spans for edge in span} <= ends  # not a byte more at either end


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 40)), max_size=40), st.integers(1, 100))
def test_the_latest_spans_that_fit_are_kept(spans: list[tuple[int, int]], limit: int) -> None:
    ahead: SpansAhead[int] = SpansAhead(limit)
    kept: list[tuple[int, int, int]] = []
    for number, (start, length) in enumerate(spans):
        known = any(first <= start and start + length <= stop for first, stop, _ in kept)
        given_up = ahead.add(start, start + length, lambda number=number: number)  # type: ignore[misc]
        dropped = []
        if not known and length <= limit:
            kept.append((start, start + length, number))
            while len(kept) > 1 and sum(stop - first for first, stop, _ in kept) > limit:
                dropped.append(kept.pop(0)[2])
        assert given_up == dropped
        assert list(ahead) == [number for _, _, number in kept]
        found = [(number, start - first) for first, stop, number in kept if first <= start and start + length <= stop]
        assert ahead.find(start, start + length) == (found[0] if found else None)
