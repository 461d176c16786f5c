"""Zarr stores, held against what zarr reads."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader, ZarrDataset, open_dataset
from headrace.errors import ArgumentError, CorruptDataError, FileChangedError
from headrace.pipeline.hints import lengths
from headrace.testing import check_dataset

if TYPE_CHECKING:
    from pathlib import Path

zarr: Any = pytest.importorskip("zarr")
pytestmark = pytest.mark.filterwarnings("ignore")  # of types that Zarr has no word for yet
ROWS = 50


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("image", data=rng.integers(0, 256, (ROWS, 4, 3), np.uint8), chunks=(7, 4, 3))
    group.create_array("part/label", data=np.arange(ROWS), chunks=(10,), shards=(20,))
    return tmp_path / "a.zarr"


def test_rows_are_those_of_zarr(path: Path) -> None:
    dataset = open_dataset(path)
    assert isinstance(dataset, ZarrDataset)
    assert dataset.fields == ["image", "part/label"]
    group = zarr.open_group(path, mode="r")
    for row in (0, 6, 7, 49, -1):
        np.testing.assert_array_equal(dataset[row]["image"], group["image"][row], strict=True)
    batch = dataset.get_batch(np.array([49, 0, 8, 7, 7]))
    np.testing.assert_array_equal(batch["image"], group["image"][:][[49, 0, 8, 7, 7]], strict=True)
    assert batch["part/label"].tolist() == [49, 0, 8, 7, 7]


def test_a_store_that_is_an_array(tmp_path: Path) -> None:
    zarr.save_array(tmp_path / "b.zarr", np.arange(10) ** 2)
    dataset = ZarrDataset(tmp_path / "b.zarr")
    assert (dataset.fields, dataset[3]) == ([], 9)
    check_dataset(dataset)


def test_the_rules_are_kept(path: Path) -> None:
    check_dataset(ZarrDataset(path))
    assert ZarrDataset(path, "image").blocks().tolist() == [*range(0, 50, 7), 50]
    assert ZarrDataset(path, "part/label").blocks().tolist() == [0, 20, 40, 50]


def test_texts(tmp_path: Path) -> None:
    texts = np.array([f"row {row}\u00e9" for row in range(5)], dtype=np.dtypes.StringDType())
    zarr.save_array(tmp_path / "b.zarr", texts)
    dataset = ZarrDataset(tmp_path / "b.zarr")
    assert dataset[3] == "row 3\u00e9"
    assert dataset.get_batch(np.array([4, 0])) == ["row 4\u00e9", "row 0\u00e9"]


def test_workers_read_the_same(path: Path) -> None:
    dataset = ZarrDataset(path, "image")
    options: dict[str, Any] = {"batch_size": 8, "shuffle": "block", "seed": 0}
    inline = list(DataLoader(dataset, **options))
    with DataLoader(dataset, **options, num_workers=2, backend="process") as loader:
        for batch, expected in zip(loader, inline, strict=True):
            np.testing.assert_array_equal(batch, expected)


def test_what_does_not_fit_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"has no array 'label'; it has 'image', 'part/label'"):
        ZarrDataset(path, "label")
    (tmp_path / "d.zarr").mkdir()
    (tmp_path / "d.zarr" / "zarr.json").write_text("{")
    with pytest.raises(CorruptDataError, match="cannot be read as Zarr"):
        ZarrDataset(tmp_path / "d.zarr")


def test_damage_is_found_where_it_is_read(path: Path) -> None:
    chunk = next(file for file in sorted((path / "image" / "c" / "0").rglob("*")) if file.is_file())
    chunk.write_bytes(b"nonsense")
    dataset = ZarrDataset(path, "image")
    with pytest.raises(CorruptDataError, match=r"rows 0 to 6 of '/image' cannot be read"):
        dataset[3]
    assert dataset[10].shape == (4, 3)


def test_values_of_other_kinds(tmp_path: Path) -> None:
    values = {"big": np.arange(5).astype(">f4"), "text": np.array(["a", "bb", "", "dddd", "e"]), "flag": np.eye(5) > 0}
    zarr.save(str(tmp_path / "a.zarr"), **values)
    dataset = ZarrDataset(tmp_path / "a.zarr")
    check_dataset(dataset, picklable=True)
    for name, found in dataset.get_batch(np.array([4, 1, 1])).items():
        np.testing.assert_array_equal(found, values[name][[4, 1, 1]])


def test_a_store_that_changes_is_noticed(path: Path) -> None:
    dataset = ZarrDataset(path)
    (path / "zarr.json").write_bytes((path / "zarr.json").read_bytes() + b" ")
    with pytest.raises(FileChangedError, match="has changed"):
        dataset[0]


def test_without_the_library_the_extra_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ImportError, match=r"pip install 'headrace\[zarr\]'"):
        open_dataset(path)


def test_lengths_follow_from_shapes(path: Path) -> None:
    assert lengths(ZarrDataset(path), "image").tolist() == [4] * ROWS  # type: ignore[union-attr]
    assert lengths(ZarrDataset(path)) is None
