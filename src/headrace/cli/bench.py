"""`headrace bench`: workloads measured beside the rivals that are installed, all in one run."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from headrace.bench.machine import describe, machine, versions
from headrace.bench.results import show_number
from headrace.bench.rivals import RIVALS, installed, read_names
from headrace.bench.text import as_text, behind_as_text
from headrace.bench.workloads import WORKLOADS, works_of
from headrace.cli.output import check_output
from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from headrace.bench.results import Comparison

__all__ = ["run"]

_BAR = 40  # characters
_BLOCKS = {"headrace": "█", "rival": "▓", "limit": "░"}
_PLAIN = {"headrace": "#", "rival": "=", "limit": "."}


def run(
    workloads: Sequence[str],
    *,
    against: str | None = None,
    seconds: float = 10,
    target: str | None = None,
    smoke: bool = False,
) -> int:
    """Measure workloads, and print a table and bars of each.

    Args:
        workloads: their names; all if there are none.
        against: names of rivals with commas between them; by default those that are installed.
        seconds: for each table; a contender that takes its part of them in a round makes one that counts.
        target: a file for the results as JSON.
        smoke: with tiny sizes, to see that it runs.

    Returns:
        1 if a contender does other work than the others, else 0.

    Raises:
        ArgumentError: there is no such workload or rival, a rival is not installed, or the seconds are not positive.
    """
    names = _names(workloads)
    if not seconds > 0:
        raise ArgumentError(f"seconds must be greater than 0, got {seconds:g}")
    wanted = installed() if against is None else read_names(against)
    if target is not None:
        check_output(target)
    print(describe())
    print(f"against {', '.join(name for name in RIVALS if name in wanted)}")
    if against is None and (absent := [name for name in RIVALS if name not in wanted]):
        print(f"not installed: {', '.join(absent)}")
    found = {name: _measure(name, wanted, seconds, smoke=smoke) for name in names}
    tables = [table for of_name in found.values() for table in of_name]
    print("\n" + ("smoke run: the figures mean nothing" if smoke else behind_as_text(_places(tables))))
    if target is not None:
        Path(target).write_text(json.dumps(_saved(found), indent=1) + "\n", encoding="utf-8")
        print(f"the results are in {target}")
    return 1 if any(table.differs for table in tables) else 0


def _names(workloads: Sequence[str]) -> list[str]:
    for name in workloads:
        if name not in WORKLOADS:
            raise ArgumentError(f"there is no workload {name!r}; allowed are {', '.join(WORKLOADS)}")
    return list(dict.fromkeys(workloads)) or list(WORKLOADS)


def _measure(name: str, wanted: Collection[str], seconds: float, *, smoke: bool) -> list[Comparison]:
    """Race all of a workload; a piece of work in which headrace has nobody beside it is raced as well."""
    tables = []
    with TemporaryDirectory() as folder:
        works = works_of(name, Path(folder), wanted, smoke=smoke)
        with _status(f"{name}: making its data") as say:
            for work in works:
                say(f"{name}: {work.title}")
                tables.append(work.run(seconds))
                say("")
                _show(name, tables[-1])
                say(f"{name}: making its data")
    return tables


def _show(name: str, table: Comparison) -> None:
    print(f"\n{name}: {as_text(table)}")
    print("\n".join(_bars(table)), flush=True)


def _bars(table: Comparison) -> list[str]:
    """Return a line for each contender that was timed: the longer, the quicker."""
    timed = [(result, result.seconds) for result in table.results if result.seconds]
    if len(timed) < 2:
        return []
    least = min(seconds for _, seconds in timed)
    width = max(len(result.name) for result, _ in timed)
    blocks = _BLOCKS if "utf" in (sys.stdout.encoding or "").lower() else _PLAIN
    return [
        f"  {result.name.ljust(width)}  {blocks[result.kind] * max(1, round(_BAR * least / seconds))} "
        f"{show_number(least / seconds)}"
        for result, seconds in timed
    ]


def _places(tables: Sequence[Comparison]) -> Iterator[Any]:
    return (place for table in tables for place in table.behind())


def _saved(found: dict[str, list[Comparison]]) -> dict[str, Any]:
    """Return the results as they are saved: the same layout as that of `benchmarks/results.json`."""
    benchmarks = [{"name": name, "tables": [table.to_dict() for table in tables]} for name, tables in found.items()]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"date": now, "machine": machine(), "versions": versions(), "benchmarks": benchmarks}


@contextmanager
def _status(text: str) -> Iterator[Any]:
    """Show what is being done, on a terminal; yield a function that changes the text."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    if find_spec("rich") is None:
        yield partial(print, file=sys.stderr)
        return
    from rich.console import Console

    with Console(stderr=True).status(text) as status:
        yield status.update
