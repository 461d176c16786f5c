"""Matters that torch alone has, beside its arrays: asked where it is in use."""

from __future__ import annotations

import sys
from typing import Any

from headrace.frameworks.late import when_imported
from headrace.frameworks.registry import is_in_use

__all__ = [
    "can_pin",
    "enter_worker",
    "is_channels_last",
    "is_iterable_dataset",
    "is_torch_collate",
    "is_torch_data",
    "pin",
    "torch_settings",
    "worker_info",
]

# Where torch keeps what its `get_worker_info` returns.
_TORCH_WORKER = "torch.utils.data._utils.worker"


def can_pin() -> bool:
    """Return whether tensors can be put into page-locked memory: torch is in use and has a GPU."""
    if not is_in_use("torch"):
        return False
    from headrace.frameworks import torch

    return torch.can_pin()


def pin(value: object) -> object:
    """Return the value in page-locked memory if it is a torch tensor, else itself."""
    from headrace.frameworks import torch

    return torch.pin(value) if torch.owns(value) else value


def is_channels_last(value: object) -> bool:
    """Return whether the value is a torch tensor in the memory format channels_last, as batches of it then are."""
    if not is_in_use("torch"):
        return False
    from headrace.frameworks import torch

    array = torch.to_numpy(value) if torch.owns(value) else None
    return array is not None and torch.is_channels_last(array)


def is_iterable_dataset(dataset: object) -> bool:
    """Return whether the dataset is a torch IterableDataset."""
    torch_data = sys.modules.get("torch.utils.data")
    return torch_data is not None and isinstance(dataset, torch_data.IterableDataset)


def is_torch_data(dataset: object) -> bool:
    """Return whether the dataset is of one of torch's classes, or a tensor."""
    if not is_in_use("torch"):
        return False
    from headrace.frameworks import torch

    return torch.is_data(dataset)


def is_torch_collate(function: object) -> bool:
    """Return whether a function is torch's `default_collate`, which stacks tensors as torch has it."""
    if not is_in_use("torch"):
        return False
    from headrace.frameworks import torch

    return torch.is_collate(function)


def worker_info() -> Any:
    """Return what a framework that is in use says of the worker that this code runs in; None outside of workers."""
    if not is_in_use("torch.utils.data"):
        return None
    from headrace.frameworks import torch

    return torch.worker_info()


def enter_worker(info: Any) -> None:
    """Let a framework know that this process is a worker, also one that is imported later.

    Args:
        info: the worker's `id`, `num_workers`, `seed` and `dataset`; None if the code in it is to see no workers.
    """

    def tell() -> None:
        worker: Any = sys.modules[_TORCH_WORKER]  # not the adapter, whose own import of torch this may be a part of
        worker._worker_info = info and worker.WorkerInfo(  # noqa: SLF001 - torch has no other way to be told
            id=info.id, num_workers=info.num_workers, seed=info.seed, dataset=info.dataset
        )

    if is_in_use("torch"):
        from headrace.frameworks import torch

        torch.use_one_thread()
    if is_in_use(_TORCH_WORKER):
        tell()
    else:
        when_imported(_TORCH_WORKER, tell)


def torch_settings() -> tuple[str, bool] | None:
    """Return what the program has set in torch, as plain values; None where it has not, or does not use it."""
    if not is_in_use("torch"):
        return None
    from headrace.frameworks import torch

    return torch.settings()
