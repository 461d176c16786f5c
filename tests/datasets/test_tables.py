"""Tables as datasets: dicts of arrays, DataFrames and Series, read by position, as samples and as batches."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import (
    ColumnDataset,
    ConcatDataset,
    DataLoader,
    MapDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from headrace.errors import ArgumentError, ArgumentTypeError, CollateError, MixedSamplesError
from headrace.testing import check_dataset, check_same

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [f"name {number}" for number in range(6)]


def columns() -> dict[str, Any]:
    return {"x": np.arange(12.0).reshape(6, 2), "y": np.arange(6), "name": list(NAMES), "z": [0.5] * 6}


def test_rows_of_a_dict_of_arrays_are_samples() -> None:
    dataset = ColumnDataset(columns())
    check_dataset(dataset, negative=True)
    assert len(dataset) == 6
    check_same(dataset[-1], {"x": np.array([10.0, 11]), "y": np.int64(5), "name": "name 5", "z": np.float64(0.5)})
    batch = dataset.get_batch(np.array([4, 1]))
    check_same(
        batch, {"x": columns()["x"][[4, 1]], "y": np.array([4, 1]), "name": ["name 4", "name 1"], "z": np.full(2, 0.5)}
    )
    with pytest.raises(IndexError, match=r"^Index 6 out of range for dataset of size 6$"):
        dataset.get_batch(np.array([0, 6]))


@pytest.mark.parametrize("kind", [dict, OrderedDict, lambda pairs: defaultdict(list, pairs)])
def test_a_table_is_a_dataset_wherever_one_is_taken(kind: Any) -> None:
    table = kind(columns())
    expected = ColumnDataset(columns())
    check_same(list(DataLoader(table, 4)), list(DataLoader(expected, 4)))
    check_same(Subset(table, [3, 0])[1], expected[0])
    check_same(ConcatDataset([table, table])[7], expected[1])
    check_same(StackDataset(table, NAMES)[2], (expected[2], "name 2"))
    check_same(MapDataset(table, str.upper, "name")[0]["name"], "NAME 0")
    check_same(random_split(table, [6], seed=0)[0].dataset[3], expected[3])
    check_same((expected + table)[6], expected[0])
    check_same(DataLoader(expected.cache(), 4).batch(0), expected.get_batch(np.arange(4)))


def test_copies_are_of_the_same_rows() -> None:
    dataset = ColumnDataset(columns())
    for again in (copy.deepcopy(dataset), pickle.loads(pickle.dumps(dataset))):
        check_same(again.get_batch(np.arange(6)), dataset.get_batch(np.arange(6)))


def test_workers_read_columns() -> None:
    expected = list(DataLoader(columns(), 4))
    for backend in ("thread", "process"):
        with DataLoader(columns(), 4, num_workers=2, backend=backend) as loader:
            check_same(list(loader), expected)


def test_a_column_of_rows_is_read_at_once() -> None:
    class Counted(list[Any]):
        def __getitem__(self, index: Any) -> Any:
            raise AssertionError("numbers are not read one at a time")

    dataset = ColumnDataset({"x": np.arange(4), "y": Counted([1, 2, 3, 4])})
    assert dataset.get_batch(np.array([3, 0]))["y"].tolist() == [4, 1]
    assert dataset.open_rows(np.array([3]), "x") is not None
    assert dataset.open_rows(np.array([3]), "name") is None
    assert ColumnDataset({"x": np.arange(4)}).releases_gil()


def test_dicts_of_samples_stay_datasets() -> None:
    by_number: Any = {0: np.zeros(2), 1: np.ones(2)}
    assert DataLoader(by_number, 2).batch(0).tolist() == [[0, 0], [1, 1]]
    by_name = {"a": np.zeros(2), "b": np.ones(2)}
    for samplers in (
        {"sampler": ["b", "a"], "batch_size": 2},
        {"batch_sampler": [["b", "a"]]},
        {"sampler": by_name.keys(), "batch_size": 2},
    ):
        batch = next(iter(DataLoader(by_name, **samplers)))
        assert sorted(batch[:, 0].tolist()) == [0, 1]
    assert DataLoader({"x": np.arange(4)}, 2, sampler=[3, 1]).batch(0)["x"].tolist() == [3, 1]

    class Keys:
        """A sampler that nobody can look into."""

        def __iter__(self) -> Any:
            return iter("ba")

    samples = {"a": (np.zeros(2), 1), "b": (np.ones(2), 2)}
    assert next(iter(DataLoader(samples, 2, sampler=Keys())))[1].tolist() == [2, 1]
    assert next(iter(DataLoader({"a": [1.0], "b": [2.0]}, 2, sampler=Keys())))[0].tolist() == [2, 1]
    assert DataLoader({"a": [1.0, 5.0], "b": [2.0, 6.0]}, 2).batch(0)["a"].tolist() == [1, 5]

    class Samples(dict[str, Any]):
        def __getitem__(self, index: Any) -> Any:
            return index * 10

    assert DataLoader(Samples(a=np.zeros(3), b=np.zeros(3)), 2).batch(0).tolist() == [0, 10]


@pytest.mark.parametrize(
    ("table", "error", "text"),
    [
        (
            {"x": np.zeros(3), "y": np.zeros(4)},
            ArgumentError,
            "the columns of a dataset need one length, but got {'x': 3, 'y': 4}",
        ),
        (
            {"x": np.zeros(3), "y": [1]},
            ArgumentError,
            "the columns of a dataset need one length, but got {'x': 3, 'y': 1}",
        ),
    ],
)
def test_what_is_no_table_is_refused_at_once(table: Any, error: type[Exception], text: str) -> None:
    for take in (ColumnDataset, lambda given: DataLoader(given, 2), lambda given: Subset(given, [0])):
        with pytest.raises(error, match=f"^{re.escape(text)}$"):
            take(table)


def test_columns_that_are_none_are_named() -> None:
    with pytest.raises(
        ArgumentTypeError, match=r"^column 'y' is a int; allowed are ndarrays, tensors, Series and lists$"
    ):
        ColumnDataset({"x": np.zeros(3), "y": 1})
    with pytest.raises(ArgumentTypeError, match=r"^column 'y' is a int; allowed are"):
        DataLoader({"x": np.zeros(3), "y": 1})
    with pytest.raises(ArgumentError, match=r"^column 'y' has shape \(\) and so no first dimension"):
        ColumnDataset({"y": np.zeros(())})
    with pytest.raises(ArgumentError, match=r"^ColumnDataset needs at least one column, got none$"):
        ColumnDataset({})
    with pytest.raises(
        ArgumentTypeError, match=r"^ColumnDataset takes a dict of arrays or a DataFrame, but got a list; "
    ):
        ColumnDataset([1])
    with pytest.raises(
        CollateError, match=r"^field sample\['y'\] differs in type: sample 0 has str, sample 2 has int;"
    ):
        ColumnDataset({"x": np.zeros(3), "y": ["a", "b", 1]}).get_batch(np.arange(3))
    assert list(DataLoader({})) == []


def test_large_numbers_of_a_list_are_told_when_they_are_read() -> None:
    dataset = ColumnDataset({"x": [2**70, 1]})
    assert dataset[0]["x"] == 2**70
    with pytest.raises(CollateError, match=r"field sample\['x'\] has Python integers beyond int64"):
        dataset.get_batch(np.arange(2))


def test_an_npz_file_is_a_table(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.arange(6), y=np.ones((6, 2)))
    with np.load(tmp_path / "rows.npz") as rows:
        dataset = ColumnDataset(rows)
    check_same(DataLoader(dataset, 4).batch(1), {"x": np.array([4, 5]), "y": np.ones((2, 2))})


def test_columns_of_torch_give_tensors() -> None:
    torch = pytest.importorskip("torch", reason="its tensors are columns")
    table = {"x": torch.arange(12.0).reshape(6, 2), "y": np.arange(6), "z": [1, 2, 3, 4, 5, 6], "name": NAMES}
    check_dataset(ColumnDataset(table))
    batch = DataLoader(table, 4).batch(0)
    assert [type(batch[key]) for key in "xyz"] == [torch.Tensor] * 3
    assert batch["y"].dtype == torch.int64


# ---------------------------------------------------------------------- pandas and Polars


@pytest.fixture(params=["pandas", "polars", "pyarrow"])
def frame(request: pytest.FixtureRequest) -> Any:
    """A table whose rows lie in another order than pandas' labels say."""
    library = pytest.importorskip(request.param, reason="its tables are read")
    values = {"y": [5, 3, 4, 0, 1, 2], "name": [NAMES[number] for number in (5, 3, 4, 0, 1, 2)], "x": [0.5] * 6}
    if request.param == "pandas":
        return library.DataFrame(values, index=[5, 3, 4, 0, 1, 2])
    return library.table(values) if request.param == "pyarrow" else library.DataFrame(values)


