"""Sizes of samples and batches, found by reading one without leaving anything in a cache."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from headrace import frameworks
from headrace.batch.capabilities import capability
from headrace.batch.tree import count_bytes
from headrace.cache.dataset import CachedDataset
from headrace.datasets.composed import ComposedDataset
from headrace.io.remote import RemoteSource
from headrace.loader.context import loading_batch
from headrace.loader.tasks import Loaded
from headrace.pipeline.describe import describe
from headrace.pipeline.nodes import Cached, Concat, Map, Mixed, Node, Packing, Select, Zip

if TYPE_CHECKING:
    from headrace.loader.dataloader import DataLoader
    from headrace.loader.fetch import BatchReader
    from headrace.sampling.samplers import Selection

__all__ = ["batch_bytes", "find_caches", "sample_bytes"]

_HEAD = 32  # bytes that a stored sample takes beside its own, at most


class _Uncached(ComposedDataset[Any]):
    """The samples of a dataset without its caches, in the same way otherwise."""

    made_of = ("dataset",)

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def node(self) -> Node:
        """Return the description of the dataset, of what caches keep in their place."""
        return _without_caches(describe(self.dataset))


def _without_caches(node: Node) -> Node:
    match node:
        case Cached():
            return _without_caches(node.input)
        case Map() | Select() | Packing():
            return replace(node, input=_without_caches(node.input))
        case Concat() | Mixed() | Zip():
            return replace(node, inputs=tuple(map(_without_caches, node.inputs)))
    return node


def find_caches(dataset: Any) -> list[CachedDataset]:
    """Return the datasets of cached samples that a dataset is made of, the outer ones first.

    >>> import numpy as np
    >>> from headrace import TensorDataset
    >>> cached = TensorDataset(np.zeros(3)).cache()
    >>> find_caches(cached.map(abs)) == [cached]
    True
    """
    return _caches(describe(dataset))


def _caches(node: Node) -> list[CachedDataset]:
    match node:
        case Cached():
            own = [node.dataset] if isinstance(node.dataset, CachedDataset) else []
            return own + _caches(node.input)
        case Map() | Select() | Packing():
            return _caches(node.input)
        case Concat() | Mixed() | Zip():
            return [each for part in node.inputs for each in _caches(part)]
    return []


def sample_bytes(cached: CachedDataset) -> int:
    """Return about how much room a sample takes in a cache."""
    stats = cached.stats()
    if stats.samples:
        return -(-stats.bytes // stats.samples)
    if not len(cached) or stats.limit is None:
        return 0
    return _HEAD + count_bytes(_Uncached(cached)[0])


def batch_bytes(loader: DataLoader[Any]) -> int | None:
    """Return the size of the first batch, which is read; None where that would write to a `cache_dir`."""
    known, step, selection, _ = loader._find_batch(0, 0)  # noqa: SLF001 - of the same house
    reader = replace(loader._maker(), dataset=_Uncached(loader.dataset)).reader()  # noqa: SLF001
    if _keeps_chunks(reader, selection):
        return None
    with frameworks.kept_globals(), loading_batch(known, step, selection):
        batch = reader(selection, known.draws_key, step)
    return count_bytes(batch.batch if isinstance(batch, Loaded) else batch)


def _keeps_chunks(reader: BatchReader, selection: Selection) -> bool:
    for dataset, indices in reader.calls(selection):
        says = capability(dataset, "byte_ranges")
        for file in [] if says is None else says(indices):
            if isinstance(file.source, RemoteSource) and file.source.options.cache_dir is not None:
                return True
    return False
