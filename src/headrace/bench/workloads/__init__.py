"""The workloads of `headrace bench`, one a file; each has a function `works` that yields what is raced."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from headrace.bench.work import Race

__all__ = ["WORKLOADS", "works_of"]

# What each is, known without importing it.
WORKLOADS = {
    "table": "rows of arrays in memory, shuffled",
    "images": "the augmentation of CIFAR-10: crop, flip, normalise",
    "jpeg": "photographs in JPEG files, from their bytes to normalised planes",
    "tokens": "windows of tokens from a file, as language models take them",
    "shuffle": "the shuffled order of an epoch, up to 10^8 samples",
    "mixture": "the first batch of ten weighted sources of 10^9 samples",
    "resume": "going on at 99 % of an epoch of 10^9 samples",
    "shards": "many shards on a server that is a round trip away",
}


def works_of(name: str, folder: Path, wanted: Collection[str], *, smoke: bool = False) -> Iterator[Race]:
    """Yield the pieces of work of a workload; each is raced before the next is asked for.

    Args:
        name: one of `WORKLOADS`.
        folder: an empty one, for its files.
        wanted: the names of the rivals that take part.
        smoke: with tiny sizes, to see that it runs.
    """
    works: Iterator[Race] = importlib.import_module(f"{__name__}.{name}").works(folder, wanted, smoke=smoke)
    return works
