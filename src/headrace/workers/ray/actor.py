"""A worker's side: the actor that does tasks."""

from __future__ import annotations

import os
import pickle
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from headrace.batch.arena import Arena, use_arena
from headrace.insight.clock import StageClock, timing
from headrace.insight.columns import TRANSPORT
from headrace.kernels.cores import bound_threads
from headrace.workers.base import failing
from headrace.workers.pickling.messages import dump_error, dump_result, load
from headrace.workers.processes.segments import SegmentRange, SharedArena, map_privately
from headrace.workers.ray.cluster import Place
from headrace.workers.shared_file import SharedFile, create_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["RayActor", "open_file_of"]

_NUMBER = np.dtype(np.int64)
# Where memory of a result lies: in a segment, in Ray's store, or in the message itself.
_Memory: TypeAlias = "SegmentRange | NDArray[np.uint8] | bytearray"


def open_file_of(process: int, descriptor: int) -> int:
    """Return a descriptor of a file that another process of the same place has open."""
    return os.open(f"/proc/{process}/fd/{descriptor}", os.O_RDWR)


class RayActor:
    """A worker of a RayPool, which runs as a Ray actor. Its methods are called one after the other."""

    def place(self) -> tuple[Place, int]:
        """Return where it runs, and the number of its process."""
        return Place.here(), os.getpid()

    def begin_with_files(
        self,
        worker: int,
        arguments: list[str],
        threads: int,
        consumer: int,
        file: int,
        places: list[tuple[int, int, bool]],
        shared: list[int],
        following: int,
    ) -> None:
        """Make the work ready, which lies in a file of the consumer; give results in segments.

        Args:
            worker: the number of this worker.
            arguments: those of the program.
            threads: how many threads the kernels may use.
            consumer: the number of its process.
            file: the descriptor that it has of the file.
            places: where in that the pickle and its buffers are, see `place_once`.
            shared: descriptors that it has of files which all workers share.
            following: that of one with the number of the first task that is wanted.
        """
        self._memory: _Segments | _Store = _Segments()
        file_of_number = SharedFile(_NUMBER.itemsize, open_file_of(consumer, following))
        self._following: NDArray[np.int64] = np.frombuffer(file_of_number.map(), _NUMBER)
        mapped = open_file_of(consumer, file)
        parts = map_privately(mapped, places)
        os.close(mapped)
        self._begin(worker, arguments, threads, parts, [open_file_of(consumer, each) for each in shared])

    def begin_with_arrays(
        self, worker: int, arguments: list[str], threads: int, parts: list[NDArray[np.uint8]], shared: list[int]
    ) -> None:
        """Make the work ready, which lies in Ray's store; give results there, too.

        Args:
            worker: the number of this worker.
            arguments: those of the program.
            threads: how many threads the kernels may use.
            parts: the pickle and its buffers.
            shared: sizes of files that workers of one machine would share.
        """
        self._memory = _Store()
        self._following = np.zeros(1, _NUMBER)
        self._begin(worker, arguments, threads, [part.data for part in parts], [create_file(each) for each in shared])

    def _begin(
        self, worker: int, arguments: list[str], threads: int, parts: Sequence[memoryview], files: list[int]
    ) -> None:
        sys.argv[:] = arguments
        payload, *buffers = parts
        self._clock = StageClock(worker)
        try:
            with timing(self._clock):
                self._work: Callable[[Any], Any] = load(payload, buffers, files)(worker)
        except BaseException as error:
            if isinstance(error, ImportError | FileNotFoundError):
                error.add_note(
                    f"worker {worker} runs on a node of the Ray cluster, which must have what the dataset needs: "
                    "modules (ray_options={'runtime_env': ...} can bring them) and files, at the same paths"
                )
            self._work = failing(error)
        bound_threads(threads)  # last: the work has shared the cores as if all workers were here

    def do(
        self, tasks: list[tuple[int, bytes]], back: list[int], superfluous: list[int]
    ) -> tuple[list[Any], list[tuple[int, int, int]], float]:
        """Do tasks.

        Args:
            tasks: their numbers, and their pickles.
            back: segments that the consumer does not need any more.
            superfluous: and those which are not needed here, either.

        Returns:
            Of each task its number, whether it has a result, the pickle of that or of an error, the memory that the
            pickle refers to, and its times; number, size and descriptor of segments made since the last time; and how
            many seconds it took.
        """
        start = perf_counter()
        self._memory.take_back(back, superfluous)
        with use_arena(self._memory.arena):
            answers = [self._do(number, task) for number, task in tasks]
        return answers, self._memory.announce(), perf_counter() - start

    def _do(self, number: int, task: bytes) -> tuple[int, bool, bytes, list[_Memory], bytes]:
        if number < self._following[0]:
            return number, False, b"", [], b""
        self._clock.start()
        try:
            pickled = dump_result(self._work(pickle.loads(task)))  # noqa: S301 - from the consumer
            places = self._memory.place(pickled.buffers)
            self._clock.lap(TRANSPORT)
            return number, True, pickled.payload, places, self._clock.take()
        except BaseException as error:
            return number, False, dump_error(error), [], self._clock.take()


class _Segments:
    """Memory for results that the consumer maps. Its files stay open here, where the consumer finds them."""

    def __init__(self) -> None:
        self.arena = SharedArena()
        self._files: dict[int, int] = {}

    def place(self, buffers: list[pickle.PickleBuffer]) -> list[_Memory]:
        return [*self.arena.place(buffers)]

    def announce(self) -> list[tuple[int, int, int]]:
        announced = self.arena.announce()
        self._files.update({number: file for number, _, file in announced})
        return announced

    def take_back(self, numbers: list[int], superfluous: list[int]) -> None:
        self.arena.take_back(numbers)
        self.arena.drop(superfluous)
        for number in superfluous:
            os.close(self._files.pop(number))


class _Store:
    """Memory for results that Ray copies into its store, and from there to the consumer's node."""

    def __init__(self) -> None:
        self.arena = Arena()

    @staticmethod
    def place(buffers: list[pickle.PickleBuffer]) -> list[_Memory]:
        """Return large memory as an array, which Ray takes as it is; what is small travels in one piece."""
        raw = [buffer.raw() for buffer in buffers]
        return [
            bytearray(part) if part.nbytes < SharedArena.leased_from else np.frombuffer(part, np.uint8) for part in raw
        ]

    @staticmethod
    def announce() -> list[tuple[int, int, int]]:
        return []

    def take_back(self, numbers: list[int], superfluous: list[int]) -> None:
        """Do nothing: the store is Ray's."""
