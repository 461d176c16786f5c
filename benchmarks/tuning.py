"""Compare the settings that are found, by `headrace tune` and by `num_workers="auto"`, with the best of a full grid.

Three workloads: photographs that are decoded, samples that Python computes and waits for, and rows that are gathered
from memory; each with a consumer that takes no time, and with one that waits as for an accelerator. The grid has each
kind of workers, some numbers of them up to twice the cores, or to sixteen where loading waits, and three depths of
prefetching, all of which are run for some seconds. What it finds best, what `tune` does, and "auto" then take turns.

    python -m benchmarks.tuning [--smoke]
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.common import Comparison, Measurement, begin, fewer, rival, show

from headrace import Compose, DataLoader, Dataset, ImageDataset, TensorDataset
from headrace.bench.workloads.jpeg import AUGMENT, photograph
from headrace.insight.profile import profile_loader
from headrace.insight.tune import Setting, candidates, tune
from headrace.kernels.cores import available_cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.insight.tune import Trial

GRID_SECONDS = 2.0  # of each setting, from its first batch on
FIRST_SECONDS = 0.3  # of each setting in the first round of tune
WAITS = 0.5  # processors that a load keeps busy at most, where more workers than processors are of use
SETTLING = 10.0  # seconds that "auto" has to find its workers
RUN = 4.0  # seconds of each of the runs that are compared
ROUNDS = 5
GRID, TUNE, AUTO = "best of the grid", "headrace tune", 'num_workers="auto"'
AIM_OF_TUNE, AIM_OF_AUTO, AIM_OF_TIME = 0.10, 0.15, 0.2


class Computed(Dataset["NDArray[np.float32]"]):
    """Computes each sample in Python, and waits for a part of it as for a file."""

    def __len__(self) -> int:
        return 4000

    def __getitem__(self, index: int, /) -> NDArray[np.float32]:
        sleep(0.001)
        total = 0
        for number in range(10_000):
            total += number * index
        return np.full(1000, total % 255, np.float32)


@dataclass(frozen=True)
class Workload:
    """A dataset, and what takes its batches.

    Args:
        name: in the table.
        dataset: the samples.
        batch_size: how many a batch.
        consumer: seconds that the consumer waits for each batch.
    """

    name: str
    dataset: Any
    batch_size: int
    consumer: float = 0.0

    def loader(self, **workers: Any) -> DataLoader[Any]:
        """Return a loader of it."""
        options = {**workers, "persistent_workers": bool(workers.get("num_workers"))}
        return DataLoader(self.dataset, self.batch_size, shuffle=True, seed=0, **options)

    def consume(self, batch: Any) -> None:
        """Take a batch."""
        if self.consumer:
            sleep(self.consumer)


def workloads(folder: Path, *, smoke: bool) -> list[Workload]:
    """Make the datasets."""
    found = [
        Workload("computed in Python", Computed(), 16, 0.03),
        Workload("rows in memory", TensorDataset(np.zeros((200_000, 1000), np.float32)), 1024, 0.002),
    ]
    if rival("PIL.Image"):
        files = [photograph(375, 500, number) for number in range(4 if smoke else 40)]
        paths = [folder / f"{number}.jpg" for number in range(32 if smoke else 400)]
        for number, path in enumerate(paths):
            path.write_bytes(files[number % len(files)])
        photos = ImageDataset(paths, np.arange(len(paths)), transform=Compose(AUGMENT))
        found = [Workload("photographs", photos, 32, 0.03), *found]
    return [*(replace(work, consumer=0.0) for work in found), *found]


def run_for(loader: DataLoader[Any], work: Workload, seconds: float) -> float:
    """Take batches for so long, from the first one on; return how many a second."""
    count, start, now = -1, 0.0, 0.0
    while True:
        for batch in loader:
            work.consume(batch)
            now = perf_counter()
            start = start or now
            count += 1
            if now - start >= seconds and count > 0:
                return count / (now - start)


def make_grid(most: int) -> list[Setting]:
    """Return the settings with up to so many workers."""
    counts = [count for count in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32) if count <= most]
    some = [Setting(count, kind, depth) for kind in ("thread", "process") for count in counts for depth in (1, 2, 4)]
    return [Setting(), *some]


def run_grid(work: Workload, settings: list[Setting], seconds: float) -> tuple[Setting, float]:
    """Run each setting; return the best, and how long it took to find it."""
    start, rates = perf_counter(), {}
    for setting in settings:
        profile = profile_loader(work.loader(**setting.arguments()), work.consume, seconds=seconds, after_start=True)
        rates[setting] = profile.stats.batches / profile.seconds
    return max(rates, key=rates.__getitem__), perf_counter() - start


def run_tune(work: Workload, seconds: float, most: int | None) -> tuple[list[Trial], float, bool]:
    """Let `tune` find a setting as the command does; return its trials, how long it took, and whether loading waits."""
    start = perf_counter()
    first = profile_loader(work.loader(), work.consume, seconds=seconds, after_start=True).stats
    trials = tune(
        lambda setting: work.loader(**setting.arguments()),
        work.consume,
        candidates(busy_cores=first.busy_cores)[:most],
        seconds=seconds,
        measured=first.measured(),
    )
    return trials, perf_counter() - start, first.busy_cores < WAITS


def compare(work: Workload, *, smoke: bool) -> Comparison:
    """Search in all ways, then let what they found take turns."""
    scale = 0.02 if smoke else 1.0
    trials, tune_took, waits = run_tune(work, scale * FIRST_SECONDS, 2 if smoke else None)
    settings = make_grid(16 if waits else 2 * available_cores())
    best, grid_took = run_grid(work, settings[:2] if smoke else settings, scale * GRID_SECONDS)
    with (
        closing(work.loader(**best.arguments())) as grid,
        closing(work.loader(**trials[0].setting.arguments())) as tuned,
        closing(work.loader(num_workers="auto")) as auto,
    ):
        run_for(auto, work, scale * SETTLING)
        rates = take_turns(work, {GRID: grid, TUNE: tuned, AUTO: auto}, scale * RUN, 1 if smoke else fewer(ROUNDS))
        told = auto.stats().settings
    in_use = Setting(told.num_workers, told.backend, told.in_flight // (told.num_workers or 1))
    share = tune_took / grid_took
    lines = (
        line(GRID, rates, best, f"{grid_took:.1f} s"),
        line(TUNE, rates, trials[0].setting, f"{tune_took:.1f} s ({share:.0%})", AIM_OF_TUNE, share / AIM_OF_TIME),
        line(AUTO, rates, in_use, "while it runs", AIM_OF_AUTO),
    )
    consumer = f"a consumer of {work.consumer * 1e3:g} ms" if work.consumer else "no consumer"
    return Comparison(f"{work.name}, {consumer}, {len(settings)} settings", lines)


def take_turns(
    work: Workload, loaders: dict[str, DataLoader[Any]], seconds: float, rounds: int
) -> dict[str, list[float]]:
    """Return the batches a second of each loader in each round."""
    rates: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(rounds):
        for name, loader in loaders.items():
            rates[name].append(run_for(loader, work, seconds))
    return rates


def line(
    name: str, rates: dict[str, list[float]], setting: Setting, took: str, aim: float | None = None, *aims: float
) -> Measurement:
    """Return a line of the table; its aim is to be so little behind the best of the grid, and others."""
    mine, top = median(rates[name]), median(rates[GRID])
    figures: dict[str, float | str] = {"batches/s": mine, "of the best": f"{mine / top:.0%}", "search": took}
    return Measurement(
        name,
        figures={**figures, "setting": str(setting)},
        rounds=len(rates[name]),
        aims=() if aim is None else ((1 - aim) * top / mine, *aims),
        aim="" if aim is None else f"{1 - aim:.0%} of the best" + (" in a fifth of the grid's time" if aims else ""),
    )


def main() -> None:
    """Show a table for each workload."""
    smoke = begin("settings that are found, and the best of a grid")
    with TemporaryDirectory() as folder:
        for work in workloads(Path(folder), smoke=smoke):
            show(compare(work, smoke=smoke))


if __name__ == "__main__":
    main()
