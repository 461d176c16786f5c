"""The quality of a shuffle: how an order compares with a true permutation of the same samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.pipeline.describe import describe
from headrace.pipeline.nodes import Cached, Concat, Map, Mixed, Packing, Select, Zip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.pipeline.nodes import Node

__all__ = ["OrderQuality", "find_labels", "measure_order"]

_CLASSES = 10_000  # with more, labels are no classes
_SEED = 0  # of the permutation that an order is held against


@dataclass(frozen=True)
class OrderQuality:
    """The quality of an order, each figure beside that of a true permutation.

    Attributes:
        distance: how far consecutive samples of the order lie apart in the dataset, in the mean over the mean of true
            permutations: 1 for a perfect shuffle, about 0 for none. None for a mixture.
        moved: how far neighbours of the dataset come apart in the order, likewise; None where not all samples are known
            to come once.
        deviation: how far the shares of classes in a batch are from those of all samples, as the share of its samples
            that would have to be of other classes, in the mean over the batches; None where labels are not known.
        true_deviation: the same of a true permutation, which is more than 0 since batches are small.
    """

    distance: float | None
    moved: float | None
    deviation: float | None
    true_deviation: float | None


def measure_order(
    order: NDArray[np.int64], sizes: Sequence[int], length: int, labels: NDArray[np.int64] | None = None
) -> OrderQuality:
    """Return the quality of an order.

    Args:
        order: samples of batches, end to end.
        sizes: how many each batch has.
        length: of the dataset.
        labels: the class of each sample of the dataset; None where it is not known.

    >>> quality = measure_order(np.arange(1000), [10] * 100, 1000, np.arange(1000) // 100)
    >>> round(quality.distance, 3), round(quality.moved, 3), round(quality.deviation, 3), quality.true_deviation < 0.4
    (0.003, 0.003, 0.9, True)
    """
    mean = (length + 1) / 3  # of the distance of two samples that are drawn
    distance = float(np.abs(np.diff(order)).mean()) / mean if len(order) > 1 else 0.0
    moved = None
    if len(order) == length > 1 and not np.bincount(order, minlength=length).max() > 1:
        places = np.empty(length, np.int64)
        places[order] = np.arange(length)
        moved = float(np.abs(np.diff(places)).mean()) / mean
    if labels is None or not len(order):
        return OrderQuality(distance, moved, None, None)
    classes = np.unique(labels, return_inverse=True)[1]
    true = np.random.default_rng(_SEED).permutation(classes[order])
    shares = np.bincount(classes[order], minlength=int(classes.max()) + 1) / len(order)
    found = [_deviation(each, sizes, shares) for each in (classes[order], true)]
    return OrderQuality(distance, moved, *found)


def _deviation(classes: NDArray[np.int64], sizes: Sequence[int], shares: NDArray[np.float64]) -> float:
    """Return the mean over batches of the share of samples that would have to be of other classes."""
    total, start = 0.0, 0
    for size in sizes:
        counts = np.bincount(classes[start : start + size], minlength=len(shares))
        total += float(np.abs(counts / max(size, 1) - shares).sum()) / 2
        start += size
    return total / max(len(sizes), 1)


def find_labels(dataset: Any) -> NDArray[np.int64] | None:
    """Return the class of each sample, as far as that is known without reading any; None where it is not.

    They are the `targets` or `labels` of a dataset, or its last array of integers in memory.
    """
    found = _labels(describe(dataset))
    if found is None or len(found) != len(dataset) or not len(found):
        return None
    return found if len(np.unique(found)) <= min(_CLASSES, max(1, len(found) // 2)) else None


def _labels(node: Node) -> NDArray[np.int64] | None:
    own = _own_labels(node.dataset)
    if own is not None:
        return own
    match node:
        case Map() | Cached():
            return _labels(node.input)
        case Select():
            below = _labels(node.input)
            return None if below is None else below[node.indices[np.arange(len(node.indices))]]
        case Zip():
            return next((found for found in map(_labels, node.inputs) if found is not None), None)
        case Concat():
            parts = [_labels(each) for each in node.inputs]
            known = [part for part in parts if part is not None]
            return np.concatenate(known) if len(known) == len(parts) else None
        case Mixed() | Packing():
            return None
    return None


def _own_labels(dataset: Any) -> NDArray[np.int64] | None:
    """Return the labels that a dataset has in memory."""
    arrays = getattr(dataset, "tensors", None)
    last = arrays[-1:] if isinstance(arrays, tuple | list) else []
    for found in (getattr(dataset, "targets", None), getattr(dataset, "labels", None), *last):
        if isinstance(found, np.ndarray) and found.ndim == 1 and found.dtype.kind in "iub":
            return found.astype(np.int64)
    return None
