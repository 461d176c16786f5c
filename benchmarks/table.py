"""Rows of arrays in memory, shuffled, in batches: what a tabular model or a small image set needs.

    python -m benchmarks.table [--smoke]

Every contender goes through a full epoch and touches each batch. The bare loops are the floor: a permutation, and one
indexing for each array and batch, without anything that makes a loader of it. The last column has headrace's time
against its aim: nine tenths of the speed of the loop with `np.take(out=)`, which overwrites each batch with the next,
in batches of 128 and 256, and all of it in larger ones. At most 1 is well. What is measured is in
`headrace.bench.workloads.table`: `headrace bench table` does the same.
"""

from __future__ import annotations

from benchmarks.common import begin, show_works

if __name__ == "__main__":
    show_works("table", smoke=begin("batches of rows in memory"))
