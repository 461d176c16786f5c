"""HDF5 files, held against what h5py reads."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace import DataLoader, HDF5Dataset, open_dataset, pad_collate
from headrace.errors import ArgumentError, CorruptDataError, FileChangedError, RaggedSamplesError
from headrace.pipeline.hints import lengths
from headrace.testing import check_dataset, check_same

if TYPE_CHECKING:
    from pathlib import Path

h5py: Any = pytest.importorskip("h5py")
ROWS = 50


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "image", data=rng.integers(0, 256, (ROWS, 4, 3), np.uint8), chunks=(7, 4, 3), compression="gzip"
        )
        file.create_dataset("part/label", data=np.arange(ROWS))
        file.create_dataset("text", data=[f"row {row}\u00e9" for row in range(ROWS)], dtype=h5py.string_dtype())
    return path


def test_rows_are_those_of_h5py(path: Path) -> None:
    dataset = open_dataset(path)
    assert isinstance(dataset, HDF5Dataset)
    assert dataset.fields == ["image", "part/label", "text"]
    with h5py.File(path) as file:
        for row in (0, 6, 7, 49, -1):
            sample = dataset[row]
            np.testing.assert_array_equal(sample["image"], file["image"][row], strict=True)
            assert sample["part/label"] == file["part/label"][row]
            assert sample["text"] == file["text"].asstr()[row]
        batch = dataset.get_batch(np.array([49, 0, 8, 7, 7]))
        np.testing.assert_array_equal(batch["image"], file["image"][:][[49, 0, 8, 7, 7]], strict=True)
        assert batch["text"] == [f"row {row}\u00e9" for row in (49, 0, 8, 7, 7)]


def test_the_rules_are_kept(path: Path) -> None:
    check_dataset(HDF5Dataset(path))
    check_dataset(HDF5Dataset(path, "image"))


def test_chunks_are_blocks_and_decoded_once(path: Path) -> None:
    dataset = HDF5Dataset(path, "image")
    assert dataset.blocks().tolist() == [*range(0, 50, 7), 50]
    loader = DataLoader(dataset, batch_size=10, shuffle="block", window=2, seed=0)
    assert sum(len(batch) for batch in loader) == ROWS
    assert dataset.counters() == {"chunks_decoded": 8}


@pytest.mark.parametrize("start", [None, "fork"])
def test_workers_resume_and_read_the_same(path: Path, start: str | None) -> None:
    dataset = HDF5Dataset(path, ["image", "part/label"])
    assert dataset[0]["part/label"] == 0  # it is open here
    options: dict[str, Any] = {"batch_size": 8, "shuffle": "block", "seed": 0}
    inline = [batch["image"] for batch in DataLoader(dataset, **options)]
    with DataLoader(dataset, **options, num_workers=2, backend="process", multiprocessing_context=start) as loader:
        loader.seek(2)
        for batch, expected in zip(loader, inline[2:], strict=True):
            np.testing.assert_array_equal(batch["image"], expected)


def test_shards(path: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["image"], file["part/label"], file["text"] = np.ones((3, 4, 3), np.uint8), [7, 8, 9], ["a", "b", "c"]
    dataset = HDF5Dataset([path, tmp_path / "b.h5"], ["image", "part/label"])
    assert len(dataset) == 53
    assert dataset.get_batch(np.array([52, 0]))["part/label"].tolist() == [9, 0]


def test_what_does_not_fit_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"has no array 'label'; it has 'image', 'part/label', 'text'"):
        HDF5Dataset(path, "label")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["image"], file["label"] = np.ones((3, 2), np.uint8), [1, 2]
    with pytest.raises(ArgumentError, match=r"must have as many rows each, but have {'image': 3, 'label': 2}"):
        HDF5Dataset(tmp_path / "b.h5")
    with pytest.raises(ArgumentError, match="shards must hold the same fields"):
        HDF5Dataset([path, tmp_path / "b.h5"], "image")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["one"] = 3
    with pytest.raises(ArgumentError, match="is a single value"):
        HDF5Dataset(tmp_path / "c.h5")
    (tmp_path / "d.h5").write_bytes(b"text")
    with pytest.raises(CorruptDataError, match="cannot be read as HDF5"):
        HDF5Dataset(tmp_path / "d.h5")


def test_damage_is_found_where_it_is_read(path: Path) -> None:
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        where = file["image"].id.get_chunk_info(0)
    content[where.byte_offset : where.byte_offset + where.size] = bytes(where.size)
    path.write_bytes(content)
    dataset = HDF5Dataset(path, "image")
    with pytest.raises(CorruptDataError, match=r"rows 0 to 6 of /image cannot be read"):
        dataset[3]
    assert dataset[10].shape == (4, 3)


ARRAYS: dict[str, Any] = {
    "big-endian": np.arange(5).astype(">f4"),
    "bool": np.arange(5) % 2 == 0,
    "half": np.arange(10).reshape(5, 2).astype(np.float16),
    "complex": np.arange(5) * 1j,
    "structured": np.array([(i, i / 2) for i in range(5)], "i4,f8"),
    "bytes": np.array([b"a", b"bb", b"", b"dddd", b"e"]),
    "no elements": np.zeros((5, 0, 2)),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("chunks", [None, True], ids=["in one piece", "in chunks"])
def test_dtypes(tmp_path: Path, name: str, chunks: bool | None) -> None:
    if chunks and not ARRAYS[name].size:
        pytest.skip("h5py has no chunks without elements")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", data=ARRAYS[name], chunks=chunks)
        expected = file["x"][:]
    dataset = HDF5Dataset(tmp_path / "x.h5", "x")
    check_dataset(dataset)
    indices = np.array([4, 1, 1])
    np.testing.assert_array_equal(dataset.get_batch(indices), expected[indices])


@given(
    rows=st.integers(1, 40),
    chunk=st.integers(1, 50),
    picked=st.lists(st.integers(0, 10**6), max_size=30),
    cache_bytes=st.sampled_from([0, 50, 1 << 20]),
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_chunks_and_orders(
    tmp_path_factory: pytest.TempPathFactory, rows: int, chunk: int, picked: list[int], cache_bytes: int
) -> None:
    path = tmp_path_factory.mktemp("hdf5") / "x.h5"
    values = np.arange(rows * 3).reshape(rows, 3)
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=values, chunks=(min(chunk, rows), 2))
    dataset = HDF5Dataset(path, "x", cache_bytes=cache_bytes)
    indices = np.array(picked, np.int64) % rows
    check_same(dataset.get_batch(indices), values[indices])
    assert dataset.counters()["chunks_decoded"] >= len(np.unique(indices // min(chunk, rows)))


def test_arrays_of_two_kinds_of_layouts(tmp_path: Path) -> None:
    values = np.arange(60.0).reshape(20, 3)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = values
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("x", data=values + 100, chunks=(6, 3))
    dataset = HDF5Dataset([tmp_path / "a.h5", tmp_path / "b.h5"], "x")
    indices = np.array([39, 0, 21, 20, 19, 5, 5])
    check_same(dataset.get_batch(indices), np.concatenate([values, values + 100])[indices])
    assert dataset.counters() == {"chunks_decoded": 2}


def test_rows_of_different_lengths(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        tokens = file.create_dataset("tokens", 3, h5py.vlen_dtype(np.int32))
        for row, length in enumerate((3, 0, 2)):
            tokens[row] = np.arange(length)
    dataset = HDF5Dataset(tmp_path / "a.h5", "tokens")
    check_same(dataset[0], np.arange(3, dtype=np.int32))
    with pytest.raises(RaggedSamplesError, match="pad_collate"):
        dataset.get_batch(np.array([0, 2]))
    batch = next(iter(DataLoader(dataset, batch_size=3, collate_fn=pad_collate)))
    assert batch.tolist() == [[0, 1, 2], [0, 0, 0], [0, 1, 0]]


def test_links_and_references_are_left_out(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.arange(3)
        file["dangling"] = h5py.SoftLink("/nowhere")
        file["group/up"] = h5py.SoftLink("/")
        file["group/loop"] = file["group"]
        file["other"] = h5py.ExternalLink("/etc/passwd", "/")
        file.create_dataset("references", 3, h5py.ref_dtype)
    assert HDF5Dataset(tmp_path / "a.h5").fields == ["x"]


def test_a_file_that_changes_is_noticed(path: Path) -> None:
    dataset = HDF5Dataset(path)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(FileChangedError, match="has changed"):
        dataset[0]
    with pytest.raises(FileChangedError, match="has changed"):
        dataset.get_batch(np.arange(2))


def test_a_file_that_is_cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(CorruptDataError, match="cannot be read as HDF5"):
        HDF5Dataset(path)


def test_without_the_library_the_extra_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install 'headrace\[hdf5\]'"):
        open_dataset(path)


def test_lengths_follow_from_shapes(path: Path) -> None:
    assert lengths(HDF5Dataset(path), "image").tolist() == [4] * ROWS  # type: ignore[union-attr]
    assert lengths(HDF5Dataset(path, "image")).tolist() == [4] * ROWS  # type: ignore[union-attr]
    for field in (None, "text", "part/label", "more"):
        assert lengths(HDF5Dataset(path), field) is None
