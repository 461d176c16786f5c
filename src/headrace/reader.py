"""Reading batches of a dataset: the samples of a selection become a batch."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.collate import default_collate
from headrace.data.reading import read_batch, read_samples, reads_batches
from headrace.errors import HeadraceWarning
from headrace.faces import fast_face
from headrace.keys import slot, use_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from headrace.order.samplers import Selection

__all__ = ["BatchReader", "collate"]

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
        return collate(samples, selection, self._collate_fn, single=self._single)


def collate(
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
