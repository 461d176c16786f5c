"""What the clock in every loader costs: a step of it alone, and an epoch with it and without.

    python -m benchmarks.clock [--smoke]

Without it, a loader's clocks time nothing and pack nothing; else both are the same, and they take turns in one process.
Time is that of the processor, as a busy machine has less to do with it.
"""

from __future__ import annotations

from contextlib import ExitStack
from statistics import median
from time import perf_counter_ns, process_time
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
from benchmarks.common import Comparison, Measurement, begin, fewer, show

from headrace import DataLoader, TensorDataset
from headrace.insight.clock import StageClock
from headrace.insight.columns import ORDER, READ
from headrace.insight.loader_clock import ENOUGH, LoaderClock, pack_step
from headrace.loader import iterator
from headrace.workers import inline

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 2e-6  # seconds a step
SHARE = 0.01  # of an epoch
BATCH = 4096


class StillStageClock(StageClock):
    """Times nothing."""

    def start(self) -> None:
        """Time nothing."""
        self.on = False


class Results:
    """Results of no workers."""

    timing = None
    waiting = 0

    def __init__(self) -> None:
        self.clock = StageClock(times_all=False)


def take_steps(steps: int) -> None:
    """Call the clocks as a loader without workers does for so many batches."""
    results, times, before = Results(), LoaderClock(), 0
    clock = results.clock
    for step in range(steps):
        asked = perf_counter_ns()
        clock.start()
        if clock.on:
            clock.lap(ORDER)
        if clock.on:
            clock.lap(READ)
        if clock.on:
            times.loaded(results, 0, step, 1, BATCH)
        got = perf_counter_ns()
        told = times.steps
        told.append(pack_step(asked, got, asked - before, BATCH, BATCH * 256, 0, step))
        if len(told) >= ENOUGH:
            times.take_in()
        before = got


def seconds_of(run: Callable[[], object]) -> float:
    """Return the processor's seconds that it takes."""
    start = process_time()
    run()
    return process_time() - start


def step_alone(steps: int, rounds: int) -> Comparison:
    """Return what a step of the clocks takes, with what is added up now and then."""
    took = min(seconds_of(lambda: take_steps(steps)) for _ in range(rounds)) / steps
    figures: dict[str, float | str] = {"us/step": took * 1e6}
    line = Measurement("headrace, the clock's calls", "headrace", figures, aims=(took / MOST,), aim="2 µs a step")
    return Comparison("a step of the clock alone", (line,))


def epochs(rows: int, rounds: int) -> Comparison:
    """Return what an epoch takes with the clock and without."""
    dataset = TensorDataset(np.random.default_rng(0).random((rows, 64), np.float32))
    timed, still = DataLoader(dataset, BATCH, shuffle=True, seed=0), DataLoader(dataset, BATCH, shuffle=True, seed=0)

    def without() -> None:
        with ExitStack() as stack:
            stack.enter_context(patch.object(still, "_clock", LoaderClock()))
            stack.enter_context(patch.object(inline, "StageClock", StillStageClock))
            for name, instead in (("perf_counter_ns", int), ("pack_step", "".format), ("ENOUGH", len(dataset))):
                stack.enter_context(patch.object(iterator, name, instead))
            for _batch in still:
                pass

    def with_clock() -> None:
        for _batch in timed:
            pass

    pairs = []
    for number in range(rounds + 1):
        runs = (with_clock, without) if number % 2 else (without, with_clock)
        pair = {run: seconds_of(run) for run in runs}
        if number:  # the first does not count
            pairs.append((pair[with_clock], pair[without]))
    return table_of_epochs(pairs, rows)


def table_of_epochs(pairs: list[tuple[float, float]], rows: int) -> Comparison:
    """Return the table of rounds, each with the clock and without."""
    steps = len(range(0, rows, BATCH))
    base = median(without for _, without in pairs)
    added = median(timed - without for timed, without in pairs)
    figures, count = _figures(base + added, steps, added), len(pairs)
    lines = (
        Measurement("headrace", "headrace", figures, rounds=count, aims=(added / base / SHARE,), aim="1 % of a step"),
        Measurement("headrace, without its clock", "headrace", _figures(base, steps), rounds=count),
    )
    return Comparison(f"{rows:,} x 64 float32, batch {BATCH}, with the clock and without", lines)


def _figures(seconds: float, steps: int, added: float | None = None) -> dict[str, float | str]:
    found: dict[str, float | str] = {"us/step": seconds / steps * 1e6}
    if added is not None:
        found |= {"us/step of the clock": added / steps * 1e6, "share": f"{added / (seconds - added):.2%}"}
    return found


def main() -> None:
    """Run all of it."""
    smoke = begin("what the clock in every loader costs")
    show(step_alone(2048 if smoke else 16_384, 2 if smoke else fewer(30)))
    show(epochs(20_000 if smoke else 1_000_000, 2 if smoke else fewer(80)))


if __name__ == "__main__":
    main()