def test_rows_of_a_frame_are_told_by_position(frame: Any) -> None:
    dataset = ColumnDataset(frame)
    check_dataset(dataset, negative=True)
    assert dataset[0] == {"y": 5, "name": "name 5", "x": 0.5}
    batch = DataLoader(frame, 4).batch(0)
    check_same(
        batch, {"y": np.array([5, 3, 4, 0]), "name": [NAMES[number] for number in (5, 3, 4, 0)], "x": np.full(4, 0.5)}
    )
    check_same(pickle.loads(pickle.dumps(dataset)).get_batch(np.arange(4)), batch)
    check_same(random_split(frame, [2, 4], seed=0)[0].dataset.get_batch(np.arange(4)), batch)


def test_series_pair_by_position(frame: Any) -> None:
    pairs = StackDataset(np.array([5, 3, 4, 0, 1, 2]), frame["y"], frame["name"])
    check_dataset(pairs)
    assert [(int(x), int(y), name) for x, y, name in (pairs[number] for number in range(6))] == [
        (number, number, NAMES[number]) for number in (5, 3, 4, 0, 1, 2)
    ]
    assert DataLoader(frame["y"], 6).batch(0).tolist() == [5, 3, 4, 0, 1, 2]
    x, y = TensorDataset(np.array([5, 3, 4, 0, 1, 2]), frame["y"]).get_batch(np.arange(6))
    assert x.tolist() == y.tolist()
    named = ColumnDataset({"x": np.array([5, 3, 4, 0, 1, 2]), "y": frame["y"]}).get_batch(np.array([1, 2]))
    assert named["x"].tolist() == named["y"].tolist() == [3, 4]


