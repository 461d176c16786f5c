"""Batches that are loaded in the consumer's own thread, as torch's loader without workers does it."""

from __future__ import annotations

from collections import deque
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.arena import use_arena
from headrace.batch.coalesce import SMALL, batches_to_coalesce, split
from headrace.insight.columns import ORDER
from headrace.loader.context import loading_batch
from headrace.loader.tasks import name_error
from headrace.torch.sampling import TorchBatchSampling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.batch.arena import Arena
    from headrace.insight.loader_clock import LoaderClock
    from headrace.loader.cursor import Cursor
    from headrace.sampling.samplers import GivenSampling, Selection
    from headrace.torch.work import TorchReader

__all__ = ["InlineBatches"]


class InlineBatches:
    """The batches of an epoch, each loaded when it is asked for: the core's `SampledBatches` without a pool.

    No task is made, nothing counted ahead and no error passed on, which for small batches is most of the time. Small
    batches of rows in memory are gathered several at a time.

    Args:
        reader: reads the samples of a selection.
        sampling: which samples make up each batch.
        cursor: the epoch and its first batch; it moves on with each batch that is handed out.
        arena: where batches are written.
        times: takes in how long loading took.
    """

    timing = None  # the consumer is the worker
    waiting = 0

    def __init__(
        self, reader: TorchReader, sampling: GivenSampling, cursor: Cursor, arena: Arena, times: LoaderClock
    ) -> None:
        start = cursor.start
        self._reader = reader
        self.clock = reader.clock
        self.clock.times_all = False
        self._times = times
        self.step = cursor.step
        self.cursors = deque([cursor])
        self._cursor = cursor
        self._arena = arena
        self._in_arena = use_arena(arena)
        self._key = cursor.epoch.draws_key
        cursor.sampler = sampling.start(cursor.epoch.order_key, start.step, start.sampler)
        self._selections: Iterator[Selection] = cursor.sampler
        self._waiting: deque[tuple[Any, Selection]] = deque()  # batches that were read before their turn
        private = isinstance(sampling, TorchBatchSampling) and sampling.is_private
        self._coalesces = private and reader.reads_together and not cursor.ahead
        self._together = 0  # batches that are read at a time; 0 until it is known how large one is

    def read(self) -> tuple[Any, int]:
        """Return the next batch, and how many samples it holds.

        Raises:
            StopIteration: the epoch is over.
            Exception: what the dataset raised; the batch is passed over.
        """
        cursor = self._cursor
        waiting = self._waiting
        if waiting and not self._reader.is_current():
            self._forget_waiting()
        if not waiting:
            self.clock.start()
            if self._together > 1:
                self._read_several()
        if waiting:
            batch, selection = waiting.popleft()
            self.step = cursor.step
            cursor.step += 1
            return batch, len(selection)
        selection = next(self._selections)
        while cursor.step in cursor.ahead:  # handed out before the state was taken
            cursor.hand_out(cursor.step)
            selection = next(self._selections)
        step, cursor.step = cursor.step, cursor.step + 1
        self.step = step
        self.clock.lap(ORDER)
        try:
            batch = self._load(selection, step)
        except BaseException as error:
            if not isinstance(error, Exception):  # as Ctrl-C: whoever goes on gets the batch all the same
                self._selections, cursor.step = chain([selection], self._selections), step
            raise
        if self.clock.on:
            self._times.loaded(self, cursor.epoch.number, step, 1, len(selection))
        if self._coalesces and not self._together:
            self._together = batches_to_coalesce(batch, len(selection), SMALL)
        return batch, len(selection)

    def _load(self, selection: Selection, step: int) -> Any:
        if not self._reader.fetches:
            with loading_batch(self._cursor.epoch, step, selection, self._arena):
                return self._reader(selection, self._key, step)
        with self._in_arena:
            try:
                return self._reader.fetch(selection, self._key, step)
            except Exception as error:
                name_error(error, self._cursor.epoch, step)
                raise

    def _read_several(self) -> None:
        """Read the batches whose turn it is next as one, where there are any and that can be."""
        if self._reader.fetches or not self._reader.reads_together:  # of a dataset that has been changed
            return
        selections: list[Any] = list(islice(self._selections, self._together))
        if not selections:
            return
        indices = np.concatenate(selections)
        self.clock.lap(ORDER)
        try:
            with loading_batch(self._cursor.epoch, self._cursor.step, indices, self._arena):
                batch = self._reader.read_at_once(indices)
        except BaseException as error:
            self._selections = chain(selections, self._selections)
            if not isinstance(error, Exception):  # as Ctrl-C: whoever goes on gets the batches all the same
                raise
            self._together = 1  # it comes again, and then it is known of which batch
            return
        self._waiting.extend(zip(split(batch, list(map(len, selections))), selections, strict=True))
        if self.clock.on:
            step, steps = self._cursor.step, len(selections)
            self._times.loaded(self, self._cursor.epoch.number, step, steps, len(indices))

    def _forget_waiting(self) -> None:
        """Let what was read before its turn be read again."""
        self._selections = chain([selection for _, selection in self._waiting], self._selections)
        self._waiting.clear()

    def close(self) -> None:
        """Load no more."""
