"""Indexes: kept, found again, never believed where they do not belong."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import sys
import tarfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import TarDataset, TFRecordDataset
from headrace.errors import CorruptDataError, FileChangedError, HeadraceWarning
from headrace.formats import index as indexing
from headrace.formats.index import IndexFormat, index_paths, open_index, open_indexes
from headrace.formats.tar.archive import TAR
from headrace.formats.tfrecord.framing import TFRECORD, frame
from headrace.io import new_file as creating
from headrace.io import safe_open
from headrace.io.source import LocalSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.io.source import ByteSource

UNNAMED = pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="no files without a name here")
DTYPES = {"bytes": np.dtype([("value", "u1"), ("place", "<i8")]), "size": np.dtype(np.int64)}


class Counting:
    """Builds an index of all bytes of a file, and counts how often."""

    def __init__(self) -> None:
        self.built: list[str] = []

    def __call__(self, source: ByteSource, advance: Callable[[int], None]) -> dict[str, Any]:
        self.built.append(Path(source.path).name)
        data = source.read(0, source.identity.size)
        rows = np.empty(len(data), DTYPES["bytes"])
        rows["value"], rows["place"] = data, np.arange(len(data))
        advance(len(data))
        return {"bytes": rows, "size": np.array([len(data)])}


@pytest.fixture
def build() -> Counting:
    return Counting()


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "größe.txt"
    path.write_bytes(b"headrace")
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def opened(path: Path, build: Counting, version: int = 1) -> bytes:
    tables = open_index(LocalSource(path), IndexFormat("bytes", version, DTYPES, build)).tables
    assert tables["bytes"].dtype == DTYPES["bytes"]
    assert tables["size"].tolist() == [len(tables["bytes"])]
    return tables["bytes"]["value"].tobytes()


def test_built_once_and_kept_beside_the_file(text: Path, build: Counting) -> None:
    assert opened(text, build) == opened(text, build) == b"headrace"
    assert build.built == [text.name]
    assert sorted(path.name for path in text.parent.iterdir()) == [".größe.txt.headrace-index.npy", text.name]


def test_numpy_reads_it(text: Path, build: Counting) -> None:
    opened(text, build)
    with index_paths(str(text))[0].open("rb") as file:
        about = json.loads(np.load(file).tobytes())
        table, size = np.load(file), np.load(file)
    assert about["format"] == "bytes"
    assert about["size"] == 8
    assert table["value"].tobytes() == b"headrace"
    assert size.tolist() == [8]


def test_tables_are_aligned(text: Path, build: Counting) -> None:
    opened(text, build)
    content = index_paths(str(text))[0].read_bytes()
    assert content.index(b"\x93NUMPY", 1) % 64 == 0
    assert content.index(b"h\0\0\0\0\0\0\0\0") % 64 == 0


def test_a_large_one_is_mapped(text: Path, build: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "_SMALL", 0)
    opened(text, build)
    assert opened(text, build) == b"headrace"
    assert len(build.built) == 1


@pytest.mark.parametrize("change", ["content", "time", "version", "format"])
def test_a_stale_one_is_built_anew(text: Path, build: Counting, change: str) -> None:
    opened(text, build)
    if change == "content":
        text.write_bytes(b"headraces")
    elif change == "time":
        os.utime(text, ns=(1, 1))
    name = "other" if change == "format" else "bytes"
    kind = IndexFormat(name, 2 if change == "version" else 1, DTYPES, build)
    table = open_index(LocalSource(text), kind).tables["bytes"]
    assert table["value"].tobytes() == text.read_bytes()
    assert len(build.built) == 2
    open_index(LocalSource(text), kind)
    assert len(build.built) == 2


def test_a_damaged_one_is_built_anew(text: Path, build: Counting) -> None:
    """Whichever byte of it is wrong, and wherever it is cut."""
    opened(text, build)
    kept = index_paths(str(text))[0]
    whole = kept.read_bytes()
    for place in range(0, len(whole), 5):
        for damaged in (whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :], whole[:place], b""):
            kept.write_bytes(damaged)
            assert opened(text, build) == b"headrace"
    assert len(build.built) > len(whole) // 10


def test_tables_that_are_not_aligned(text: Path, build: Counting) -> None:
    opened(text, build)
    kept = index_paths(str(text))[0]
    content = kept.read_bytes()
    stop = content.index(b"\n", 10 + int.from_bytes(content[8:10], "little"))
    kept.write_bytes(content[:stop] + b" " + content[stop:])  # all tables as they were, a byte further on
    assert opened(text, build) == b"headrace"
    assert len(build.built) == 2
    assert kept.read_bytes() == content


@pytest.mark.parametrize("about", ["5", "[]", '"x"', "{}", '{"tables": 3}', '{"tables": {"bytes": 1}}', "[" * 50_000])
def test_index_with_other_content_is_rebuilt(text: Path, build: Counting, about: str) -> None:
    opened(text, build)
    kept = index_paths(str(text))[0]
    content = kept.read_bytes()
    kept.write_bytes(content[: 10 + content[8] + 256 * content[9]] + about.encode() + b"\n" + content)
    assert opened(text, build) == b"headrace"
    assert len(build.built) == 2


def test_the_index_of_another_file(text: Path, build: Counting) -> None:
    other = text.with_name("other.txt")
    other.write_bytes(b"something else")
    opened(other, build)
    index_paths(str(other))[0].replace(index_paths(str(text))[0])
    assert opened(text, build) == b"headrace"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no such permissions here")
def test_kept_in_the_cache_where_the_folder_is_read_only(
    text: Path, build: Counting, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_writing(monkeypatch, text.parent)
    assert opened(text, build) == opened(text, build) == b"headrace"
    assert len(build.built) == 1
    (kept,) = (cache / "headrace" / "index").iterdir()
    assert kept.name.startswith("größe.txt.")
    assert not index_paths(str(text))[0].exists()


def refuse_writing(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    """Even root may not write there."""
    make = creating.new_file

    def new_file(path: Path, mode: int) -> Any:
        if path.parent in folders:
            raise PermissionError(13, "Permission denied")
        return make(path, mode)

    monkeypatch.setattr(indexing, "new_file", new_file)


def test_unwritable_index_is_built_each_time(
    text: Path, build: Counting, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_writing(monkeypatch, text.parent, cache / "headrace" / "index")
    with pytest.warns(HeadraceWarning, match=r"größe.txt cannot be kept.*Permission denied.*set XDG_CACHE_HOME"):
        assert opened(text, build) == b"headrace"
    with pytest.warns(HeadraceWarning):
        assert opened(text, build) == b"headrace"
    assert len(build.built) == 2


@pytest.mark.parametrize("unnamed", [False, pytest.param(True, marks=UNNAMED)])
def test_a_full_disk_leaves_nothing_behind(
    text: Path, build: Counting, monkeypatch: pytest.MonkeyPatch, unnamed: bool
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    if unnamed:
        monkeypatch.setattr(os, "link", full)
    else:
        monkeypatch.setattr(creating, "_open_unnamed", lambda _: None)
        monkeypatch.setattr(Path, "replace", full)
    with pytest.warns(HeadraceWarning, match="No space left on device"):
        assert opened(text, build) == b"headrace"
    assert [path.name for path in text.parent.iterdir() if path.is_file()] == [text.name]


def build_here(path: str, barrier: Any) -> bytes:
    build = Counting()
    barrier.wait()
    return opened(Path(path), build)


def test_several_processes_at_once(text: Path, build: Counting) -> None:
    text.write_bytes(os.urandom(100_000))
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with context.Manager() as manager:
        barrier = manager.Barrier(4)
        with context.Pool(4) as pool:
            found = pool.starmap(build_here, [(str(text), barrier)] * 4)
    assert found == [text.read_bytes()] * 4
    assert opened(text, build) == text.read_bytes()
    assert build.built == []
    assert len(list(text.parent.glob(".*"))) == 1


def test_several_files_in_their_order(tmp_path: Path, build: Counting) -> None:
    paths = [tmp_path / f"{number}.txt" for number in range(20)]
    for number, path in enumerate(paths):
        path.write_bytes(b"%d" % number)
    opened(paths[3], build)
    indexes = open_indexes([LocalSource(path) for path in paths], IndexFormat("bytes", 1, DTYPES, build))
    assert [index.tables["bytes"]["value"].tobytes() for index in indexes] == [b"%d" % number for number in range(20)]
    assert len(build.built) == 20


def test_failing_file_ends_the_others(tmp_path: Path) -> None:
    started, ended = threading.Event(), threading.Event()

    def build(source: ByteSource, advance: Callable[[int], None]) -> dict[str, Any]:
        if source.path.endswith("0.txt"):
            started.wait(2)
            raise CorruptDataError("no such format")
        started.set()
        try:
            while True:
                advance(0)
        finally:
            ended.set()

    paths = [tmp_path / f"{number}.txt" for number in range(2)]
    for path in paths:
        path.touch()
    with pytest.raises(CorruptDataError, match="no such format"):
        open_indexes([LocalSource(path) for path in paths], IndexFormat("bytes", 1, DTYPES, build))
    assert ended.is_set() == started.is_set()


def test_a_file_that_vanishes(text: Path, build: Counting) -> None:
    source = LocalSource(text)
    text.unlink()
    with pytest.raises(FileChangedError, match="is gone"):
        open_index(source, IndexFormat("bytes", 1, DTYPES, build))


def test_progress(text: Path, build: Counting, capsys: pytest.CaptureFixture[str]) -> None:
    open_indexes([LocalSource(text)], IndexFormat("bytes", 1, DTYPES, build), progress=True)
    assert "\rheadrace: 0 of 0 MB of bytes indexed" in capsys.readouterr().err


def test_names_are_cut_by_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / ("年" * 80 + ".bin")
    kept = index_paths(str(path))[-1].name
    assert len(kept.encode()) < 200
    assert kept.startswith("年" * 33)


# ---------------------------------------------------------------------- what others put there


@pytest.mark.skipif(os.name != "posix", reason="links and pipes are POSIX's")
@pytest.mark.parametrize("kind", ["pipe", "device", "link", "folder", "endless"])
def test_what_is_no_index_is_not_read(text: Path, build: Counting, kind: str) -> None:
    opened(text, build)
    kept = index_paths(str(text))[0]
    other = kept.rename(kept.with_name("other"))
    if kind == "pipe":
        os.mkfifo(kept)
    elif kind == "device":
        kept.symlink_to("/dev/zero")
    elif kind == "link":
        kept.symlink_to(other)
    elif kind == "folder":
        kept.mkdir()
    else:
        kept.touch()
        os.truncate(kept, 1 << 40)
    assert opened(text, build) == b"headrace"
    assert len(build.built) == 2


@pytest.mark.skipif(os.name != "posix", reason="users and modes are POSIX's")
def test_the_index_of_another_user(text: Path, build: Counting, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(text, build)
    monkeypatch.setattr(safe_open, "_ROOT", 123_456)
    monkeypatch.setattr(os, "geteuid", lambda: 123_457)
    text.parent.chmod(0o1777)
    opened(text, build)  # of the one whose the file is
    assert len(build.built) == 1
    monkeypatch.setattr(indexing, "is_planted", lambda path, folder, *trusted: safe_open.is_planted(path, folder))
    opened(text, build)
    assert len(build.built) == 2
    text.parent.chmod(0o755)


def forged(path: Path, kind: IndexFormat, change: Callable[[dict[str, Any]], None]) -> None:
    """Keep an index whose tables were changed, with sums that are right."""
    source = LocalSource(path)
    tables = {name: table.copy() for name, table in open_index(source, kind).tables.items()}
    change(tables)
    index_paths(str(path))[0].write_bytes(b"".join(map(bytes, indexing._encode(tables, source, kind))))


@pytest.mark.parametrize(("field", "value"), [("offset", -1), ("offset", 1 << 62), ("length", -1), ("length", 1 << 62)])
def test_records_outside_of_the_file(tmp_path: Path, field: str, value: int) -> None:
    path = tmp_path / "a.tfrecord"
    path.write_bytes(frame(b"one") + frame(b"two"))
    forged(path, TFRECORD, lambda tables: tables["records"][field].__setitem__(1, value))
    dataset = TFRecordDataset(path)
    assert dataset.get_batch(np.arange(2)) == [b"one", b"two"]


TAR_LIES: dict[str, Callable[[dict[str, Any]], None]] = {
    "samples": lambda tables: tables["samples"].__setitem__(1, 1 << 40),
    "key_bounds": lambda tables: tables["key_bounds"].__setitem__(1, -5),
    "fewer keys": lambda tables: tables.update(key_bounds=tables["key_bounds"][:-1]),
    "keys": lambda tables: tables["keys"].__setitem__(0, 0),
    "key_room": lambda tables: tables.update(key_room=np.array([7])),
    "pattern": lambda tables: tables.update(pattern=np.array([9])),
    "field": lambda tables: tables["records"]["field"].__setitem__(0, 77),
    "ending_bounds": lambda tables: tables["ending_bounds"].__setitem__(-1, 1 << 40),
    "no samples": lambda tables: tables.update(samples=tables["samples"][:0]),
}


@pytest.mark.parametrize("lie", TAR_LIES)
def test_tables_that_do_not_fit_together(tmp_path: Path, lie: str) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("0.txt", "1.txt"):
            member = tarfile.TarInfo(name)
            member.size = 1
            archive.addfile(member, io.BytesIO(name[:1].encode()))
    forged(path, TAR, TAR_LIES[lie])
    assert TarDataset(path).get_batch(np.arange(2)) == {"__key__": ["0", "1"], "txt": [b"0", b"1"]}
