"""Lance datasets, held against what lance reads."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader, LanceDataset, open_dataset
from headrace.datasets.lengths import sequence_lengths
from headrace.errors import ArgumentError, ArgumentTypeError, CorruptDataError
from headrace.testing import check_dataset

if TYPE_CHECKING:
    from pathlib import Path

lance: Any = pytest.importorskip("lance")
pa: Any = pytest.importorskip("pyarrow")
ROWS = 50


@pytest.fixture
def path(tmp_path: Path) -> Path:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(ROWS * 3, dtype=np.float32)), 3)
    table = pa.table({"label": np.arange(ROWS), "text": [f"row {row}" for row in range(ROWS)], "vector": vectors})
    lance.write_dataset(table, str(tmp_path / "a.lance"), max_rows_per_file=20)
    return tmp_path / "a.lance"


def test_rows_are_those_of_lance(path: Path) -> None:
    dataset = open_dataset(path)
    assert isinstance(dataset, LanceDataset)
    expected = lance.dataset(str(path)).to_table().to_pylist()
    for row in (0, 19, 20, 49, -1):
        sample = dataset[row]
        assert (sample["label"], sample["text"]) == (expected[row]["label"], expected[row]["text"])
        assert sample["vector"].tolist() == expected[row]["vector"]
    batch = dataset.get_batch(np.array([49, 0, 8, 8]))
    assert batch["text"] == ["row 49", "row 0", "row 8", "row 8"]
    np.testing.assert_array_equal(batch["vector"][0], [147, 148, 149])


def test_the_rules_are_kept(path: Path) -> None:
    check_dataset(LanceDataset(path, ["label", "text"]))


@pytest.mark.parametrize("shuffle", [True, "block"])
def test_workers_resume_and_read_the_same(path: Path, shuffle: Any) -> None:
    dataset = LanceDataset(path, ["label"])
    options: dict[str, Any] = {"batch_size": 8, "shuffle": shuffle, "seed": 0}
    inline = [batch["label"].tolist() for batch in DataLoader(dataset, **options)]
    assert sorted(label for batch in inline for label in batch) == list(range(ROWS))
    with DataLoader(dataset, **options, num_workers=2, backend="process") as loader:
        loader.seek(2)
        assert [batch["label"].tolist() for batch in loader] == inline[2:]


def test_blocks_lie_in_fragments(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LanceDataset(path).blocks().tolist() == [0, 20, 40, 50]
    monkeypatch.setattr("headrace.formats.lance.dataset._BLOCK_ROWS", 15)
    lance.dataset(str(path)).delete("label < 3")
    assert LanceDataset(path).blocks().tolist() == [0, 15, 17, 32, 37, 47]


def test_without_the_library_the_extra_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lance", None)
    with pytest.raises(ImportError, match=r"pip install 'headrace\[lance\]'"):
        open_dataset(path)


def test_the_version_stays(path: Path) -> None:
    dataset = LanceDataset(path)
    lance.write_dataset(pa.table({"label": [1]}), str(path), mode="overwrite")
    dataset.close()
    assert (len(dataset), dataset[49]["label"], len(LanceDataset(path))) == (ROWS, 49, 1)


def test_what_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="has no column 'id'"):
        LanceDataset(path, ["id"])
    (tmp_path / "b.lance").mkdir()
    with pytest.raises(CorruptDataError, match="cannot be read as Lance"):
        LanceDataset(tmp_path / "b.lance")


def test_lengths_are_those_of_the_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = [[1] * (row % 4) for row in range(ROWS)]
    table = pa.table({"text": ["x"] * ROWS, "tokens": lists, "label": np.arange(ROWS)})
    lance.write_dataset(table, str(tmp_path / "a.lance"), max_rows_per_file=20)
    dataset = LanceDataset(tmp_path / "a.lance")
    with pytest.raises(ArgumentTypeError, match="field 'label' of sample 0 must be a sequence"):
        sequence_lengths(dataset, "label")
    monkeypatch.setattr(LanceDataset, "_take", None)
    assert sequence_lengths(dataset).tolist() == list(map(len, lists))
