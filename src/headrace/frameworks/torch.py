"""PyTorch tensors. Imported only where torch has been imported already."""

from __future__ import annotations

import importlib
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from headrace import kernels
from headrace.batch.arena import empty, lease
from headrace.errors import NotPicklableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "address",
    "can_pin",
    "draw_seed",
    "explain",
    "from_numbers",
    "from_numpy",
    "is_channels_last",
    "is_collate",
    "is_data",
    "is_generator",
    "join_plain",
    "memory",
    "own_all",
    "owns",
    "pin",
    "rebuild",
    "rebuild_in_order",
    "rebuilds",
    "reduce",
    "row",
    "see_plain",
    "seed",
    "settings",
    "stack",
    "stack_plain",
    "take",
    "to_numpy",
    "use_one_thread",
    "use_settings",
    "worker_info",
]

# NumPy has no such type. Its memory is read as bytes without a meaning, so that nobody takes it for
# numbers of another type.
_BFLOAT16 = np.dtype("V2")
# Integers of the size of dtypes that NumPy lacks, and those dtypes of the same sizes that it has.
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32}
_NAMES = ("bool", "uint8", "int8", "int16", "uint16", "float16", "bfloat16", "int32", "uint32", "float32")
# DLPack's functions in C for tensors, which torch has from 2.10 on.
_EXCHANGE = getattr(torch.Tensor, "__dlpack_c_exchange_api__", None)
_LITTLE = 1 << 16  # bytes that are copied while other threads wait
_requires_grad = attrgetter("requires_grad")
_NUMPYS_OWN = {getattr(torch, name, None) for name in _NAMES}


def owns(value: object) -> bool:
    """Return whether the value is a torch tensor."""
    return isinstance(value, torch.Tensor)


def own_all(values: Sequence[object]) -> bool:
    """Return whether each of the values is a torch tensor."""
    return len(set(map(type, values))) == 1 or all(map(owns, values))


def rebuilds(kind: type) -> bool:
    """Return whether `from_numpy` makes of values of the class what torch.stack does; not so of other subclasses."""
    return kind is torch.Tensor or kind is torch.nn.Parameter


def explain(value: torch.Tensor) -> str:
    """Return why tensors of this layout have no batch, and what has; nothing for those that torch stacks."""
    if value.is_nested:
        return "a nested tensor has no batch; torch.nested.to_padded_tensor(value, 0.0) has one"
    if value.layout not in (torch.strided, torch.sparse_coo):
        return f"a tensor of layout {value.layout} has no batch; value.to_dense() has one"
    return ""


def to_numpy(value: Any) -> NDArray[Any] | None:
    """Return the tensor's memory, where it is dense, on the host and outside the autograd graph."""
    if value.device.type != "cpu" or value.layout is not torch.strided or value.requires_grad:
        return None
    try:
        if value.dtype == torch.bfloat16:
            return np.asarray(value.view(torch.int16).numpy().view(_BFLOAT16))
        array: NDArray[Any] = value.numpy()
    except (RuntimeError, TypeError):  # quantised, lazily conjugated, a dtype that NumPy lacks
        return None
    return array


def address(value: torch.Tensor) -> int:
    """Return where the memory of a tensor begins, which is elsewhere once the tensor has been given other memory."""
    return int(value.data_ptr())


def from_numpy(array: NDArray[Any], like: torch.Tensor) -> torch.Tensor:  # noqa: ARG001 - an adapter's face
    """Return the array as a tensor that shares its memory, or a copy of one that torch cannot look at."""
    return rebuild(array.copy() if min(array.strides, default=0) < 0 else array)  # what is mirrored runs backwards


def from_numbers(array: NDArray[Any]) -> Any:
    """Return numbers as a tensor of the same dtype; what torch has no dtype for as it is."""
    if array.dtype.kind not in "biufc":
        return array
    if not (array.flags.c_contiguous and array.flags.writeable and array.dtype.isnative):
        array = array.astype(array.dtype.newbyteorder("="), order="C")
    try:
        return rebuild(array)
    except TypeError:  # numbers wider than any of torch's
        return array


def memory(value: torch.Tensor) -> NDArray[Any] | None:
    """Return the memory of a tensor that is nothing but that; None for others."""
    return None if type(value) is not torch.Tensor or vars(value) else to_numpy(value)


def reduce(value: torch.Tensor) -> tuple[Any, ...] | None:
    """Return a reduction of the tensor for pickle, whose memory may be sent apart; None for torch's own way.

    Raises:
        NotPicklableError: the tensor belongs to a graph.
    """
    if value.requires_grad and not value.is_leaf:
        raise NotPicklableError(
            "it requires a gradient and was computed from others, and a gradient cannot go back to another process; "
            "detach() it"
        )
    array = memory(value)
    if array is not None and not (array.flags.c_contiguous or array.flags.f_contiguous):
        # Of these alone, pickle keeps the order of memory.
        order = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
        if array.transpose(order).flags.c_contiguous:
            return rebuild_in_order, (array.transpose(order), order)
    if array is not None:
        return rebuild, (array,)
    return None if type(value) is not torch.Tensor or vars(value) else _reduce_foreign(value)


