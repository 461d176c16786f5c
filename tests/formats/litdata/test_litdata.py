"""litData's chunks, written by the tests' own writer."""

from __future__ import annotations

import json
import struct
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.formats.shards_of_items import framed, lit_item, lit_rows, table, tree_of, write_litdata

from headrace import (
    DataLoader,
    HeadraceError,
    HeadraceWarning,
    LitDataDataset,
    TokenDataset,
    TokenDocuments,
    open_dataset,
)
from headrace.datasets.lengths import sequence_lengths
from headrace.errors import ArgumentError, CorruptDataError, StorageError
from headrace.testing import check_dataset

if TYPE_CHECKING:
    from pathlib import Path

ROWS = lit_rows(7)
ITEMS = [lit_item(row) for row in ROWS]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_litdata(tmp_path, {"chunk-0-0.bin": table(ITEMS[:4]), "chunk-0-1.bin": table(ITEMS[4:])}, [4, 3])
    return tmp_path


def check(dataset: Any) -> None:
    assert len(dataset) == len(ROWS)
    for index, row in enumerate(ROWS):
        found = dataset[index]
        assert list(found) == list(row)
        for name, value in row.items():
            np.testing.assert_array_equal(found[name], value, strict=isinstance(value, np.ndarray))


def test_samples_are_what_was_written(folder: Path) -> None:
    dataset = open_dataset(folder)
    assert isinstance(dataset, LitDataDataset)
    check(dataset)


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_at_an_address(packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec = pytest.importorskip("fsspec")
    zstandard = pytest.importorskip("zstandard")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "lit").mkdir()
    content = zstandard.ZstdCompressor().compress(table(ITEMS)) if packed else table(ITEMS)
    write_litdata(tmp_path / "lit", {"chunk-0-0.bin": content}, [7], compression="zstd" if packed else None)
    fsspec.filesystem("memory").put(f"{tmp_path}/lit/", f"/lit-{packed}/", recursive=True)
    with pytest.warns(HeadraceWarning, match="is compressed") if packed else nullcontext():
        check(LitDataDataset(f"memory://lit-{packed}"))


def _numbers(sample: dict[str, Any]) -> tuple[int, float]:
    return sample["id"], sample["x"]


def test_the_rules_are_kept(folder: Path) -> None:
    check_dataset(LitDataDataset(folder).map(_numbers))


