"""Tables of packed rows: every item stands in one row, and rows are what the strategy says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ArgumentError
from headrace.sampling.packing import RowTable, pack_rows

LENGTHS = st.lists(st.integers(0, 60), max_size=60).map(lambda lengths: np.array(lengths, np.int64))
STRATEGIES = ["best_fit", "first_fit", "best_fit_split", "wrapped"]


def items(table: RowTable) -> list[list[tuple[int, int]]]:
    """The rows as lists of (sequence, item)."""
    found = []
    for first, stop in zip(table.bounds, table.bounds[1:], strict=False):
        row: list[tuple[int, int]] = []
        for piece in range(first, stop):
            start = 0 if table.starts is None else int(table.starts[piece])
            row += [(int(table.sequences[piece]), start + at) for at in range(table.lengths[piece])]
        found.append(row)
    return found


@given(LENGTHS, st.integers(1, 40), st.sampled_from(STRATEGIES), st.sampled_from(["truncate", "split", "drop"]))
def test_each_item_stands_in_one_row(lengths: Any, capacity: int, strategy: str, overflow: str) -> None:
    rows = items(pack_rows(lengths, capacity, strategy=strategy, window=7, overflow=overflow))
    kept = lengths
    if strategy in ("best_fit", "first_fit") and overflow != "split":
        kept = np.minimum(lengths, capacity) if overflow == "truncate" else np.where(lengths > capacity, 0, lengths)
    expected = [(sequence, item) for sequence, length in enumerate(kept) for item in range(length)]
    assert sorted(item for row in rows for item in row) == expected
    assert all(0 < len(row) <= capacity for row in rows)


@given(LENGTHS, st.integers(1, 40))
def test_wrapped_rows_are_the_stream(lengths: Any, capacity: int) -> None:
    stream = [(sequence, item) for sequence, length in enumerate(lengths) for item in range(length)]
    expected = [stream[start : start + capacity] for start in range(0, len(stream), capacity)]
    assert items(pack_rows(lengths, capacity, strategy="wrapped")) == expected


@given(LENGTHS, st.integers(1, 30), st.integers(1, 40))
def test_blocks_are_windows(lengths: Any, window: int, capacity: int) -> None:
    table = pack_rows(lengths[lengths > 0], capacity, window=window)
    assert table.blocks[0] == 0
    assert table.blocks[-1] == len(table)
    for first, stop in zip(table.blocks, table.blocks[1:], strict=False):
        sequences = table.sequences[table.bounds[first] : table.bounds[stop]]
        assert len(np.unique(sequences // window)) == 1


def test_a_sequence_that_is_too_long() -> None:
    with pytest.raises(
        ArgumentError, match=r"^sequence 1 has 9 items, more than a row of 8; give longer rows, or overfl"
    ):
        pack_rows(np.array([3, 9]), 8, overflow="error")
