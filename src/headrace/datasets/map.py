"""A dataset with a function applied to its samples: whole batches at once, or all in one pass, where that can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.datasets.composed import ComposedDataset, says
from headrace.datasets.tables import as_dataset
from headrace.errors import ArgumentTypeError
from headrace.pipeline.describe import describe
from headrace.pipeline.nodes import Map, Node
from headrace.transforms.fields import FieldsTransform

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.pipeline.reading import Indexable

__all__ = ["MapDataset"]

# Where mapped functions draw, by stage: far from the slots of the datasets in a ConcatDataset or StackDataset.
_FUNCTIONS = 2**30


class MapDataset(ComposedDataset[Any]):
    """A dataset with a function applied to each sample, or to one field of it.

    A function that works on batches, as `headrace.transforms.Transform` does, is applied to whole batches
    where the dataset reads them, with the same result.

    Args:
        dataset: any object with `__len__` and `__getitem__`, or a table: a dict of arrays, or a DataFrame.
        fn: takes a sample, or the field, and returns what replaces it.
        field: a tuple position, a dict key or the name of a dataclass or namedtuple field; None for
            the whole sample. A dict, as `{"image": 0, "mask": 1}`, for several that transforms move together: by
            what they are, "image", "mask", "boxes", "keypoints" or "labels", the field, a tuple for one inside
            another, or a list for several. See the how-to on segmentation and detection.

    Raises:
        ArgumentError: field is a dict with another key, or with neither an image nor a mask.
        ArgumentTypeError: fn cannot be called, or field is none of these; or it is a dict, and fn is not made of
            headrace's transforms.

    >>> MapDataset("abc", str.upper)[1]
    'B'
    """

    made_of = ("dataset", "fn", "field")
    keeps_slots = True

    def __init__(
        self, dataset: Indexable[Any], fn: Callable[[Any], Any], field: int | str | Mapping[str, Any] | None = None
    ) -> None:
        dataset = as_dataset(dataset)
        if not callable(fn):
            raise ArgumentTypeError(f"map needs a function of one sample, got {fn!r}")
        if isinstance(field, bool) or not isinstance(field, int | str | dict | None):
            raise ArgumentTypeError(f"field must be a tuple position, a key, a dict of them or None; got {field!r}")
        self.dataset = dataset
        self.fn = fn
        self.field = field
        self._together = FieldsTransform(fn, field) if isinstance(field, dict) else None
        self._stage = _stages(dataset) + 1

    def __len__(self) -> int:
        return len(self.dataset)

    def node(self) -> Node:
        """Return the description of the dataset.

        Datasets of headrace's own keep places of their own for what they draw, so that one more map changes no draw
        of theirs. Others may hide a map, which would otherwise come to the place of this one.
        """
        slot = None if says(self.dataset, "keeps_slots") else 0
        fn, field = self._applied()
        return Map(self, describe(self.dataset), fn, field, (_FUNCTIONS + self._stage,), slot)

    def _applied(self) -> tuple[Callable[[Any], Any], int | str | None]:
        """Return what is applied, and to which field: of several to the whole sample, by a function of it."""
        if not isinstance(self.field, dict):
            return self.fn, self.field
        if self._together is None or self._together.transform is not self.fn:  # it has been replaced
            self._together = FieldsTransform(self.fn, self.field)
        return self._together, None


def _stages(dataset: Any) -> int:
    """Return how many functions are mapped, one over the other, as far as that is in plain view."""
    while says(dataset, "keeps_stage"):
        dataset = dataset.dataset
    return dataset._stage if type(dataset) is MapDataset else 0  # noqa: SLF001 - of the same class
