"""The clock of a loader: sums and last records against plain lists, whatever comes between."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from headrace.insight.clock import StageClock
from headrace.insight.columns import (
    BYTES_OF_STEP,
    COLLATE,
    DEPTH,
    EPOCH,
    FIRST_STEP,
    READ,
    STEP,
    STEPS,
    TIMES,
    WANTED,
    WORKER,
)
from headrace.insight.loader_clock import ENOUGH, LoaderClock, pack_step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KEPT = 1024


def tell(clock: LoaderClock, *step: int) -> None:
    """Tell of a batch that is handed out, as an iterator does."""
    clock.steps.append(pack_step(*step))
    if len(clock.steps) >= ENOUGH:
        clock.take_in()


class Results:
    """Results of which the latest was told by a worker, or by the consumer itself."""

    def __init__(self, *, worker: int | None = None) -> None:
        self.clock = StageClock(0 if worker is None else -1)
        self.workers = None if worker is None else StageClock(worker)
        self.waiting = 3
        self.timing: bytes | None = None

    def load(self) -> None:
        self.clock.start()
        if self.workers is not None:
            self.workers.start()
            self.workers.lap(READ)
            self.workers.lap(COLLATE, 40)
            self.timing = self.workers.take()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 300)), max_size=12))
def test_sums_and_the_last_steps(turns: list[tuple[bool, int]]) -> None:
    clock, told = LoaderClock(), list[tuple[int, ...]]()
    for asks, count in turns:
        for _ in range(count):
            number = len(told)
            told.append((number, number + 2, 5, 7, 11, 0, number))
            tell(clock, *told[-1])
        if asks:
            assert clock.totals().bytes == 11 * len(told)
        steps, _ = clock.recent()
        assert [tuple(row) for row in steps.tolist()] == told[-KEPT:]
    totals = clock.totals()
    assert (totals.batches, totals.samples) == (len(told), 7 * len(told))
    assert (totals.wait, totals.consumer) == (2 * len(told), 5 * len(told))


def test_a_worker_tells_beside_the_consumer() -> None:
    clock, results = LoaderClock(), Results(worker=2)
    for step in range(2000):
        results.load()
        clock.loaded(results, 1, step, 1, 8)
    _, tasks = clock.recent()
    assert len(tasks) == KEPT
    own, loads = tasks[::2], tasks[1::2]
    assert (own[:, TIMES + WORKER] == -1).all()
    assert (loads[:, TIMES + WORKER] == 2).all()
    assert loads[:, FIRST_STEP].tolist() == list(range(2000 - KEPT // 2, 2000))
    assert (loads[:, EPOCH] == 1).all()
    assert (loads[:, [STEPS, DEPTH]] == [1, 3]).all()
    assert (loads[:, WANTED] > 0).all()
    totals = clock.totals()
    assert totals.tasks == totals.workers[2].batches == 2000
    assert totals.stages[4, 1] == 40 * 2000  # the bytes of collating


def test_many_threads_lose_nothing() -> None:
    clock = LoaderClock()

    def run(thread: int) -> None:
        results = Results(worker=thread)
        for step in range(500):
            results.load()
            clock.loaded(results, 0, step, 1, 4)
            tell(clock, 0, 1, 2, 3, 4, 0, step)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    totals = clock.totals()
    assert totals.batches == totals.tasks == 2000
    assert {worker: each.samples for worker, each in totals.workers.items()} == dict.fromkeys(range(4), 2000)


def test_a_listener_hears_each_record_once() -> None:
    clock, heard = LoaderClock(), list[int]()

    def listen(steps: NDArray[np.int64], tasks: NDArray[np.int64]) -> None:
        heard.extend(steps[:, STEP].tolist())
        assert not len(tasks)
        assert (steps[:, BYTES_OF_STEP] == 9).all()

    clock.listener = listen
    for step in range(1500):
        tell(clock, 0, 1, 2, 3, 9, 0, step)
    clock.totals()
    assert heard == list(range(1500))


def test_memory_does_not_grow_with_steps() -> None:
    clock, results = LoaderClock(), Results(worker=0)

    def run(count: int) -> None:
        for step in range(count):
            results.load()
            clock.loaded(results, 0, step, 1, 4)
            tell(clock, 0, 1, 2, 3, 4, 0, step)

    run(3 * KEPT)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        run(5 * KEPT)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 64 * 1024  # some that are told and not put away
    assert peak - before < 3 << 20


def test_a_loader_that_nobody_asks_imports_no_views_of_it() -> None:
    program = (
        "import sys, numpy; from headrace import DataLoader, TensorDataset\n"
        "for _ in DataLoader(TensorDataset(numpy.zeros((64, 2))), 4): pass\n"
        "print(*sorted(name for name in sys.modules if name.startswith('headrace.insight.')))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found = ["headrace.insight.clock", "headrace.insight.columns", "headrace.insight.loader_clock"]
    assert run.stdout.split() == found
