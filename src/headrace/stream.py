"""Reading batches of a stream, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.keys import use_keys
from headrace.reader import collate
from headrace.tasks import StreamBatch, naming_step, seed_globals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from headrace.position import Epoch
    from headrace.tasks import StreamTask

__all__ = ["StreamReader"]

# A stream that fails this often in a row, with no sample in between, is taken to be at its end.
_PATIENCE = 100


class StreamReader:
    """Reads batches of a stream, one after the other.

    Asked for a batch further on it passes over those in between; asked for an earlier one, or for
    another epoch, it starts anew.

    Args:
        stream: a dataset with `__iter__`.
        batch_size: samples a batch; None for single samples.
        collate_fn: makes a batch of a list of samples; None for headrace's own way.
        drop_last: leave out an incomplete last batch.
        worker: which of the readers this is, each of which has the whole stream for itself.
        workers: how many such readers there are.
        seeds_globals: seed the generators that the process shares before the samples of each batch.
    """

    def __init__(
        self,
        stream: Any,
        batch_size: int | None,
        collate_fn: Callable[[Any], Any] | None,
        *,
        drop_last: bool,
        worker: int = 0,
        workers: int = 1,
        seeds_globals: bool = False,
    ) -> None:
        self._stream = stream
        self._size = batch_size or 1
        self._single = batch_size is None
        self._collate_fn = collate_fn
        self._drop_last = drop_last
        self._worker = worker
        self._workers = workers
        self._seeds_globals = seeds_globals
        self._epoch: Epoch | None = None

    def begin(self, epoch: Epoch) -> None:
        """Ask the stream for the samples of an epoch.

        Raises:
            Exception: what its `__iter__` raised; it has no samples then.
        """
        self._epoch = epoch
        self._number = 0  # of the batch that comes next
        self._position = 0  # of the sample that comes next
        self._ended = True
        if hasattr(self._stream, "set_epoch"):
            self._stream.set_epoch(epoch.number)
        with use_keys(epoch.draws_key, np.array([-1 - self._worker])):  # not a sample's
            self._samples = iter(self._stream)
        self._ended = False

    def __call__(self, task: StreamTask) -> StreamBatch:
        """The batch of a task, with what was raised on the way from the batch before it."""
        epoch = task.epoch
        with naming_step(epoch, task.step):
            if epoch != self._epoch or task.number < self._number:
                self.begin(epoch)
        while self._number < task.number and not self._ended:
            self._read_samples(epoch)  # what fails there is told by who loads that batch
        samples, errors = self._read_samples(epoch)
        if task.skip:
            return StreamBatch(0)
        if not samples or (self._drop_last and len(samples) < self._size):
            return StreamBatch(0, errors=errors)
        try:
            return StreamBatch(len(samples), self._collate(samples, task), loaded=True, errors=errors)
        except Exception as error:
            return StreamBatch(len(samples), errors=[*errors, error])

    def _collate(self, samples: list[Any], task: StreamTask) -> Any:
        first = task.number * self._size
        indices = range(first, first + len(samples))
        with naming_step(task.epoch, task.step), use_keys(task.epoch.draws_key, self._numbers(indices)):
            return collate(samples, indices, self._collate_fn, single=self._single)

    def _read_samples(self, epoch: Epoch) -> tuple[list[Any], list[Exception]]:
        """The samples of the next batch, fewer at the end of the stream, and what was raised among them."""
        number, self._number = self._number, self._number + 1
        step = number * self._workers + self._worker
        if self._seeds_globals:
            seed_globals(epoch, step)
        samples: list[Any] = []
        errors: list[Exception] = []
        failures = 0  # in a row
        while not self._ended and len(samples) < self._size:
            try:
                with naming_step(epoch, step), use_keys(epoch.draws_key, self._numbers([self._position])):
                    sample = next(self._samples, self)
            except Exception as error:
                errors.append(error)
                failures += 1
                self._ended = failures == _PATIENCE
                continue
            if sample is self:
                self._ended = True  # not asked again: some would start anew
                break
            samples.append(sample)
            self._position += 1
            failures = 0
        return samples, errors

    def _numbers(self, positions: Sequence[int]) -> NDArray[np.int64]:
        """The numbers that tell the samples apart from all others of the epoch."""
        return np.array(positions, np.int64) * self._workers + self._worker
