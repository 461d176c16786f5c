"""The batches of one epoch, read from a dataset or from a stream."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.collate import default_collate
from headrace.data.reading import read_batch, read_samples, reads_batches
from headrace.errors import DatasetChangedError, HeadraceWarning, UnexpectedStopIterationError
from headrace.faces import fast_face
from headrace.keys import slot, use_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from numpy.typing import NDArray

    from headrace.order.samplers import Sampling, Selection
    from headrace.position import Cursor, Epoch

__all__ = ["BatchReader", "SampledBatches", "StreamedBatches", "naming_step"]

# The place where a collate_fn draws; without one of its own it would draw what the first sample drew.
_COLLATION = 2**31


class BatchReader:
    """Reads the samples of a selection and makes them a batch.

    Args:
        dataset: any object with `__getitem__`.
        collate_fn: makes a batch of a list of samples; None for headrace's own way.
        single: hand out the one sample of a selection as it is, or what collate_fn makes of it.
    """

    def __init__(self, dataset: Any, collate_fn: Callable[[Any], Any] | None, *, single: bool) -> None:
        self._dataset = dataset
        self._collate_fn = collate_fn
        self._single = single
        self._reads_batches = collate_fn is None and not single and reads_batches(dataset)
        self._reads_many = not single and fast_face(dataset, "__getitems__", "__getitem__") is not None

    def __call__(self, selection: Selection, key: int, step: int) -> Any:
        """The batch of the selection.

        Args:
            selection: which samples.
            key: the key of the samples' draws.
            step: the number of the batch, which tells apart samples that have no index.
        """
        numbers = selection if isinstance(selection, np.ndarray) else _numbers(step, len(selection))
        fast = self._fast_reader(selection)
        if fast is None:
            with use_keys(key, numbers):
                return self._read_singly(selection)
        try:
            with use_keys(key, numbers):
                return fast(selection)
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
        # Reading sample by sample is what a fast face stands for: it names the sample that is wrong,
        # or else it gives the batch, and the fast face is what is wrong.
        with use_keys(key, numbers):
            batch = self._read_singly(selection)
        warnings.warn(
            f"{type(self._dataset).__name__} could not read a batch at once, but sample by sample: {failure}",
            HeadraceWarning,
            stacklevel=2,
        )
        return batch

    def _fast_reader(self, selection: Selection) -> Callable[[Any], Any] | None:
        """What reads all samples of the selection at once, if anything does."""
        if self._reads_batches and isinstance(selection, np.ndarray):
            return self._read_batch
        return self._read_many if self._reads_many else None

    def _read_batch(self, selection: NDArray[np.int64]) -> Any:
        return read_batch(self._dataset, selection)

    def _read_many(self, selection: Selection) -> Any:
        return self._collate(read_samples(self._dataset, selection), selection)

    def _read_singly(self, selection: Selection) -> Any:
        return self._collate(read_samples(self._dataset, selection, singly=True), selection)

    def _collate(self, samples: list[Any], selection: Selection) -> Any:
        return _collate(samples, selection, self._collate_fn, single=self._single)


class SampledBatches:
    """The batches of a dataset from one step of an epoch on.

    Args:
        dataset: any object with `__getitem__`.
        reader: reads a batch of it.
        sampling: which samples make up each batch.
        length: the number of samples that the sampling was made for; None if it does not depend on it.
        cursor: the epoch and the first batch; it moves on with each batch.
    """

    def __init__(
        self, dataset: Any, reader: BatchReader, sampling: Sampling, length: int | None, cursor: Cursor
    ) -> None:
        self._dataset = dataset
        self._reader = reader
        self._length = length
        self._cursor = cursor
        self._key = cursor.epoch.draws_key
        self._selections = sampling.start(cursor.epoch.order_key, cursor.step)

    def read(self) -> tuple[Any, int]:
        """The next batch, and how many samples it holds.

        After an error, the batch that it came from is passed over.

        Raises:
            StopIteration: the epoch is over.
            DatasetChangedError: the dataset is not as long as it was when the epoch began.
        """
        cursor = self._cursor
        self._check_length()
        selection = next(self._selections)
        step = cursor.step
        cursor.step += 1
        with naming_step(cursor.epoch, step):
            return self._reader(selection, self._key, step), len(selection)

    def _check_length(self) -> None:
        if self._length is not None and len(self._dataset) != self._length:
            raise DatasetChangedError(
                f"the dataset had {self._length} samples when epoch {self._cursor.epoch.number} began and has "
                f"{len(self._dataset)} at step {self._cursor.step}; change it between epochs only"
            )


class StreamedBatches:
    """The batches of a stream of samples from one step of an epoch on.

    Args:
        stream: a dataset with `__iter__`.
        batch_size: samples a batch; None for single samples.
        drop_last: leave out an incomplete last batch.
        collate_fn: makes a batch of a list of samples; None for headrace's own way.
        cursor: the epoch and the first batch; it moves on with each batch. The samples before that
            batch are read and left out.
    """

    def __init__(
        self,
        stream: Any,
        batch_size: int | None,
        collate_fn: Callable[[Any], Any] | None,
        cursor: Cursor,
        *,
        drop_last: bool,
    ) -> None:
        self._size = batch_size or 1
        self._single = batch_size is None
        self._collate_fn = collate_fn
        self._cursor = cursor
        self._drop_last = drop_last
        self._key = cursor.epoch.draws_key
        if hasattr(stream, "set_epoch"):
            stream.set_epoch(cursor.epoch.number)
        with use_keys(self._key, np.array([-1])):  # not a sample's
            self._samples = iter(stream)
        self._position = 0
        self._ended = False
        self._waiting: list[Any] = []  # samples of the next batch, kept if one after them fails

    def read(self) -> tuple[Any, int]:
        """The next batch, and how many samples it holds.

        After an error of the stream, the samples read before it come with the next batch.

        Raises:
            StopIteration: the stream is over.
        """
        cursor = self._cursor
        with naming_step(cursor.epoch, cursor.step):
            samples = self._read_samples()
        if not samples or (self._drop_last and len(samples) < self._size):
            raise StopIteration
        self._waiting = []
        first = cursor.step * self._size
        step = cursor.step
        cursor.step += 1
        with naming_step(cursor.epoch, step), use_keys(self._key, np.arange(first, first + len(samples))):
            indices = range(first, first + len(samples))
            return _collate(samples, indices, self._collate_fn, single=self._single), len(samples)

    def _read_samples(self) -> list[Any]:
        """The samples of the next batch, fewer at the end of the stream."""
        first = self._cursor.step * self._size
        while not self._ended and self._position < first + self._size:
            with use_keys(self._key, np.array([self._position])):
                try:
                    sample = next(self._samples)
                except StopIteration:
                    self._ended = True  # not asked again: some would start anew
                    break
            self._position += 1
            if self._position > first:
                self._waiting.append(sample)
        return self._waiting


class naming_step:  # noqa: N801 - a context manager reads like a function
    """Add to an error which batch it came from, and let no StopIteration end the loop."""

    __slots__ = ("_epoch", "_step")

    def __init__(self, epoch: Epoch, step: int) -> None:
        self._epoch = epoch
        self._step = step

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, StopIteration):
            unexpected = UnexpectedStopIterationError("StopIteration came out of a collate_fn or get_batch")
            unexpected.add_note(self._note())
            raise unexpected from error
        if isinstance(error, Exception):
            error.add_note(self._note())

    def _note(self) -> str:
        return f"in step {self._step} of epoch {self._epoch.number} (seed {self._epoch.seed})"


def _collate(
    samples: list[Any], indices: Sequence[Any] | NDArray[np.int64], fn: Callable[[Any], Any] | None, *, single: bool
) -> Any:
    """The batch of the samples, or what becomes of the only one."""
    if fn is None:
        return samples[0] if single else default_collate(samples, indices)
    with slot(_COLLATION):
        return fn(samples[0] if single else samples)


def _numbers(step: int, count: int) -> NDArray[np.int64]:
    """Numbers for samples that have no index, different in all batches."""
    return (np.int64(step) << 32) + np.arange(count)
