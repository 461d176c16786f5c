"""MDS shards, written by the tests' own writer."""

from __future__ import annotations

import json
import pickle
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.formats.shards_of_items import mds_rows, write_mds

from headrace import DataLoader, HeadraceError, HeadraceWarning, MDSDataset, RemoteOptions, open_dataset
from headrace.datasets.lengths import sequence_lengths
from headrace.errors import ArgumentError, CorruptDataError, StorageError
from headrace.formats.mds.columns import find_counter
from headrace.testing import check_dataset

if TYPE_CHECKING:
    from pathlib import Path

ROWS = mds_rows(10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_mds(tmp_path, ROWS, 4)
    return tmp_path


def same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, strict=isinstance(value, np.ndarray))


def test_samples_are_what_was_written(folder: Path) -> None:
    dataset = open_dataset(folder)
    assert isinstance(dataset, MDSDataset)
    for index, row in enumerate(ROWS):
        same(dataset[index], row)
    assert dataset.blocks().tolist() == [0, 4, 8, 10]


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_at_an_address(packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec = pytest.importorskip("fsspec")
    zstandard = pytest.importorskip("zstandard")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "mds").mkdir()
    write_mds(tmp_path / "mds", ROWS, 4, zstandard.ZstdCompressor().compress if packed else None)
    at = f"/mds-{packed}"
    fsspec.filesystem("memory").put(f"{tmp_path}/mds/", f"{at}/", recursive=True)
    dataset = MDSDataset(f"memory:/{at}")
    with pytest.warns(HeadraceWarning, match="is compressed") if packed else nullcontext():
        for index, row in enumerate(ROWS):
            same(dataset[index], row)
    batch = MDSDataset(f"memory:/{at}", ["number"]).get_batch(np.array([7, 0, 7]))
    assert batch["number"].tolist() == [2, -5, 2]
    with RemoteOptions(timeout=3.0):
        asked = MDSDataset(f"memory:/{at}")
    if not packed:  # and in another process, where no options are open
        assert pickle.loads(pickle.dumps(asked))._shard(0)._source.options.timeout == 3.0


def test_the_rules_are_kept(folder: Path) -> None:
    check_dataset(MDSDataset(folder, ["number", "row"]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(picked=st.lists(st.integers(-10, 9), max_size=12))
def test_columns_of_one_size_are_batches_at_once(picked: list[int], folder: Path) -> None:
    batch = MDSDataset(folder, ["row", "number"]).get_batch(np.array(picked, np.int64))
    assert list(batch) == ["row", "number"]
    rows = [ROWS[index] for index in picked]
    np.testing.assert_array_equal(batch["row"], np.array([row["row"] for row in rows], np.int32).reshape(-1, 4))
    np.testing.assert_array_equal(batch["number"], np.array([row["number"] for row in rows], np.int64), strict=True)


def test_a_batch_names_the_sample_that_is_damaged(folder: Path) -> None:
    path = folder / "shard.00001.mds"
    content = bytearray(path.read_bytes())
    start = int(np.frombuffer(content, "<u4", 1, 8)[0])  # of the second item, which begins with the size of an array
    content[start] += 1
    path.write_bytes(content)
    dataset = MDSDataset(folder, ["number"])
    assert dataset.get_batch(np.array([4, 6]))["number"].tolist() == [-1, 1]
    with pytest.raises(CorruptDataError, match="its columns take") as caught:
        dataset.get_batch(np.array([4, 5]))
    assert "sample 5" in "".join(caught.value.__notes__)


def test_workers_read_it(folder: Path) -> None:
    dataset = MDSDataset(folder, ["row", "number"])
    inline = [batch["row"] for batch in DataLoader(dataset, batch_size=3, shuffle=True, seed=0)]
    with DataLoader(dataset, batch_size=3, shuffle=True, seed=0, num_workers=2, backend="process") as loader:
        for batch, expected in zip(loader, inline, strict=True):
            np.testing.assert_array_equal(batch["row"], expected)


def test_a_shard_alone_says_what_it_is(folder: Path) -> None:
    same(MDSDataset(folder / "shard.00001.mds")[1], ROWS[5])
    same(open_dataset(folder / "shard.0000[12].mds")[4], ROWS[8])


def test_compressed_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zstandard = pytest.importorskip("zstandard")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_mds(tmp_path, ROWS, 4, zstandard.ZstdCompressor().compress)
    dataset = MDSDataset(tmp_path)
    with pytest.warns(HeadraceWarning, match="is compressed"):
        samples = dataset.__getitems__([*range(10)])
    for sample, row in zip(samples, ROWS, strict=True):
        same(sample, row)


def edit(folder: Path, **changes: Any) -> None:
    index = json.loads((folder / "index.json").read_text())
    index["shards"][0] |= changes
    (folder / "index.json").write_text(json.dumps(index))


def test_a_pickle_is_read_by_who_asks_by_name(folder: Path) -> None:
    shards = json.loads((folder / "index.json").read_text())
    for shard in shards["shards"]:
        shard["column_encodings"][3] = "pkl"
    (folder / "index.json").write_text(json.dumps(shards))
    with pytest.raises(ArgumentError, match=r"column 'text' is pickled.*pickled=\['text'\]"):
        MDSDataset(folder)
    assert "text" not in MDSDataset(folder, ["row"])[0]
    MDSDataset(folder, pickled=["text"])


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"format": "json"}, CorruptDataError, "has shards of format 'json', version 2"),
        ({"version": 1}, CorruptDataError, "has shards of format 'mds', version 1"),
        ({"samples": -1}, CorruptDataError, "do not fit each other"),
        ({"samples": 5}, CorruptDataError, "it has 4 items, it says, but its index tells of 5"),
        ({"column_names": ["a"]}, CorruptDataError, "do not fit each other"),
        ({"raw_data": {"basename": "../secret"}}, CorruptDataError, "names a file '../secret'"),
        ({"raw_data": {"basename": "/etc/passwd"}}, CorruptDataError, "names a file '/etc/passwd'"),
        ({"raw_data": {"basename": "shard.00000.mds", "bytes": 7}}, CorruptDataError, "but its index tells of 7"),
        ({"raw_data": None}, CorruptDataError, "is damaged"),
        ({"column_encodings": ["x", "int", "ndarray:int32:4", "str"]}, CorruptDataError, "other column_encodings"),
    ],
)
def test_an_index_that_lies(changes: dict[str, Any], kind: type[Exception], message: str, folder: Path) -> None:
    edit(folder, **changes)
    with pytest.raises(kind, match=message):
        MDSDataset(folder)[0]


