"""Collation by torch's rules, into the memory where the batch will be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data._utils import collate as torch_collate

from headrace.batch.tree import children, rebuild
from headrace.frameworks import torch as adapter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["TorchCollation", "as_torch", "collates_as_torch", "register", "registered"]

_FUNCTIONS: dict[Any, Callable[..., Any]] = torch_collate.default_collate_fn_map
_TORCHS_OWN = dict(_FUNCTIONS)  # as it was before anyone changed it


class TorchCollation:
    """Makes batches as `torch.utils.data.default_collate` does, user entries of `default_collate_fn_map` included.

    Tensors are stacked where the batch will be read: in a worker process that is the memory which the consumer maps.

    >>> TorchCollation()([(1, 2.0), (3, 4.0)])
    [tensor([1, 3]), tensor([2., 4.], dtype=torch.float64)]
    """

    def __call__(self, samples: Sequence[Any]) -> Any:
        """Return the batch of the samples, at least one."""
        functions = _FUNCTIONS
        if functions.get(torch.Tensor) is torch_collate.collate_tensor_fn:
            functions = {**functions, torch.Tensor: _stack}
        return torch_collate.collate(samples, collate_fn_map=functions)


def _stack(batch: Sequence[torch.Tensor], *, collate_fn_map: Mapping[Any, Any] | None = None) -> torch.Tensor:
    stacked = adapter.stack_plain(list(batch))
    if stacked is not None:
        return stacked
    first = batch[0]
    if first.layout is torch.strided and not first.is_nested:
        return torch.stack(tuple(batch), 0)
    refused: torch.Tensor = torch_collate.collate_tensor_fn(batch, collate_fn_map=collate_fn_map)
    return refused


def registered() -> dict[Any, Callable[..., Any]]:
    """Return what the program has added to, or changed in, `default_collate_fn_map`."""
    return {kind: fn for kind, fn in _FUNCTIONS.items() if _TORCHS_OWN.get(kind) is not fn}


def register(functions: Mapping[Any, Callable[..., Any]]) -> None:
    """Make the same changes to `default_collate_fn_map` in a worker's own process."""
    _FUNCTIONS.update(functions)


def collates_as_torch(collate_fn: object) -> bool:
    """Return whether the function makes batches as torch does by itself, with nothing that the program has changed."""
    return isinstance(collate_fn, TorchCollation) and _FUNCTIONS == _TORCHS_OWN


def as_torch(batch: Any) -> Any:
    """Return a batch that a dataset made at once as torch's collation of its samples would be.

    Args:
        batch: arrays of any framework in tuples, dicts and lists.

    Returns:
        The same in tensors that share its memory where they can; tuples are lists, as torch has them.

    >>> as_torch((np.arange(2), ["a", "b"]))
    [tensor([0, 1]), ['a', 'b']]
    """
    if type(batch) is torch.Tensor:
        return batch
    if isinstance(batch, np.ndarray):
        return _tensor(batch)
    items = children(batch)
    if items is None:  # the strings of the samples, for one
        return batch
    values = [as_torch(value) for _, value in items]
    return values if type(batch) is tuple else rebuild(batch, values)


def _tensor(array: NDArray[Any]) -> Any:
    if array.dtype.kind in "SUO":
        return array.tolist()
    if not (array.flags.writeable and array.flags.c_contiguous and array.dtype.isnative):
        array = array.astype(array.dtype.newbyteorder("="), order="C")
    return adapter.rebuild(array)
