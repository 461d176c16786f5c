"""Rows of shards, held against the shards laid end to end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import StorageError
from headrace.formats.shard_bounds import ShardBounds


def test_more_rows_than_indices() -> None:
    assert len(ShardBounds([2**62])) == 2**62
    with pytest.raises(StorageError, match="9223372036854775808 rows"):
        ShardBounds([2**62, 2**62])


@given(lengths=st.lists(st.integers(0, 4), min_size=1, max_size=6), data=st.data())
def test_rows_are_found_in_their_shards(lengths: list[int], data: st.DataObject) -> None:
    pairs = [(part, row) for part, length in enumerate(lengths) for row in range(length)]
    bounds = ShardBounds(lengths)
    assert len(bounds) == len(pairs)
    assert [bounds.find(index) for index in range(len(pairs))] == pairs
    indices = data.draw(st.lists(st.integers(0, len(pairs) - 1), max_size=12)) if pairs else []
    located = bounds.locate(np.array(indices, np.int64))
    assert located.shards
    assert located.shards == sorted(set(located.shards))
    found = [(located.shards[which], row) for which, row in zip(located.which, located.rows, strict=True)]
    assert found == [pairs[index] for index in indices]
