"""Run all benchmarks, save what they found, and say where headrace is behind.

    python -m benchmarks [--quick] [--only NAME,NAME] [--smoke] [--limit SECONDS] [--out FILE]

Each benchmark has a process of its own and a time after which it is ended; what it measured until then is kept. The
results go to benchmarks/results.json, with the machine, the versions and the date, and from there into the documents,
where no figure is typed by hand. The last lines list each rival and each limit that is quicker than headrace, and each
aim that is not reached.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

from benchmarks.suite.documents import write_documents
from benchmarks.suite.results import RESULTS_FILE, behind, load, merge
from benchmarks.suite.run import NAMES, Plan, collect

from headrace.bench.machine import describe
from headrace.bench.text import behind_as_text


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="run all benchmarks and save the results")
    parser.add_argument("--quick", action="store_true", help="few rounds: some ten minutes on two cores")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that all runs; nothing is saved")
    parser.add_argument("--only", metavar="NAMES", help=f"some of {', '.join(NAMES)}; the others' results stay")
    parser.add_argument("--limit", type=float, metavar="SECONDS", help="for each benchmark; default: 1800, quick 120")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"default: {RESULTS_FILE.name} in this folder")
    options = parser.parse_args(arguments)
    options.names = options.only.split(",") if options.only else list(NAMES)
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"--only: there is no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    return options


def save(found: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Write the results, with those of other benchmarks that are there already; return all of them."""
    target = options.out or RESULTS_FILE
    if options.only and target.exists():
        found = merge(load(target), found)
    target.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    written = [target, *(write_documents(found) if target == RESULTS_FILE else [])]
    print(
        "\nwritten:", *(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path for path in written)
    )
    return found


def main() -> int:
    """Run them; return 1 if one failed or was ended, else 0."""
    options = read_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the benchmark that is running is ended, too
    print(describe())
    limit = options.limit or (120 if options.quick or options.smoke else 1800)
    found = collect(options.names, Plan(options.smoke, options.quick, limit), sys.stdout)
    if not options.smoke or options.out:
        save(found, options)
    bad = [f"{each['name']} {each['ended']}" for each in found["benchmarks"] if each["ended"] != "well"]
    print("\n" + ("smoke run: the figures mean nothing" if options.smoke else behind_as_text(behind(found))))
    print("\n".join(bad), end="\n" if bad else "")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
