"""A dataset as the chunks of a format: what workers do while a dataset is written."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.convert.png import with_png
from headrace.datasets.base import Dataset
from headrace.datasets.tensor import TensorDataset
from headrace.loader.cursor import Epoch
from headrace.pipeline.compile import compile_dataset
from headrace.pipeline.reading import check_index
from headrace.rng.context import use_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.convert.fields import Fields
    from headrace.formats.writer import Chunk, Columns, OutputFormat
    from headrace.pipeline.reading import Indexable

__all__ = ["ColumnReader", "EncodedChunks"]

_DRAWS = Epoch(0, 0).draws_key  # random transforms draw as in the first epoch of a loader of seed 0


class ColumnReader:
    """Reads samples as columns.

    Args:
        dataset: what is read. Its random transforms draw as in the first epoch of a loader of seed 0.
        fields: how its values are called.
    """

    def __init__(self, dataset: Indexable[Any], fields: Fields) -> None:
        self._dataset = dataset
        self._fields = fields

    def read(self, indices: NDArray[np.int64]) -> Columns:
        """Return the columns of the samples at the indices, shape (n,), int64."""
        if type(self._dataset) in (list, tuple):
            return self._fields.of_samples(list(map(self._dataset.__getitem__, indices.tolist())))
        arrays = _neighbours(self._dataset, indices)
        if arrays is not None:
            return self._fields.of_batch(arrays, len(indices))
        plan = compile_dataset(self._dataset)
        if plan.reads_batches:
            with suppress(Exception), use_keys(_DRAWS, indices):  # what is wrong gets a name when read one by one
                return self._fields.of_batch(plan.batch(indices), len(indices))
        with use_keys(_DRAWS, indices):
            return self._fields.of_samples(plan.samples(indices, singly=True))


def _neighbours(dataset: Any, indices: NDArray[np.int64]) -> tuple[NDArray[Any], ...] | None:
    """Return the rows of arrays in memory as views, if they are next to one another; None if there are none such."""
    if type(dataset) is not TensorDataset or not all(type(tensor) is np.ndarray for tensor in dataset.tensors):
        return None
    if not len(indices) or (np.diff(indices) != 1).any() or not 0 <= indices[0] <= indices[-1] < len(dataset):
        return None
    return tuple(tensor[indices[0] : indices[-1] + 1] for tensor in dataset.tensors)


class EncodedChunks(Dataset[Any]):
    """Some samples that follow one another, as a format has them.

    Args:
        dataset: what is written.
        fields: how its values are called.
        format: in which format.
        size: how many samples make a chunk.
    """

    def __init__(self, dataset: Indexable[Any], fields: Fields, format: OutputFormat, size: int = 1) -> None:  # noqa: A002
        self._dataset = dataset
        self._reader = ColumnReader(dataset, fields)
        self._format = format
        self._samples = len(dataset)
        self.size = size

    def __len__(self) -> int:
        return -(-self._samples // self.size)

    def __getitem__(self, index: int, /) -> Chunk:
        first = check_index(index, len(self)) * self.size
        columns = self._reader.read(np.arange(first, min(first + self.size, self._samples)))
        if self._format.name == "tar":  # it holds files, and pixels are one only as an image
            columns = with_png(columns)
        return self._format.encode(columns, first)

    def releases_gil(self) -> bool:
        """Return whether chunks are best made in threads."""
        return compile_dataset(self._dataset).releases_gil
