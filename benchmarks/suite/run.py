"""Run benchmarks, each in a process of its own, and collect their tables."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import IO, TYPE_CHECKING, Any

from benchmarks.common import RESULTS, SECONDS

from headrace.bench.machine import machine, versions

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["NAMES", "Plan", "collect"]

FOLDER = Path(__file__).parents[1]
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("__main__", "common")))
_SHORTER = {"soak": ["--batches", "20000", "--gigabytes", "4", "--deaths", "10"]}  # arguments in a quick run


@dataclass(frozen=True)
class Plan:
    """How to run a benchmark.

    Args:
        smoke: with tiny sizes, to see that it runs.
        quick: with few rounds.
        limit: seconds after which it is ended; what it has measured until then is kept.
    """

    smoke: bool = False
    quick: bool = False
    limit: float = 1800

    @property
    def seconds(self) -> float | None:
        """Return the seconds after which a table begins no new round."""
        return 3 if self.quick else None

    def arguments(self, name: str) -> list[str]:
        """Return what a benchmark is called with."""
        return ["--smoke"] if self.smoke else _SHORTER.get(name, []) if self.quick else []


def collect(names: Iterable[str], plan: Plan, shown: IO[str]) -> dict[str, Any]:
    """Run the benchmarks one after the other.

    Args:
        names: which.
        plan: how.
        shown: where progress is written, a line a benchmark.

    Returns:
        What is saved: the machine, the versions, the date, and of each benchmark its tables and how it ended.
    """
    names = list(names)
    benchmarks = []
    for number, name in enumerate(names, 1):
        print(f"[{number:2}/{len(names)}] {name:12}", end="", file=shown, flush=True)
        found = _run(name, plan)
        benchmarks.append(found)
        took = f"{found['seconds']:6.0f} s ({found['cpu']:4.0f} s of CPU)"
        print(f"{took}  {len(found['tables']):2} tables  {found['ended']}", file=shown, flush=True)
    return {"date": _now(), "quick": plan.quick, "machine": machine(), "versions": versions(), "benchmarks": benchmarks}


def _run(name: str, plan: Plan) -> dict[str, Any]:
    start, before = monotonic(), os.times()
    command = [sys.executable, "-m", f"benchmarks.{name}", *plan.arguments(name)]
    with TemporaryDirectory() as folder:
        results = Path(folder, "tables")
        environment = {**os.environ, RESULTS: str(results)}
        if plan.seconds is not None:
            environment[SECONDS] = str(plan.seconds)
        ended = _call(command, environment, plan.limit, Path(folder, "errors"))
        lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    took, after = round(monotonic() - start, 1), os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    tables = [json.loads(line) for line in lines]
    return {"name": name, "date": _now(), "seconds": took, "cpu": round(cpu, 1), "ended": ended, "tables": tables}


def _call(command: list[str], environment: dict[str, str], limit: float, errors: Path) -> str:
    """Run a command for so long at most; return how it ended."""
    with errors.open("w+", encoding="utf-8") as file:
        process = subprocess.Popen(  # noqa: S603 - a module of this folder
            command, cwd=FOLDER.parent, env=environment, stdout=subprocess.DEVNULL, stderr=file, start_new_session=True
        )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            return f"was ended after {limit:g} s"
        finally:
            _end(process)
        file.seek(0)
        last = (file.read().strip().splitlines() or [""])[-1]
    return "well" if code == 0 else f"failed with exit code {code}: {last}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it with all that it has started, which share its session."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
