"""What the benchmarks share: contenders that take turns, and tables of what they took.

Figures of one machine at one time compare only with each other, so all contenders of a table run in the same process,
one after the other in each round. A table shows the best and the median round, and ratios of medians. Where memory is
measured, each contender has a process of its own instead.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import shlex
import statistics
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any

import numpy as np

import headrace
from headrace import kernels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

__all__ = [
    "Contender",
    "Same",
    "begin",
    "begin_with",
    "count_descriptors",
    "family",
    "machine",
    "per",
    "print_table",
    "private_memory",
    "proportional_memory",
    "race",
    "rate",
    "rival",
    "steady",
    "touch",
    "use_cores",
]


# Threads of the contender before, which may wait in a loop for more to do, go to sleep meanwhile; in seconds.
_PAUSE = 0.25


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Args:
        name: what the table calls it.
        run: does the work once, or begins it where `steady` measures; None where it cannot be run here.
        note: shown in place of figures where it cannot be run.
        share: how much of the work it does, of what would take too long; its name tells. The figures are scaled up.
        aim: what the first contender is to take at most, in times of this one; None for no aim.
        most: what this one is to take at most, in times of another one; None for no aim.
        against: the name of that one; by default the first of the table.
    """

    name: str
    run: Callable[[], object] | None
    note: str = "not installed"
    share: float = 1
    aim: float | None = None
    most: float | None = None
    against: str = ""


class Same:
    """A dataset whose samples are all one array, and their number: they cost next to nothing to read.

    Args:
        sample: the array.
        length: how many samples there are.
    """

    def __init__(self, sample: NDArray[Any], length: int) -> None:
        self.sample = sample
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[NDArray[Any], int]:
        return self.sample, index


def begin(description: str) -> bool:
    """Print the command and the machine; return whether this is a smoke run."""
    return bool(begin_with(argparse.ArgumentParser(description=description)).smoke)


