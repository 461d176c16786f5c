"""Batches on a torch device before their turn."""

from __future__ import annotations

import os
import warnings
import weakref
from collections import deque
from threading import RLock
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch

from headrace.batch.tree import children, rebuild
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.frameworks.torch import from_numbers
from headrace.loader.prefetch import PrefetchedBatches
from headrace.torch.page_locked import PageLockedArena

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from headrace.batch.arena import Arena
    from headrace.loader.prefetch import Mover

__all__ = ["prefetch_to_device"]


def prefetch_to_device(loader: Iterable[Any], device: Any, size: int = 2) -> PrefetchedBatches:
    """Return the batches of a loader on a device, put there one or more batches ahead.

    On a GPU, batches are written to page-locked memory, copied from there on a stream of their own while the program
    computes, and handed out to the stream that is current then, which waits for the copy; the program never does. The
    memory is used for another batch once its copy is done. So the loader needs no `pin_memory`.

    Tensors may lie in any container, which comes out as it goes in. Arrays of numbers become tensors; objects with a
    method `to`, as PackedSequence has, are moved by that, when their batch is asked for; all else stays as it is.

    Args:
        loader: a DataLoader, or another iterable of batches, which gives an epoch each time that it is gone through.
        device: a `torch.device`, or what makes one: "cuda", "cuda:1", 0. Where CUDA is asked for and missing, a
            warning says so, and batches stay on the CPU.
        size: how many batches are on the device, at least 1: the one in use, and those ahead of it.

    Returns:
        An iterable of batches, with the loader's length. It has the `state_dict` to resume from: the loader itself is
        ahead.

    Raises:
        ArgumentError: `size` is not a positive integer, or there is no such device.
        ArgumentTypeError: the device or the loader is of another kind.

    >>> import torch
    >>> from headrace.torch import DataLoader, TensorDataset
    >>> loader = DataLoader(TensorDataset(torch.zeros(8, 3), torch.arange(8)), batch_size=4)
    >>> for x, y in prefetch_to_device(loader, "cpu"):
    ...     print(tuple(x.shape), y)
    (4, 3) tensor([0, 1, 2, 3])
    (4, 3) tensor([4, 5, 6, 7])
    """
    return PrefetchedBatches(loader, size, _mover(_device(device)))


def _device(device: Any) -> torch.device:
    """Return the device that an argument names.

    Raises:
        ArgumentError: torch knows no such device, or the machine has fewer.
        ArgumentTypeError: it is of another kind.
    """
    if isinstance(device, bool) or not isinstance(device, str | int | torch.device):
        raise ArgumentTypeError(f'device must be a torch.device, a str as "cuda:0", or an int, but got {device!r}')
    try:
        found = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
    except RuntimeError as error:
        raise _no_such_device(device, error) from error
    if found.type == "cuda" and not torch.cuda.is_available():
        return found
    try:
        return torch.empty(0, device=found).device  # with the number that the current one has
    except (RuntimeError, NotImplementedError, AssertionError) as error:  # torch was built without it, or it is missing
        raise _no_such_device(device, error) from error


def _no_such_device(device: Any, error: BaseException) -> ArgumentError:
    return ArgumentError(
        f'device must be one that torch has on this machine, as "cpu" or "cuda:0", but got {device!r}: '
        f"{str(error).splitlines()[0]}"
    )


def _mover(device: torch.device) -> Mover:
    if device.type != "cuda":
        return _PlainMover(device)
    if not torch.cuda.is_available():
        warnings.warn(
            f"prefetch_to_device got device '{device}' but no accelerator is found, then device pinned memory won't be "
            "used: batches stay on the CPU.",
            stacklevel=3,
        )
        return _PlainMover(torch.device("cpu"))
    return StreamMover(CudaCopies(device))


def _map_movable(fn: Callable[[Any], Any], value: Any) -> Any:
    """Return the batch with `fn` applied to all in it that can be moved."""
    if isinstance(value, torch.Tensor):
        return fn(value)
    if isinstance(value, np.ndarray):
        tensor = from_numbers(value)
        return fn(tensor) if isinstance(tensor, torch.Tensor) else value
    if callable(getattr(value, "to", None)):
        return fn(value)
    pairs = children(value)
    return value if pairs is None else rebuild(value, [_map_movable(fn, item) for _, item in pairs])


class _PlainMover:
    """Moves batches as they come: to a CPU, where they stay what they are, or a device without streams."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def begin(self, loader: Any) -> Iterator[Any]:
        """Return an iterator over the loader's next epoch."""
        return iter(loader)

    def start(self, batch: Any) -> Any:
        """Return the batch on the device."""
        return _map_movable(lambda value: value.to(self._device), batch)

    def finish(self, moved: Any) -> Any:
        """Return the batch."""
        return moved


class CopyEvent(Protocol):
    """A point in a stream, as torch.cuda.Event."""

    def query(self) -> bool:
        """Return whether the stream has passed it."""

    def synchronize(self) -> None:
        """Wait until the stream has passed it."""


