"""Lines of files, held against what Python reads of them."""

from __future__ import annotations

import gzip
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import (
    DataLoader,
    HeadraceWarning,
    JsonlDataset,
    JsonlStream,
    TensorDataset,
    TextLines,
    open_dataset,
    write_dataset,
)
from headrace.errors import ArgumentError, CorruptDataError, FileChangedError, StorageError
from headrace.formats.jsonl import lines
from headrace.testing import check_dataset

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [{"text": f"row {number}\u00e9", "number": number, "tokens": [number] * (number % 5)} for number in range(50)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), encoding="utf-8")
    return path


def test_samples_are_what_the_lines_say(path: Path) -> None:
    dataset = JsonlDataset(path)
    assert [dataset[index] for index in range(len(dataset))] == ROWS
    assert dataset[-1] == ROWS[-1]
    assert dataset.__getitems__([3, 1]) == [ROWS[3], ROWS[1]]


def test_the_rules_are_kept(path: Path) -> None:
    check_dataset(JsonlDataset(path).map(_without_tokens))
    check_dataset(TextLines(path))


def _without_tokens(row: dict[str, Any]) -> tuple[str, int]:
    return row["text"], row["number"]


def test_several_files_and_workers(path: Path, tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_bytes(path.read_bytes())
    dataset = JsonlDataset(tmp_path / "*.jsonl").map(_without_tokens)
    inline = [batch[0] for batch in DataLoader(dataset, batch_size=8, shuffle=True, seed=0)]
    with DataLoader(dataset, batch_size=8, shuffle="block", block_size=10, seed=0, num_workers=2) as loader:
        assert sorted(text for texts, _ in loader for text in texts) == sorted(
            text for texts in inline for text in texts
        )


@given(content=st.lists(st.sampled_from([b"1", b"[2]", b"", b" ", b"\t ", b'"\xc3\xa9"', b"{}", b"\n", b"\r\n"])))
def test_lines_are_those_of_python(content: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    path.write_bytes(b"".join(content))
    expected = io.TextIOWrapper(io.BytesIO(b"".join(content)), encoding="utf-8", newline="\n").readlines()
    plain = [line.removesuffix("\n").removesuffix("\r") for line in expected]
    dataset = TextLines(path)
    assert [dataset[index] for index in range(len(dataset))] == plain
    assert len(JsonlDataset(path)) == sum(bool(line.strip()) for line in plain)


def test_lines_longer_than_what_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_AT_ONCE", 8)
    path = tmp_path / "a.jsonl"
    path.write_text("1\n" + json.dumps("x" * 100) + "\n22\n" + json.dumps("y" * 50))
    dataset = JsonlDataset(path)
    assert [dataset[index] for index in range(4)] == [1, "x" * 100, 22, "y" * 50]
    assert dataset.where(3) == f"{path}, line 4"


def test_a_mark_of_utf_8_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\ntwo")
    assert TextLines(path)[0] == "one"


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n\n{"a": 2, b}\n{"a": 3}\n')
    dataset = JsonlDataset(path)
    with pytest.raises(
        CorruptDataError, match=r"a\.jsonl, line 3, column 10: it is no JSON \(.*property name"
    ) as caught:
        dataset[1]
    assert isinstance(caught.value.__cause__, json.JSONDecodeError)
    loader = DataLoader(dataset, batch_size=2, on_error="skip")
    with pytest.warns(HeadraceWarning, match="line 3, column 10"):
        assert [batch["a"].tolist() for batch in loader] == [[1], [3]]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_line_far_down(workers: int, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    count = 10**6
    path.write_bytes(b'{"a": 1}\n' * (count - 1) + b'{"a": 1,\n' + b'{"a": 1}\n')
    text = rf"a\.jsonl, line {count:,}, column 9: it is no JSON \(Expecting property name"
    for _ in range(2):  # the second time by the index that is kept
        dataset = JsonlDataset(path)
        assert dataset[count] == {"a": 1}
        with (
            DataLoader(dataset.subset([0, count - 1]), 2, num_workers=workers) as loader,
            pytest.raises(CorruptDataError, match=text),
        ):
            next(iter(loader))
    with pytest.raises(CorruptDataError, match=text):
        list(JsonlStream(path))


def test_what_is_no_utf_8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\n\xff\n")
    with pytest.raises(UnicodeDecodeError) as caught:
        TextLines(path)[1]
    assert "a.txt, line 2" in caught.value.__notes__[0]


def test_a_file_that_has_changed(path: Path) -> None:
    dataset = JsonlDataset(path)
    path.write_text("1\n")
    with pytest.raises(FileChangedError):
        dataset[0]


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_compressed_files(kind: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    packed = tmp_path / f"a.jsonl.{kind}"
    packed.write_bytes(compress(kind, path.read_bytes()))
    assert list(JsonlStream(packed)) == ROWS
    with pytest.warns(HeadraceWarning, match="is compressed"):
        dataset = open_dataset(packed)
    assert [dataset[index] for index in range(len(dataset))] == ROWS


def compress(kind: str, content: bytes) -> bytes:
    """Several frames or members, as parallel writers leave them; of zstd with a table that is to be skipped."""
    parts = [content[:100], content[100:101], b"", content[101:]]
    if kind == "gz":
        return b"".join(map(gzip.compress, parts))
    zstandard = pytest.importorskip("zstandard")
    table = b"\x5e\x2a\x4d\x18" + (9).to_bytes(4, "little") + bytes(5) + b"\xb1\xea\x92\x8f"
    return b"".join(map(zstandard.ZstdCompressor().compress, parts)) + table


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_compressed_files_that_are_cut_or_damaged(kind: str, path: Path, tmp_path: Path) -> None:
    content = compress(kind, path.read_bytes() * 20)
    packed = tmp_path / f"a.jsonl.{kind}"
    packed.write_bytes(content[: len(content) // 2])
    with pytest.raises(CorruptDataError, match="damaged or cut short"):
        list(JsonlStream(packed))


def test_a_stream_names_what_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"1\n\n2\n[\n"))
    with pytest.raises(CorruptDataError, match=r"line 4, column 2: it is no JSON"):
        list(JsonlStream(path))


def test_a_line_of_a_compressed_file_has_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'"' + b"x" * 10_000 + b'"\n'))
    with pytest.raises(StorageError, match=r"a line of more than 1,000 bytes; .* max_line_bytes="):
        list(JsonlStream(path, max_line_bytes=1000))
    assert len(list(JsonlStream(path, max_line_bytes=20_000))) == 1


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write_dataset(ROWS, tmp_path / "a.jsonl", shard_samples=20, workers=2, backend="thread")
    dataset = open_dataset(tmp_path / "a-*.jsonl")
    assert [dataset[index] for index in range(len(dataset))] == ROWS


def test_arrays_become_lists(tmp_path: Path) -> None:
    dataset = TensorDataset(np.arange(6).reshape(3, 2), np.array([1.5, 2, 3]))
    write_dataset(dataset, tmp_path / "a.jsonl", fields=["x", "y"])
    assert open_dataset(tmp_path / "a.jsonl")[0] == {"x": [0, 1], "y": 1.5}


@pytest.mark.parametrize("value", [b"bytes", float("nan")])
def test_what_json_does_not_have_is_refused(value: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="sample 0 cannot be a line of JSON"):
        write_dataset([{"a": value}], tmp_path / "a.jsonl")
