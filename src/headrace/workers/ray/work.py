"""The work of a pool, pickled once, for actors on this node and on others."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import ray

from headrace.workers.pickling.messages import dump_work
from headrace.workers.processes.segments import place_once
from headrace.workers.shared_file import SharedFile

if TYPE_CHECKING:
    from headrace.workers.base import MakeWork

__all__ = ["SentWork"]


class SentWork:
    """The work, as a file for actors that can open it, and in Ray's store for the others, once there are such.

    Args:
        make_work: called in each actor with its number; what it returns does the tasks there.

    Raises:
        NotPicklableError: the work cannot be sent.
    """

    def __init__(self, make_work: MakeWork[Any, Any]) -> None:
        self._pickled = dump_work(make_work, "loader")
        self._file: tuple[int, list[tuple[int, int, bool]]] | None = None
        self._following = SharedFile(np.dtype(np.int64).itemsize)
        self._reference: Any = None  # kept as long as there may be new actors: with it goes what it refers to

    def files(self) -> tuple[int, list[tuple[int, int, bool]], list[int], int]:
        """Return the file of the parts, their places, the files that all share, and one with the first task wanted."""
        if self._file is None:
            self._file = place_once(self._pickled.payload, self._pickled.buffers)
        return *self._file, [each.descriptor for each in self._pickled.files], self._following.descriptor

    def stored(self) -> tuple[Any, list[int]]:
        """Return a reference of the parts in Ray's store, and the sizes of the files that it shares."""
        if self._reference is None:
            parts: list[Any] = [self._pickled.payload, *(buffer.raw() for buffer in self._pickled.buffers)]
            self._reference = ray.put([np.frombuffer(part, np.uint8) for part in parts])
        return self._reference, [each.first_nbytes for each in self._pickled.files]

    def give_up(self, following: int) -> None:
        """Tell actors that can open files that tasks with lower numbers are not wanted."""
        np.frombuffer(self._following.map(), np.int64)[:] = following

    def close(self) -> None:
        """Give it up."""
        self._reference = None
        if self._file is not None:
            os.close(self._file[0])
            self._file = None
