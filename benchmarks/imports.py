"""How long an import takes, each in a fresh interpreter.

    python -m benchmarks.imports [--smoke]

What NumPy itself takes is left out: whoever loads data with it has imported it anyway.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from time import perf_counter

from benchmarks.common import begin

STATEMENTS = {
    "python alone": "pass",
    "numpy": "import numpy",
    "numpy, headrace": "import numpy, headrace",
    "numpy, DataLoader": "import numpy; from headrace import DataLoader, TensorDataset",
    "numpy, torch.utils.data": "import numpy, torch.utils.data",
}


AIMS = {"numpy, headrace": 40, "numpy, DataLoader": 40}  # milliseconds on top of NumPy


def seconds_of(statement: str) -> float | None:
    """How long an interpreter takes that runs the statement; None where that fails."""
    start = perf_counter()
    done = subprocess.run([sys.executable, "-c", statement], check=False, capture_output=True)  # noqa: S603
    return None if done.returncode else perf_counter() - start


def main() -> None:
    """Run all of it."""
    smoke = begin("import times")
    rounds: dict[str, list[float]] = {}
    missing = set()
    for number in range(2 if smoke else 16):
        for name, statement in STATEMENTS.items():
            took = None if name in missing else seconds_of(statement)
            if took is None:
                missing.add(name)
            elif number:  # the first round fills the disk's cache
                rounds.setdefault(name, []).append(took)
    best = {name: min(of_name) for name, of_name in rounds.items()}
    median = {name: statistics.median(of_name) for name, of_name in rounds.items()}
    print(f"\n{'import':25}  {'best':>8}  {'median':>8}  {'on top of numpy':>15}  {'/ aim':>6}")
    for name in STATEMENTS:
        if name in missing:
            print(f"{name:25}  not installed")
            continue
        on_top = (median[name] - median["numpy"]) * 1e3
        extra = f"{on_top:12.0f} ms" if "," in name else ""
        extra += f"  {on_top / AIMS[name]:6.2f}" if name in AIMS else ""
        print(f"{name:25}  {best[name] * 1e3:5.0f} ms  {median[name] * 1e3:5.0f} ms  {extra}".rstrip())


if __name__ == "__main__":
    main()
