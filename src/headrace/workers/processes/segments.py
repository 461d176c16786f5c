"""Memory that processes share: files without a name, and the blocks of batches in them.

A worker leases blocks for the large arrays of a batch, writes them, and sends their places. The
consumer maps a block once and hands out views of it; when the last view dies the block goes back to
the worker that made it. Nothing has a name, so nothing is left behind however a process ends, and
the size of /dev/shm does not matter.
"""

from __future__ import annotations

import math
import mmap
import os
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace.workers.shared_file import create_file

if TYPE_CHECKING:
    import pickle
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

__all__ = ["MappedBlocks", "Place", "SharedArena", "create_file", "place_once", "read_file", "write_file"]

_PAGE = mmap.PAGESIZE
_ALIGNMENT = 64  # cache lines, as the vector units and JAX like it
# A free block serves arrays down to half its size.
_SLACK = 2


def write_file(file: int, data: memoryview) -> None:
    """Write all of the data at the file's position: quicker than through a map, whose pages come one by one."""
    data = data.cast("B")
    while data:
        data = data[os.write(file, data) :]


def read_file(file: int) -> bytes:
    """Return all that is in the file."""
    parts = []
    position = 0
    while part := os.pread(file, 1 << 30, position):
        parts.append(part)
        position += len(part)
    return b"".join(parts)


class Place(NamedTuple):
    """A range of bytes in a segment."""

    block: int
    offset: int
    nbytes: int


def place_once(payload: bytes, buffers: Iterable[pickle.PickleBuffer]) -> tuple[int, list[tuple[int, int, bool]]]:
    """Put a pickle and its buffers into a file, for many processes to map.

    Returns:
        The descriptor; and for the pickle and each buffer its offset, its size in bytes, and whether
        it may be written to.
    """
    parts = [(memoryview(payload), False)]
    for buffer in buffers:
        raw = buffer.raw()
        parts.append((raw, not raw.readonly))
    places = []
    size = 0
    for part, writable in parts:
        places.append((size, part.nbytes, writable))
        size += -(-part.nbytes // _ALIGNMENT) * _ALIGNMENT
    file = create_file(max(size, 1))
    for (part, _), (offset, _, _) in zip(parts, places, strict=True):
        os.lseek(file, offset, os.SEEK_SET)
        write_file(file, part)
    return file, places


def map_privately(file: int, places: Sequence[tuple[int, int, bool]]) -> list[memoryview]:
    """Map the file of `place_once` copy-on-write: all processes share its pages until one writes to them."""
    whole = memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_COPY))
    parts = [whole[offset : offset + nbytes] for offset, nbytes, _ in places]
    return [part if writable else part.toreadonly() for part, (_, _, writable) in zip(parts, places, strict=True)]


class _Forks:
    """Counts the forks of this process: what it held at the time of one, the child has too."""

    def __init__(self) -> None:
        self.number = 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._count, after_in_parent=self._count)

    def _count(self) -> None:
        self.number += 1


_forks = _Forks()


class _Block:
    """A file in memory, mapped by the worker that made it."""

    __slots__ = ("address", "lease", "memory", "nbytes", "number", "travels")

    def __init__(self, number: int, nbytes: int, memory: mmap.mmap) -> None:
        self.number = number
        self.nbytes = nbytes
        self.memory = memory
        self.address: int = np.frombuffer(memory, np.uint8, 1).__array_interface__["data"][0]
        self.lease: weakref.ref[NDArray[Any]] | None = None  # of the array in it
        self.travels = False  # it is the consumer's


