"""Datasets whose rows lie in parts: shards, row groups, record batches."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from headrace.datasets.base import Dataset
from headrace.pipeline.reading import check_index, check_indices

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from headrace.formats.parts import Located, Parts

__all__ = ["Part", "PartedDataset"]


class Part(Protocol):
    """Rows that are read together. All parts of a dataset are of one class."""

    def row(self, row: int) -> Any:
        """Return the sample in a row."""

    @classmethod
    def gather(cls, parts: Sequence[Self], located: Located, indices: NDArray[np.int64]) -> Any:
        """Return the batch of some rows.

        Args:
            parts: those of `located`.
            located: the rows.
            indices: the indices of the rows in the dataset, for the texts of errors.
        """


P = TypeVar("P", bound=Part)


class PartedDataset(Dataset[Any], Generic[P]):
    """The base of datasets whose rows lie in shards. A class that derives from it opens shards by their numbers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: int, /) -> Any:
        part, row = self._parts.find(check_index(index, len(self)))
        (opened,) = self._open([part])
        return opened.row(row)

    def releases_gil(self) -> bool:
        """Return whether rows are read without the GIL for most of the time: they are."""
        return True

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """Return the batch of the samples at the indices, shape (n,), int64."""
        indices = check_indices(indices, len(self))
        located = self._parts.locate(indices)
        parts = self._open(located.parts)
        return type(parts[0]).gather(parts, located, indices)

    @abstractmethod
    def _open(self, parts: list[int]) -> Sequence[P]:
        """Return the parts of these numbers."""
