"""The whole augmentation of CIFAR-10, from bytes to normalised planes of float32.

    python -m benchmarks.images [--smoke]

All contenders have two cores. What is measured is in `headrace.bench.workloads.images`: `headrace bench images` does
the same.
"""

from __future__ import annotations

from benchmarks.common import begin, show_works, use_cores

if __name__ == "__main__":
    use_cores(2)
    show_works("images", smoke=begin("the augmentation of CIFAR-10"))
