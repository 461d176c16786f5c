"""Hints that datasets give beside their samples, over a whole tree of them.

None of them changes a sample, so they count also where a derived class has its own `__getitem__`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.capabilities import capability
from headrace.pipeline.blocks import add_counters, checked_blocks, checked_lengths, concat_blocks
from headrace.pipeline.describe import describe
from headrace.pipeline.nodes import Cached, Concat, Map, Mixed, Node, Packing, Select, Zip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

__all__ = [
    "blocks",
    "counters",
    "find_hearing",
    "find_listeners",
    "has_counters",
    "lengths",
    "mixed_node",
    "packing_node",
    "reads_ahead",
    "will_need",
]


_MOST_LENGTHS = 2**36  # samples of a mixture; one that never ends has more


def _hinted(dataset: Any) -> Node:
    """Return the node of a dataset for its hints, where it does not matter how samples are read."""
    node = getattr(dataset, "node", None) if callable(getattr(type(dataset), "node", None)) else None
    found: Node = describe(dataset) if node is None else node()
    return found


def find_listeners(dataset: Any) -> list[Callable[[], bool]]:
    """Return what tells, for each dataset that may want to hear which samples will be read, whether it does by now.

    Args:
        dataset: any object; those that it is made of are asked, too.
    """
    return _listeners(_hinted(dataset))


def reads_ahead(dataset: Any) -> bool:
    """Return whether the dataset, or one of those that it is made of, wants to hear which samples will be read."""
    return any(listens() for listens in find_listeners(dataset))


def will_need(dataset: Any, indices: NDArray[np.int64]) -> None:
    """Tell the dataset that the samples at the indices will be read soon, if it wants to hear.

    Its method `will_need(indices)` returns at once: it may ask the system for pages of a file, or let a
    thread of its own fetch what lies far away. It is called where the samples will be read: in the
    consumer, in several threads, or in each worker process for a part of the samples. A method
    `reads_ahead()` says whether that is of use at this time: for files in memory advice takes longer than reading.

    Args:
        dataset: any object.
        indices: shape (n,), int64, in the order in which they will be read; not negative.
    """
    for each, part in find_hearing(dataset, indices):
        if _listener(each)():
            each.will_need(part)


def find_hearing(dataset: Any, indices: NDArray[np.int64]) -> Iterator[tuple[Any, NDArray[np.int64]]]:
    """Yield the datasets that may want to hear which samples will be read, each with those of its own.

    Args:
        dataset: any object; those that it is made of are asked, too.
        indices: shape (n,), int64; not negative.
    """
    return _hearing(_hinted(dataset), indices)


def blocks(dataset: Any) -> int | NDArray[np.int64] | None:
    """Return which samples of the dataset lie together, and are best read together.

    Returns:
        What its method `blocks()` says: the number of samples a block; or where blocks of different
        sizes begin, and the last one ends, shape (blocks + 1,), int64; None where unknown.

    Raises:
        ArgumentError: it says something else.
    """
    return _blocks(_hinted(dataset))


def lengths(
    dataset: Any,
    field: int | str | None = None,
    otherwise: Callable[[Any], NDArray[np.int64] | None] | None = None,
) -> NDArray[np.int64] | None:
    """Return how many items the sequence of each sample has, as far as that is known without reading it.

    Args:
        dataset: any object.
        field: the field of a sample that has the sequence; None for the one that is known to have tokens.
        otherwise: asked for those of a dataset, or of one that it is made of, that does not say.

    Returns:
        What its method `field_lengths(field)` or `lengths()` says, shape (n,), int64; None where it has none.

    Raises:
        ArgumentError: it says something else.
    """
    return _lengths(_hinted(dataset), field, otherwise)


def mixed_node(node: Node) -> Mixed | None:
    """Return the mixture that a dataset is, with functions applied to it or not; None if it is none."""
    node = _below_functions(node)
    return node if isinstance(node, Mixed) else None


def packing_node(node: Node) -> Packing | None:
    """Return the packed rows that a dataset is, with functions applied to it or not; None if it is none."""
    node = _below_functions(node)
    return node if isinstance(node, Packing) else None


def _below_functions(node: Node) -> Node:
    while isinstance(node, Map | Cached):
        node = node.input
    return node


def has_counters(dataset: Any) -> bool:
    """Return whether the dataset, or one of those that it is made of, counts anything."""
    return _has_counters(_hinted(dataset))


def counters(dataset: Any) -> dict[str, int]:
    """Return what the dataset, and those that it is made of, have counted so far in this process.

    They are totals that only rise, such as hits and misses of a cache, so that those of several
    processes add up.
    """
    found: dict[int, Any] = {}
    _find_counting(_hinted(dataset), found)
    return add_counters(dict(each.counters()) for each in found.values())


def _listeners(node: Node) -> list[Callable[[], bool]]:
    match node:
        case Map() | Select() | Packing() | Cached():
            return _listeners(node.input)
        case Concat() | Mixed() | Zip():
            return [each for part in node.inputs for each in _listeners(part)]
    return [_listener(node.dataset)] if capability(node.dataset, "will_need") else []


def _listener(dataset: Any) -> Callable[[], bool]:
    return capability(dataset, "reads_ahead") or _always


def _always() -> bool:
    return True


def _hearing(node: Node, indices: NDArray[np.int64]) -> Iterator[tuple[Any, NDArray[np.int64]]]:
    if capability(node.dataset, "will_need") is not None:
        yield node.dataset, indices
        return
    match node:
        case Map():
            yield from _hearing(node.input, indices)
        case Select():
            yield from _hearing(node.input, node.indices[indices])
        case Packing():
            sequences = np.unique(node.table.sequences[node.table.pieces(indices)]).astype(np.int64)
            yield from _hearing(node.input, sequences)
        case Zip():
            for each in node.inputs:
                yield from _hearing(each, indices)
        case Concat() | Mixed():
            which, inner = node.find(indices)
            for number in np.unique(which).tolist():
                yield from _hearing(node.inputs[number], inner[which == number])


def _blocks(node: Node) -> int | NDArray[np.int64] | None:
    asks = capability(node.dataset, "blocks")
    if asks is not None:
        return checked_blocks(node.dataset, asks())
    match node:
        case Map() | Cached():
            return _blocks(node.input)
        case Zip():
            return next((found for found in map(_blocks, node.inputs) if found is not None), None)
        case Concat():
            return concat_blocks(map(_blocks, node.inputs), np.diff(node.stops, prepend=0).tolist())
    return None


def _lengths(node: Node, field: int | str | None, otherwise: Callable[[Any], Any] | None) -> NDArray[np.int64] | None:
    found = _told_lengths(node.dataset, field)
    if found is None:
        match node:
            case Select():
                inner = _lengths(node.input, field, otherwise)
                found = None if inner is None else inner[node.indices[np.arange(len(node.indices))]]
            case Cached():
                found = _lengths(node.input, field, otherwise)
            case Concat() | Mixed() if len(node.dataset) <= _MOST_LENGTHS:
                found = _lengths_of_parts(node, field, otherwise)
    if found is None and otherwise is not None:
        found = otherwise(node.dataset)
    return found


def _told_lengths(dataset: Any, field: int | str | None) -> NDArray[np.int64] | None:
    """Return what a dataset says itself."""
    says_of = capability(dataset, "field_lengths")
    found = None if says_of is None else says_of(field)
    says = capability(dataset, "lengths") if found is None else None
    if says is not None:
        found = says()
    return None if found is None else checked_lengths(dataset, found)


def _lengths_of_parts(
    node: Concat | Mixed, field: int | str | None, otherwise: Callable[[Any], Any] | None
) -> NDArray[np.int64] | None:
    which, inner = node.find(np.arange(len(node.dataset)))
    found = np.empty(len(which), np.int64)
    for number, each in enumerate(node.inputs):
        known = _lengths(each, field, otherwise)
        if known is None:
            return None
        here = which == number
        found[here] = known[inner[here]]
    return found


def _has_counters(node: Node) -> bool:
    own = capability(node.dataset, "counters") is not None
    match node:
        case Map() | Select() | Packing():
            return own or _has_counters(node.input)
        case Concat() | Mixed() | Zip():
            return own or any(map(_has_counters, node.inputs))
    return own


def _find_counting(node: Node, found: dict[int, Any]) -> None:
    """Take in the datasets that count, by their ids: one that is there twice counts once."""
    counts = capability(node.dataset, "counters") is not None
    if counts:
        found[id(node.dataset)] = node.dataset
    match node:
        case Cached():
            _find_counting(node.input, found)
        case Map() | Select() | Packing() if not counts:
            _find_counting(node.input, found)
        case Concat() | Mixed() | Zip() if not counts:
            for each in node.inputs:
                _find_counting(each, found)
