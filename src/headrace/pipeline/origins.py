"""The origins of samples: down a tree of datasets, to the files that they lie in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.capabilities import capability
from headrace.pipeline.describe import describe
from headrace.pipeline.nodes import Cached, Concat, Map, Mixed, Node, Packing, Select, Zip
from headrace.pipeline.torch_datasets import RowsOfTensors

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Origin", "find_origins"]

_END = 2**63  # of the indices of a mixture


@dataclass(frozen=True, slots=True)
class Origin:
    """The place that a sample, or a part of one, comes from.

    Attributes:
        dataset: the class of the dataset that reads it.
        index: its index there, or the key that a sampler gave.
        where: the file, and the place or key in it, as the dataset's method `where(index)` says; None where it has
            none.
        source: which source of a mixture it is of; those of mixtures of mixtures with slashes between them.
        part: which of a sample's parts this is: a field of a zip, or the items of a row of packed sequences.
        cached: whether a cache may give it in place of the dataset.

    >>> print(Origin("ImageFolder", 3, "cats/3.jpg", source="web"))
    web: ImageFolder[3], cats/3.jpg
    """

    dataset: str
    index: Any
    where: str | None = None
    source: str | None = None
    part: str | None = None
    cached: bool = False

    def __str__(self) -> str:
        before = "".join(f"{each}: " for each in (self.part, self.source) if each is not None)
        after = "" if self.where is None else f", {self.where}"
        return f"{before}{self.dataset}[{self.index!r}]{', by a cache' if self.cached else ''}{after}"


def find_origins(dataset: Any, key: Any) -> tuple[Origin, ...]:
    """Return where a sample comes from: one place, or one for each part of it.

    Args:
        dataset: any object with `__len__` and `__getitem__`.
        key: the index of the sample; of a dataset that knows other keys, another key.

    >>> from headrace import Subset
    >>> print(*find_origins(Subset("abc", [2, 0]), 0))
    str[2]
    """
    known = describe(dataset)
    index = _index_of(key, known)
    if index is None:
        return (Origin(type(dataset).__name__, key),)
    return _origins(known, index, _Way())


def _index_of(key: Any, node: Node) -> int | None:
    """Return a key as an index from 0 on; None of one that is no index of the dataset."""
    if not isinstance(key, int | np.integer):
        return None
    index, dataset = int(key), node.dataset
    if not hasattr(type(dataset), "__len__"):  # the sampler alone tells what there is
        return index
    length = len(dataset)
    index += length if index < 0 else 0
    return index if 0 <= index < (_END if _goes_on(node) else length) else None


def _goes_on(node: Node) -> bool:
    """Return whether samples go on beyond the end of an epoch, as those of a mixture do."""
    while isinstance(node, Map | Cached):
        node = node.input
    return isinstance(node, Mixed)


@dataclass(frozen=True, slots=True)
class _Way:
    """The sources and parts passed on the way down a tree."""

    sources: tuple[str, ...] = ()
    part: str | None = None
    cached: bool = False

    def into(self, part: str) -> _Way:
        return _Way(self.sources, part if self.part is None else f"{self.part}, {part}", self.cached)


def _origins(node: Node, index: int, way: _Way) -> tuple[Origin, ...]:
    match node:
        case Map():
            return _origins(node.input, index, way)
        case Select():
            return _origins(node.input, int(node.indices[np.array([index])][0]), way)
        case Cached():
            return _origins(node.input, index, _Way(way.sources, way.part, cached=True))
        case Concat():
            number, inner = node.find_one(index)
            return _origins(node.inputs[number], inner, way)
        case Mixed():
            number, inner = node.find_one(index)
            sources = (*way.sources, node.mixture.names[number])
            return _origins(node.inputs[number], inner, _Way(sources, way.part, way.cached))
        case Zip():
            names: Sequence[Any] = node.names or range(len(node.inputs))
            parts = [
                _origins(each, index, way.into(f"field {name!r}"))
                for name, each in zip(names, node.inputs, strict=True)
            ]
            return tuple(origin for part in parts for origin in part)
        case Packing():
            return _of_row(node, index, way)
    return (_of_source(node.dataset, index, way),)


def _of_row(node: Packing, row: int, way: _Way) -> tuple[Origin, ...]:
    """Return the origins of the sequences that are packed into a row."""
    table, first = node.table, 0
    found: list[Origin] = []
    for piece in table.pieces(np.array([row])).tolist():
        stop = first + int(table.lengths[piece])
        start = 0 if table.starts is None else int(table.starts[piece])
        part = f"items {first} to {stop - 1}" + (f" from item {start}" if start else "")
        found += _origins(node.input, int(table.sequences[piece]), way.into(part))
        first = stop
    return tuple(found)


def _of_source(dataset: Any, index: int, way: _Way) -> Origin:
    known = dataset.dataset if isinstance(dataset, RowsOfTensors) else dataset  # what torch calls it
    return Origin(
        getattr(known, "reads_for", type(known)).__name__.lstrip("_"),
        index,
        _where(dataset, index),
        "/".join(way.sources) or None,
        way.part,
        way.cached,
    )


def _where(dataset: Any, index: int) -> str | None:
    """Return where a sample lies, in one line, or why the dataset's method cannot say it; None where it has none."""
    where = capability(dataset, "where")
    if where is None or _is_array(dataset):
        return None
    try:
        place = where(index)
    except Exception as error:
        return f"where({index}) raised {type(error).__name__}: {error}"
    return None if place is None else " ".join(str(place).splitlines())


def _is_array(dataset: Any) -> bool:
    """Return whether it is an array or a table, whose methods `where` choose elements."""
    return hasattr(type(dataset), "shape")
