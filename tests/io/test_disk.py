"""Few files open at a time; and disks that were waited for."""

from __future__ import annotations

import errno
import os
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.io import disk
from headrace.io.disk import DiskWaits, OpenFiles
from headrace.io.source import LocalSource

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable
    from pathlib import Path


class Held:
    """Keeps a file mapped until it is closed."""

    def __init__(self, files: OpenFiles, path: Path) -> None:
        self.files = files
        self.path = path
        self.mapping: mmap.mmap | None = None

    def open(self) -> bool:
        if self.mapping is None:
            with self.path.open("rb") as file:
                self.mapping = self.files.map(file.fileno(), 1)
        if self.mapping is not None:
            self.files.use(self)
        return self.mapping is not None

    def close(self) -> None:
        self.mapping = None


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], list[Held]]:
    (tmp_path / "file").write_bytes(b"x")

    def make(limit: int, count: int) -> list[Held]:
        monkeypatch.setattr(disk, "_most_open", lambda: limit)
        files = OpenFiles()
        return [Held(files, tmp_path / "file") for _ in range(count)]

    return make


def test_the_least_recently_used_are_closed(held: Any) -> None:
    some = held(2, 3)
    for number in (0, 1, 0, 2):
        assert some[number].open()
    assert [each.mapping is not None for each in some] == [True, False, True]


def test_what_is_in_use_stays_open(held: Any) -> None:
    some = held(2, 3)
    assert some[0].open()
    assert some[1].open()
    views = [np.frombuffer(each.mapping, np.uint8) for each in some[:2]]
    assert not some[2].open()
    assert [view.tobytes() for view in views] == [b"x", b"x"]
    del views
    assert some[2].open()


def test_collected_holder_is_forgotten(held: Any) -> None:
    some = held(2, 8)
    files = some[0].files
    while some:
        assert some[-1].open()
        some.pop()
    assert len(files._mappings) == len(files._holders) == 0


def test_there_are_not_more_holders_than_files_may_be_open(held: Any) -> None:
    some = held(3, 10)
    for each in some:  # that have little open, such as an index that was read
        each.files.use(each)
    assert len(some[0].files._holders) == 3


def test_descriptors_that_others_have_used_up(held: Any, tmp_path: Path) -> None:
    some = held(5, 3)
    for each in some:
        assert each.open()
    calls: list[int] = []

    def make() -> str:
        calls.append(sum(each.mapping is not None for each in some))
        if len(calls) == 1:
            raise OSError(errno.EMFILE, "Too many open files")
        return "opened"

    assert some[0].files.opening(make) == "opened"
    assert calls == [3, 0]
    with pytest.raises(FileNotFoundError):
        some[0].files.opening(lambda: os.open(tmp_path / "none", os.O_RDONLY))


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc")
def test_a_mapping_ends_with_its_descriptor(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - which opens one more, each time
    source = LocalSource(tmp_path / "file")
    view = source.view()
    source.close()
    del view
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_waits_count_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = [5]  # what the thread had to wait for before does not count
    monkeypatch.setattr(disk, "_count_faults", lambda: faults[0])
    waits = DiskWaits(every=2)
    seen = []
    for number in range(70):
        faults[0] += number in (1, 3)
        waits.note_read()
        seen.append(waits.lately)
    assert seen == [False] * 2 + [True] * 66 + [False] * 2
    other = pickle.loads(pickle.dumps(waits))
    assert not other.lately


def test_each_thread_waits_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = {threading.get_ident(): 0}
    monkeypatch.setattr(disk, "_count_faults", lambda: faults.get(threading.get_ident(), 9))
    waits = DiskWaits()
    with ThreadPoolExecutor(1) as other:
        for _ in range(32):
            waits.note_read()
            other.submit(waits.note_read).result()
    assert not waits.lately
