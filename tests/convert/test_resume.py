"""A conversion that is killed goes on to the same bytes, and a disk that is full costs nothing that was there."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.convert.conftest import NAMES, digits, fingerprints

from headrace import TensorDataset
from headrace.convert import shards, write_dataset
from headrace.errors import ArgumentError, DestinationExistsError, StateError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 and limits are POSIX")

FIELDS = ["image", "label"]


@pytest.fixture(autouse=True)
def many_marks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set a mark about every 40 samples, which take the most bytes as members of a tar."""
    is_tar = "form" in request.fixturenames and request.getfixturevalue("form") == "tar"
    monkeypatch.setattr(shards, "_SAMPLES_BETWEEN", 40)
    monkeypatch.setattr(shards, "_BYTES_BETWEEN", 75_000 if is_tar else 3_500)
    monkeypatch.setattr("headrace.convert.write._MOST", 16)


def _killed_at(call: int, path: Path, **arguments: Any) -> bool:
    """Write in a process that kills itself instead of the given call of fsync, and say whether it came to that."""
    process = os.fork()
    if process == 0:
        calls = 0
        sync = os.fsync

        def fsync(descriptor: int) -> None:
            nonlocal calls
            calls += 1
            if calls == call:
                os.kill(os.getpid(), signal.SIGKILL)
            sync(descriptor)

        os.fsync = fsync  # type: ignore[assignment]
        try:
            write_dataset(digits(), path, fields=FIELDS, **arguments)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("limits", [{}, {"shard_samples": 130}, {"shard_size": 1}], ids=["one", "samples", "bytes"])