class SharedArena:
    """Blocks for the large arrays of batches that go to another process. Used by one thread.

    It stands where `headrace.batch.arena.Arena` stands in a process that keeps its batches.
    """

    leased_from = 1 << 16
    leased = 0  # how many blocks are kept is the consumer's to say

    def __init__(self) -> None:
        self._blocks: dict[int, _Block] = {}
        self._free: deque[_Block] = deque()
        self._unannounced: list[tuple[int, int, int]] = []
        self._made = 0

    def keep_at_least(self, blocks: int) -> None:
        """Do nothing: the consumer says which blocks are not needed any more."""

    def lease(self, shape: tuple[int, ...], dtype: np.dtype[Any], nbytes: int) -> NDArray[Any]:
        """Return an uninitialised array in a block of its own."""
        block = self._take(nbytes)
        # The weak reference is to the array that all views refer to, as in the other arena.
        lease = np.frombuffer(block.memory, dtype, math.prod(shape))
        block.lease = weakref.ref(lease, lambda _: self._end(block))
        return lease.reshape(shape)

    def place(self, buffers: list[pickle.PickleBuffer]) -> list[Place | bytearray]:
        """Return the range in a segment where each buffer lies, or a copy of it if it is small.

        The list of buffers is emptied; blocks that they lie in are the consumer's from now on. What
        somebody in this process still refers to is copied, since it must not change under his hands.
        """
        raw = [buffer.raw() for buffer in buffers]
        places = [self._place(part) for part in raw]
        owners = [self._blocks[place.block] if isinstance(place, Place) else None for place in places]
        for block in owners:
            if block is not None:
                block.travels = True
        for buffer, part in zip(buffers, raw, strict=True):
            part.release()
            buffer.release()
        buffers.clear()
        return [
            place if block is None or block.lease is None else self._copied(block, place)
            for block, place in zip(owners, places, strict=True)
        ]

    def announce(self) -> list[tuple[int, int, int]]:
        """The number, size and descriptor of each block made since the last time; the descriptors are the caller's."""
        announced, self._unannounced = self._unannounced, []
        return announced

    @property
    def has_blocks(self) -> bool:
        """Whether there are segments, which the consumer may give back."""
        return bool(self._blocks)

    def take_back(self, numbers: Iterable[int]) -> None:
        """Use these blocks again."""
        for number in numbers:
            self._release(self._blocks[number])

    def drop(self, numbers: Iterable[int]) -> None:
        """Give these blocks up."""
        for number in numbers:
            del self._blocks[number]

    def _take(self, nbytes: int) -> _Block:
        for block in self._free:
            if nbytes <= block.nbytes <= _SLACK * max(nbytes, _PAGE):
                self._free.remove(block)
                return block
        return self._new_block(nbytes)

    def _new_block(self, nbytes: int) -> _Block:
        size = -(-nbytes // _PAGE) * _PAGE
        file = create_file(size)
        try:
            block = _Block(self._made, size, mmap.mmap(file, size))
        except BaseException:
            os.close(file)
            raise
        self._made += 1
        self._blocks[block.number] = block
        self._unannounced.append((block.number, size, file))
        return block

    def _end(self, block: _Block) -> None:
        """The last view in this process has died."""
        block.lease = None
        self._release_if_ended(block)

    def _release(self, block: _Block) -> None:
        block.travels = False
        self._release_if_ended(block)

    def _release_if_ended(self, block: _Block) -> None:
        if not block.travels and block.lease is None and block.number in self._blocks:
            self._free.append(block)

    def _place(self, raw: memoryview) -> Place | bytearray:
        if raw.nbytes < self.leased_from:
            return bytearray(raw)
        address = np.frombuffer(raw, np.uint8).__array_interface__["data"][0]
        for block in self._blocks.values():
            if block.address <= address < block.address + block.nbytes:
                return Place(block.number, address - block.address, raw.nbytes)
        return self._written(raw)

    def _copied(self, block: _Block, place: Place | bytearray) -> Place:
        assert isinstance(place, Place)  # noqa: S101 - it lies in the block
        copy = self._written(memoryview(block.memory)[place.offset : place.offset + place.nbytes])
        self._release(block)
        return copy

    def _written(self, raw: memoryview) -> Place:
        """Return the place of a copy of the bytes, in a block that travels."""
        block = self._take(raw.nbytes)
        block.travels = True
        memoryview(block.memory)[: raw.nbytes] = raw
        return Place(block.number, 0, raw.nbytes)


class MappedBlocks:
    """The blocks of one worker as the consumer sees them.

    Args:
        most_held: how many the consumer may hold; what is kept beyond is copied out of its block.
    """

    def __init__(self, most_held: int) -> None:
        self._most_held = most_held
        self._memory: dict[int, mmap.mmap] = {}
        self._leases: dict[int, weakref.ref[NDArray[np.uint8]]] = {}
        # Where views die, be it in another thread or in the middle of a garbage collection, the
        # blocks are only noted: a deque's single calls are atomic.
        self._ended: deque[int] = deque()
        self._inherited: deque[int] = deque()  # have ended here, but not in a fork of this process
        self._most_in_a_batch = 1

    def map(self, number: int, nbytes: int, file: int) -> None:
        """Map a new block of the worker. The descriptor stays the caller's."""
        self._memory[number] = mmap.mmap(file, nbytes)

    def views(self, places: Sequence[Place | bytearray]) -> list[Any]:
        """Return the memory at the places, writable; a block is the consumer's until the last view of it dies."""
        numbers = {place.block for place in places if isinstance(place, Place)}
        self._most_in_a_batch = max(self._most_in_a_batch, len(numbers))
        leases = {number: self._lease(number) for number in numbers}
        views = [
            leases[place.block][place.offset : place.offset + place.nbytes] if isinstance(place, Place) else place
            for place in places
        ]
        if len(self._leases) > self._most_held:
            return [np.array(view) if isinstance(view, np.ndarray) else view for view in views]
        return views

    def forget(self, places: Sequence[Place | bytearray]) -> None:
        """Send the blocks at the places back unseen."""
        self._ended.extend({place.block for place in places if isinstance(place, Place)})

    @property
    def some_ended(self) -> bool:
        """Whether there is anything for `take_ended` to take."""
        return bool(self._ended or self._inherited)

    def take_ended(self, spare: int) -> tuple[list[int], list[int]]:
        """Return the blocks that nobody refers to any more.

        Args:
            spare: for how many batches the worker needs blocks.

        Returns:
            Those that go back to the worker; and those that are not used again, now given up here: they
            are not needed any more, or a fork of this process may still read them.
        """
        ended, inherited = _emptied(self._ended), _emptied(self._inherited)
        theirs = len(self._memory) - len(self._leases) - len(ended) - len(inherited)  # blocks that the worker has
        room = max(0, spare * self._most_in_a_batch - theirs)
        back, superfluous = ended[:room], ended[room:] + inherited
        for number in superfluous:
            del self._memory[number]
        return back, superfluous

    def close(self) -> None:
        """Give all blocks up. Those that are referred to stay until their last views die."""
        self._memory.clear()

    def _lease(self, number: int) -> NDArray[np.uint8]:
        lease = np.frombuffer(self._memory[number], np.uint8)
        forks = _forks.number
        self._leases[number] = weakref.ref(lease, lambda _: self._end(number, forks))
        return lease

    def _end(self, number: int, forks: int) -> None:
        del self._leases[number]
        (self._ended if forks == _forks.number else self._inherited).append(number)


def _emptied(numbers: deque[int]) -> list[int]:
    """Empty the deque, to which other threads may add at any time, and return what was in it."""
    return [numbers.popleft() for _ in range(len(numbers))]
