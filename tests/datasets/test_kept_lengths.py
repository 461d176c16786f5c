"""Lengths that are measured once, and kept beside the files of the sequences."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader, Dataset, HeadraceWarning, ParquetDataset, mix, open_dataset, write_dataset
from headrace.datasets import lengths as module
from headrace.datasets.lengths import find_kept_lengths, sequence_lengths
from headrace.io import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from headrace.insight.stats import SourceStats

EXPECTED = [number % 7 + 1 for number in range(100)]
ROWS = [{"tokens": list(range(length))} for length in EXPECTED]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_dataset(ROWS, tmp_path / "a.jsonl")
    return tmp_path / "a.jsonl"


@pytest.fixture
def no_reading(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function from whose call on no lengths may be measured."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("lengths were measured")

    return lambda: monkeypatch.setattr(module, "read_lengths", refuse)


def files_of_lengths(folder: Path) -> list[Path]:
    return sorted(folder.glob(".*.lengths-*.headrace-index.npy"))


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "tfrecord", "lmdb"])
def test_lengths_are_measured_once(ending: str, tmp_path: Path, no_reading: Callable[[], None]) -> None:
    write_dataset(ROWS, tmp_path / f"a.{ending}")
    assert find_kept_lengths(open_dataset(tmp_path / f"a.{ending}"), "tokens") is None
    assert sequence_lengths(open_dataset(tmp_path / f"a.{ending}"), "tokens").tolist() == EXPECTED
    no_reading()
    dataset = open_dataset(tmp_path / f"a.{ending}")
    assert sequence_lengths(dataset, "tokens").tolist() == EXPECTED
    assert sequence_lengths(dataset.subset([5, 3]), "tokens").tolist() == [6, 4]
    list(DataLoader(dataset.subset([1, 2]), None))
    assert sequence_lengths(dataset, "tokens").tolist() == EXPECTED, "reading changes nothing"


def test_what_loaders_measure_is_kept(path: Path, no_reading: Callable[[], None]) -> None:
    def batches() -> list[Any]:
        loader = DataLoader(open_dataset(path), batch_by="tokens", max_tokens=20, shuffle=True, seed=0, collate_fn=list)
        return list(loader)

    before = batches()
    rows = open_dataset(path).pack_sequences(16)
    no_reading()
    assert batches() == before
    assert np.array_equal(open_dataset(path).pack_sequences(16)[0]["input_ids"], rows[0]["input_ids"])


def test_tokens_of_sources_are_counted_by_what_is_kept(path: Path, no_reading: Callable[[], None]) -> None:
    def sources() -> Mapping[str, SourceStats]:
        files, made = open_dataset(path), open_dataset(path).map(dict)
        loader = DataLoader(mix({"files": files, "made": made, "listed": [[1]] * 100}, [1, 1, 1]), 9, collate_fn=list)
        assert len(list(loader)) > 9
        return loader.stats().sources

    assert [source.tokens for source in sources().values()] == [None, None, None]
    sequence_lengths(open_dataset(path))
    no_reading()
    files, *others = sources().values()
    assert files.tokens == round(files.samples * float(np.mean(EXPECTED))) > 0
    assert [source.tokens for source in others] == [None, None]


def test_a_file_that_has_changed(path: Path) -> None:
    sequence_lengths(open_dataset(path))
    longer = [{"tokens": [1] * (len(row["tokens"]) + 1)} for row in ROWS]
    path.unlink()
    write_dataset(longer, path)
    assert find_kept_lengths(open_dataset(path)) is None
    assert sequence_lengths(open_dataset(path)).tolist() == [length + 1 for length in EXPECTED]
    assert len(files_of_lengths(path.parent)) == 1


def test_a_file_of_the_same_size_that_was_written_later(path: Path) -> None:
    sequence_lengths(open_dataset(path))
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    assert find_kept_lengths(open_dataset(path)) is None


def test_files_and_fields_apart(tmp_path: Path) -> None:
    rows = [{"tokens": [1, 2], "labels": [3]}]
    for name in ("a", "b"):
        write_dataset(rows, tmp_path / f"{name}.jsonl")
    both = open_dataset(tmp_path / "?.jsonl")
    assert sequence_lengths(both).tolist() == [2, 2]
    assert sequence_lengths(both, "labels").tolist() == [1, 1]
    assert sequence_lengths(open_dataset(tmp_path / "a.jsonl")).tolist() == [2]
    assert find_kept_lengths(both).tolist() == [2, 2]  # type: ignore[union-attr]
    (tmp_path / "b.jsonl").unlink()
    write_dataset([{"tokens": [1, 2, 3], "labels": [3]}], tmp_path / "b.jsonl")
    assert sequence_lengths(open_dataset(tmp_path / "?.jsonl")).tolist() == [2, 3]


def test_functions(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    factor = [2]

    def repeat(sample: dict[str, Any]) -> Any:
        return sample["tokens"] * lookup()[0]

    monkeypatch.setitem(globals(), "lookup", lambda: factor)
    dataset = open_dataset(path).map(repeat)
    assert sequence_lengths(dataset).tolist() == [2 * length for length in EXPECTED]
    assert find_kept_lengths(dataset) is not None
    assert find_kept_lengths(open_dataset(path).map(lambda sample: sample["tokens"] * 2)) is None, "another function"
    factor[0] = 3  # which no hash of the function can tell
    assert find_kept_lengths(dataset) is None
    assert sequence_lengths(dataset).tolist() == [3 * length for length in EXPECTED]


def lookup() -> list[int]:
    raise NotImplementedError


def test_parts_are_kept_by_themselves(path: Path, no_reading: Callable[[], None]) -> None:
    sequence_lengths(open_dataset(path) + open_dataset(path).subset([1]))
    no_reading()
    assert sequence_lengths(open_dataset(path).subset([3, 4]) + open_dataset(path)).tolist() == [4, 5, *EXPECTED]


def test_datasets_of_users_are_not_kept(path: Path) -> None:
    class Own(Dataset[list[int]]):
        paths = [str(path)]  # noqa: RUF012

        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> list[int]:
            return [0] * index

    assert sequence_lengths(Own()).tolist() == [0, 1]
    assert files_of_lengths(path.parent) == []


def test_a_kept_file_that_is_damaged(path: Path) -> None:
    sequence_lengths(open_dataset(path))
    kept = files_of_lengths(path.parent)[0]
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    kept.write_bytes(content)
    assert find_kept_lengths(open_dataset(path)) is None
    assert sequence_lengths(open_dataset(path)).tolist() == EXPECTED
    assert find_kept_lengths(open_dataset(path)) is not None


def test_folders_that_cannot_be_written_to(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sequence_lengths(open_dataset(path))
    kept = files_of_lengths(path.parent)[0]
    kept.unlink()
    kept.mkdir()  # nobody writes a file there, root neither
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sequence_lengths(open_dataset(path))
    assert find_kept_lengths(open_dataset(path)) is not None, "it is in the cache"
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(HeadraceWarning, match=r"the lengths of .*a.jsonl cannot be kept, so all is read again"):
        loader = DataLoader(open_dataset(path), batch_by="tokens", max_tokens=20, collate_fn=list)
    assert list(loader) == list(loader), "they stay in memory: there is no second warning"


def test_files_far_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec = pytest.importorskip("fsspec")
    pa, pq = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.parquet"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    memory = fsspec.filesystem("memory")

    def write(lists: list[list[int]]) -> ParquetDataset:
        for name in ("a", "b"):
            with memory.open(f"/kept_lengths/{name}.parquet", "wb") as file:
                pq.write_table(pa.table({"tokens": lists}), file)
        return ParquetDataset("memory://kept_lengths/*.parquet")

    dataset = write([[1], [1, 2]])
    assert sequence_lengths(dataset).tolist() == [1, 2, 1, 2]
    assert len(list(tmp_path.rglob("*.npy"))) == 1
    assert find_kept_lengths(ParquetDataset(dataset.paths)) is not None
    assert find_kept_lengths(write([[1], [1, 3]])) is None, "the files have other tags, or times"


def test_progress_is_shown(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "_PATIENCE", 0)
    monkeypatch.setattr(progress, "_BETWEEN", 0)
    monkeypatch.setattr(module, "_SAMPLES_AT_ONCE", 40)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    DataLoader(open_dataset(path), batch_by="tokens", max_tokens=20, collate_fn=list)
    lines = capsys.readouterr().err.split("\r")
    found = [line.strip() for line in lines if "measured" in line]
    assert found == [f"headrace: measured {done} of 100 sequences" for done in (40, 80, 100)]
