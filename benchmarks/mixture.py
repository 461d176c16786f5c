"""The first batch of ten weighted sources of 10^9 samples each, shuffled in full.

    python -m benchmarks.mixture [--smoke]

What is measured is in `headrace.bench.workloads.mixture`: `headrace bench mixture` does the same.
"""

from __future__ import annotations

from benchmarks.common import begin, show_works

if __name__ == "__main__":
    show_works("mixture", smoke=begin("the first batch of a mixture"))
