"""Threads that share the rows of a call, and calls that share the cores."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.kernels import native
from headrace.kernels.images import Pixels, Scaling

NATIVE: Any = native.load()
TASKS = Path("/proc/self/task")

pytestmark = pytest.mark.skipif(isinstance(NATIVE, str), reason=str(NATIVE))


def scale(count: int, threads: int, size: int = 40) -> Any:
    """Scale so many images of noise."""
    source = np.random.default_rng(0).integers(0, 256, (5, 60, 50, 3), np.uint8)
    boxes, sizes = np.tile([0.0, 0, 60, 50], (count, 1)), np.full((count, 2), size, np.int32)
    place = np.tile(np.array([0, 0, 1, 1, 0, size, 0, size], np.int32), (count, 1))
    pixels = Pixels(place, np.tile(np.arange(256, dtype=np.uint8), (3, 1)), np.zeros(3, np.uint8))
    out = np.zeros((count, size, size, 3), np.uint8)
    scaling = Scaling(np.zeros(count, np.int32), boxes, sizes)
    NATIVE.scale(source, np.arange(count) % 5, scaling, pixels, out, threads)
    return out


@pytest.mark.parametrize("threads", [-1, 0, 1, 2, 3, 1000])
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_any_number_of_threads_gives_the_same(count: int, threads: int) -> None:
    np.testing.assert_array_equal(scale(count, threads), scale(count, 1))


def test_calls_at_the_same_time() -> None:
    expected = scale(60, 1)
    with ThreadPoolExecutor(4) as several:
        for found in several.map(lambda threads: scale(60, threads), [1, 2, 3, 4] * 25):
            np.testing.assert_array_equal(found, expected)


class Repeated:
    """Calls one after the other in a thread, until the block ends."""

    def __init__(self, threads: int) -> None:
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._repeat, args=(threads,))

    def _repeat(self, threads: int) -> None:
        while not self._ends.is_set():
            scale(200, threads, 300)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()


def tasks() -> set[int]:
    """The threads of this process that are none of Python's."""
    return {int(task.name) for task in TASKS.iterdir()} - {thread.native_id for thread in threading.enumerate()}


def wait_for_helpers(count: int, others: set[int]) -> None:
    """Wait until there are so many threads that are neither Python's nor others."""
    deadline = time.monotonic() + 30
    while len(tasks() - others) != count:
        assert time.monotonic() < deadline, f"there never were {count} threads that help"
        time.sleep(0.0005)


@pytest.mark.skipif(not TASKS.exists(), reason="the system does not list threads")
def test_what_one_call_leaves_idle_serves_another() -> None:
    others = tasks()
    with Repeated(threads=2):
        wait_for_helpers(1, others)
        with Repeated(threads=2):
            wait_for_helpers(0, others)
        wait_for_helpers(1, others)
    with Repeated(threads=1):
        wait_for_helpers(0, others)


@pytest.mark.skipif(not TASKS.exists() or not hasattr(os, "fork"), reason="the system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_has_helpers_of_its_own() -> None:
    """None of the threads that are at work in its parent count there, or are waited for."""
    others = tasks()
    with Repeated(threads=3):
        wait_for_helpers(2, others)
        child = os.fork()
        if not child:
            try:
                with Repeated(threads=2):
                    wait_for_helpers(1, {os.getpid()})
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
