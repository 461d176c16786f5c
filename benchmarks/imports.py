"""How long an import takes, each in a fresh interpreter.

    python -m benchmarks.imports [--smoke]

What NumPy itself takes is left out: whoever loads data with it has imported it anyway.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from time import perf_counter

from benchmarks.common import Comparison, Measurement, begin, fewer, show

STATEMENTS = {
    "python alone": "pass",
    "numpy": "import numpy",
    "numpy, headrace": "import numpy, headrace",
    "numpy, DataLoader": "import numpy; from headrace import DataLoader, TensorDataset",
    "numpy, torch.utils.data": "import numpy, torch.utils.data",
}
NOTE = "not installed"
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
    for number in range(2 if smoke else 1 + fewer(15)):
        for name, statement in STATEMENTS.items():
            took = None if name in missing else seconds_of(statement)
            if took is None:
                missing.add(name)
            elif number:  # the first round fills the disk's cache
                rounds.setdefault(name, []).append(took)
    median_of_numpy = statistics.median(rounds["numpy"])
    results = [
        result(name, rounds[name], median_of_numpy) if name not in missing else Measurement(name, "rival", note=NOTE)
        for name in STATEMENTS
    ]
    show(Comparison("an import in a fresh interpreter", tuple(results)))


def result(name: str, seconds: list[float], of_numpy: float) -> Measurement:
    """A line of the table."""
    median = statistics.median(seconds)
    on_top = (median - of_numpy) * 1e3
    figures: dict[str, float | str] = {"ms best": min(seconds) * 1e3, "ms median": median * 1e3}
    if "," in name:
        figures["ms on top of numpy"] = on_top
    aims = (on_top / AIMS[name],) if name in AIMS else ()
    kind = "headrace" if name in AIMS else "rival" if "torch" in name else "limit"
    return Measurement(name, kind, figures, rounds=len(seconds), aims=aims, aim="40 ms on top of NumPy")


if __name__ == "__main__":
    main()