def test_an_encoding_that_is_not_known(tmp_path: Path) -> None:
    write_mds(tmp_path, ROWS, 10)
    edit(tmp_path, column_encodings=["wav", "int", "ndarray:int32:4", "str"])
    with pytest.raises(StorageError, match="column 'array' is encoded as 'wav'"):
        MDSDataset(tmp_path)
    assert MDSDataset(tmp_path, ["number"])[3] == {"number": -2}


def test_columns_that_are_not_there(folder: Path) -> None:
    with pytest.raises(ArgumentError, match=r"columns must be some of .*, but got 'label'"):
        MDSDataset(folder, ["label"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_damage_is_an_error_or_a_sample(data: st.DataObject, folder: Path) -> None:
    path = folder / "shard.00000.mds"
    write_mds(folder, ROWS, 4)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), len(content) // 2]))])
    with suppress(HeadraceError):
        assert set(MDSDataset(folder)[data.draw(st.integers(0, 3))]) == set(ROWS[0])


def test_lengths_are_read_from_headers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [len(row["array"]) for row in ROWS]
    assert sequence_lengths(MDSDataset(folder), "text").tolist() == [len(row["text"]) for row in ROWS], "they are read"
    monkeypatch.setattr(MDSDataset, "_decode", None)
    assert sequence_lengths(MDSDataset(folder), "array").tolist() == expected
    assert sequence_lengths(MDSDataset(folder, ["array"])).tolist() == expected
    assert sequence_lengths(MDSDataset(folder), "row").tolist() == [4] * len(ROWS)


@given(st.lists(st.sampled_from([1, 2, 255, 256, 300, 65_535, 65_536]), min_size=1, max_size=5), st.booleans())
def test_headers_of_any_width(lengths: list[int], told: bool) -> None:
    items = []
    for length in lengths:
        width = 0 if length < 1 << 8 else 1 if length < 1 << 16 else 2
        head = bytes([1 << 2 | width]) + length.to_bytes(1 << width, "little")
        items.append((b"" if told else b"\x10") + head + bytes(2 * length))
    content = np.frombuffer(b"".join(items), np.uint8)
    sizes = np.array(list(map(len, items)), np.int64)

    def read(offsets: Any, length: int) -> Any:
        return np.concatenate([content[offset : offset + length] for offset in offsets.tolist()])

    counter = find_counter("ndarray:uint16" if told else "ndarray")
    assert counter is not None
    found = counter(read, np.cumsum(sizes) - sizes, sizes)
    assert found is not None
    assert found.tolist() == lengths


def test_headers_that_lie(folder: Path) -> None:
    path = folder / "shard.00000.mds"
    content = bytearray(path.read_bytes())
    place = content.index(bytes([34, 4, 1]))
    content[place + 1] = 0  # of no dimension
    path.write_bytes(content)
    with pytest.raises(CorruptDataError, match="sample 0"):
        sequence_lengths(MDSDataset(folder), "array")
