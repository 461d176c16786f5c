"""What the benchmarks share: contenders that take turns, and tables of what they took.

Figures of one machine at one time compare only with each other, so all contenders of a table run in the same process,
one after the other in each round. A table shows the best and the median round, and ratios of medians.
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
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

import headrace
from headrace import kernels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Contender", "begin", "machine", "per", "print_table", "race", "rate", "rival", "touch"]


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Args:
        name: what the table calls it.
        run: does the work once; None where it cannot be run here.
        note: shown in place of figures where it cannot be run.
    """

    name: str
    run: Callable[[], object] | None
    note: str = "not installed"


def begin(description: str) -> bool:
    """Print the command and the machine; return whether this is a smoke run."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--smoke", action="store_true", help="tiny sizes, to see that it runs; the figures mean nothing"
    )
    smoke = bool(parser.parse_args().smoke)
    name = Path(sys.argv[0]).stem
    print("$", shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]))
    print(machine())
    if smoke:
        print("smoke run: the figures mean nothing")
    return smoke


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


def race(contenders: Sequence[Contender], rounds: int) -> dict[str, list[float]]:
    """Let the contenders take turns, after one round that does not count.

    Returns:
        The seconds of each round, for each contender that could be run.
    """
    seconds: dict[str, list[float]] = {entry.name: [] for entry in contenders if entry.run is not None}
    for number in range(rounds + 1):
        for entry in contenders:
            if entry.run is None:
                continue
            start = perf_counter()
            entry.run()
            took = perf_counter() - start
            if number:
                seconds[entry.name].append(took)
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

    Args:
        title: what the work is.
        contenders: all of them, also those that could not be run.
        seconds: the result of `race`.
        figures: what to show of the best round and of the median one, as a text for its seconds.
    """
    first = statistics.median(seconds[contenders[0].name])
    header = ["", *(f"{name} {which}" for name in figures for which in ("best", "median")), "time"]
    rows = [header]
    for entry in contenders:
        rounds = seconds.get(entry.name)
        if rounds is None:
            rows.append([entry.name, entry.note])
            continue
        middle = statistics.median(rounds)
        cells = [show(took) for show in figures.values() for took in (min(rounds), middle)]
        rows.append([entry.name, *cells, f"x {middle / first:.2f}"])
    print(f"\n{title}")
    _print_aligned(rows)


def touch(batch: Iterable[Any]) -> None:
    """Read a number of each field of a batch, as cheaply for a tensor as for an array."""
    for field in batch:
        (field if isinstance(field, np.ndarray) else field.numpy()).item(-1)


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
