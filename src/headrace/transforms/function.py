"""The transform that calls a function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.errors import ArgumentTypeError
from headrace.transforms.base import Transform

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Lambda"]


class Lambda(Transform):
    """Apply a function to each sample.

    Args:
        lambd: takes the sample and returns what replaces it.
        *types: the classes of samples that it is applied to; none of them for all samples.

    Raises:
        ArgumentTypeError: lambd cannot be called.

    Named as torchvision.transforms.v2.Lambda. A chain takes the function itself as well.

    >>> Lambda(lambda number: 2 * number)(21)
    42
    """

    def __init__(self, lambd: Callable[[Any], Any], *types: type) -> None:
        if not callable(lambd):
            raise ArgumentTypeError(f"Lambda takes a function of one sample, but got {lambd!r}")
        self.lambd = lambd
        self.types = types or (object,)

    @property
    def batched(self) -> bool:
        """Never: the function takes a sample."""
        return False

    def __call__(self, sample: Any) -> Any:
        """Return what the function makes of the sample."""
        return self.lambd(sample) if isinstance(sample, self.types) else sample

    def apply_batch(self, batch: Any) -> list[Any]:
        """Return what the function makes of each sample."""
        return [self(sample) for sample in batch]
