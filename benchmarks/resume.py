"""Going on at 99 % of a shuffled epoch of 10^9 samples: from a saved state to the next batch.

    python -m benchmarks.resume [--smoke]

What is measured is in `headrace.bench.workloads.resume`: `headrace bench resume` does the same.
"""

from __future__ import annotations

from benchmarks.common import begin, show_works

if __name__ == "__main__":
    show_works("resume", smoke=begin("going on from a saved state"))
