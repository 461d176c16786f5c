"""A dataset as the chunks of a format: what workers do while a dataset is packed."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.data.dataset import Dataset
from headrace.data.reading import check_index, read_batch, read_samples, reads_batches, releases_gil
from headrace.keys import use_keys
from headrace.packing.png import with_png
from headrace.position import Epoch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.data.reading import Indexable
    from headrace.packing.fields import Fields
    from headrace.storage.writers.base import Chunk, Columns, Format

__all__ = ["EncodedChunks"]

_DRAWS = Epoch(0, 0).draws_key  # random transforms draw as in the first epoch of a loader of seed 0


class EncodedChunks(Dataset[Any]):
    """Some samples that follow one another, as a format has them.

    Args:
        dataset: what is packed.
        fields: how its values are called.
        format: in which format.
        size: how many samples make a chunk.
    """

    def __init__(self, dataset: Indexable[Any], fields: Fields, format: Format, size: int = 1) -> None:  # noqa: A002
        self._dataset = dataset
        self._fields = fields
        self._format = format
        self._samples = len(dataset)
        self.size = size

    def __len__(self) -> int:
        return -(-self._samples // self.size)

    def __getitem__(self, index: int, /) -> Chunk:
        first = check_index(index, len(self)) * self.size
        columns = self._read(np.arange(first, min(first + self.size, self._samples)))
        if self._format.name == "tar":  # it holds files, and pixels are one only as an image
            columns = with_png(columns)
        return self._format.encode(columns, first)

    def releases_gil(self) -> bool:
        """Whether chunks are best made in threads."""
        return releases_gil(self._dataset)

    def _read(self, indices: NDArray[np.int64]) -> Columns:
        if reads_batches(self._dataset):
            with suppress(Exception), use_keys(_DRAWS, indices):  # what is wrong gets a name when read one by one
                return self._fields.of_batch(read_batch(self._dataset, indices), len(indices))
        with use_keys(_DRAWS, indices):
            return self._fields.of_samples(read_samples(self._dataset, indices, singly=True))
