"""The lengths of sequences: told by datasets, found in the offsets of columns, or measured by reading samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import ColumnDataset, ConcatDataset, NpyDataset, Subset, TensorDataset
from headrace.datasets.lengths import sequence_lengths
from headrace.datasets.tables import SeriesDataset
from headrace.errors import ArgumentError, ArgumentTypeError, CorruptDataError, FileChangedError
from headrace.formats.arrow.dataset import ArrowDataset, ParquetDataset
from headrace.pipeline.hints import lengths

pa: Any = pytest.importorskip("pyarrow")
pq: Any = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("pyarrow.feather")

LISTS = st.lists(st.lists(st.integers(0, 9), max_size=9), max_size=40)


def told(dataset: Any, field: int | str | None = None) -> Any:
    """The lengths that are told without a sample being read, as a list."""
    found = lengths(dataset, field)
    return None if found is None else found.tolist()


@given(LISTS, st.sampled_from([pa.list_(pa.int32()), pa.large_list(pa.int64())]), st.integers(1, 12))
def test_lists_of_arrow(lists: list[list[int]], kind: Any, rows: int) -> None:
    table = pa.table({"input_ids": pa.array(lists, kind)})
    whole = pa.concat_tables([table.slice(start, rows) for start in range(0, max(len(lists), 1), rows)])
    assert told(ArrowDataset(whole)) == list(map(len, lists))


def test_lists_of_one_length() -> None:
    table = pa.table({"input_ids": [[1, 2], [3, 4]], "labels": [[1], [2, 3]]})
    assert told(ArrowDataset(table)) == [2, 2]
    assert told(ArrowDataset(table), "labels") == [1, 2]


def test_beside_texts() -> None:
    table = pa.table({"text": ["a", "b"], "input_ids": [[1, 2], [3]]})
    assert sequence_lengths(ArrowDataset(table)).tolist() == [2, 1]
    with pytest.raises(ArgumentError, match="say which has the tokens"):
        sequence_lengths(ArrowDataset(table.rename_columns(["text", "ids"])))


def test_lists_of_parquet(tmp_path: Any) -> None:
    expected = np.random.default_rng(0).integers(0, 30, 20_000)
    table = pa.table({"tokens": [list(range(length)) for length in expected.tolist()], "more": [[1]] * 20_000})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=3000)
    dataset = ParquetDataset(tmp_path / "a.parquet")
    assert told(dataset) is None
    np.testing.assert_array_equal(sequence_lengths(dataset), expected)
    assert dataset.counters() == {"row_groups_decoded": 0}, "no other column is decoded"


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_lists_of_arrow_files(compression: str | None, tmp_path: Any) -> None:
    lists = [[[1, 2]] * number for number in range(9)]
    table = pa.table({"text": ["x"] * 9, "tokens": lists, "views": pa.array(lists, pa.list_view(pa.list_(pa.int8())))})
    with pa.ipc.new_file(
        tmp_path / "a.arrow", table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)
    ) as f:
        f.write_table(table, max_chunksize=4)
    dataset = ArrowDataset(tmp_path / "a.arrow")
    for field in (None, "tokens", "views"):
        assert told(dataset, field) == (None if compression else list(range(9)))
        assert sequence_lengths(dataset, field).tolist() == list(range(9))
    for field in ("text", "words"):
        assert told(dataset, field) is None


def test_fields_of_structs_and_nulls() -> None:
    table = pa.table({"a": [{"ids": [1, 2], "x": 1}, {"ids": [3], "x": 2}], "tokens": [[1], None]})
    assert told(ArrowDataset(table, ["a.ids"])) == [2, 1]
    assert told(ArrowDataset(table)) is None, "a sample is null"
    with pytest.raises(ArgumentTypeError, match="sample 1 must be a sequence, or have one, but is None; say which"):
        sequence_lengths(ArrowDataset(table))


def test_a_file_of_arrow_that_changed(tmp_path: Any) -> None:
    pa.feather.write_feather(pa.table({"tokens": [[1, 2], [3]]}), tmp_path / "a.arrow", compression="uncompressed")
    dataset = ArrowDataset(tmp_path / "a.arrow")
    pa.feather.write_feather(pa.table({"tokens": [[1, 2], [3], [4]]}), tmp_path / "a.arrow", compression="uncompressed")
    with pytest.raises(FileChangedError):
        sequence_lengths(dataset)


def test_damaged_offsets() -> None:
    lists = pa.ListArray.from_buffers(
        pa.list_(pa.int64()), 2, [None, pa.py_buffer(np.array([0, 5, 2], np.int32))], children=[pa.array(range(5))]
    )
    with pytest.raises(CorruptDataError, match="a list of column 'tokens' has -3 items"):
        sequence_lengths(ArrowDataset(pa.table({"tokens": lists})))


def test_rows_of_arrays_and_lists_in_memory(tmp_path: Any) -> None:
    assert told(TensorDataset(np.zeros((3, 5)))) == [5, 5, 5]
    assert told(TensorDataset(np.zeros((3, 5)), np.zeros((3, 7))), 1) == [7, 7, 7]
    assert told(TensorDataset(np.zeros((3, 5)), np.zeros((3, 7)))) is None
    assert told(TensorDataset(np.zeros(3))) is None
    columns = {"tokens": np.zeros((2, 5)), "words": [[1], [2, 3]], "text": ["a", "b"], "arrow": pa.array([[1, 2], []])}
    table = ColumnDataset(columns)
    assert [told(table, field) for field in (None, "words", "text", "arrow", "more")] == [
        [5, 5],
        [1, 2],
        None,
        [2, 0],
        None,
    ]
    assert told(SeriesDataset(pa.array([[1, 2], []]))) == [2, 0]
    np.save(tmp_path / "a.npy", np.zeros((3, 5)))
    np.save(tmp_path / "b.npy", np.zeros(3))
    assert told(NpyDataset(tmp_path / "a.npy")) == [5, 5, 5]
    assert told(NpyDataset(tmp_path / "b.npy")) is None
    assert told(NpyDataset(tmp_path), "a") == [5, 5, 5]
    assert told(NpyDataset(tmp_path), "c") is told(NpyDataset(tmp_path)) is None


def test_parts_and_selections() -> None:
    first, second = (ArrowDataset(pa.table({"tokens": lists})) for lists in ([[1], [1, 2]], [[], [1, 2, 3]]))
    assert told(ConcatDataset([first, second])) == [1, 2, 0, 3]
    assert told(Subset(first, [1, 1, 0])) == [2, 2, 1]
    assert told(first.map(dict)) is None
    whole = ConcatDataset([first, second.map(dict)])
    assert told(whole) is None
    assert sequence_lengths(whole).tolist() == [1, 2, 0, 3]


def test_hugging_face() -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"input_ids": [list(range(number % 5)) for number in range(100)], "text": ["x"] * 100}
    dataset = datasets.Dataset.from_dict(rows).shuffle(seed=1)
    expected = list(map(len, dataset["input_ids"]))
    assert sequence_lengths(dataset).tolist() == expected
    assert sequence_lengths(dataset.with_format("numpy"), "input_ids").tolist() == expected
    assert sequence_lengths(dataset.with_transform(lambda rows: {"tokens": [[1, 2]] * len(rows["text"])}))[0] == 2
    assert sequence_lengths(dataset, "text").tolist() == [1] * 100
    shown = dataset.with_format("numpy", columns=["text"])
    with pytest.raises(ArgumentError, match="there is no field 'input_ids'"):
        sequence_lengths(shown, "input_ids")
    shown = dataset.with_format("numpy", columns=["text"], output_all_columns=True)
    assert sequence_lengths(shown, "input_ids").tolist() == expected


def test_samples_that_are_no_sequences() -> None:
    with pytest.raises(ArgumentTypeError, match="sample 0 must be a sequence, or have one, but is"):
        sequence_lengths(TensorDataset(np.zeros(3)))
    with pytest.raises(ArgumentTypeError, match="field 'x' of sample 0 must be a sequence"):
        sequence_lengths([{"x": 1}], "x")