class Copies(Protocol):
    """A device that copies on a stream of its own."""

    name: str

    def make_arena(self) -> Arena:
        """Make the memory that it copies from best."""

    def copy(self, tensor: torch.Tensor) -> torch.Tensor:
        """Begin to copy a tensor of the host."""

    def mark_copies(self) -> CopyEvent:
        """Return the point after all copies that have begun."""

    def hand_over(self, copied: CopyEvent, tensors: list[torch.Tensor]) -> None:
        """Let the current stream wait for copies, and their memory be kept until it has used them."""

    def move(self, value: Any) -> Any:
        """Begin to move something else, on the current stream."""

    def mark_moves(self) -> CopyEvent:
        """Return the point after all that the current stream has been given to do."""


class _Moved(NamedTuple):
    """A batch whose copies have begun."""

    batch: Any
    copies: list[torch.Tensor]
    copied: CopyEvent
    others: bool  # whether something in it is still to be moved


class StreamMover:
    """Copies batches on a stream of their own, and keeps the memory that they come from until they are copied.

    Args:
        device: does the copying.
    """

    def __init__(self, device: Copies) -> None:
        self._device = device
        # Batches on the host, each with the point after which nothing reads it any more.
        self._in_flight: deque[tuple[CopyEvent, Any]] = deque()
        self._lock = RLock()
        weakref.finalize(self, _wait_for, self._in_flight, os.getpid())

    def begin(self, loader: Any) -> Iterator[Any]:
        """Return an iterator over the loader's next epoch, in memory that the device copies from best."""
        iterate: Callable[[str, Callable[[], Arena]], Iterator[Any]] | None = getattr(loader, "_iterate_in", None)
        return iter(loader) if iterate is None else iterate(self._device.name, self._device.make_arena)

    def start(self, batch: Any) -> _Moved:
        """Begin to copy the tensors of the host."""
        self._release()
        copies: list[torch.Tensor] = []
        others = False

        def begin(value: Any) -> Any:
            nonlocal others
            if not _is_plain(value):
                others = True
                return value
            copies.append(self._device.copy(value))
            return copies[-1]

        try:
            moved = _map_movable(begin, batch)
        finally:  # also where memory runs out: what has begun reads the batch
            copied = self._device.mark_copies()
            self._in_flight.append((copied, batch))
        return _Moved(moved, copies, copied, others)

    def finish(self, moved: _Moved) -> Any:
        """Return the batch for the current stream, which waits for the copies and moves the rest."""
        self._device.hand_over(moved.copied, moved.copies)
        if not moved.others:
            return moved.batch
        copied = set(map(id, moved.copies))
        rest: list[Any] = []

        def move(value: Any) -> Any:
            if id(value) in copied:
                return value
            rest.append(value)
            return self._device.move(value)

        try:
            return _map_movable(move, moved.batch)
        finally:
            self._in_flight.append((self._device.mark_moves(), rest))

    def _release(self) -> None:
        """Give up the memory of batches that have been copied."""
        with self._lock:  # or two threads that find the same one copied would give up the next one, too
            while self._in_flight and self._in_flight[0][0].query():
                self._in_flight.popleft()


def _is_plain(value: Any) -> bool:
    """Return whether a value is a tensor whose memory on the host can be copied as it is."""
    if not isinstance(value, torch.Tensor) or value.device.type != "cpu" or value.requires_grad:
        return False
    return value.layout is torch.strided and not value.is_nested and not value.is_quantized


def _wait_for(in_flight: deque[tuple[CopyEvent, Any]], home: int) -> None:
    """Wait for the copies that still read from memory which nobody else keeps."""
    while in_flight and os.getpid() == home:  # CUDA does not survive a fork
        in_flight[0][0].synchronize()
        in_flight.popleft()


class CudaCopies:
    """A GPU that copies on a stream of its own.

    Args:
        device: the GPU, with its index.
    """

    def __init__(self, device: torch.device) -> None:
        self.name = str(device)
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def make_arena(self) -> Arena:
        """Make page-locked memory."""
        return PageLockedArena(self._device)

    def copy(self, tensor: torch.Tensor) -> torch.Tensor:
        """Begin to copy a tensor. Its memory on the device belongs to this stream until it is handed over."""
        with torch.cuda.stream(self._stream):
            # torch keeps page-locked memory of its own until what was copied from it has arrived.
            locked = tensor if tensor.is_pinned() else tensor.pin_memory()
            return locked.to(self._device, non_blocking=True)

    def mark_copies(self) -> CopyEvent:
        """Return the point after all copies that have begun."""
        event: CopyEvent = self._stream.record_event()
        return event

    def hand_over(self, copied: CopyEvent, tensors: list[torch.Tensor]) -> None:
        """Let the current stream wait for the copies, and their memory not be used again before it is done with it."""
        current = torch.cuda.current_stream(self._device)
        current.wait_event(copied)
        for tensor in tensors:
            tensor.record_stream(current)

    def move(self, value: Any) -> Any:
        """Begin to move a value on the current stream."""
        with torch.cuda.device(self._device):
            return value.to(self._device, non_blocking=True)

    def mark_moves(self) -> CopyEvent:
        """Return the point after all that the current stream has been given to do."""
        event: CopyEvent = torch.cuda.current_stream(self._device).record_event()
        return event
