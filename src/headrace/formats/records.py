"""Datasets over records: bytes by number, and what is made of them."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.capabilities import batch_function
from headrace.batch.collate import default_collate
from headrace.datasets.base import Dataset
from headrace.errors import ArgumentTypeError
from headrace.errors.notes import add_note
from headrace.images.layout import layout_after
from headrace.io.source import split
from headrace.pipeline.reading import check_index, check_indices
from headrace.rng.places import each_sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["RecordDataset", "check_decode", "split"]


class RecordDataset(Dataset[Any]):
    """Samples that are each made of one record: derive from it and write `__len__`, `read_records` and `where`.

    Args:
        decode: takes the bytes of a record and returns the sample; None for the bytes themselves.
            One with the batch capability of `headrace.transforms.Transform` is given lists of them.

    Raises:
        ArgumentTypeError: decode cannot be called.
    """

    def __init__(self, decode: Callable[[bytes], Any] | None = None) -> None:
        self.decode = check_decode(decode)

    @abstractmethod
    def read_records(self, indices: NDArray[np.int64]) -> list[bytes]:
        """Return the records at the indices, shape (n,), int64, each in [0, len(self))."""

    @abstractmethod
    def where(self, index: int) -> str:
        """Return the file that a record lies in, and its place there, for the texts of errors."""

    def read_record(self, index: int) -> bytes:
        """Return one record, of an index in [0, len(self))."""
        return self.read_records(np.array([index]))[0]

    def __getitem__(self, index: int, /) -> Any:
        position = check_index(index, len(self))
        return self._decoded(self.read_record(position), position)

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """Return the samples at the indices."""
        positions = check_indices(np.array(indices, np.int64), len(self))
        return self._decoded_all(self.read_records(positions), positions)

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """Return the batch of the samples at the indices, shape (n,), int64; without `decode` a list of bytes."""
        indices = check_indices(indices, len(self))
        records = self.read_records(indices)
        if self.decode is None:
            return records
        whole = batch_function(self.decode)
        return default_collate(self._decoded_all(records, indices), indices) if whole is None else whole(records)

    def image_layout(self, field: int | str | None) -> str | None:
        """Return where the channels of the images are that records are decoded to, if that is known."""
        return layout_after(self.decode, None) if field is None and self.decode is not None else None

    def releases_gil(self) -> bool:
        """Return whether records are read, and decoded, in several threads at the same time."""
        return self.decode is None or bool(getattr(self.decode, "releases_gil", False))

    def _decoded_all(self, records: list[bytes], indices: NDArray[np.int64]) -> list[Any]:
        if self.decode is None:
            return records
        samples = []
        with each_sample(len(records)) as move_to:
            for place, (record, index) in enumerate(zip(records, indices.tolist(), strict=True)):
                move_to(place)
                samples.append(self._decoded(record, index))
        return samples

    def _decoded(self, record: bytes, index: int) -> Any:
        if self.decode is None:
            return record
        try:
            return self.decode(record)
        except Exception as error:
            self.annotate(error, index)
            raise

    def annotate(self, error: Exception, index: int) -> None:
        """Let an error say of which record it is."""
        add_note(error, f"while decoding sample {index}: {self.where(index)}")


def check_decode(decode: Any) -> Any:
    """Refuse what is neither a function nor None.

    Raises:
        ArgumentTypeError: with what it is.
    """
    if decode is not None and not callable(decode):
        raise ArgumentTypeError(f"decode must be a function of the bytes of one record or None, but got {decode!r}")
    return decode
