"""Documents of token files."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace import DataLoader, PadCollate, TokenDocuments, open_dataset
from headrace.errors import ArgumentError, CorruptDataError, HeadraceError, HeadraceWarning, StorageError
from headrace.pipeline.hints import lengths
from headrace.testing import check_dataset, check_same

_PLACE = importlib.util.spec_from_file_location("token_files_of_tests", Path(__file__).with_name("files.py"))
assert _PLACE is not None
assert _PLACE.loader is not None
files: Any = importlib.util.module_from_spec(_PLACE)
_PLACE.loader.exec_module(files)
DATA = Path(__file__).with_name("data")


def documents_of(dataset: TokenDocuments) -> list[list[int]]:
    return [dataset[index].tolist() for index in range(len(dataset))]


@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<i4", "<i8"])
@pytest.mark.parametrize("modes", [False, True])
def test_megatron(tmp_path: Path, dtype: str, modes: bool) -> None:
    written = files.random_documents()
    dataset = TokenDocuments(files.write_megatron(tmp_path / "text", written, dtype, modes=modes))
    check_dataset(dataset, negative=True, picklable=True)
    assert documents_of(dataset) == [each.tolist() for each in written]
    np.testing.assert_array_equal(lengths(dataset), [len(each) for each in written])


def test_a_file_that_megatron_wrote() -> None:
    dataset = TokenDocuments(DATA / "text_u16")
    assert dataset.lengths().tolist() == [5, 1, 17, 33, 2, 8, 64, 3, 21, 10]
    assert {document[-1] for document in documents_of(dataset)} == {50256}


@pytest.mark.parametrize("bos_first", [True, False])
def test_told_by_a_token(tmp_path: Path, bos_first: bool) -> None:
    parts = [np.append([0], each) if bos_first else np.append(each, 0) for each in files.random_documents()]
    path = files.write_plain(tmp_path / "a.bin", np.concatenate(parts))
    for _ in range(2):  # the second time from the index beside the file
        dataset = TokenDocuments(path, np.uint16, **{"bos" if bos_first else "eos": 0})
        check_dataset(dataset, picklable=True)
        assert documents_of(dataset) == [each.tolist() for each in parts]
        np.testing.assert_array_equal(lengths(dataset), [len(each) for each in parts])


def test_another_token_is_another_index(tmp_path: Path) -> None:
    path = files.write_plain(tmp_path / "a.bin", [1, 2, 3, 1, 2, 3])
    assert documents_of(TokenDocuments(path, np.uint16, eos=2)) == [[1, 2], [3, 1, 2], [3]]
    assert documents_of(TokenDocuments(path, np.uint16, bos=2)) == [[1], [2, 3, 1], [2, 3]]
    assert documents_of(TokenDocuments(path, np.uint16, bos=9)) == [[1, 2, 3, 1, 2, 3]]
    assert len(TokenDocuments(files.write_plain(tmp_path / "b.bin", []), np.uint16, eos=2)) == 0


def test_llmc_says_its_own_token(tmp_path: Path) -> None:
    for name, *kind, bos in (("a.bin", 20240520, 1, "<u2", 50256), ("b.bin", 20240801, 7, "<u4", 128000)):
        path = files.write_llmc(tmp_path / name, [bos, 1, 2, bos, 3], *kind)
        assert documents_of(TokenDocuments(path)) == [[bos, 1, 2], [bos, 3]]


def test_opened_padded_and_packed(tmp_path: Path) -> None:
    for shard in range(2):
        files.write_megatron(tmp_path / f"{shard}", files.random_documents(20, seed=shard))
    written = [each for shard in range(2) for each in files.random_documents(20, seed=shard)]
    dataset = open_dataset(tmp_path)
    check_dataset(dataset)
    batch = next(iter(DataLoader(dataset, 40, collate_fn=PadCollate())))
    assert batch.shape == (40, max(map(len, written)))
    packed = dataset.pack_sequences(64)
    check_dataset(packed)
    rows = [packed[index] for index in range(len(packed))]
    assert sum(np.count_nonzero(row["input_ids"]) for row in rows) == sum(map(len, written))
    with DataLoader(dataset, 8, num_workers=2, shuffle=True, seed=0, collate_fn=PadCollate()) as loader:
        here = DataLoader(dataset, 8, shuffle=True, seed=0, collate_fn=PadCollate())
        check_same([*loader], [*here])


def damage(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


DAMAGED: dict[str, tuple[int, bytes, type[HeadraceError], str]] = {
    "magic": (0, b"X", CorruptDataError, "is no index of Megatron: it begins with b'XMIDIDX"),
    "version": (9, b"\2", CorruptDataError, "is of version 2 and has tokens of code 8"),
    "code": (17, b"\t", CorruptDataError, "has tokens of code 9, but version 1 and codes 1 to 8 are known"),
    "code of floats": (17, b"\6", StorageError, "float64 values, which are no tokens"),
    "a wider code": (
        17,
        b"\4",
        CorruptDataError,
        r"sequence \d is \d+ tokens of int32 at byte \d+, but the .bin beside",
    ),
    "count": (18, b"\xff" * 8, CorruptDataError, "tells of 18446744073709551615 sequences"),
    "documents": (26, b"\1", CorruptDataError, "tells of 3 sequences and 1 bounds of documents"),
    "length": (34, b"\xff" * 4, CorruptDataError, "sequence 0 is -1 tokens of uint16 at byte 0"),
    "pointer": (46, b"\1", CorruptDataError, "sequence 0 is 2 tokens of uint16 at byte 1, but"),
    "far pointer": (61, b"\x7f", CorruptDataError, r"sequence 1 is 3 tokens of uint16 at byte 9151314442816847876"),
    "bounds": (70, b"\1", CorruptDataError, "its documents do not follow each other from sequence 0 to 3"),
}


@pytest.mark.parametrize(("offset", "content", "kind", "text"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_indexes(tmp_path: Path, offset: int, content: bytes, kind: type[HeadraceError], text: str) -> None:
    prefix = files.write_megatron(tmp_path / "a", [np.arange(2), np.arange(3), np.arange(1)])
    damage(prefix.with_suffix(".idx"), offset, content)
    with pytest.raises(kind, match=text):
        TokenDocuments(prefix)


def test_files_that_do_not_fit_each_other(tmp_path: Path) -> None:
    prefix = files.write_megatron(tmp_path / "a", [np.arange(9)])
    files.write_plain(tmp_path / "a.bin", range(8))
    with pytest.raises(CorruptDataError, match=r"at byte 0, but the .bin beside it has 16 bytes: they are not of one"):
        TokenDocuments(prefix)
    files.write_plain(tmp_path / "a.bin", range(10))
    with pytest.warns(
        HeadraceWarning, match=r"sequences up to byte 18, but the .bin beside it has 20: if they are not"
    ):
        assert documents_of(TokenDocuments(prefix)) == [list(range(9))]
    prefix.with_suffix(".idx").write_bytes(b"")
    with pytest.raises(CorruptDataError, match="it begins with b''"):
        TokenDocuments(prefix)


def test_what_cannot_be_told(tmp_path: Path) -> None:
    path = files.write_plain(tmp_path / "a.bin", range(9))
    with pytest.raises(ArgumentError, match=r"give their dtype.*; or read windows with headrace.TokenDataset"):
        open_dataset(path)
    with pytest.raises(ArgumentError, match="no index of its documents; give the token that each ends with"):
        TokenDocuments(path, np.uint16)
