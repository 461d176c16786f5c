"""Rows of an array in memory, gathered at shuffled indices: the kernel alone, without a loader.

    python -m benchmarks.gather [--smoke]

256 MB of rows of 16 bytes to 16 KB, batches of 128 to 4096, read once in turn, so that rows come from memory and not
from a cache. `numpy.take` into an array that is there is the floor: with mode="clip", since "raise" fills a second
array first. Figures are microseconds for a batch, the median of many.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.common import Comparison, Measurement, begin, show

from headrace import kernels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

ROW_BYTES, BATCHES = (16, 64, 256, 1024, 4096, 16384), (128, 256, 1024, 4096)
_COLUMNS = ("take(out=)", "x[rows]", "gather", "prepared")
_BATCHES_AT_MOST = 2_000
_AIM = 1.0  # times what take(out=) needs


def contenders(source: NDArray[Any], size: int) -> list[Callable[[NDArray[np.int64]], object]]:
    """All the ways to gather, in the order of the columns."""
    out = np.empty((size, source.shape[1]), source.dtype)
    active = kernels.active()
    return [
        lambda rows: np.take(source, rows, 0, out, "clip"),
        lambda rows: source[rows],
        lambda rows: active.gather(source, rows, out),
        active.prepare_gather([source], np.empty),
    ]


def medians(
    functions: Sequence[Callable[[NDArray[np.int64]], object]], batches: list[NDArray[np.int64]], calls: int
) -> list[float]:
    """The median seconds of a call of each. They take turns, at batches that no other has just read."""
    seconds = np.empty((calls, len(functions)))
    shift = len(batches) // len(functions)
    for call in range(calls):
        for number, function in enumerate(functions):
            rows = batches[(call + number * shift) % len(batches)]
            start = perf_counter()
            function(rows)
            seconds[call, number] = perf_counter() - start
    medians: list[float] = np.median(seconds, 0).tolist()
    return medians


def result(row_bytes: int, size: int, seconds: list[float]) -> Measurement:
    """A line of the table: microseconds a batch, and headrace's against those of `take`."""
    figures: dict[str, float | str] = {name: took * 1e6 for name, took in zip(_COLUMNS, seconds, strict=True)}
    return Measurement(
        f"headrace, {size} rows of {row_bytes} B", figures=figures, aims=(seconds[3] / seconds[0] / _AIM,), aim="take"
    )


def main() -> None:
    """Run all of it."""
    smoke = begin("rows gathered from memory")
    memory = np.ones(1 << (22 if smoke else 28), np.uint8)
    results = []
    for row_bytes in ROW_BYTES:
        source = memory.reshape(-1, row_bytes)
        order = np.random.default_rng(0).permutation(len(source))
        for size in BATCHES:
            count = min(len(order) // size, _BATCHES_AT_MOST)
            if not count:
                continue
            batches = np.split(order[: count * size], count)
            calls = 5 if smoke else min(2_000, max(20, 100_000_000 // (size * (50 + row_bytes // 8))))
            seconds = medians(contenders(source, size), batches, calls)
            results.append(result(row_bytes, size, seconds))
    show(Comparison("rows gathered from memory, us a batch", tuple(results)))


if __name__ == "__main__":
    main()
