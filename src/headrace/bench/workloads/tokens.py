"""Batches of windows of tokens: uint16 in a file, int64 inputs and targets in memory.

32 windows of 1,024 tokens a batch, of a file that lies in the system's cache, in random order. nanoGPT's `get_batch` is
written as its train.py has it; plain slices go row by row to two buffers that are there, and are the floor of what
Python and NumPy do without a new array. Those two draw windows with replacement, so their work is of the same size and
not of the same windows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import DataLoader, TokenDataset
from headrace.bench.race import Contender, rival
from headrace.bench.results import rate
from headrace.bench.work import Race, missing, of_rivals

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

__all__ = ["works"]

_BATCH, _LENGTH = 32, 1024


def works(folder: Path, wanted: Collection[str], *, smoke: bool = False) -> Iterator[Race]:
    """Yield the batches of all contenders.

    Args:
        folder: an empty one, for the file of tokens.
        wanted: the names of the rivals that take part.
        smoke: with tiny sizes, to see that it runs.
    """
    steps = 5 if smoke else 400
    path = folder / "train.bin"
    np.random.default_rng(0).integers(0, 50_257, (steps + 2) * _BATCH * _LENGTH, np.uint16).tofile(path)
    makers = {"headrace": _headrace, "torch": _nano_gpt, "numpy": _slices, "grain": _grain}
    title = f"{_BATCH} windows of {_LENGTH:,} tokens, uint16 to int64 inputs and targets"
    figures = {"Mtokens/s": rate(steps * _BATCH * _LENGTH / 1e6)}
    yield Race(title, of_rivals(makers, wanted, path, steps), figures, 1 if smoke else 9)


def _headrace(path: Path, steps: int) -> Iterator[Contender]:
    """Batches of a loader, shuffled, as a training takes them."""
    loader: DataLoader[Any] = DataLoader(
        TokenDataset(path, _LENGTH, np.uint16), _BATCH, shuffle=True, seed=0, drop_last=True
    )
    yield Contender("headrace", lambda: _take(loader, steps))


def _take(batches: Iterable[Any], steps: int) -> None:
    for step, _ in enumerate(batches, 1):
        if step == steps:
            break


def _nano_gpt(path: Path, steps: int) -> Iterable[Contender]:
    """The lines of nanoGPT."""
    name = "nanoGPT's get_batch"
    torch: Any = rival("torch")
    if not torch:
        return missing(name)

    def run() -> None:
        for _ in range(steps):
            data = np.memmap(path, np.uint16, "r")
            ix = torch.randint(len(data) - _LENGTH, (_BATCH,))
            torch.stack([torch.from_numpy(data[i : i + _LENGTH].astype(np.int64)) for i in ix])
            torch.stack([torch.from_numpy(data[i + 1 : i + 1 + _LENGTH].astype(np.int64)) for i in ix])

    return [Contender(name, run, aim=1 / 4)]


def _slices(path: Path, steps: int) -> Iterator[Contender]:
    """Rows of buffers that are there."""
    data = np.asarray(np.memmap(path, np.uint16, "r"))
    inputs, targets = np.empty((_BATCH, _LENGTH), np.int64), np.empty((_BATCH, _LENGTH), np.int64)
    rng = np.random.default_rng(0)

    def run() -> None:
        for _ in range(steps):
            for row, start in enumerate(rng.integers(0, len(data) - _LENGTH, _BATCH).tolist()):
                inputs[row] = data[start : start + _LENGTH]
                targets[row] = data[start + 1 : start + 1 + _LENGTH]

    yield Contender("slices to buffers", run, aim=1 / 0.7, limit=True)


class _Windows:
    """Windows as a source of Grain's has them."""

    def __init__(self, path: Path) -> None:
        self._data = np.asarray(np.memmap(path, np.uint16, "r"))

    def __len__(self) -> int:
        return (len(self._data) - 1) // _LENGTH

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        window = self._data[index * _LENGTH : (index + 1) * _LENGTH + 1].astype(np.int64)
        return window[:-1], window[1:]


def _grain(path: Path, steps: int) -> Iterable[Contender]:
    """A source of windows, shuffled and batched."""
    grain: Any = rival("grain")
    if not grain:
        return missing("Grain")
    batches = grain.MapDataset.source(_Windows(path)).shuffle(seed=0).batch(_BATCH)
    return [Contender("Grain", lambda: _take(batches.to_iter_dataset(), steps))]
