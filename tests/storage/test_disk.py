"""Few files open at a time; and disks that were waited for."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from headrace.storage import disk
from headrace.storage.disk import DiskWaits, OpenFiles

if TYPE_CHECKING:
    import pytest


def test_the_least_recently_used_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_most_open", lambda: 2)
    closed: list[int] = []
    files = OpenFiles(closed.append)
    for number in (1, 2, 1, 3, 1, 2):
        files.use(number)
    assert closed == [2, 3]


def test_what_is_used_is_not_pickled() -> None:
    files = OpenFiles(print)
    files.use(1)
    copy = pickle.loads(pickle.dumps(files))
    assert not copy._used


def test_waits_count_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = iter([0, 0, 0, 3, *[3] * 128])
    monkeypatch.setattr(disk, "_count_faults", lambda: next(faults))
    waits = DiskWaits()
    seen = []
    for _ in range(66):
        with waits.reading():
            pass
        seen.append(waits.lately)
    assert seen == [False, *[True] * 64, False]
