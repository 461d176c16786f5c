"""The DataLoader of PyTorch with another import: `torch.utils.data`'s names, with headrace behind them.

>>> import torch
>>> from headrace.torch import DataLoader, TensorDataset
>>> images, labels = torch.zeros(100, 3, 32, 32), torch.arange(100)
>>> x, y = next(iter(DataLoader(TensorDataset(images, labels), batch_size=16, shuffle=True)))
>>> x.shape, y.dtype
(torch.Size([16, 3, 32, 32]), torch.int64)
"""

import gc
import importlib
import typing

from torch.utils.data import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    get_worker_info,
    random_split,
)

_collects = gc.isenabled()
gc.disable()  # imports make no garbage, and to look for some among all that torch has made takes longer than they do
try:
    from headrace.torch.dataloader import DataLoader
    from headrace.torch.prefetch_to_device import prefetch_to_device
finally:
    if _collects:
        gc.enable()

if typing.TYPE_CHECKING:
    from headrace.torch.skipping import skip_first_batches
    from headrace.torch.stateful import StatefulDataLoader

__all__ = [
    "BatchSampler",
    "ChainDataset",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "DistributedSampler",
    "IterableDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "StackDataset",
    "StatefulDataLoader",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "default_collate",
    "default_convert",
    "get_worker_info",
    "prefetch_to_device",
    "random_split",
    "skip_first_batches",
]

# Where names are that not everybody needs, who would have to wait for them.
_LATE = {
    "StatefulDataLoader": "headrace.torch.stateful",
    "skip_first_batches": "headrace.torch.skipping",
}


def __getattr__(name: str) -> typing.Any:
    """Import what is imported late."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_LATE[name]), name)
    globals()[name] = value
    return value