def test_killed_anywhere_it_goes_on_to_the_same_bytes(form: str, limits: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    if "shard_size" in limits:
        limits = {"shard_size": 250_000 if form == "tar" else 12_000}
    expected = write_dataset(digits(), tmp_path / "whole" / NAMES[form], fields=FIELDS, **limits)
    whole = _finished(tmp_path / "whole")
    call = 0
    while _killed_at(call := call + 1, path := tmp_path / "killed" / NAMES[form], **limits):
        assert _finished(path.parent).items() <= whole.items()
        found = write_dataset(digits(), path, fields=FIELDS, resume=True, **limits)
        assert (found.samples, found.bytes, len(found.paths)) == (300, expected.bytes, len(expected.paths))
        assert _finished(path.parent) == whole
        assert not path.with_name(f"{path.name}.writing").exists()
        for entry in path.parent.iterdir():
            _remove(entry)
    assert call > (3 if form == "parquet" else 8)


def _finished(folder: Path) -> dict[str, str]:
    """The files in a folder by their names in it, but for what is being written."""
    found: dict[str, str] = {}
    for entry in folder.iterdir():
        found |= {} if entry.name.endswith(".writing") else fingerprints(entry)
    return found


def _remove(path: Path) -> None:
    for file in sorted(path.rglob("*"), reverse=True) if path.is_dir() else []:
        file.rmdir() if file.is_dir() else file.unlink()
    path.rmdir() if path.is_dir() else path.unlink()


def test_killed_again_and_again(form: str, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    write_dataset(digits(), tmp_path / "whole" / NAMES[form], fields=FIELDS, shard_samples=90)
    (tmp_path / "killed").mkdir()
    path = tmp_path / "killed" / NAMES[form]
    times = 0
    while _killed_at(6, path, resume=True, shard_samples=90):  # each life is a few marks long
        times += 1
    assert times > 1
    assert _finished(path.parent) == _finished(tmp_path / "whole")


def test_what_is_done_is_not_read_again(tmp_path: Path) -> None:
    assert _killed_at(8, tmp_path / "a")
    read: list[int] = []

    def note(row: Any) -> Any:
        read.append(int(row))
        return row

    images, labels = digits().tensors
    dataset = TensorDataset(images, labels, np.arange(300)).map(note, field=2)
    assert not read
    with pytest.raises(StateError, match="fields was"):
        write_dataset(dataset, tmp_path / "a", fields=[*FIELDS, "number"], resume=True)
    read.clear()
    told: list[int] = []
    write_dataset(digits(), tmp_path / "a", fields=FIELDS, resume=True, progress=lambda done, *_: told.append(done))
    assert told[0] > 16


def test_another_dataset_is_refused(form: str, tmp_path: Path) -> None:
    path = tmp_path / NAMES[form]
    assert _killed_at(4, path)
    images, labels = digits().tensors
    with pytest.raises(StateError, match="is another conversion: samples was 300 and is 299 now; use the same dataset"):
        write_dataset(digits(299), path, fields=FIELDS, resume=True)
    with pytest.raises(StateError, match="is another conversion: content was '"):
        write_dataset(TensorDataset(images, labels + 1), path, fields=FIELDS, resume=True)
    with pytest.raises(StateError, match="is another conversion: fields was"):
        write_dataset(digits(), path, resume=True)
    write_dataset(digits(), path, fields=FIELDS, resume=True)


def test_a_stopped_packing_is_not_lost_by_accident(tmp_path: Path) -> None:
    assert _killed_at(8, tmp_path / "a")
    with pytest.raises(DestinationExistsError, match=r"a conversion that was stopped is in .*; go on with resume"):
        write_dataset(digits(), tmp_path / "a", fields=FIELDS)
    write_dataset(digits(), tmp_path / "a", fields=FIELDS, overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_resume_begins_where_nothing_was_begun(tmp_path: Path) -> None:
    assert write_dataset(digits(), tmp_path / "a", resume=True).samples == 300


def test_two_at_once(tmp_path: Path) -> None:
    def pack_too(*_: Any) -> None:
        write_dataset(digits(), tmp_path / "a", resume=True)

    with pytest.raises(StorageError, match=r"another process is writing in .*; wait for it, or choose another path"):
        write_dataset(digits(), tmp_path / "a", progress=pack_too)


def test_a_packing_under_way_is_not_called_stopped(tmp_path: Path) -> None:
    def pack_too(*_: Any) -> None:
        for overwrite in (False, True):
            with pytest.raises(StorageError, match=r"another process is writing in .*; wait for it"):
                write_dataset(digits(), tmp_path / "a", overwrite=overwrite)

    write_dataset(digits(), tmp_path / "a", progress=pack_too)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


class _Slow:
    """Samples of a value; the first one is read again and again until an event is set."""

    def __init__(self, value: int, begun: threading.Event, may_end: threading.Event) -> None:
        self._value = value
        self._begun = begun
        self._may_end = may_end

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int, /) -> dict[str, int]:
        self._begun.set()
        assert self._may_end.wait(60)
        return {"a": self._value}


def test_a_second_packing_does_not_replace_the_first(tmp_path: Path) -> None:
    begun, first_ended = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def second() -> None:
        try:
            write_dataset(_Slow(2, begun, first_ended), tmp_path / "a")
        except DestinationExistsError as error:
            errors.append(error)

    thread = threading.Thread(target=second)
    thread.start()
    assert begun.wait(60)
    write_dataset([{"a": 1}] * 5, tmp_path / "a")
    first_ended.set()
    thread.join()
    assert len(errors) == 1
    assert np.load(tmp_path / "a" / "a.npy").tolist() == [1] * 5
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_what_came_meanwhile_stays_and_so_does_the_packing(tmp_path: Path) -> None:
    def come(done: int, *_: Any) -> None:
        if done == 300:
            (tmp_path / "a.tfrecord").write_bytes(b"mine")

    with pytest.raises(DestinationExistsError) as caught:
        write_dataset(digits(), tmp_path / "a.tfrecord", progress=come)
    assert "put it in place of what is there with resume=True, overwrite=True" in caught.value.__notes__[0]
    with pytest.raises(DestinationExistsError):
        write_dataset(digits(), tmp_path / "a.tfrecord", resume=True)
    assert (tmp_path / "a.tfrecord").read_bytes() == b"mine"
    write_dataset(digits(), tmp_path / "a.tfrecord", resume=True, overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tfrecord"]
    assert (tmp_path / "a.tfrecord").stat().st_size > 4


def test_other_files_in_the_folder_of_a_packing_are_not_removed(tmp_path: Path) -> None:
    (tmp_path / "a.writing").mkdir()
    (tmp_path / "a.writing" / "mine").touch()
    with pytest.raises(DestinationExistsError, match=r"holds other files \(mine\)"):
        write_dataset(digits(), tmp_path / "a", overwrite=True)
    assert (tmp_path / "a.writing" / "mine").exists()


def test_a_damaged_journal(tmp_path: Path) -> None:
    assert _killed_at(8, tmp_path / "a")
    (tmp_path / "a.writing" / "journal").write_bytes(b"no JSON\n")
    with pytest.raises(StateError, match=r"journal is damaged: .*; begin anew with overwrite=True"):
        write_dataset(digits(), tmp_path / "a", fields=FIELDS, resume=True)


@contextmanager
def _files_up_to(size: int) -> Iterator[None]:
    """As a full disk is: a file cannot grow beyond the size."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk(form: str, tmp_path: Path) -> None:
    path = tmp_path / NAMES[form]
    write_dataset(digits(10), path)
    before = fingerprints(path)
    size = 60_000 if form == "tar" else 14_000
    with (
        _files_up_to(size),
        pytest.raises(StorageError, match=r"cannot be written: .*, after [1-9].* samples") as caught,
    ):
        write_dataset(digits(), path, fields=FIELDS, overwrite=True)
    assert caught.value.errno == (errno.EIO if form == "lmdb" else errno.EFBIG)
    assert fingerprints(path) == before
    # The old one is in the way of a resumed writing too, which must be allowed to replace it.
    with pytest.raises(DestinationExistsError):
        write_dataset(digits(), path, fields=FIELDS, resume=True)
    write_dataset(digits(), path, fields=FIELDS, resume=True, overwrite=True)
    (tmp_path / "new").mkdir()
    write_dataset(digits(), tmp_path / "new" / path.name, fields=FIELDS)
    assert fingerprints(tmp_path / "new" / path.name) == fingerprints(path)


def test_a_disk_full_from_the_start_leaves_nothing(form: str, tmp_path: Path) -> None:
    with _files_up_to(600), pytest.raises((StorageError, OSError)):
        write_dataset(digits(), tmp_path / NAMES[form], fields=FIELDS)
    assert list(tmp_path.iterdir()) == []


def test_samples_of_other_shapes_further_on(form: str, tmp_path: Path) -> None:
    if form in ("tar", "lmdb", "tfrecord"):
        pytest.skip("it holds arrays of any shape")
    samples = [{"x": np.zeros((2, 2))}] * 100 + [{"x": np.zeros((3, 2))}]
    with pytest.raises(ArgumentError, match=r"the samples? from 96 on|from sample 100 on|from 96 on"):
        write_dataset(samples, tmp_path / NAMES[form])


def test_slow_samples_are_marked_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_SAMPLES_BETWEEN", 1 << 20)
    monkeypatch.setattr(shards, "_SECONDS_BETWEEN", 0)
    assert _killed_at(8, tmp_path / "a.tar")
    told: list[int] = []
    write_dataset(digits(), tmp_path / "a.tar", fields=FIELDS, resume=True, progress=lambda done, *_: told.append(done))
    assert told[0] > 16
    write_dataset(digits(), tmp_path / "b.tar", fields=FIELDS)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
