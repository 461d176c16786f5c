"""The face that every adapter has, and the search for the one that fits a value."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from headrace.frameworks import boxed, numpy
from headrace.frameworks.late import when_imported

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

__all__ = [
    "Adapter",
    "can_pin",
    "common_framework",
    "enter_worker",
    "explain",
    "find",
    "framework_in_use",
    "framework_of",
    "is_channels_last",
    "is_iterable_dataset",
    "is_torch_data",
    "pin",
    "rebuild",
    "reduce",
    "worker_info",
]

# Where torch keeps what its `get_worker_info` returns.
_TORCH_WORKER = "torch.utils.data._utils.worker"


class Adapter(Protocol):
    """The operations that headrace needs for a framework's arrays."""

    def owns(self, value: object) -> bool:
        """Return whether the value is an array of this framework."""

    def own_all(self, values: Sequence[Any]) -> bool:
        """Return whether all values are, of which the first is one."""

    def rebuilds(self, kind: type) -> bool:
        """Return whether `from_numpy` makes such values as the framework would where it stacks values of the class."""

    def explain(self, value: Any) -> str:
        """Return why the value has no batch, and what has; nothing where that is not known."""

    def to_numpy(self, value: Any) -> NDArray[Any] | None:
        """Return the value's memory as an ndarray, without a copy; None where it has none that NumPy can see."""

    def from_numpy(self, array: NDArray[Any], like: Any) -> Any:
        """Return the ndarray as an array of this framework and of the kind of `like`, without a copy if possible."""

    def from_numbers(self, array: NDArray[Any]) -> Any:
        """Return a batch of numbers as an array of this framework, if it has the dtype, else as it is."""

    def stack(self, values: list[Any]) -> Any:
        """Return the values, of equal shape, along a new first dimension, by the framework's own rules for dtypes."""

    def row(self, value: Any, index: int) -> Any:
        """Return the row at the index."""

    def take(self, value: Any, indices: NDArray[np.int64]) -> Any:
        """Return the rows at the indices. Asked where `to_numpy` is None."""


_OF_NO_FRAMEWORK = frozenset((np.ndarray, bool, int, float, complex, str, bytes))


def find(value: object) -> Adapter | None:
    """Return the adapter that owns the value, or None.

    >>> find(np.zeros(3)).__name__
    'headrace.frameworks.numpy'
    >>> find("text") is None
    True
    """
    if numpy.owns(value):
        return numpy
    framework = _framework(value)
    if framework is not None:
        return framework
    return boxed if boxed.owns(value) else None


def explain(value: object) -> str:
    """Return why a value that no adapter owns is not one of the arrays that it looks like; nothing for other values."""
    return numpy.explain(value) or boxed.explain(value)


def framework_in_use() -> bool:
    """Return whether values may be arrays of a framework other than NumPy: one has been imported."""
    return _is_imported("torch") or _is_imported("jax")


def common_framework(values: Iterable[Any]) -> Adapter | None:
    """Return the adapter of the framework whose tensors are among the values; None if there is none, or several."""
    others = [value for value in values if type(value) not in _OF_NO_FRAMEWORK]  # asking a framework takes longer
    if not others:
        return None
    found = {id(adapter): adapter for adapter in map(_framework, others) if adapter is not None}
    return next(iter(found.values())) if len(found) == 1 else None


def _framework(value: object) -> Adapter | None:
    """Return the adapter of a framework's tensor; None for arrays of NumPy, boxes and all else."""
    if _is_imported("torch"):
        from headrace.frameworks import torch

        if torch.owns(value):
            return torch
    if _is_imported("jax"):
        from headrace.frameworks import jax

        if jax.owns(value):
            return jax
    return None


def reduce(value: object) -> tuple[Any, ...] | None:
    """Return a reduction of a framework's array for pickle, whose memory may be sent apart.

    The callable and its arguments, one of them an ndarray that shares the value's memory; or None,
    where the value's own way of pickling must serve.

    Args:
        value: any object.

    >>> reduce("text") is None
    True
    """
    if _is_imported("torch"):
        from headrace.frameworks import torch

        if torch.owns(value):
            return torch.reduce(value)
    if _is_imported("jax"):
        from headrace.frameworks import jax

        if jax.owns(value):
            return jax.reduce(value)
    return None


def framework_of(value: object) -> tuple[str, NDArray[Any]] | None:
    """Return the name of the framework of an array that `rebuild` can make again, and its memory; None for others."""
    if _is_imported("torch"):
        from headrace.frameworks import torch

        if torch.owns(value):
            array = torch.memory(value)
            return None if array is None else ("torch", array)
    reduced = reduce(value)
    return None if reduced is None else (reduced[0].__module__.rpartition(".")[2], reduced[1][0])


def rebuild(framework: str, array: NDArray[Any]) -> Any:
    """Return an array of the framework in the memory of an ndarray that `framework_of` gave, or of one like it.

    >>> rebuild("numpy", np.zeros(2))
    array([0., 0.])
    """
    if framework == "torch":
        from headrace.frameworks import torch

        return torch.rebuild(array)
    if framework == "jax":
        from headrace.frameworks import jax

        return jax.rebuild(array)
    return array


def _is_imported(module: str) -> bool:
    return sys.modules.get(module) is not None  # None is how an import is forbidden


def can_pin() -> bool:
    """Return whether tensors can be put into page-locked memory: torch is in use and has a GPU."""
    if not _is_imported("torch"):
        return False
    from headrace.frameworks import torch

    return torch.can_pin()


def pin(value: object) -> object:
    """Return the value in page-locked memory if it is a torch tensor, else itself."""
    from headrace.frameworks import torch

    return torch.pin(value) if torch.owns(value) else value


def is_channels_last(value: object) -> bool:
    """Return whether the value is a torch tensor in the memory format channels_last, as batches of it then are."""
    if not _is_imported("torch"):
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
    if not _is_imported("torch"):
        return False
    from headrace.frameworks import torch

    return torch.is_data(dataset)


def worker_info() -> Any:
    """Return what a framework that is in use says of the worker that this code runs in; None outside of workers."""
    if not _is_imported("torch.utils.data"):
        return None
    from headrace.frameworks import torch

    return torch.worker_info()


def enter_worker(info: Any) -> None:
    """Let a framework know that this process is a worker, also one that is imported later.

    Args:
        info: the worker's `id`, `num_workers`, `seed` and `dataset`; None if the code in it is to see no workers.
    """

    def tell() -> None:
        from headrace.frameworks import torch

        torch.tell_worker(info)

    if _is_imported("torch"):
        from headrace.frameworks import torch

        torch.use_one_thread()
    if _is_imported(_TORCH_WORKER):
        tell()
    else:
        when_imported(_TORCH_WORKER, tell)


def settings() -> dict[str, Any]:
    """Return what the program has set in the frameworks that it uses, by their names: plain values."""
    if not _is_imported("torch"):
        return {}
    from headrace.frameworks import torch

    found = torch.settings()
    return {} if found is None else {"torch": found}


def use_settings(found: dict[str, Any], *, own_process: bool) -> None:
    """Let the frameworks compute in this thread as they do in the program.

    Args:
        found: what `settings` gave there.
        own_process: whether the process is a worker's own; then what a process has but once is set, too.
    """
    if "torch" in found:
        from headrace.frameworks import torch

        torch.use_settings(found["torch"], own_process=own_process)
