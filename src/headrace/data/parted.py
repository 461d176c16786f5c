"""Datasets whose rows lie in parts: shards, row groups, record batches."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from headrace.batch.merge import merge
from headrace.data.dataset import Dataset
from headrace.data.reading import check_index, check_indices

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headrace.storage.parts import Parts

__all__ = ["Part", "PartedDataset"]


class Part(Protocol):
    """Some rows that are read together."""

    def row(self, row: int) -> Any:
        """The sample in a row."""

    def take(self, rows: NDArray[np.int64], indices: NDArray[np.int64]) -> Any:
        """The batch of some rows.

        Args:
            rows: which of this part's, shape (n,), int64.
            indices: their indices in the dataset, for the texts of errors.
        """


class PartedDataset(Dataset[Any]):
    """What such datasets have in common. A class that derives from it opens a part by its number."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: int, /) -> Any:
        part, row = self._parts.find(check_index(index, len(self)))
        return self._open(part).row(row)

    def releases_gil(self) -> bool:
        """Whether rows are read without the GIL for most of the time: they are."""
        return True

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """The batch of the samples at the indices, shape (n,), int64, read from each part at once."""
        indices = check_indices(indices, len(self))
        pieces = self._parts.split(indices)
        batches = [self._open(piece.part).take(piece.rows, indices[piece.positions]) for piece in pieces]
        return batches[0] if len(pieces) == 1 else merge(batches, [piece.positions for piece in pieces])

    @abstractmethod
    def _open(self, part: int) -> Part:
        """The part of that number."""