def test_missing_values_are_told_with_the_remedy() -> None:
    pandas = pytest.importorskip("pandas", reason="its frames have missing values")
    holes = pandas.DataFrame({"y": pandas.array([1, None], dtype="Int64"), "name": ["a", None], "x": [0.5, np.nan]})
    assert np.isnan(ColumnDataset(holes[["x"]])[1]["x"])
    for name in ("y", "name"):
        with pytest.raises(MixedSamplesError, match="value in place of None"):
            next(iter(DataLoader(holes[[name]], 2)))
    with pytest.raises(ArgumentTypeError, match=r"^1 of 2 values of a Series are null; fill them first$"):
        TensorDataset(holes["y"])
    with pytest.raises(ArgumentError, match=r"need names that differ, but got \['a', 'a'\]"):
        ColumnDataset(pandas.DataFrame([[1, 2]], columns=["a", "a"]))


def test_columns_of_every_type_of_pandas() -> None:
    pandas = pytest.importorskip("pandas", reason="its columns are read")
    days = pandas.date_range("2020-01-01", periods=4)
    table = pandas.DataFrame(
        {
            "category": pandas.Categorical(list("abab")),
            "nullable": pandas.array([1, 2, 3, 4], dtype="Int64"),
            "day": days,
            "zoned": days.tz_localize("UTC"),
            "vector": [np.full(3, number) for number in range(4)],
            "matrix": [np.full((2, 2), number) for number in range(4)],
            "flag": [True, False] * 2,
            0: np.arange(4, dtype=np.int8),
        }
    )
    dataset = ColumnDataset(table)
    check_dataset(dataset)
    batch = dataset.get_batch(np.array([3, 1]))
    assert batch["category"] == ["b", "b"]
    assert batch["nullable"].tolist() == [4, 2]
    assert str(batch["day"][1])[:10] == str(batch["zoned"][1])[:10] == "2020-01-02"
    assert (batch["vector"].shape, batch["matrix"].shape) == ((2, 3), (2, 2, 2))
    assert batch["flag"].tolist() == [False, False]
    assert batch[0].dtype == np.int8


def test_columns_of_polars_in_chunks() -> None:
    polars = pytest.importorskip("polars", reason="its columns are read")
    one = polars.DataFrame(
        {"y": [1, 2], "s": ["a", "b"], "list": [[1.0, 2.0], [3.0, 4.0]], "struct": [{"u": 1}, {"u": 2}]}
    )
    table = polars.concat([one, one, one], rechunk=False)
    dataset = ColumnDataset(table)
    check_dataset(dataset, negative=True)
    batch = dataset.get_batch(np.array([5, 0, 3]))
    check_same(
        batch,
        {
            "y": np.array([2, 1, 2]),
            "s": ["b", "a", "b"],
            "list": np.array([[3.0, 4], [1, 2], [3, 4]]),
            "struct": {"u": np.array([2, 1, 2])},
        },
    )
    assert list(DataLoader(one[:0], 2)) == []


def test_without_pyarrow_columns_of_pandas_are_read_too() -> None:
    pytest.importorskip("pandas", reason="its columns are read")
    code = """
import sys
sys.modules["pyarrow"] = None
import numpy as np
import pandas
from headrace import DataLoader
table = pandas.DataFrame({"s": np.array(["a", "b"], object), "y": [1, 2]}, index=[1, 0])
print(DataLoader(table, 2).batch(0))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "{'s': ['a', 'b'], 'y': array([1, 2])}", done.stderr


def test_no_library_of_tables_is_imported() -> None:
    code = """
import sys
import numpy as np
from headrace import DataLoader
next(iter(DataLoader({"x": np.arange(4), "s": list("abcd")}, 2)))
print(sorted({"pandas", "polars", "pyarrow"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
