"""How long the shuffled order of an epoch takes, and how much memory.

    python -m benchmarks.order [--smoke]

Each contender goes through one epoch in batches of 128 indices; of 10^8 a single round is made. `headrace bench
shuffle` does the same, without the memory.
"""

from __future__ import annotations

import tracemalloc
from time import perf_counter
from typing import TYPE_CHECKING

from benchmarks.common import Comparison, Measurement, begin, show, show_works

from headrace.bench.rivals import RIVALS
from headrace.bench.workloads.shuffle import contenders
from headrace.rng.keys import epoch_key
from headrace.sampling.permutation import Shuffled

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 128


def peak(run: Callable[[], object]) -> int:
    """The most memory that Python and NumPy held at once during the run, in bytes."""
    tracemalloc.start()
    run()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def print_memory(length: int) -> None:
    """Print the peak memory of each contender; torch's own is computed, since tracemalloc does not see it."""
    results = []
    for entry in contenders(length, RIVALS):
        if entry.run is None:
            results.append(Measurement(entry.name, entry.kind, note=entry.note))
            continue
        most = 8 * length if entry.name == "torch.randperm" else peak(entry.run)
        results.append(Measurement(entry.name, entry.kind, {"MiB": most / 2**20}))
    show(Comparison(f"memory for the order of n = {length:,}, at its peak", tuple(results)))


def print_middle(length: int, rounds: int) -> None:
    """Print how long a batch in the middle of a huge epoch takes, each time of another epoch."""
    seconds = []
    for epoch in range(rounds):
        order, key = Shuffled(length), epoch_key(0, epoch, "order")
        start = perf_counter()
        order.indices(key, length // 2, length // 2 + BATCH)
        seconds.append(perf_counter() - start)
    figures: dict[str, float | str] = {"us best": min(seconds) * 1e6, "us median": sorted(seconds)[rounds // 2] * 1e6}
    shuffled = f"shuffles all of it first, in {8 * length / 2**30:.1f} GiB: not run"
    others = [
        Measurement(entry.name, entry.kind, note=shuffled)
        for entry in contenders(1, RIVALS)[1:]
        if entry.run is not None
    ]
    title = f"the batch in the middle of an epoch of n = {length:,}"
    show(Comparison(title, (Measurement("headrace Shuffled.indices", figures=figures), *others)))


def main() -> None:
    """Run all of it."""
    smoke = begin("time and memory of the shuffled order")
    show_works("shuffle", smoke=smoke)
    for length in (10_000,) if smoke else (10**4, 10**6, 10**7):
        print_memory(length)
    print_middle(10**9, 3 if smoke else 100)


if __name__ == "__main__":
    main()
