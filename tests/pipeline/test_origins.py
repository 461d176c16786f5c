"""Origins are held against the files: what lies at the place that is told is read by other means."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import headrace
from headrace import ConcatDataset, Subset, TensorDataset
from headrace.pipeline.origins import find_origins

if TYPE_CHECKING:
    from pathlib import Path

ROWS = np.arange(40, dtype=np.int32).reshape(20, 2)


def place(dataset: Any, index: int) -> str:
    (origin,) = find_origins(dataset, index)
    assert origin.where is not None
    return origin.where


def test_npy(tmp_path: Path) -> None:
    for number in range(2):
        np.save(tmp_path / f"{number}.npy", ROWS[10 * number :][:10])
    path, row = re.fullmatch("(.*), row (\\d+)", place(headrace.open_dataset(str(tmp_path / "*.npy")), 13)).groups()  # type: ignore[union-attr]
    assert np.load(path)[int(row)].tolist() == ROWS[13].tolist()


def test_parquet(tmp_path: Path) -> None:
    parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    parquet.write_table(arrow.table({"x": np.arange(20)}), tmp_path / "a.parquet", row_group_size=6)
    path, group, row = re.fullmatch(  # type: ignore[union-attr]
        "(.*), row group (\\d+), row (\\d+)", place(headrace.ParquetDataset(tmp_path / "a.parquet"), 15)
    ).groups()
    assert parquet.ParquetFile(path).read_row_group(int(group))["x"][int(row)].as_py() == 15


def test_tables_in_memory() -> None:
    arrow = pytest.importorskip("pyarrow")
    assert place(headrace.ArrowDataset(arrow.table({"x": [1, 2]})), 1).endswith("record batch 0, row 1")


@pytest.mark.parametrize("ending", ["tfrecord", "tar"])
def test_records(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    headrace.write_dataset([{"x": b"some %d" % number} for number in range(5)], path)
    where = place(headrace.open_dataset(path), 3)
    if ending == "tar":
        assert where == f"sample 3: {path}, key '000000003'"
        return
    length, offset = map(int, re.search(r", (\d+) bytes at (\d+)$", where).groups())  # type: ignore[union-attr]
    assert b"some 3" in path.read_bytes()[offset : offset + length]


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f"{json.dumps({'x': number})}\n" for number in range(9)))
    where = place(headrace.open_dataset(path), 7)
    line = int(where.rpartition(" ")[2])
    assert json.loads(path.read_text().splitlines()[line - 1]) == {"x": 7}


def test_tokens(tmp_path: Path) -> None:
    tokens = np.random.default_rng(0).integers(0, 9, 100).astype(np.uint16)
    tokens.tofile(tmp_path / "a.bin")
    dataset = headrace.TokenDataset(tmp_path / "a.bin", 8, dtype=np.uint16)
    start = int(place(dataset, 5).rpartition(" ")[2])
    assert dataset[5][0].tolist() == tokens[start : start + 8].tolist()
    documents = headrace.TokenDocuments(tmp_path / "a.bin", np.uint16, eos=0)
    start = int(place(documents, 2).rpartition(" ")[2])
    assert documents[2].tolist() == tokens[start : start + len(documents[2])].tolist()


@pytest.mark.parametrize("library", ["h5py", "zarr"])
def test_chunked_arrays(tmp_path: Path, library: str) -> None:
    module = pytest.importorskip(library)
    path = str(tmp_path / ("a.h5" if library == "h5py" else "a.zarr"))
    if library == "h5py":
        with module.File(path, "w") as file:
            file["x"] = ROWS
    else:
        module.save_group(path, x=ROWS)
    kind = headrace.HDF5Dataset if library == "h5py" else headrace.ZarrDataset
    assert place(kind(path), 3) == f"{path}, row 3"


def test_the_way_down_a_tree(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    files = headrace.open_dataset(tmp_path / "a.npy")
    tree = Subset(ConcatDataset([TensorDataset(ROWS), files]).map(lambda row: row), [25, -40, 3]).cache()
    found = [find_origins(tree, index)[0] for index in range(3)]
    assert [(each.dataset, each.index, each.cached) for each in found] == [
        ("NpyDataset", 5, True),
        ("TensorDataset", 0, True),
        ("TensorDataset", 3, True),
    ]
    assert found[0].where == f"{tmp_path / 'a.npy'}, row 5"


class Told(headrace.Dataset[int]):
    """A dataset whose method `where` does what it is made with."""

    def __init__(self, where: Any) -> None:
        self.say = where

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int, /) -> int:
        return index

    def where(self, index: int) -> Any:
        return self.say(index)


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (lambda index: f"file {index}", ", file 5"),
        (lambda _: None, ""),
        (lambda index: index, ", 5"),
        (lambda _: "a name\nof two lines", ", a name of two lines"),
        ({}.__getitem__, ", where(5) raised KeyError: 5"),
        (lambda: "", ", where(5) raised TypeError: "),
    ],
)
def test_a_method_of_the_users(where: Any, text: str) -> None:
    assert str(*find_origins(Told(where), 5)).startswith(f"Told[5]{text}")


@pytest.mark.parametrize("key", [8, 99, -9, 2**70, -(2**70)])
def test_keys_that_are_no_index(key: int) -> None:
    data = TensorDataset(np.arange(4))
    pack = headrace.ColumnDataset({"tokens": [[1, 2]] * 8}).pack_sequences(2)
    for dataset in (ConcatDataset([data, data]), Subset(range(9), np.arange(8)), Told(str), pack):
        assert [str(origin) for origin in find_origins(dataset, key)] == [f"{type(dataset).__name__}[{key}]"]


def test_indices_from_the_end_and_beyond_it() -> None:
    mixture = headrace.mix({"a": TensorDataset(np.arange(3)), "b": TensorDataset(np.arange(5))}, weights=[0.5, 0.5])
    for index in (len(mixture) - 1, len(mixture) + 4):
        (explained,) = headrace.DataLoader(mixture.map(tuple), 1, sampler=[index], seed=0).explain(0)
        assert explained.sample == (explained.origins[0].index,)
    assert find_origins(mixture, -1) == find_origins(mixture, len(mixture) - 1)


def test_datasets_of_torch_have_their_own_names() -> None:
    torch = pytest.importorskip("torch")
    rows = torch.utils.data.TensorDataset(torch.arange(8))
    for dataset in (rows, torch.utils.data.Subset(rows, [5, 3]), torch.utils.data.ConcatDataset([rows, rows])):
        (origin,) = find_origins(dataset, 1)
        assert (origin.dataset, origin.index) == ("TensorDataset", dataset[1][0])


def test_a_dataset_without_a_length() -> None:
    class Endless:
        def __getitem__(self, index: int) -> int:
            return index

    explained = headrace.DataLoader(Endless(), batch_size=2, sampler=[3, 5], seed=0).explain(0)
    assert [each.origin for each in explained] == ["Endless[3]", "Endless[5]"]


def test_arrays_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    assert find_origins(torch.arange(3), 1)[0].where is None
    assert find_origins(np.arange(3), 1)[0].where is None
