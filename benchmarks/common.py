"""What the benchmarks share: contenders that take turns, and tables of what they took.

Figures of one machine at one time compare only with each other, so all contenders of a table run in the same process,
one after the other in each round. A table shows the best and the median round, how far rounds are apart, the seconds of
CPU and the memory that was added at the peak (in a round that does not count), and ratios of medians. Where memory is
what matters, each contender has a process of its own instead.

`python -m benchmarks` runs all of them. It sets two variables of the environment: `HEADRACE_BENCH_RESULTS`, a file to
which each table is added as a line of JSON, and `HEADRACE_BENCH_SECONDS`, after which a table begins no new round.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from headrace.bench import race as racing
from headrace.bench.machine import describe, use_cores
from headrace.bench.processes import count_descriptors, family, private_memory, proportional_memory
from headrace.bench.race import Contender, Rounds, rival, steady, stopwatch, touch
from headrace.bench.results import Comparison, Measurement, per, rate, table_of
from headrace.bench.rivals import RIVALS
from headrace.bench.text import as_text
from headrace.bench.workloads import works_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = [
    "RESULTS",
    "SECONDS",
    "Comparison",
    "Contender",
    "Measurement",
    "Same",
    "begin",
    "begin_with",
    "count_descriptors",
    "family",
    "fewer",
    "per",
    "print_table",
    "private_memory",
    "proportional_memory",
    "race",
    "rate",
    "rival",
    "show",
    "show_works",
    "steady",
    "touch",
    "use_cores",
]

RESULTS, SECONDS = "HEADRACE_BENCH_RESULTS", "HEADRACE_BENCH_SECONDS"


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
    print(describe())
    if options.smoke:
        print("smoke run: the figures mean nothing")
    return options


def race(
    contenders: Sequence[Contender], rounds: int, measure: Callable[[Callable[[], Any]], float] = stopwatch
) -> dict[str, Rounds]:
    """Let the contenders take turns, for as long as the environment allows: see `headrace.bench.race`."""
    return racing.race(contenders, rounds, measure, limit=_limit())


def _limit() -> float | None:
    seconds = os.environ.get(SECONDS)
    return None if seconds is None else float(seconds)


def fewer(rounds: int) -> int:
    """Return how many rounds a benchmark makes that counts them itself: a third where time is bounded."""
    return rounds if _limit() is None else max(2, rounds // 3)


def show_works(name: str, *, smoke: bool, without: Sequence[str] = ()) -> None:
    """Race all of a workload against all rivals, and print its tables.

    Args:
        name: of the workload, as `headrace bench` has it.
        smoke: whether sizes are tiny.
        without: rivals that do not take part.
    """
    with TemporaryDirectory() as folder:
        for work in works_of(name, Path(folder), RIVALS.keys() - set(without), smoke=smoke):
            show(work.run(_limit()))


def print_table(
    title: str,
    contenders: Sequence[Contender],
    seconds: Mapping[str, Rounds],
    figures: Mapping[str, Callable[[float], float | str]],
) -> None:
    """Print one line a contender. The first one is what the others are compared with.

    Where there are aims, the last column says what the first contender takes in times of its aim, or what this one does
    in times of the most that it is to take: at most 1 is well.

    Args:
        title: what the work is.
        contenders: all of them, also those that could not be run.
        seconds: the result of `race`.
        figures: what to show of the best round and of the median one, for its seconds.
    """
    show(table_of(title, contenders, seconds, figures))


def show(table: Comparison) -> None:
    """Print a table, and add it to the results that are collected."""
    print(f"\n{as_text(table)}", flush=True)
    collected = os.environ.get(RESULTS)
    if collected:
        with Path(collected).open("a", encoding="utf-8") as file:
            file.write(json.dumps(table.to_dict()) + "\n")