def test_workers_read_it(folder: Path) -> None:
    dataset = LitDataDataset(folder).map(_numbers)
    with DataLoader(dataset, batch_size=3, num_workers=2, backend="process") as loader:
        assert [ids.tolist() for ids, _ in loader] == [[0, 1, 2], [3, 4, 5], [6]]


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_frames(rows: int, tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    content = framed(ITEMS, rows, zstandard.ZstdCompressor().compress)
    write_litdata(tmp_path, {"chunk-0-0.zstd.bin": content}, [7], compression="zstd")
    check(LitDataDataset(tmp_path))
    dataset = LitDataDataset(tmp_path)
    assert [dataset[index]["id"] for index in (6, 0, 5, 1)] == [6, 0, 5, 1]


def test_a_chunk_that_is_compressed_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zstandard = pytest.importorskip("zstandard")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    content = zstandard.ZstdCompressor().compress(table(ITEMS))
    write_litdata(tmp_path, {"chunk-0-0.zstd.bin": content}, [7], compression="zstd")
    with pytest.warns(HeadraceWarning, match="is compressed"):
        check(LitDataDataset(tmp_path))


def test_lists_and_tuples(tmp_path: Path) -> None:
    leaf: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
    inner = {"type": "builtins.tuple", "context": "null", "children_spec": [leaf, leaf]}
    spec = json.dumps([1, {"type": "builtins.list", "context": "null", "children_spec": [inner, leaf]}])
    item = struct.pack("<IIIqq?", 8, 8, 1, 5, 6, True)
    write_litdata(tmp_path, {"c.bin": table([item])}, [1], data_format=["int", "int", "bool"], data_spec=spec)
    assert LitDataDataset(tmp_path)[0] == [(5, 6), True]


def test_a_pickle_is_read_by_who_asks_by_name(tmp_path: Path) -> None:
    item = struct.pack("<I", 4) + b"\x80\x04N."
    chunks = {"c.bin": table([item])}
    write_litdata(tmp_path, chunks, [1], data_format=["pickle"], data_spec=tree_of(["any"]))
    with pytest.raises(ArgumentError, match=r"field 'any' is pickled.*pickled=\['any'\]"):
        LitDataDataset(tmp_path)
    assert LitDataDataset(tmp_path, pickled=["any"])[0] == {"any": None}


def write_tokens(folder: Path, documents: list[list[int]], dtype: str = "<i4", code: int = 16) -> None:
    content = table([np.array(document, dtype).tobytes() for document in documents])
    write_litdata(
        folder,
        {"c.bin": content},
        [len(documents)],
        item_loader="TokensLoader",
        data_format=[f"no_header_tensor:{code}"],
    )
    index = json.loads((folder / "index.json").read_text())
    index["chunks"][0]["dim"] = sum(map(len, documents))
    (folder / "index.json").write_text(json.dumps(index))


def test_tokens_are_one_stream(tmp_path: Path) -> None:
    write_tokens(tmp_path, [[1, 2, 3], [4, 5], [6, 7, 8, 9]])
    dataset = TokenDataset(tmp_path, 4)
    inputs, targets = dataset[1]
    assert (inputs.tolist(), targets.tolist()) == ([5, 6, 7, 8], [6, 7, 8, 9])
    with pytest.raises(ArgumentError, match=r"has tokens: read them with headrace.TokenDataset"):
        open_dataset(tmp_path)


def test_documents_of_tokens(tmp_path: Path) -> None:
    documents = [[1, 2, 3], [4, 5], [], [6, 7, 8, 9]]
    write_tokens(tmp_path, documents)
    dataset = TokenDocuments(tmp_path)
    assert [dataset[index].tolist() for index in range(4)] == documents
    assert dataset.lengths().tolist() == [3, 2, 0, 4]
    path = tmp_path / "c.bin"
    whole = path.read_bytes()
    for word, value, message in ((2, 25, "no whole number of int32 tokens"), (1, 7, "its documents lie from byte 7")):
        content = bytearray(whole)
        content[4 * word : 4 * word + 4] = value.to_bytes(4, "little")
        path.write_bytes(content)
        with pytest.raises(CorruptDataError, match=message):
            TokenDocuments(tmp_path)


def test_tokens_that_do_not_fit_their_index(tmp_path: Path) -> None:
    write_tokens(tmp_path, [[1, 2, 3], [4, 5]])
    (tmp_path / "c.bin").write_bytes((tmp_path / "c.bin").read_bytes()[:-4])
    with pytest.raises(CorruptDataError, match="but its index tells of 2 documents with 5 tokens of int32"):
        TokenDataset(tmp_path, 2)
    with pytest.raises(ArgumentError, match=r"dtype=uint16 was given, but .* has tokens of int32"):
        TokenDataset(tmp_path, 2, dtype=np.uint16)


def test_samples_are_no_tokens(folder: Path) -> None:
    with pytest.raises(ArgumentError, match=r"is no folder of tokens; read it with headrace.open_dataset"):
        TokenDataset(folder, 2)


@pytest.mark.parametrize(
    ("config", "kind", "message"),
    [
        ({"encryption": "fernet"}, StorageError, "is encrypted"),
        ({"data_format": ["int"]}, CorruptDataError, "tells of 1 fields, but its tree has 6"),
        ({"data_spec": "[1"}, CorruptDataError, "describes no tree"),
        ({"data_format": ["int", "float", "str", "numpy", "tensor", "graph"]}, StorageError, "is stored by 'graph'"),
        ({"data_format": ["int"] * 5 + ["no_header_tensor:10"]}, StorageError, "dtype code 10 is not read"),
    ],
)
def test_an_index_that_is_not_read(config: dict[str, Any], kind: type[Exception], message: str, tmp_path: Path) -> None:
    write_litdata(tmp_path, {"c.bin": table(ITEMS)}, [7], **config)
    with pytest.raises(kind, match=message):
        LitDataDataset(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data(), frames=st.booleans())
def test_damage_is_an_error_or_a_sample(data: st.DataObject, frames: bool, tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    content = bytearray(framed(ITEMS, 3, zstandard.ZstdCompressor().compress) if frames else table(ITEMS))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    whole = data.draw(st.sampled_from([len(content), len(content) // 2]))
    write_litdata(tmp_path, {"c.bin": bytes(content[:whole])}, [7])
    with suppress(HeadraceError):
        assert set(LitDataDataset(tmp_path)[data.draw(st.integers(0, 6))]) == set(ROWS[0])


def test_lengths_are_read_from_headers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LitDataDataset, "_decode", None)
    for name in ("a", "t", "tokens"):
        assert sequence_lengths(LitDataDataset(folder), name).tolist() == [len(row[name]) for row in ROWS]
    assert sequence_lengths(LitDataDataset(folder)).tolist() == [len(row["tokens"]) for row in ROWS]


def test_lengths_that_headers_do_not_tell(folder: Path) -> None:
    assert sequence_lengths(LitDataDataset(folder), "text").tolist() == [len(row["text"]) for row in ROWS]
    zstandard = pytest.importorskip("zstandard")
    content = framed(ITEMS, 3, zstandard.ZstdCompressor().compress)
    write_litdata(folder, {"c.bin": content}, [7])
    assert sequence_lengths(LitDataDataset(folder)).tolist() == [len(row["tokens"]) for row in ROWS]


def test_headers_that_lie(folder: Path) -> None:
    path = folder / "chunk-0-0.bin"
    content = bytearray(path.read_bytes())
    content[content.index(ITEMS[0])] += 1  # the size of a leaf
    path.write_bytes(content)
    with pytest.raises(CorruptDataError, match="sample 0"):
        sequence_lengths(LitDataDataset(folder))
