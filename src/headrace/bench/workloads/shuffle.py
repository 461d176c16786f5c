"""The shuffled order of an epoch, in batches of 128 indices: computed, or stored as a permutation."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.bench.race import Contender, rival
from headrace.bench.results import per
from headrace.bench.work import Race, missing, of_rivals
from headrace.rng.keys import epoch_key
from headrace.sampling.permutation import Shuffled

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

__all__ = ["contenders", "works"]

_BATCH = 128
_HUGE = 10**8  # of which a single round is made
_FEW = 10**7  # indices of a sampler that makes a Python list of them


def works(folder: Path, wanted: Collection[str], *, smoke: bool = False) -> Iterator[Race]:  # noqa: ARG001
    """Yield an epoch of all contenders, for each length.

    Args:
        folder: stays empty.
        wanted: the names of the rivals that take part.
        smoke: with tiny sizes, to see that it runs.
    """
    for length in (1000, 10_000) if smoke else (10**4, 10**6, 10**7, _HUGE):
        rounds = 1 if smoke or length == _HUGE else max(5, min(50, 10**7 // length))
        title = f"order of n = {length:,} in batches of {_BATCH}"
        yield Race(title, contenders(length, wanted), {"ns/index": per(length, 1e-9)}, rounds)


def contenders(length: int, wanted: Collection[str]) -> list[Contender]:
    """Return the ways to shuffle that many samples, the next epoch with each run.

    Args:
        length: how many samples.
        wanted: the names of the rivals that take part.
    """
    return of_rivals({"headrace": _computed, "numpy": _permutation, "torch": _torch}, wanted, length)


def _computed(length: int) -> Iterator[Contender]:
    order, epochs = Shuffled(length), count()

    def run() -> None:
        key = epoch_key(0, next(epochs), "order")
        for start in range(0, length, _BATCH):
            order.indices(key, start, min(start + _BATCH, length)).item(-1)

    yield Contender("headrace Shuffled.indices", run)


def _permutation(length: int) -> Iterator[Contender]:
    rng = np.random.default_rng(0)

    def run() -> None:
        indices = rng.permutation(length)
        for start in range(0, length, _BATCH):
            indices[start : start + _BATCH].item(-1)

    yield Contender("numpy.random permutation", run)


def _torch(length: int) -> Iterable[Contender]:
    torch: Any = rival("torch")
    few = min(length, _FEW)
    samplers = "torch BatchSampler(RandomSampler)" + (f", {few:,} of them" if few < length else "")
    if not torch:
        return missing("torch.randperm", samplers)
    data = torch.utils.data

    def randperm() -> None:
        indices = torch.randperm(length)
        for start in range(0, length, _BATCH):
            indices[start : start + _BATCH].numpy().item(-1)

    def sample() -> None:
        for indices in data.BatchSampler(data.RandomSampler(range(few)), _BATCH, drop_last=False):
            indices[-1]

    return [Contender("torch.randperm", randperm), Contender(samplers, sample, share=few / length)]
