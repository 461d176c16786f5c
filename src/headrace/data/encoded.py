"""Datasets of encoded images, and what functions make of these: one pass for a batch, and for a sample the same.

Whoever has bytes in a field is such a dataset, as soon as a Decode is mapped over it. One that decodes by
itself says in `as_encoded(field)` of which dataset of bytes its field is made, and by which functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.batch.collate import default_collate
from headrace.batch.structure import get_field, replace_field
from headrace.data.reading import Indexable, read_batch, read_samples, reads_batches
from headrace.faces import fast_face
from headrace.failures import add_note
from headrace.transforms.decode import Decode
from headrace.transforms.encoded import become_one_size, begins_encoded, make_batch, make_sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headrace.transforms.fuse import Step

__all__ = ["EncodedField", "annotate", "as_encoded", "encoded_fields"]


class EncodedField(NamedTuple):
    """A field of images, as the bytes that it is made of.

    Attributes:
        dataset: gives encoded images in this field.
        field: the field.
        functions: what makes of them what the field is, each with the slots in which it draws.
    """

    dataset: Indexable[Any]
    field: int | str | None
    functions: list[Step]

    @property
    def decodes(self) -> bool:
        """Whether the functions begin with a Decode, so that they can be done in one pass."""
        return begins_encoded(self.functions)

    @property
    def reads_batches(self) -> bool:
        """Whether images of any sizes become a batch in one pass."""
        return become_one_size(self.functions)

    def is_like(self, other: EncodedField | None) -> bool:
        """Whether another one is of the same field, and both are decoded alike and nothing else, so that none draws."""
        if other is None or self.field != other.field:
            return False
        ours, theirs = ([function for _, function in each.functions] for each in (self, other))
        return all(type(function) is Decode for function in (*ours, *theirs)) and [*map(vars, ours)] == [
            *map(vars, theirs)
        ]

    def sample(self, index: int) -> Any:
        """The sample at an index, with the image that the functions make of this field."""
        sample = self.dataset[index]
        file = get_field(sample, self.field)
        try:
            image = make_sample(file, self.functions)
        except Exception as error:
            annotate(error, self.dataset, index)
            raise
        return replace_field(sample, self.field, image)

    def batch(self, indices: NDArray[np.int64]) -> Any:
        """The batch of the samples at the indices, shape (n,), int64; None where the images differ in size."""
        files, batch = self._read(indices)
        images = make_batch(files, self.functions, lambda error, row: annotate(error, self.dataset, int(indices[row])))
        return None if images is None else replace_field(batch, self.field, images)

    def _read(self, indices: NDArray[np.int64]) -> tuple[list[Any], Any]:
        """The encoded images, and a batch in which something else may stand in their place."""
        if reads_batches(self.dataset):
            batch = read_batch(self.dataset, indices)
            return list(get_field(batch, self.field)), batch
        samples = read_samples(self.dataset, indices)
        files = [get_field(sample, self.field) for sample in samples]
        return files, default_collate([replace_field(sample, self.field, b"") for sample in samples], indices)


def as_encoded(dataset: object, field: int | str | None) -> EncodedField | None:
    """The encoded images that a field is made of, if the dataset says so in `as_encoded`."""
    face = fast_face(dataset, "as_encoded", "__getitem__")
    found: EncodedField | None = None if face is None else face(field)
    return found


def encoded_fields(dataset: object) -> tuple[int | str | None, ...]:
    """The fields of a dataset that are made of encoded images, as far as it says so in `encoded_fields`."""
    face = fast_face(dataset, "encoded_fields", "__getitem__")
    return () if face is None else face()


def annotate(error: Exception, dataset: object, index: int) -> None:
    """Let an error say of which image it is: in the words of the dataset, if it has an `annotate(error, index)`."""
    face = fast_face(dataset, "annotate", "__getitem__")
    if face is None:
        add_note(error, f"while decoding sample {index} of {type(dataset).__name__}")
    else:
        face(error, index)
