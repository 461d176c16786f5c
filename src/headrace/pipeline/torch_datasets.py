"""Torch's own datasets, read as headrace's of the same names: TensorDataset, Subset and ConcatDataset.

Only objects of exactly these classes are, as torch has them: a derived class, or a method that has been replaced, may
read otherwise. Nothing is imported to see that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import frameworks
from headrace.batch.capabilities import capability
from headrace.errors import ArgumentTypeError
from headrace.pipeline.columns import ArrayColumn, TupleOfColumns
from headrace.pipeline.nodes import Concat, Node, Select, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["is_torchs_own", "made_of", "torch_node"]

_MODULE = "torch.utils.data.dataset"
# The attributes that a node is made of, by the names of the classes.
_MADE_OF = {
    "TensorDataset": ("tensors",),
    "Subset": ("dataset", "indices"),
    "ConcatDataset": ("datasets", "cumulative_sizes"),
}
_READING = ("__getitem__", "__getitems__", "__len__")


def torch_node(dataset: Any, describe: Callable[[Any], Node]) -> Node | None:
    """Return the node of one of torch's own datasets; None for others, and where nothing would be gained.

    Args:
        dataset: any object.
        describe: gives the nodes of the datasets that it is made of.
    """
    if not is_torchs_own(dataset):
        return None
    match type(dataset).__name__:
        case "TensorDataset":
            return Source(RowsOfTensors(dataset), draws=False) if all(map(_is_dense, dataset.tensors)) else None
        case "Subset":
            node = describe(dataset.dataset)
            return Select(dataset, node, _LiveIndices(dataset)) if _gains(node) else None
    inputs = tuple(map(describe, dataset.datasets))
    stops = np.array(dataset.cumulative_sizes, np.int64)
    return Concat(dataset, inputs, stops, has_slots=False) if all(map(_gains, inputs)) else None


def is_torchs_own(dataset: Any) -> bool:
    """Return whether the dataset is one of torch's three, and reads as torch has written it."""
    kind = type(dataset)
    if kind.__module__ != _MODULE or kind.__qualname__ not in _MADE_OF:
        return False
    own = all(getattr(method, "__module__", _MODULE) == _MODULE for method in map(vars(kind).get, _READING))
    return own and not any(name in vars(dataset) for name in _READING)


def made_of(dataset: Any) -> tuple[Any, tuple[str, ...]]:
    """Return what a node stands for, and the names of those of its attributes that the node is made of.

    Args:
        dataset: the dataset of the node.
    """
    if isinstance(dataset, RowsOfTensors):
        dataset = dataset.dataset
    return dataset, _MADE_OF[type(dataset).__name__] if is_torchs_own(dataset) else getattr(
        type(dataset), "made_of", ()
    )


def _is_dense(tensor: Any) -> bool:
    """Return whether rows of a tensor lie in memory that NumPy sees, and a batch of them is in their order."""
    adapter = frameworks.find(tensor)
    known = adapter is not None and adapter.rebuilds(type(tensor)) and adapter.to_numpy(tensor) is not None
    return known and not frameworks.is_channels_last(tensor)


def _gains(node: Node) -> bool:
    """Return whether it is worth to see through to a dataset: it says more of itself, or reads batches."""
    return not isinstance(node, Source) or capability(node.dataset, "get_batch") is not None


class RowsOfTensors(TupleOfColumns):
    """The samples of a TensorDataset of torch's.

    Args:
        dataset: the dataset. Its tensors are dense.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        found = [(tensor, frameworks.find(tensor)) for tensor in dataset.tensors]
        self._set_columns([ArrayColumn(tensor, "Tensor", adapter) for tensor, adapter in found if adapter is not None])


class _LiveIndices:
    """The indices of a Subset of torch's, as an array of them: read when they are asked for, since lists may change."""

    def __init__(self, subset: Any) -> None:
        self._indices: Sequence[int] = subset.indices
        self._length = len(subset.dataset)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, places: int | NDArray[np.int64]) -> Any:
        rows = places.tolist() if isinstance(places, np.ndarray) else [places]
        found = np.array([self._indices[row] for row in rows]) if rows else np.empty(0, np.int64)
        if found.dtype.kind not in "iu":
            raise ArgumentTypeError(f"the indices of a Subset must be integers, got {found.dtype}")
        found = np.where(found < 0, found + self._length, found)
        return found if isinstance(places, np.ndarray) else found[0]
