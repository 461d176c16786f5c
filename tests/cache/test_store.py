"""Bytes of samples by number: what was added is found, as far as there is room."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.cache import store as kept
from headrace.cache.store import FIRST, HEAD, UNIT, SampleStore, StoredBytes
from headrace.errors import HeadraceWarning
from headrace.workers.shared_file import SharedCounts, SharedFile

if TYPE_CHECKING:
    from collections.abc import Sequence


def store(length: int = 10, limit: int | None = None) -> SampleStore:
    return SampleStore(SharedFile(FIRST + 8 * length), SharedFile(FIRST), SharedCounts(0), limit)


def add(to: SampleStore, **content: bytes) -> tuple[list[int], int]:
    """Keep bytes under the numbers in their names."""
    indices = np.array([int(name[1:]) for name in content])
    entries, nbytes = to.add(indices, [StoredBytes([each], row=True) for each in content.values()])
    return entries.tolist(), nbytes


def found(at: SampleStore, *indices: int) -> list[bytes | None]:
    entries = at.entries(np.array(indices)).tolist()
    return [at.read(entry).tobytes() if entry else None for entry in entries]


@given(st.dictionaries(st.integers(0, 9), st.lists(st.binary(max_size=70), max_size=4)), st.booleans())
def test_what_was_added_is_found(content: dict[int, list[bytes]], row: bool) -> None:
    one = store()
    for index, parts in content.items():
        one.add(np.array([index]), [StoredBytes(parts, row=row)])
    for index in range(10):
        entry = int(one.entries(np.array([index]))[0])
        assert bool(entry) == (index in content)
        if index in content:
            assert one.read(entry).tobytes() == b"".join(content[index])
            assert (entry > 0) == row
    assert one.count() == len(content)
    assert one.nbytes == sum(-(-(16 + sum(map(len, parts))) // 16) * 16 for parts in content.values())


def test_the_first_one_stays() -> None:
    one = store()
    assert add(one, _3=b"first") == ([8], 32)
    assert add(one, _3=b"second", _4=b"other") == ([8, 10], 32)
    assert found(one, 3, 4, 5) == [b"first", b"other", None]


def test_entries_leave_room_for_all_that_precedes_them() -> None:
    assert FIRST % UNIT == HEAD.size % UNIT == 0
    assert FIRST // UNIT > 0  # an entry is never 0


def test_the_limit_is_kept() -> None:
    one = store(limit=100)
    assert add(one, _0=bytes(40), _1=bytes(40), _2=bytes(1)) == ([8, 0, 0], 64)
    assert add(one, _1=bytes(17)) == ([0], 0)
    assert add(one, _1=bytes(16)) == ([12], 32)
    assert add(one, _2=bytes(0)) == ([0], 0)
    assert (one.nbytes, one.room) == (96, 4)
    assert found(one, 0, 1, 2) == [bytes(40), bytes(16), None]
    assert add(store(limit=0), _0=b"") == ([0], 0)


def test_first_description_counts() -> None:
    one = store()
    assert one.describe("first") == one.describe("second") == "first"
    assert add(one, _0=b"x")[0] == [10]
    assert found(one, 0) == [b"x"]


def test_memory_is_read_only() -> None:
    one = store()
    entries, _ = add(one, _0=b"abc")
    with pytest.raises(ValueError, match="read-only"):
        one.read(entries[0])[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        one.data(np.array(entries))[0] = 0


def test_a_disk_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    one = store()
    add(one, _0=b"before")

    def no_room(descriptor: int, parts: Sequence[Any], offset: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(kept, "_write", no_room)
        with pytest.warns(HeadraceWarning, match="^no more samples are cached: No space left on device$"):
            assert add(one, _1=b"never") == ([0], 0)
    assert found(one, 0, 1) == [b"before", None]


def test_another_error_of_writing_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pwritev", broken)
    with pytest.raises(OSError, match="Input/output error"):
        add(store(), _0=b"x")


def test_a_write_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may write less than it was asked to."""
    write = os.pwrite
    monkeypatch.setattr(os, "pwritev", lambda file, parts, offset: write(file, b"".join(parts)[:5], offset))
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: write(file, bytes(data)[:7], offset))
    one = store()
    one.add(np.array([0]), [StoredBytes([b"a long", b" sample in parts", np.arange(9, dtype=np.uint8)], row=True)])
    assert found(one, 0) == [b"a long sample in parts" + bytes(range(9))]


def test_many_threads_at_once() -> None:
    one = store(1000)
    errors: list[Exception] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            for _ in range(60):
                indices = rng.choice(1000, 20, replace=False)
                one.add(indices, [StoredBytes([str(index).encode() * 9], row=True) for index in indices.tolist()])
                for index, content in zip(indices.tolist(), found(one, *indices.tolist()), strict=True):
                    assert content == str(index).encode() * 9
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_places_in_it_are_not_given_out_twice() -> None:
    """Two stores over one memory are two processes."""
    one = store(100)
    two = SampleStore(*one._files, one._lock, None)
    for number in range(0, 100, 2):
        add(one, **{f"_{number}": b"%d" % number})
        add(two, **{f"_{number + 1}": b"%d" % (number + 1)})
    assert found(one, *range(100)) == found(two, *range(100)) == [b"%d" % number for number in range(100)]
