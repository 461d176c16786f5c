"""Datasets whose rows lie in shards: files, row groups, record batches."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from headrace.datasets.base import Dataset
from headrace.pipeline.reading import check_index, check_indices

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from headrace.formats.shard_bounds import Located, ShardBounds

__all__ = ["Shard", "ShardedDataset"]


class Shard(Protocol):
    """Rows that are read together. All shards of a dataset are of one class."""

    def row(self, row: int) -> Any:
        """Return the sample in a row."""

    @classmethod
    def gather(cls, shards: Sequence[Self], located: Located, indices: NDArray[np.int64]) -> Any:
        """Return the batch of some rows.

        Args:
            shards: those of `located`.
            located: the rows.
            indices: the indices of the rows in the dataset, for the texts of errors.
        """


P = TypeVar("P", bound=Shard)


class ShardedDataset(Dataset[Any], Generic[P]):
    """The base of datasets whose rows lie in shards. A class that derives from it opens shards by their numbers."""

    def __init__(self, bounds: ShardBounds) -> None:
        self._bounds = bounds

    def __len__(self) -> int:
        return len(self._bounds)

    def __getitem__(self, index: int, /) -> Any:
        shard, row = self._bounds.find(check_index(index, len(self)))
        (opened,) = self._open([shard])
        return opened.row(row)

    def releases_gil(self) -> bool:
        """Return whether rows are read without the GIL for most of the time: they are."""
        return True

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """Return the batch of the samples at the indices, shape (n,), int64."""
        indices = check_indices(indices, len(self))
        located = self._bounds.locate(indices)
        shards = self._open(located.shards)
        return type(shards[0]).gather(shards, located, indices)

    @abstractmethod
    def _open(self, numbers: list[int]) -> Sequence[P]:
        """Return the shards of these numbers."""
