from __future__ import annotations

import multiprocessing
import os
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.errors import ArgumentTypeError, FileChangedError, StorageError
from headrace.io.source import LocalSource, open_source

if TYPE_CHECKING:
    from pathlib import Path

TEXT = b"a channel that feeds the mill wheel"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "mühle.txt"
    file.write_bytes(TEXT)
    return file


def integers(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, np.int64)


def test_reads_ranges(path: Path) -> None:
    source = open_source(path)
    assert (source.path, source.identity.size) == (str(path), len(TEXT))
    assert source.read(2, 7).tobytes() == b"channel"
    packed = source.read_many(integers(25, 0, 2, 35), integers(4, 1, 7, 0))
    assert packed.buffer.tobytes() == b"mill" + b"a" + b"channel"
    assert packed.bounds.tolist() == [0, 4, 5, 12, 12]
    view = source.view()
    assert view is not None
    assert view.tobytes() == TEXT
    assert not view.flags.writeable


def test_nothing_is_open_before_the_first_read(path: Path) -> None:
    source = LocalSource(path)
    before = open_files()
    assert str(path) not in before
    view = source.view()
    source.close()
    del view
    assert open_files() == before


def open_files() -> list[str]:
    """What this process has open or mapped."""
    try:
        with open("/proc/self/maps", encoding="utf-8") as maps:  # noqa: PTH123
            return sorted(line.split(maxsplit=5)[5].strip() for line in maps if "txt" in line)
    except OSError:
        pytest.skip("the system does not say")


def test_a_view_outlives_its_source(path: Path) -> None:
    source = LocalSource(path)
    view = source.view()
    source.close()
    del source
    assert view is not None
    assert view.tobytes() == TEXT


def test_a_pickle_is_small_and_opens_nothing(path: Path) -> None:
    source = LocalSource(path)
    source.view()
    text = pickle.dumps(source)
    assert len(text) < 250 + len(str(path))
    copy = pickle.loads(text)
    assert copy._mapping is None
    assert copy.read(0, 9).tobytes() == b"a channel"


def test_a_path_means_the_same_wherever_the_process_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    source = LocalSource(path.name)
    monkeypatch.chdir("/")
    assert source.read(0, 1).tobytes() == b"a"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_reads_on(path: Path) -> None:
    source = LocalSource(path)
    source.view()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(source.read, (2, 7)).tobytes() == b"channel"


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("change", ["write", "cut", "replace", "remove", "touch"])
def test_a_file_that_changes_is_noticed(path: Path, change: str, opened: bool) -> None:
    source = LocalSource(path)
    if opened:
        source.view()
    if change == "write":
        path.write_bytes(TEXT + b"s")
    elif change == "cut":
        os.truncate(path, 3)
    elif change == "replace":
        other = path.with_name("other")
        other.write_bytes(TEXT.upper())
        os.utime(other, ns=(0, source.identity.mtime_ns + 1))
        other.replace(path)
    elif change == "remove":
        path.unlink()
    else:
        os.utime(path, ns=(0, source.identity.mtime_ns + 1_000))
    with pytest.raises(FileChangedError, match="is gone" if change == "remove" else "has changed: it was 35 bytes"):
        source.read_many(integers(25), integers(4))
    with pytest.raises(FileChangedError):
        source.read(25, 4)


def test_a_copy_expects_what_was(path: Path) -> None:
    text = pickle.dumps(LocalSource(path))
    path.write_bytes(b"new")
    with pytest.raises(FileChangedError, match=r"it was 35 bytes, written .* UTC, and is 3 bytes, written"):
        pickle.loads(text).read(0, 1)


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    source = LocalSource(tmp_path / "empty")
    view = source.view()
    assert view is not None
    assert view.shape == (0,)
    assert source.read(0, 0).shape == (0,)
    assert source.read_many(integers(0), integers(0)).bounds.tolist() == [0, 0]
    source.will_need(integers(0), integers(0))


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, 36), (36, 0), (3, -1)])
def test_ranges_lie_in_the_file(path: Path, offset: int, length: int) -> None:
    with pytest.raises(StorageError, match=rf"mühle.txt: {length} bytes at {offset} were asked for, but it has 35"):
        LocalSource(path).read(offset, length)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_source(tmp_path / "nothing")
    with pytest.raises(StorageError, match="is a folder"):
        open_source(tmp_path)
    with pytest.raises(ArgumentTypeError, match="but got 3"):
        open_source(3)  # type: ignore[arg-type]


def test_reading_ahead_is_only_advice(path: Path) -> None:
    source = LocalSource(path)
    source.will_need(integers(25, 0), integers(4, 0))
    assert source.read(0, 1).tobytes() == b"a"


def test_a_large_sparse_file(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.seek(3 * 2**30)
        file.write(b"end")
    source = LocalSource(path)
    packed = source.read_many(integers(3 * 2**30), integers(3))
    assert packed.buffer.tobytes() == b"end"