def begin_with(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Print the command and the machine; return the options, `smoke` among them."""
    parser.add_argument(
        "--smoke", action="store_true", help="tiny sizes, to see that it runs; the figures mean nothing"
    )
    options = parser.parse_args()
    name = Path(sys.argv[0]).stem
    print("$", shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]))
    print(machine())
    if options.smoke:
        print("smoke run: the figures mean nothing")
    return options


def use_cores(count: int) -> None:
    """Leave this process, and those that it starts, so many cores, where the system lets a process choose."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def machine() -> str:
    """The CPU, how many cores this process may use, and the versions of all that takes part."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [_cpu(), f"{cores} cores", f"Python {platform.python_version()}", f"NumPy {np.__version__}"]
    try:
        parts.append(f"torch {version('torch')}")
    except PackageNotFoundError:
        parts.append("no torch")
    return ", ".join([*parts, f"headrace {headrace.__version__} ({kernels.active().name} kernels)"])


def rival(module: str) -> Any:
    """The module of a rival, or None where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def stopwatch(run: Callable[[], object]) -> float:
    """The seconds that all of it takes."""
    start = perf_counter()
    run()
    return perf_counter() - start


def steady(passed_over: int) -> Callable[[Callable[[], Any]], float]:
    """Measure a loader that is under way: what it takes to start and to end, and its first batches, do not count.

    Args:
        passed_over: how many batches.

    Returns:
        A measure for `race`, of contenders whose `run` begins an epoch and returns its iterator. It gives the seconds
        until all other batches were there.
    """

    def seconds(begin_epoch: Callable[[], Iterator[Any]]) -> float:
        batches = begin_epoch()
        for _ in range(passed_over):
            touch(next(batches))
        start = end = perf_counter()
        for batch in batches:
            touch(batch)
            end = perf_counter()
        return end - start

    return seconds


def race(
    contenders: Sequence[Contender], rounds: int, measure: Callable[[Callable[[], Any]], float] = stopwatch
) -> dict[str, list[float]]:
    """Let the contenders take turns, after one round that does not count.

    Args:
        contenders: all of them.
        rounds: how many rounds count.
        measure: runs a contender and gives the seconds that count.

    Returns:
        The seconds of each round, for each contender that could be run; those that all of the work would take.
    """
    seconds: dict[str, list[float]] = {entry.name: [] for entry in contenders if entry.run is not None}
    for number in range(rounds + 1):
        for entry in contenders:
            if entry.run is None:
                continue
            sleep(_PAUSE)
            took = measure(entry.run)
            if number:
                seconds[entry.name].append(took / entry.share)
    return seconds


def rate(amount: float) -> Callable[[float], str]:
    """Show seconds as how much of the amount was done in each."""
    return lambda seconds: f"{amount / seconds:,.0f}"


def per(amount: float, unit: float) -> Callable[[float], str]:
    """Show seconds as how many units of time (1e-6: microseconds) each of the amount took."""
    return lambda seconds: f"{seconds / amount / unit:.2f}"


def print_table(
    title: str,
    contenders: Sequence[Contender],
    seconds: dict[str, list[float]],
    figures: dict[str, Callable[[float], str]],
) -> None:
    """Print one line a contender. The first one is what the others are compared with.

    Where there are aims, the last column says what the first contender takes in times of its aim, or what this one does
    in times of the most that it is to take: at most 1 is well.

    Args:
        title: what the work is.
        contenders: all of them, also those that could not be run.
        seconds: the result of `race`.
        figures: what to show of the best round and of the median one, as a text for its seconds.
    """
    first = statistics.median(seconds[contenders[0].name])
    header = ["", *(f"{name} {which}" for name in figures for which in ("best", "median")), "time"]
    if any(entry.aim is not None or entry.most is not None for entry in contenders):
        header.append("aim")
    rows = [header]
    for entry in contenders:
        rounds = seconds.get(entry.name)
        if rounds is None:
            rows.append([entry.name, entry.note])
            continue
        middle = statistics.median(rounds)
        cells = [show(took) for show in figures.values() for took in (min(rounds), middle)]
        aims = [] if entry.aim is None else [f"x {first / middle / entry.aim:.2f}"]
        other = seconds.get(entry.against or contenders[0].name)
        if entry.most is not None and other is not None:
            aims.append(f"x {middle / statistics.median(other) / entry.most:.2f}")
        rows.append([entry.name, *cells, f"x {middle / first:.2f}", *aims])
    print(f"\n{title}")
    _print_aligned(rows)


def touch(batch: Iterable[Any]) -> None:
    """Read a number of each field of a batch, as cheaply for a tensor as for an array."""
    for field in batch:
        (field if isinstance(field, np.ndarray) else field.numpy()).item(-1)


def family() -> list[int]:
    """The numbers of this process and of all that descend from it; of this one alone where there is no /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The second field, in brackets, is the program's name, which may hold anything.
            parent = int(stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found = [os.getpid()]
    for process in found:
        found += children.get(process, [])
    return found


def proportional_memory(processes: Iterable[int]) -> int:
    """Bytes of memory of the processes, what several of them share counted once; 0 where the system does not say."""
    total = 0
    for process in processes:
        try:
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8")
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024
    return total


def private_memory(process: int) -> int:
    """Bytes of memory of a process that no other has mapped; 0 where the system does not say."""
    try:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8")
    except OSError:
        return 0
    private = [line.split()[1] for line in rollup.splitlines() if line.startswith(("Private_Clean:", "Private_Dirty:"))]
    return sum(map(int, private)) * 1024


def count_descriptors(process: int) -> int:
    """How many open files a process has; 0 where the system does not say."""
    try:
        return sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return 0


def _print_aligned(rows: list[list[str]]) -> None:
    widths = [max(len(row[column]) for row in rows if len(row) > max(column, 2)) for column in range(len(rows[0]))]
    widths[0] = max(len(row[0]) for row in rows)
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=False)]
        print("  " + "  ".join([row[0].ljust(widths[0]), *(cells if len(row) > 2 else row[1:])]).rstrip())


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
