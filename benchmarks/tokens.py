"""Batches of windows of tokens: uint16 in a file, int64 inputs and targets in memory.

    python -m benchmarks.tokens [--smoke]

What is measured is in `headrace.bench.workloads.tokens`: `headrace bench tokens` does the same.
"""

from __future__ import annotations

from benchmarks.common import begin, show_works

if __name__ == "__main__":
    show_works("tokens", smoke=begin("windows of tokens"))
