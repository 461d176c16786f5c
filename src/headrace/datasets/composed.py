"""The base of datasets that are made of others: described by a node, read by the plan that is compiled of it."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from headrace.datasets.base import BatchedDataset
from headrace.pipeline.compile import ReadPlan
from headrace.pipeline.reading import check_index, check_indices

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headrace.pipeline.nodes import Node

__all__ = ["ComposedDataset", "says"]

T_co = TypeVar("T_co", covariant=True)


class ComposedDataset(BatchedDataset[T_co]):
    """A dataset that says in `node()` what it is made of.

    Attributes:
        made_of: the attributes that the node is made of: when one of them is replaced, a new plan is compiled.
    """

    made_of: ClassVar[tuple[str, ...]]
    _compiled: ReadPlan | None = None

    @abstractmethod
    def node(self) -> Node:
        """Return the description of the dataset."""

    def __getitem__(self, index: int, /) -> T_co:
        sample: T_co = self._plan().sample(check_index(index, len(self)))
        return sample

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """Return the batch of the samples at the indices, shape (n,), int64."""
        return self._plan().batch(check_indices(indices, len(self)))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_compiled"}

    def _plan(self) -> ReadPlan:
        plan = self._compiled
        if plan is None or not plan.is_current():
            plan = self._compiled = ReadPlan(self, self.node())
        return plan


def says(dataset: object, name: str) -> bool:
    """Return whether a dataset's own class, not one that it derives from, says something of its draws.

    `keeps_slots` says that it draws in slots of its own, or not at all, so a map over it opens none for it;
    `keeps_stage` that a map over it is one more over the maps below it.
    """
    return bool(vars(type(dataset)).get(name, False))
