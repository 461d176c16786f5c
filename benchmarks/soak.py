"""A long run: whether workers slow down, and whether memory or descriptors are lost on the way.

    python -m benchmarks.soak [--batches N] [--gigabytes N] [--deaths N] [--backend process|thread] [--smoke]

First small batches, then large ones, each with two workers that go on from epoch to epoch. Every tenth of the way it
says how quickly batches came, how much memory all processes take together (Pss: what several share is counted once),
and how many descriptors are open. Then workers die in the midst of large batches, the loop catches the error and begins
anew: of that it also says how many memory files the program has mapped.
"""

from __future__ import annotations

import argparse
import os
import signal
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from benchmarks.common import (
    Comparison,
    Measurement,
    Same,
    begin_with,
    count_descriptors,
    family,
    proportional_memory,
    show,
    touch,
)

from headrace import DataLoader, Dataset
from headrace.errors import WorkerDiedError

WORKERS = 2
TENTHS = 10
EPOCHS = 25  # or so: the tenths end in the midst of one


@dataclass(frozen=True)
class Reading:
    """What was found after a tenth of the way."""

    batches_per_second: float
    memory: int
    descriptors: int
    of_workers: list[int]


def read(batches: int, seconds: float) -> Reading:
    """Read the memory and the descriptors of all processes."""
    processes = family()
    return Reading(
        batches / seconds,
        proportional_memory(processes),
        count_descriptors(os.getpid()),
        [count_descriptors(process) for process in processes[1:]],
    )


def soak(title: str, sample: Any, batch: int, batches: int, backend: Any) -> None:
    """Load that many batches and print what each tenth of them shows."""
    tenth = max(1, batches // TENTHS)
    dataset = Same(sample, batch * max(1, batches // EPOCHS))
    print(f"\n{title}, backend={backend!r}, {WORKERS} workers, {len(dataset) // batch:,} batches an epoch")
    print(f"  {'batches':>12}  {'batches/s':>10}  {'memory':>10}  descriptors: own, of workers")
    readings = []
    with DataLoader(dataset, batch, num_workers=WORKERS, backend=backend, persistent_workers=True) as loader:
        endless = (found for _ in count() for found in loader)
        for number in range(TENTHS):
            start = perf_counter()
            for found in islice(endless, tenth):
                touch(found)
            reading = read(tenth, perf_counter() - start)
            readings.append(reading)
            workers = ", ".join(map(str, reading.of_workers)) or "none"
            print(
                f"  {(number + 1) * tenth:12,}  {reading.batches_per_second:10,.0f}  {reading.memory / 1e6:7.1f} MB  "
                f"{reading.descriptors}, {workers}",
                flush=True,
            )
        endless.close()
    show(Comparison(f"{title}: from the first tenth to the last", (change(readings[0], readings[-1]),)))


def change(first: Reading, last: Reading) -> Measurement:
    """What is other at the end than at the beginning."""
    figures: dict[str, float | str] = {
        "batches/s": f"x {last.batches_per_second / first.batches_per_second:.2f}",
        "memory": f"{(last.memory - first.memory) / 1e6:+.1f} MB",
        "descriptors": f"{last.descriptors - first.descriptors:+d}",
        "of workers": f"{sum(last.of_workers) - sum(first.of_workers):+d}",
    }
    return Measurement("headrace", figures=figures)


class Deadly(Dataset[Any]):
    """Large samples, one of which kills the worker that reads it."""

    def __init__(self, sample: Any, length: int) -> None:
        self.sample, self.length = sample, length

    def __len__(self) -> int:
        """Return the number of samples."""
        return self.length

    def __getitem__(self, index: int, /) -> Any:
        """Return a sample, or do not return."""
        if index == self.length // 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.sample


def die_and_begin_anew(deaths: int, context: str | None) -> None:
    """Let a worker die in each of so many epochs, and print what is left of them each tenth of the way."""
    tenth = max(1, deaths // TENTHS)
    print(f"\nheadrace, {deaths} deaths of a worker that are caught, start method {context or 'of its own'}")
    print(f"  {'deaths':>12}  {'memory':>10}  descriptors  memory files")
    dataset = Deadly(np.ones((3, 224, 224), np.float32), 256)
    caught = 0
    while caught < deaths:
        try:
            for found in DataLoader(
                dataset, 16, num_workers=WORKERS, backend="process", multiprocessing_context=context
            ):
                touch([found])
        except WorkerDiedError:
            caught += 1
        if caught % tenth == 0:
            files = Path("/proc/self/maps").read_text(encoding="utf-8").count("memfd:headrace")
            memory = proportional_memory(family()) / 1e6
            print(f"  {caught:12}  {memory:7.1f} MB  {count_descriptors(os.getpid()):11}  {files:12}", flush=True)


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description="a long run")
    parser.add_argument("--batches", type=int, default=1_000_000, help="small batches, 2 x 8 float32 each")
    parser.add_argument("--gigabytes", type=float, default=200, help="how much of large batches, 38.5 MB each")
    parser.add_argument("--deaths", type=int, default=200, help="how many workers die")
    parser.add_argument("--backend", choices=("process", "thread"), default="process", help="what the workers are")
    options = begin_with(parser)
    if options.smoke:
        options.batches, options.gigabytes, options.deaths = 100, 0.4, 2
    small, large = np.ones(8, np.float32), np.ones((3, 224, 224), np.float32)
    batches = round(options.gigabytes * 1e9 / (64 * large.nbytes))
    if options.batches:
        soak(f"headrace, {options.batches:,} batches of 2 x 8 float32", small, 2, options.batches, options.backend)
    if batches:
        soak(f"headrace, {batches:,} batches of 64 x 3x224x224 float32", large, 64, batches, options.backend)
    for context in (None, "fork") if options.deaths else ():
        die_and_begin_anew(options.deaths, context)


if __name__ == "__main__":
    main()
