"""The results of a run as they are saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.bench.results import Behind, Comparison

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RESULTS_FILE", "behind", "load", "merge", "tables"]

RESULTS_FILE = Path(__file__).parents[1] / "results.json"


def load(path: Path = RESULTS_FILE) -> dict[str, Any]:
    """Return saved results."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def tables(found: dict[str, Any]) -> Iterator[tuple[str, Comparison]]:
    """Yield each table with the name of its benchmark."""
    for benchmark in found["benchmarks"]:
        for saved in benchmark["tables"]:
            yield benchmark["name"], Comparison.from_dict(saved)


def behind(found: dict[str, Any]) -> list[Behind]:
    """Return where headrace is behind another or behind its aim, the farthest first."""
    places = [place for _, table in tables(found) for place in table.behind()]
    return sorted(places, key=lambda place: -place.ratio)


def merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return new results with those old ones of the same machine whose benchmarks are not among the new.

    The versions of rivals that old results have, and that are not installed any more, stay. All are called quick where
    some are.

    Raises:
        SystemExit: the old ones are of another machine, with which the new ones do not compare.
    """
    if old["machine"] != new["machine"]:
        raise SystemExit(
            "the saved results are of another machine: run all benchmarks, or give another file with --out"
        )
    names = {benchmark["name"] for benchmark in new["benchmarks"]}
    kept = [benchmark for benchmark in old["benchmarks"] if benchmark["name"] not in names]
    benchmarks = sorted([*kept, *new["benchmarks"]], key=lambda benchmark: str(benchmark["name"]))
    versions, quick = {**old["versions"], **new["versions"]}, new["quick"] or (bool(kept) and old["quick"])
    return {**new, "versions": versions, "quick": quick, "benchmarks": benchmarks}
