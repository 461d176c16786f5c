"""Datasets inside of others: each draws in its place there, and those end to end can be read one at a time.

Who reads a dataset for another one, as a map does for a part of what it is mapped over, must read it in
the place where the other one would have, so that all draws stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace.batch.merge import merge
from headrace.data.encoded import EncodedField, annotate, as_encoded, encoded_fields
from headrace.data.reading import Indexable, Rows, open_rows, read_batch, reads_batches
from headrace.faces import fast_face
from headrace.keys import part, slot

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Located", "Parts", "Placed", "as_parts"]


class Placed:
    """A dataset that is read, and draws, in a slot of another one.

    Args:
        dataset: the dataset.
        number: the slot.
    """

    def __init__(self, dataset: Indexable[Any], number: int) -> None:
        self._dataset = dataset
        self._number = number

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int, /) -> Any:
        with slot(self._number):
            return self._dataset[index]

    def reads_batches(self) -> bool:
        """Whether the dataset reads whole batches."""
        return reads_batches(self._dataset)

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """The batch of the samples at the indices, shape (n,), int64."""
        with slot(self._number):
            return read_batch(self._dataset, indices)

    def open_rows(self, indices: NDArray[np.int64], field: int | str | None) -> Rows | None:
        """Where the samples of a field lie, if the dataset knows."""
        rows = open_rows(self._dataset, indices, field)
        if rows is None:
            return None

        def complete(value: Any) -> Any:
            with slot(self._number):
                return rows.complete(value)

        functions = [((self._number, *path), function) for path, function in rows.functions]
        return rows._replace(complete=complete, functions=functions)

    def as_encoded(self, field: int | str | None) -> EncodedField | None:
        """The encoded images that a field is made of, if the dataset says so."""
        encoded = as_encoded(self._dataset, field)
        if encoded is None:
            return None
        functions = [((self._number, *path), function) for path, function in encoded.functions]
        return EncodedField(Placed(encoded.dataset, self._number), encoded.field, functions)

    def encoded_fields(self) -> tuple[int | str | None, ...]:
        """The fields that are made of encoded images, as far as the dataset says so."""
        return encoded_fields(self._dataset)

    def as_parts(self) -> Parts | None:
        """The datasets that it is made of, if these stand end to end."""
        parts = as_parts(self._dataset)
        return parts and parts.over(lambda dataset: Placed(dataset, self._number))

    def annotate(self, error: Exception, index: int) -> None:
        """Let an error say of which sample it is."""
        annotate(error, self._dataset, index)


class Located(NamedTuple):
    """Some of the samples of a batch, which lie in one part of a dataset.

    Attributes:
        number: which part.
        positions: where they stand in the batch, shape (n,), int64.
        indices: their indices in the part, shape (n,), int64.
    """

    number: int
    positions: NDArray[np.int64]
    indices: NDArray[np.int64]


class Parts(NamedTuple):
    """The datasets of which a dataset is made, end to end.

    Attributes:
        length: how many.
        part: the dataset of a number, as it is read inside of the whole.
        locate: finds the samples at indices of the whole, shape (n,), int64: in one part at least.
    """

    length: int
    part: Callable[[int], Indexable[Any]]
    locate: Callable[[NDArray[np.int64]], list[Located]]

    def over(self, wrap: Callable[[Indexable[Any]], Indexable[Any]]) -> Parts:
        """The same with something over each of the datasets."""
        return self._replace(part=lambda number: wrap(self.part(number)))

    def sample(self, index: int) -> Any:
        """The sample at an index of the whole."""
        (located,) = self.locate(np.array([index]))
        return self.part(located.number)[int(located.indices[0])]

    def read(self, located: list[Located]) -> Any:
        """The batch of samples that have been located, read from each part at once."""
        count = sum(len(each.positions) for each in located)
        batches = []
        for number, positions, indices in located:
            with part(positions, count):
                batches.append(read_batch(self.part(number), indices))
        return batches[0] if len(batches) == 1 else merge(batches, [each.positions for each in located])


def as_parts(dataset: object) -> Parts | None:
    """The datasets of which a dataset is made, end to end, if it says so in `as_parts`."""
    face = fast_face(dataset, "as_parts", "__getitem__")
    parts: Parts | None = None if face is None else face()
    return parts
