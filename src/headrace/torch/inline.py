"""Batches that are loaded in the consumer's own thread, as torch's loader without workers does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.loader.context import loading_batch

if TYPE_CHECKING:
    from headrace.batch.arena import Arena
    from headrace.loader.cursor import Cursor
    from headrace.sampling.samplers import GivenSampling
    from headrace.torch.work import TorchReader

__all__ = ["InlineBatches"]


class InlineBatches:
    """The batches of an epoch, each loaded when it is asked for: the core's `SampledBatches` without a pool.

    No task is made, nothing counted ahead and no error passed on, which for small batches is most of the time.

    Args:
        reader: reads the samples of a selection.
        sampling: which samples make up each batch.
        cursor: the epoch and its first batch; it moves on with each batch that is handed out.
        arena: where batches are written.
    """

    def __init__(self, reader: TorchReader, sampling: GivenSampling, cursor: Cursor, arena: Arena) -> None:
        start = cursor.start
        self._reader = reader
        self._cursor = cursor
        self._arena = arena
        self._key = cursor.epoch.draws_key
        self._selections = cursor.sampler = sampling.start(cursor.epoch.order_key, start.step, start.sampler)

    def read(self) -> tuple[Any, int]:
        """Return the next batch, and how many samples it holds.

        Raises:
            StopIteration: the epoch is over.
            Exception: what the dataset raised; the batch is passed over.
        """
        cursor = self._cursor
        selection = next(self._selections)
        while cursor.step in cursor.ahead:  # handed out before the state was taken
            cursor.hand_out(cursor.step)
            selection = next(self._selections)
        step = cursor.step
        cursor.step = step + 1
        with loading_batch(cursor.epoch, step, selection, self._arena):
            return self._reader(selection, self._key, step), len(selection)

    def close(self) -> None:
        """Load no more."""
