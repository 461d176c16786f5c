"""Memory that processes share: one content for all, no name, and sums and a lock that hold between them."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from headrace.workers.shared_file import SharedCounts, SharedFile

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a second process that shares a descriptor")


def in_child(do: Callable[[], None]) -> int:
    """Start a process that does something and ends."""
    child = os.fork()
    if not child:
        code = 1
        try:
            do()
            code = 0
        finally:
            os._exit(code)
    return child


def wait_for(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_what_one_process_writes_another_sees() -> None:
    file = SharedFile(8)
    memory = file.map()

    def write() -> None:
        memory[0] = 1
        file.grow(5000)
        file.map()[4999] = 2

    assert wait_for(in_child(write)) == 0
    assert (memory[0], file.nbytes, file.map()[4999]) == (1, 5000, 2)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda file: pickle.loads(pickle.dumps(file))])
def test_a_copy_is_a_file_of_its_own(copied: Callable[[SharedFile], SharedFile]) -> None:
    file = SharedFile(8)
    file.map()[0] = 1
    file.grow(100)
    other = copied(file)
    assert (other.nbytes, other.map()[0]) == (8, 0)
    assert other.descriptor != file.descriptor


def test_its_descriptor_is_closed_with_it() -> None:
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    files = [SharedFile(8) for _ in range(10)]
    counts = SharedCounts(2)
    counts.add(1, 1)
    del files, counts
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_sums_of_threads_and_processes() -> None:
    counts = SharedCounts(2)
    counts.add(1, 0)

    def add() -> None:
        def add_many() -> None:
            for _ in range(500):
                counts.add(1, 2)

        threads = [threading.Thread(target=add_many) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert counts.own() == [1500, 3000]

    assert [wait_for(child) for child in [in_child(add), in_child(add)]] == [0, 0]
    assert counts.own() == [1, 0]
    assert counts.sums() == [3001, 6000]


def test_own_counts_begin_at_nothing() -> None:
    assert SharedCounts(3).own() == [0, 0, 0]
    counts = SharedCounts(1)
    counts.add(5)
    assert wait_for(in_child(lambda: _expect(counts.own(), [0]))) == 0


def _expect(found: object, expected: object) -> None:
    assert found == expected


def test_the_lock_keeps_others_out() -> None:
    counts = SharedCounts(1)
    number = SharedFile(8)
    memory = number.map()

    def count() -> None:
        for _ in range(300):
            with counts:
                before = int.from_bytes(memory[:8], "little")
                memory[:8] = (before + 1).to_bytes(8, "little")

    assert [wait_for(child) for child in [in_child(count) for _ in range(3)]] == [0] * 3
    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert int.from_bytes(memory[:8], "little") == 1800


def test_a_lock_whose_holder_was_killed_is_free_again() -> None:
    counts = SharedCounts(1)
    ready, says_ready = os.pipe()

    def hold_for_ever() -> None:
        counts.__enter__()
        os.write(says_ready, b"!")
        signal.pause()

    child = in_child(hold_for_ever)
    os.read(ready, 1)
    os.kill(child, signal.SIGKILL)
    assert wait_for(child) == -signal.SIGKILL
    with counts:
        pass
    os.close(ready)
    os.close(says_ready)


def test_a_fork_does_not_inherit_the_lock_of_a_thread() -> None:
    counts = SharedCounts(1)
    with counts:
        child = in_child(lambda: counts.__enter__())
        # the child waits for this process, and for no thread of its own
    assert wait_for(child) == 0