def _reduce_foreign(value: torch.Tensor) -> tuple[Any, ...] | None:
    """Take apart a dense tensor on the host whose dtype NumPy lacks: as integers of that size."""
    if value.device.type != "cpu" or value.layout is not torch.strided or value.is_quantized:
        return None
    integers = _INTEGERS.get(value.element_size())
    if integers is None or value.dtype in _NUMPYS_OWN:
        return None
    array = value.detach().resolve_conj().view(integers).numpy()
    return _rebuild_foreign, (array, value.dtype, value.requires_grad)


def _rebuild_foreign(
    array: NDArray[Any],
    dtype: torch.dtype,
    requires_grad: bool,  # noqa: FBT001 - pickle calls it by position
) -> torch.Tensor:
    return torch.from_numpy(array).view(dtype).requires_grad_(requires_grad)


def is_channels_last(array: NDArray[Any]) -> bool:
    """Return whether the memory of a tensor is that of torch.channels_last, or channels_last_3d, and not contiguous."""
    return array.ndim in (4, 5) and not array.flags.c_contiguous and np.moveaxis(array, 1, -1).flags.c_contiguous


def rebuild(array: NDArray[Any]) -> torch.Tensor:
    """Return the tensor that `reduce` took apart, in the array's memory."""
    dtype = array.dtype  # the name of one takes longer than all the rest
    if dtype.kind == "V" and (
        dtype == _BFLOAT16 or dtype.name == "bfloat16"
    ):  # without a meaning, or that of ml_dtypes
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def rebuild_in_order(array: NDArray[Any], order: list[int]) -> torch.Tensor:
    """Return the tensor of which the array holds the memory, with its axes in another order."""
    return rebuild(array).permute([order.index(axis) for axis in range(len(order))])


def stack(values: list[torch.Tensor]) -> torch.Tensor:
    """Return the tensors along a new first dimension."""
    return torch.stack(values)


def stack_plain(values: list[torch.Tensor]) -> torch.Tensor | None:
    """Return dense tensors on the host along a new first dimension, large ones in memory for batches.

    Torch refuses those of several shapes, devices or layouts, and what is no tensor; it promotes those of several
    dtypes.
    """
    first = values[0]
    plain = type(first) is torch.Tensor and first.layout is torch.strided and first.device.type == "cpu"
    if not plain or first.ndim > 3 or first.is_nested:  # images may be channels_last, and batches of them would be
        return None
    stacked = _stack_integers(values)
    if stacked is not None:
        return stacked
    try:
        memory = lease(len(values) * first.nbytes)
        if memory is None:
            return torch.stack(values)
        if len(set(map(type, values))) > 1 or len({value.dtype for value in values}) > 1 or first.is_quantized:
            return None
        return torch.stack(values, out=torch.from_numpy(memory).view(first.dtype).view(len(values), *first.shape))
    except (RuntimeError, TypeError):  # TypeError of values that are none of its own
        return None


def _stack_integers(values: list[torch.Tensor]) -> torch.Tensor | None:
    """Return a little batch of tensors of integers or bools; None of others.

    Torch makes a view of each before it copies them, as it does not of floats. No integers know how they were computed.
    """
    first = values[0]
    dtype = _integer_dtype(first.dtype)
    if dtype is None or len(values) * first.nbytes > _LITTLE or set(map(type, values)) != {torch.Tensor}:
        return None
    out = empty((len(values), *first.shape), dtype)
    return torch.from_numpy(out) if kernels.active().stack_tensors(values, out, _EXCHANGE) else None


@cache
def _integer_dtype(dtype: torch.dtype) -> np.dtype[Any] | None:
    """Return NumPy's dtype of integers or bools that tensors are seen of; None of all others."""
    none = None if dtype.is_floating_point or dtype.is_complex or _EXCHANGE is None else _none_of(dtype)
    return None if none is None else none.dtype


def see_plain(values: list[torch.Tensor]) -> tuple[NDArray[Any], object] | None:
    """Return an array of the dtype of dense tensors of one dimension, and their functions of DLPack; None of others.

    That they are of one dtype and lie on the host is seen by these functions. Floats may be negated when they are read,
    or know how they were computed, and then torch itself must read them.
    """
    first = values[0]
    if _EXCHANGE is None or first.dim() != 1 or set(map(type, values)) != {torch.Tensor} or first.is_complex():
        return None
    if first.is_floating_point() and (any(map(_requires_grad, values)) or any(map(torch.Tensor.is_neg, values))):
        return None
    array = _none_of(first.dtype)
    return None if array is None else (array, _EXCHANGE)


