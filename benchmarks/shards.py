"""Many tar shards on a server that is a round trip away, shuffled, as from an object store.

    python -m benchmarks.shards [--smoke]

What is measured is in `headrace.bench.workloads.shards`: `headrace bench shards` does the same.
"""

from __future__ import annotations

from benchmarks.common import begin, show_works

if __name__ == "__main__":
    show_works("shards", smoke=begin("shards behind a round trip"))
