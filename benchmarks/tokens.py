"""Batches of windows of tokens: uint16 in a file, int64 inputs and targets in memory.

    python -m benchmarks.tokens [--smoke]

32 windows of 1,024 tokens a batch, of a file that lies in the system's cache, in random order. nanoGPT's `get_batch` is
written as its train.py has it; plain slices go row by row to two buffers that are there, and are the floor of what
Python and NumPy do without a new array.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.common import Contender, begin, print_table, race, rate, rival

from headrace import DataLoader, TokenDataset

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH, LENGTH = 32, 1024
torch: Any = rival("torch")


def batches(path: Path, steps: int) -> Callable[[], None]:
    """Batches of a loader, shuffled, as a training takes them."""
    loader = DataLoader(TokenDataset(path, LENGTH, np.uint16), BATCH, shuffle=True, seed=0, drop_last=True)

    def run() -> None:
        for step, _ in enumerate(loader, 1):
            if step == steps:
                break

    return run


def get_batch(path: Path, steps: int) -> Callable[[], None]:
    """The lines of nanoGPT."""

    def run() -> None:
        for _ in range(steps):
            data = np.memmap(path, np.uint16, "r")
            ix = torch.randint(len(data) - LENGTH, (BATCH,))
            torch.stack([torch.from_numpy(data[i : i + LENGTH].astype(np.int64)) for i in ix])
            torch.stack([torch.from_numpy(data[i + 1 : i + 1 + LENGTH].astype(np.int64)) for i in ix])

    return run


def slices(path: Path, steps: int) -> Callable[[], None]:
    """Rows of buffers that are there."""
    data = np.asarray(np.memmap(path, np.uint16, "r"))
    inputs, targets = np.empty((BATCH, LENGTH), np.int64), np.empty((BATCH, LENGTH), np.int64)
    rng = np.random.default_rng(0)

    def run() -> None:
        for _ in range(steps):
            for row, start in enumerate(rng.integers(0, len(data) - LENGTH, BATCH).tolist()):
                inputs[row] = data[start : start + LENGTH]
                targets[row] = data[start + 1 : start + 1 + LENGTH]

    return run


def main() -> None:
    """Run all of it."""
    smoke = begin("windows of tokens")
    steps = 5 if smoke else 400
    with TemporaryDirectory() as folder:
        path = Path(folder, "train.bin")
        np.random.default_rng(0).integers(0, 50_257, (steps + 2) * BATCH * LENGTH, np.uint16).tofile(path)
        entries = [
            Contender("headrace", batches(path, steps)),
            Contender("nanoGPT's get_batch", get_batch(path, steps) if torch else None, aim=1 / 4),
            Contender("slices to buffers", slices(path, steps), aim=1 / 0.7, limit=True),
        ]
        title = f"{BATCH} windows of {LENGTH:,} tokens, uint16 to int64 inputs and targets"
        print_table(title, entries, race(entries, 1 if smoke else 9), {"tokens/s": rate(steps * BATCH * LENGTH)})


if __name__ == "__main__":
    main()
