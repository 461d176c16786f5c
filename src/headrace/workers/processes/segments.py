"""Memory that processes share: files without a name, and the segments of batches in them.

A worker leases segments for the large arrays of a batch, writes them, and sends their places. The
consumer maps a segment once and hands out views of it; when the last view dies the segment goes back to
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
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

__all__ = [
    "MappedSegments",
    "SegmentRange",
    "SharedArena",
    "create_file",
    "most_held",
    "place_once",
    "read_file",
    "write_file",
]

_PAGE = mmap.PAGESIZE
_ALIGNMENT = 64  # cache lines, as the vector units and JAX like it
# A free segment serves arrays down to half its size.
_SLACK = 2
# So many segments the consumer may hold, and no more than this part of the descriptors that it may have, since
# each takes one; batches that are kept beyond are copied out of their segments.
_MOST_HELD = 256
_PART_HELD = 4


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


class SegmentRange(NamedTuple):
    """A range of bytes in a segment."""

    segment: int
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


class _Segment:
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
    """Segments for the large arrays of batches that go to another process. Used by one thread.

    It stands where `headrace.batch.arena.Arena` stands in a process that keeps its batches.
    """

    leased_from = 1 << 16
    leases = ()  # how many segments are kept is the consumer's to say

    def __init__(self) -> None:
        self._segments: dict[int, _Segment] = {}
        self._free: deque[_Segment] = deque()
        self._unannounced: list[tuple[int, int, int]] = []
        self._made = 0

    def keep_at_least(self, segments: int) -> None:
        """Do nothing: the consumer says which segments are not needed any more."""

    def lease(self, shape: tuple[int, ...], dtype: np.dtype[Any], nbytes: int) -> NDArray[Any]:
        """Return an uninitialised array in a segment of its own."""
        segment = self._take(nbytes)
        # The weak reference is to the array that all views refer to, as in the other arena.
        lease = np.frombuffer(segment.memory, dtype, math.prod(shape))
        segment.lease = weakref.ref(lease, lambda _: self._end(segment))
        return lease.reshape(shape)

    def place(self, buffers: list[pickle.PickleBuffer]) -> list[SegmentRange | bytearray]:
        """Return the range in a segment where each buffer lies, or a copy of it if it is small.

        The list of buffers is emptied; segments that they lie in are the consumer's from now on. An
        array that this process still refers to is copied, since it must not change there.
        """
        raw = [buffer.raw() for buffer in buffers]
        places = [self._place(part) for part in raw]
        owners = [self._segments[place.segment] if isinstance(place, SegmentRange) else None for place in places]
        for segment in owners:
            if segment is not None:
                segment.travels = True
        for buffer, part in zip(buffers, raw, strict=True):
            part.release()
            buffer.release()
        buffers.clear()
        return [
            place if segment is None or segment.lease is None else self._copied(segment, place)
            for segment, place in zip(owners, places, strict=True)
        ]

    def announce(self) -> list[tuple[int, int, int]]:
        """Return number, size and descriptor, which is the caller's, of each segment made since the last time."""
        announced, self._unannounced = self._unannounced, []
        return announced

    @property
    def has_segments(self) -> bool:
        """Whether there are segments, which the consumer may give back."""
        return bool(self._segments)

    def take_back(self, numbers: Iterable[int]) -> None:
        """Use these segments again."""
        for number in numbers:
            self._release(self._segments[number])

    def drop(self, numbers: Iterable[int]) -> None:
        """Give these segments up."""
        for number in numbers:
            del self._segments[number]

    def _take(self, nbytes: int) -> _Segment:
        for segment in self._free:
            if nbytes <= segment.nbytes <= _SLACK * max(nbytes, _PAGE):
                self._free.remove(segment)
                return segment
        return self._new_segment(nbytes)

    def _new_segment(self, nbytes: int) -> _Segment:
        size = -(-nbytes // _PAGE) * _PAGE
        file = create_file(size)
        try:
            segment = _Segment(self._made, size, mmap.mmap(file, size))
        except BaseException:
            os.close(file)
            raise
        self._made += 1
        self._segments[segment.number] = segment
        self._unannounced.append((segment.number, size, file))
        return segment

    def _end(self, segment: _Segment) -> None:
        """Take note that the last view in this process has died."""
        segment.lease = None
        self._release_if_ended(segment)

    def _release(self, segment: _Segment) -> None:
        segment.travels = False
        self._release_if_ended(segment)

    def _release_if_ended(self, segment: _Segment) -> None:
        if not segment.travels and segment.lease is None and segment.number in self._segments:
            self._free.append(segment)

    def _place(self, raw: memoryview) -> SegmentRange | bytearray:
        if raw.nbytes < self.leased_from:
            return bytearray(raw)
        address = np.frombuffer(raw, np.uint8).__array_interface__["data"][0]
        for segment in self._segments.values():
            if segment.address <= address < segment.address + segment.nbytes:
                return SegmentRange(segment.number, address - segment.address, raw.nbytes)
        return self._written(raw)

    def _copied(self, segment: _Segment, place: SegmentRange | bytearray) -> SegmentRange:
        assert isinstance(place, SegmentRange)  # noqa: S101 - it lies in the segment
        copy = self._written(memoryview(segment.memory)[place.offset : place.offset + place.nbytes])
        self._release(segment)
        return copy

    def _written(self, raw: memoryview) -> SegmentRange:
        """Return the place of a copy of the bytes, in a segment that travels."""
        segment = self._take(raw.nbytes)
        segment.travels = True
        memoryview(segment.memory)[: raw.nbytes] = raw
        return SegmentRange(segment.number, 0, raw.nbytes)


class MappedSegments:
    """The segments of one worker as the consumer sees them.

    Attributes:
        adopt: called with the memory of each new segment, for who wants it of a kind of its own.

    Args:
        most_held: how many the consumer may hold; what is kept beyond is copied out of its segment.
    """

    adopt: Callable[[NDArray[np.uint8]], None] | None = None

    def __init__(self, most_held: int) -> None:
        self._most_held = most_held
        # Arrays, not the maps themselves: who has a weak reference to one hears of its end before the memory is gone.
        self._memory: dict[int, NDArray[np.uint8]] = {}
        self._leases: dict[int, weakref.ref[NDArray[np.uint8]]] = {}
        # Where views die, be it in another thread or in the middle of a garbage collection, the
        # segments are only noted: a deque's single calls are atomic.
        self._ended: deque[int] = deque()
        self._inherited: deque[int] = deque()  # have ended here, but not in a fork of this process
        self._most_in_a_batch = 1

    def map(self, number: int, nbytes: int, file: int) -> None:
        """Map a new segment of the worker. The descriptor stays the caller's."""
        memory = np.frombuffer(mmap.mmap(file, nbytes), np.uint8)
        if self.adopt is not None:
            self.adopt(memory)
        self._memory[number] = memory

    def views(self, places: Sequence[SegmentRange | bytearray]) -> list[Any]:
        """Return the memory at the places, writable; a segment is the consumer's until the last view of it dies."""
        numbers = {place.segment for place in places if isinstance(place, SegmentRange)}
        self._most_in_a_batch = max(self._most_in_a_batch, len(numbers))
        leases = {number: self._lease(number) for number in numbers}
        views = [
            leases[place.segment][place.offset : place.offset + place.nbytes]
            if isinstance(place, SegmentRange)
            else place
            for place in places
        ]
        if len(self._leases) > self._most_held:
            return [np.array(view) if isinstance(view, np.ndarray) else view for view in views]
        return views

    def forget(self, places: Sequence[SegmentRange | bytearray]) -> None:
        """Send the segments at the places back unseen."""
        self._ended.extend({place.segment for place in places if isinstance(place, SegmentRange)})

    @property
    def some_ended(self) -> bool:
        """Whether there is anything for `take_ended` to take."""
        return bool(self._ended or self._inherited)

    def take_ended(self, spare: int) -> tuple[list[int], list[int]]:
        """Return the segments whose last views are gone.

        Args:
            spare: for how many batches the worker needs segments.

        Returns:
            Those that go back to the worker; and those that are not used again, now given up here: they
            are not needed any more, or a fork of this process may still read them.
        """
        ended, inherited = _emptied(self._ended), _emptied(self._inherited)
        theirs = len(self._memory) - len(self._leases) - len(ended) - len(inherited)  # segments that the worker has
        room = max(0, spare * self._most_in_a_batch - theirs)
        back, superfluous = ended[:room], ended[room:] + inherited
        for number in superfluous:
            del self._memory[number]
        return back, superfluous

    def close(self) -> None:
        """Give all segments up. Those that are referred to stay until their last views die."""
        self._memory.clear()

    def _lease(self, number: int) -> NDArray[np.uint8]:
        lease = np.frombuffer(self._memory[number].data, np.uint8)  # views refer to it: a memoryview lies between
        forks = _forks.number
        self._leases[number] = weakref.ref(lease, lambda _: self._end(number, forks))
        return lease

    def _end(self, number: int, forks: int) -> None:
        del self._leases[number]
        (self._ended if forks == _forks.number else self._inherited).append(number)


def most_held() -> int:
    """Return how many segments the consumer may hold of all workers."""
    import resource  # not everywhere

    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_HELD if allowed == resource.RLIM_INFINITY else min(_MOST_HELD, allowed // _PART_HELD)


def _emptied(numbers: deque[int]) -> list[int]:
    """Empty the deque, to which other threads may add at any time, and return what was in it."""
    return [numbers.popleft() for _ in range(len(numbers))]
