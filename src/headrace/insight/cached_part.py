"""Caches as they will be once they are full, for trials: of a part of a dataset, all of which has been read."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from headrace.cache.dataset import CachedDataset
from headrace.loader.dataloader import DataLoader

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CachedPart", "cache_part"]

_BATCH = 64  # samples that are read at a time
_LARGEST = 1 << 28  # bytes of the part


@dataclass(frozen=True)
class CachedPart:
    """The cached samples of a dataset's first part.

    Attributes:
        dataset: these samples.
        kind: "ram" or "disk".
        nbytes: the memory that a cache of the whole dataset takes beyond that of the part; 0 on disk.
    """

    dataset: Any
    kind: str
    nbytes: int


def cache_part(dataset: Any, folder: Path, *, ram: int, seconds: float, least: int = _BATCH) -> CachedPart | str:
    """Cache what can be read of a dataset in a while: in memory if all of it would fit there, else on disk.

    Args:
        dataset: any object with `__len__` and `__getitem__`.
        folder: an empty one, for a cache on disk.
        ram: bytes of memory that all of it may take.
        seconds: how long to read.
        least: samples that are read at least.

    Returns:
        The part; or a text that says why no cache can be tried.

    Raises:
        CacheError: a part of the dataset is random.

    >>> from pathlib import Path
    >>> part = cache_part([1.5] * 100, Path(), ram=10**6, seconds=0.1)
    >>> len(part.dataset), part.kind
    (100, 'ram')
    """
    cached = CachedDataset(dataset)
    count = _fill(cached, seconds, least)
    stats = cached.stats()
    if not stats.samples:
        return "its samples cannot be cached"
    whole = stats.bytes * len(dataset) // stats.samples
    if whole <= ram:
        return CachedPart(cached.subset(range(count)), "ram", whole - stats.bytes)
    room = shutil.disk_usage(folder).free
    if whole > room:
        return f"it would take {whole / 1e9:,.1f} GB, and there are {ram / 1e9:,.1f} GB of memory for it"
    cached = CachedDataset(dataset, folder / "cache", key="a trial")
    count = _fill(cached, seconds, least)
    return CachedPart(cached.subset(range(count)), "disk", 0)


def _fill(cached: CachedDataset, seconds: float, least: int) -> int:
    """Read samples in their order for so long; return how many."""
    end, count = perf_counter() + seconds, 0
    with closing(DataLoader(cached, _BATCH)) as loader:
        for _ in loader:
            count = min(count + _BATCH, len(cached))
            if count >= least and (perf_counter() >= end or cached.stats().bytes >= _LARGEST):
                break
    return count
