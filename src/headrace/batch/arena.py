"""The memory of a batch's arrays, which is leased until its last view dies, then used again.

Fresh memory is expensive: the kernel hands it out page by page at the first touch, which costs more
than the copy that fills it. An arena keeps a few buffers warm. Each large array of a batch gets a
buffer of its own, so that keeping the labels of a batch does not keep its images.

A lease ends when the array and every view of it are gone, which Python's own reference counts tell
through a weak reference. So a batch that the user keeps is never overwritten, whatever is kept of it.
"""

from __future__ import annotations

import math
import weakref
from collections import deque
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sized
    from types import TracebackType

    from numpy.typing import DTypeLike, NDArray

__all__ = ["Arena", "Memory", "empty", "lease", "use_arena"]

# Cache lines; JAX shares memory without a copy only from such addresses.
_ALIGNMENT = 64
# A spare buffer serves arrays down to half its size; smaller ones would waste it.
_SLACK = 2


class Memory(Protocol):
    """A source of the memory of large arrays, for `empty`."""

    leased_from: int  # smaller ones, in bytes, are not worth a lease

    @property
    def leases(self) -> Sized:
        """Of the buffers in use; an attribute, where it can be, as it is asked for twice with every batch."""

    def lease(self, shape: tuple[int, ...], dtype: np.dtype[Any], nbytes: int) -> NDArray[Any]:
        """Return an uninitialised array of `nbytes` bytes in a buffer of its own."""

    def keep_at_least(self, buffers: int) -> None:
        """Keep at least that many free buffers from now on."""


class Arena:
    """A few warm buffers of memory for the large arrays of batches.

    Args:
        spare: how many unused buffers are kept at least; a batch of more large arrays
            raises it to their number.

    Attributes:
        leases: what refers to the buffers in use.

    >>> arena = Arena()
    >>> with use_arena(arena):
    ...     batch = empty((256, 3, 64, 64), np.float32)
    >>> batch.shape
    (256, 3, 64, 64)
    """

    # Below this the allocator's own free lists are as warm, and a lease would cost more than it saves. Batches that are
    # coalesced, which all are of one size, lie above it.
    leased_from = 1 << 19
    # Called with the memory of worker processes once batches are to come in it, for who wants it of a kind of its own.
    adopt: Callable[[NDArray[np.uint8]], None] | None = None

    def __init__(self, spare: int = 4) -> None:
        # Leases end wherever the last view dies, be it in another thread or in the middle of a
        # garbage collection. Single calls on a deque and a dict are atomic, so no lock is needed.
        self._free: deque[NDArray[np.uint8]] = deque()
        self._spare = spare
        self.leases: dict[int, weakref.ref[NDArray[Any]]] = {}

    @property
    def free(self) -> int:
        """The number of buffers that are kept for the next batches."""
        return len(self._free)

    def lease(self, shape: tuple[int, ...], dtype: np.dtype[Any], nbytes: int) -> NDArray[Any]:
        """Return an uninitialised array of `nbytes` bytes in a buffer of its own."""
        buffer = self._take(nbytes)
        # Every view refers to `lease`, not to the buffer, since NumPy follows the chain of bases only
        # through arrays and `frombuffer` keeps the memoryview between the two.
        lease = np.frombuffer(buffer.data, dtype, nbytes // dtype.itemsize)
        reference = weakref.ref(lease, lambda reference: self._end(reference, buffer))
        self.leases[id(reference)] = reference
        return lease.reshape(shape)

    def keep_at_least(self, buffers: int) -> None:
        """Keep at least that many free buffers from now on."""
        self._spare = max(self._spare, buffers)

    def clear(self) -> None:
        """Give up the free buffers. Leased ones are freed when their views are gone."""
        self._spare = 0
        self._free.clear()

    def _end(self, reference: weakref.ref[NDArray[Any]], buffer: NDArray[np.uint8]) -> None:
        del self.leases[id(reference)]
        self._free.append(buffer)
        if len(self._free) > self._spare:
            with suppress(IndexError):  # another thread was quicker
                self._free.popleft()

    def _take(self, nbytes: int) -> NDArray[np.uint8]:
        for _ in range(len(self._free)):
            try:
                buffer = self._free.pop()  # the one used last, which may still be in the cache
            except IndexError:  # another thread was quicker
                break
            if nbytes <= buffer.nbytes <= _SLACK * nbytes:
                return buffer
            self._free.appendleft(buffer)
        return self._new_buffer(nbytes)

    def _new_buffer(self, nbytes: int) -> NDArray[np.uint8]:
        memory = np.empty(nbytes + _ALIGNMENT, np.uint8)
        start = -memory.__array_interface__["data"][0] % _ALIGNMENT
        return memory[start : start + nbytes]


_arena: ContextVar[Memory | None] = ContextVar("headrace_arena", default=None)


class use_arena:  # noqa: N801 - a context manager reads like a function
    """While this is open, `empty` leases large arrays from the arena; from the one around it where this is None."""

    __slots__ = ("_arena", "_before", "_token")

    def __init__(self, arena: Memory | None) -> None:
        self._arena = arena

    def __enter__(self) -> None:
        if self._arena is not None:
            self._before = len(self._arena.leases)
            self._token = _arena.set(self._arena)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._arena is not None:
            _arena.reset(self._token)
            leased = len(self._arena.leases) - self._before
            if leased > 1:
                self._arena.keep_at_least(leased)


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an uninitialised array where the batch being loaded will be read.

    A dataset's own `get_batch` may use it in place of `numpy.empty`. Outside a loader it is the same.

    Args:
        shape: the array's shape.
        dtype: the array's dtype.

    >>> empty((2, 3), np.uint8).shape
    (2, 3)
    """
    arena = _arena.get()
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    if arena is None or nbytes < arena.leased_from or dtype.hasobject:
        return np.empty(shape, dtype)
    return arena.lease(shape, dtype, nbytes)


def lease(nbytes: int) -> NDArray[np.uint8] | None:
    """Return uninitialised bytes where the batch being loaded will be read; None where any memory is as good.

    Args:
        nbytes: how many.

    >>> lease(100) is None
    True
    """
    arena = _arena.get()
    if arena is None or nbytes < arena.leased_from:
        return None
    return arena.lease((nbytes,), np.dtype(np.uint8), nbytes)