@cache
def _none_of(dtype: torch.dtype) -> NDArray[Any] | None:
    """Return an array without elements of a dtype; None where NumPy has none such."""
    try:
        array: NDArray[Any] = torch.empty(0, dtype=dtype).numpy()
    except TypeError:
        return None
    return array


def join_plain(values: list[torch.Tensor]) -> tuple[NDArray[Any], list[int]] | None:
    """Return dense tensors of one dimension on the host end to end, and how many items each has; None for others.

    Torch refuses those of several devices or layouts, and what is no tensor; it promotes those of several dtypes.
    """
    if values[0].dim() != 1 or set(map(type, values)) != {torch.Tensor}:
        return None
    try:
        array: NDArray[Any] = torch.cat(values).numpy()
    except (RuntimeError, TypeError):  # TypeError also of what NumPy has no dtype for, or cannot see
        return None
    return None if array.ndim > 1 else (array, list(map(torch.Tensor.numel, values)))


def row(value: torch.Tensor, index: int) -> torch.Tensor:
    """Return the row at the index, a view."""
    return value[index]


def take(value: torch.Tensor, indices: NDArray[np.int64]) -> torch.Tensor:
    """Return the rows at the indices."""
    return value[torch.from_numpy(indices.copy()).to(value.device)]


def can_pin() -> bool:
    """Return whether there is a GPU that reads page-locked memory."""
    return bool(torch.cuda.is_available())


def pin(value: Any) -> torch.Tensor:
    """Return the tensor in page-locked memory, from which a GPU copies asynchronously; itself if it is on a device."""
    pinned: torch.Tensor = value.pin_memory() if value.device.type == "cpu" else value
    return pinned


def is_generator(value: object) -> bool:
    """Return whether the value is a torch random generator."""
    return isinstance(value, torch.Generator)


def draw_seed(generator: Any) -> int:
    """Return a seed below 2**63, drawn as torch's DataLoader draws its base seed."""
    return int(torch.empty((), dtype=torch.int64).random_(generator=generator).item())


def _may_have_devices() -> bool:
    """Return whether torch has been built for other devices; seeding those takes long even where there are none."""
    accelerator = getattr(torch, "accelerator", None)
    return accelerator is None or accelerator.current_accelerator() is not None


def seed(value: int, *, devices: bool) -> None:
    """Seed the global generators of the CPU and, if asked to, of all devices."""
    if devices and _may_have_devices():
        torch.manual_seed(value)
    else:
        torch.default_generator.manual_seed(value)


def state(generator: Any = None) -> bytes:
    """Return the state of a generator; None is the global one of the CPU."""
    found = torch.get_rng_state() if generator is None else generator.get_state()
    return bytes(found.numpy())


def restore(found: bytes, generator: Any = None) -> None:
    """Let a generator go on from a state; None is the global one of the CPU."""
    tensor = torch.from_numpy(np.frombuffer(found, np.uint8).copy())
    if generator is None:
        torch.set_rng_state(tensor)
    else:
        generator.set_state(tensor)


def is_data(dataset: object) -> bool:
    """Return whether the dataset is of one of torch's classes, or a tensor."""
    return isinstance(dataset, torch.Tensor | torch.utils.data.Dataset)


def is_collate(function: object) -> bool:
    """Return whether a function is `default_collate`, and nobody has registered another way to collate tensors."""
    if function is not torch.utils.data.default_collate:
        return False
    module: Any = importlib.import_module("torch.utils.data._utils.collate")
    known = getattr(module, "default_collate_fn_map", {}).get(torch.Tensor)
    return known is not None and known is getattr(module, "collate_tensor_fn", None)


def settings() -> tuple[str, bool] | None:
    """Return the default dtype, and whether gradients are recorded; None where both are torch's own defaults."""
    dtype, records = torch.get_default_dtype(), torch.is_grad_enabled()
    return None if dtype == torch.float32 and records else (str(dtype).removeprefix("torch."), records)


def use_settings(found: tuple[str, bool], *, own_process: bool) -> None:
    """Compute as the program does: in this thread, and in the whole process if that is a worker's own.

    Args:
        found: what `settings` gave in the program.
        own_process: whether the process is a worker's own.
    """
    dtype, records = found
    if own_process:
        torch.set_default_dtype(getattr(torch, dtype))
    torch.set_grad_enabled(records)


def use_one_thread() -> None:
    """Let torch compute in one thread in this process, as it does in workers of its own."""
    torch.set_num_threads(1)


def worker_info() -> Any:
    """Return what torch says of the worker that this code runs in; None outside of workers."""
    return torch.utils.data.get_worker_info()


def process_group_rank() -> tuple[int, int] | None:
    """Return the rank and world size of the process group that the program has initialised; None without one."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return None
    return distributed.get_rank(), distributed.get_world_size()
