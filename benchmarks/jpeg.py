"""Photographs in JPEG files, from their bytes to normalised planes of float32.

    python -m benchmarks.jpeg [--smoke]

All contenders have two cores. What is measured is in `headrace.bench.workloads.jpeg`: `headrace bench jpeg` does the
same. What the process's memory grows by is measured over a virtual dataset of 50 GB.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from benchmarks.common import Comparison, Measurement, begin, show, show_works, touch, use_cores

from headrace import Compose, DataLoader, Dataset, Decode
from headrace.bench.workloads.jpeg import AUGMENT, BATCH, THREADS, photograph

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Virtual(Dataset[tuple[bytes, int]]):
    """Half a million samples that are all one file: 50 GB, none of which lies anywhere."""

    def __init__(self, file: bytes) -> None:
        self.file = file

    def __len__(self) -> int:
        return 500_000

    def __getitem__(self, index: int, /) -> tuple[bytes, int]:
        return self.file, index

    def get_batch(self, indices: NDArray[np.int64]) -> tuple[list[bytes], NDArray[np.int64]]:
        return [self.file] * len(indices), indices


def print_memory(file: bytes, batches: int) -> None:
    """What the peak of memory grows by from the tenth batch on."""
    dataset = Virtual(file).map(Compose([Decode(), *AUGMENT]), field=0)
    with DataLoader(dataset, BATCH, shuffle=True, num_workers=THREADS, backend="thread") as loader:
        epoch = iter(loader)
        for number, batch in zip(range(batches), epoch, strict=False):
            touch(batch)
            if number == min(9, batches - 1):
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    size = len(file) * len(dataset) / 1e9
    figures: dict[str, float | str] = {"MB more": grown / 1024}
    show(
        Comparison(
            f"{batches} batches of a virtual dataset of {size:.0f} GB", (Measurement("headrace", figures=figures),)
        )
    )


if __name__ == "__main__":
    use_cores(2)
    smoke = begin("photographs in JPEG files")
    show_works("jpeg", smoke=smoke)
    print_memory(photograph(375, 500, 0), 12 if smoke else 400)
