"""Rows of arrays in memory, shuffled, in batches: what a tabular model or a small image set needs.

    python -m benchmarks.table [--smoke]

Every contender goes through a full epoch and touches each batch. The bare loops are the floor: a permutation, and one
indexing for each array and batch, without anything that makes a loader of it. The last column has headrace's time
against its aim: nine tenths of the speed of the loop with `np.take(out=)`, which overwrites each batch with the next,
in batches of 128 and 256, and all of it in larger ones. At most 1 is well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.common import Contender, begin, print_table, race, rate, rival, touch

from headrace import DataLoader, TensorDataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

torch: Any = rival("torch")
data: Any = rival("torch.utils.data")
OURS, WITH_TORCH, FLOOR = "headrace, ndarrays", "headrace, tensors", "bare loop, np.take(out=)"


@dataclass(frozen=True)
class Case:
    """One table of the benchmark."""

    title: str
    shape: tuple[int, ...]
    dtype: str
    batch: int
    aim: float = 1.0  # the speed of the bare loop with out=, of which headrace's ndarrays are to have so much


def contenders(x: NDArray[Any], y: NDArray[Any], batch: int, aim: float) -> list[Contender]:
    """All the ways to go through the rows: first with ndarrays, then with tensors."""
    entries = [
        Contender(OURS, _epochs(DataLoader(TensorDataset(x, y), batch, shuffle=True)), most=1 / aim, against=FLOOR),
        Contender("bare NumPy loop", _numpy_loop(x, y, batch), against=OURS),
        Contender(FLOOR, _take_loop(x, y, batch), against=OURS, limit=True),
    ]
    if not torch:
        return [*entries, *(Contender(name, None) for name in ("torch DataLoader", "torch DataLoader, whole batches"))]
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    rows = data.TensorDataset(a, b)
    batches = data.BatchSampler(data.RandomSampler(rows), batch, drop_last=False)
    whole = data.DataLoader(rows, sampler=batches, batch_size=None)  # each "sample" is a batch of indices
    return [
        *entries,
        Contender(WITH_TORCH, _epochs(DataLoader(TensorDataset(a, b), batch, shuffle=True))),
        Contender("bare torch loop", _torch_loop(a, b, batch), against=WITH_TORCH),
        Contender("torch DataLoader", _epochs(data.DataLoader(rows, batch, shuffle=True)), against=WITH_TORCH),
        Contender("torch DataLoader, whole batches", _epochs(whole), against=WITH_TORCH),
    ]


def _epochs(loader: Iterable[Any]) -> Callable[[], None]:
    def run() -> None:
        for batch in loader:
            touch(batch)

    return run


def _numpy_loop(x: NDArray[Any], y: NDArray[Any], size: int) -> Callable[[], None]:
    rng = np.random.default_rng(0)

    def run() -> None:
        order = rng.permutation(len(x))
        for start in range(0, len(x), size):
            rows = order[start : start + size]
            batch = x[rows], y[rows]  # kept until the next one is there, as in a training loop
            touch(batch)

    return run


def _take_loop(x: NDArray[Any], y: NDArray[Any], size: int) -> Callable[[], None]:
    rng = np.random.default_rng(0)
    out = np.empty((size, *x.shape[1:]), x.dtype), np.empty(size, y.dtype)

    def run() -> None:
        order = rng.permutation(len(x))
        for start in range(0, len(x), size):
            rows = order[start : start + size]
            batch = [np.take(array, rows, 0, out=to[: len(rows)]) for array, to in zip((x, y), out, strict=True)]
            touch(batch)  # it is gone with the next one, which no loader may do

    return run


def _torch_loop(x: Any, y: Any, size: int) -> Callable[[], None]:
    def run() -> None:
        order = torch.randperm(len(x))
        for start in range(0, len(x), size):
            rows = order[start : start + size]
            batch = x[rows], y[rows]  # kept until the next one is there, as in a training loop
            touch(batch)

    return run


def main() -> None:
    """Run all of it."""
    smoke = begin("batches of rows in memory")
    scale = 500 if smoke else 1
    rows, photos, tiny = 1_000_000 // scale, 50_000 // scale, 100_000 // scale
    large = 1024 // min(scale, 64)
    cases = [
        Case(f"{rows:,} x 64 float32 and a label, batch 128", (rows, 64), "f4", 128, 0.9),
        Case(f"{rows:,} x 64 float32 and a label, batch 256", (rows, 64), "f4", 256, 0.9),
        Case(f"{rows:,} x 64 float32 and a label, batch 1024", (rows, 64), "f4", 1024),
        Case(f"{rows:,} x 64 float32 and a label, batch 4096", (rows, 64), "f4", 4096),
        Case(f"{photos:,} x 3x32x32 uint8 and a label, batch 128", (photos, 3, 32, 32), "u1", 128),
        Case(f"{large:,} x 3x224x224 float32 and a label, batch 64", (large, 3, 224, 224), "f4", 64),
        Case(f"{tiny:,} x 8 float32 and a label, batch 2", (tiny, 8), "f4", 2),
    ]
    rng = np.random.default_rng(0)
    for case in cases:
        x = rng.integers(0, 256, case.shape, np.uint8).astype(case.dtype)
        y = rng.integers(0, 10, len(x))
        megabytes, entries = (x.nbytes + y.nbytes) / 1e6, contenders(x, y, case.batch, case.aim)
        figures = {"krows/s": rate(len(x) / 1e3), "MB/s": rate(megabytes)}
        print_table(case.title, entries, race(entries, 1 if smoke else 7), figures)


if __name__ == "__main__":
    main()
