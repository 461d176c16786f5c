"""The lengths of sequences: told by datasets, found in the offsets of columns, or measured by reading samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.datasets.lengths import sequence_lengths
from headrace.errors import ArgumentError
from headrace.formats.arrow.dataset import ArrowDataset, ParquetDataset

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

LISTS = st.lists(st.lists(st.integers(0, 9), max_size=9), max_size=40)


class NoSamples(ArrowDataset):
    """A table whose rows are not read one by one."""

    def get_batch(self, indices: Any) -> Any:
        raise AssertionError("a batch was read")

    def get_ragged(self, indices: Any) -> Any:
        return super().get_ragged(indices)


@given(LISTS, st.sampled_from([pa.list_(pa.int32()), pa.large_list(pa.int64())]), st.integers(1, 12))
def test_lists_of_arrow(lists: list[list[int]], kind: Any, rows: int) -> None:
    table = pa.table({"input_ids": pa.array(lists, kind)})
    whole = pa.concat_tables([table.slice(start, rows) for start in range(0, max(len(lists), 1), rows)])
    np.testing.assert_array_equal(sequence_lengths(NoSamples(whole)), list(map(len, lists)))


def test_lists_of_one_length() -> None:
    table = pa.table({"input_ids": [[1, 2], [3, 4]], "labels": [[1], [2, 3]]})
    assert sequence_lengths(NoSamples(table)).tolist() == [2, 2]
    assert sequence_lengths(NoSamples(table), "labels").tolist() == [1, 2]


def test_beside_texts() -> None:
    table = pa.table({"text": ["a", "b"], "input_ids": [[1, 2], [3]]})
    assert sequence_lengths(ArrowDataset(table)).tolist() == [2, 1]
    with pytest.raises(ArgumentError, match="say which has the tokens"):
        sequence_lengths(ArrowDataset(table.rename_columns(["text", "ids"])))


def test_lists_of_parquet(tmp_path: Any) -> None:
    lengths = np.random.default_rng(0).integers(0, 30, 20_000)
    table = pa.table({"tokens": [list(range(length)) for length in lengths.tolist()]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=3000)
    dataset = ParquetDataset(tmp_path / "a.parquet")
    np.testing.assert_array_equal(sequence_lengths(dataset), lengths)
    assert dataset.counters() == {"row_groups_decoded": 7}
