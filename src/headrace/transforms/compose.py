"""How transforms chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.errors import ArgumentTypeError
from headrace.faces import batch_function
from headrace.keys import slot
from headrace.transforms.base import Transform
from headrace.transforms.encoded import become_one_size, begins_encoded, make_batch, make_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from headrace.transforms.fuse import Step

__all__ = ["Compose"]


class Compose(Transform):
    """Transforms one after the other.

    A chain that begins with Decode, or stands behind it in a dataset, is done in one pass as far as
    that can be: see the how-to on images.

    Args:
        transforms: functions of one sample.

    Raises:
        ArgumentTypeError: one of them cannot be called.

    >>> Compose([lambda x: x + 1, lambda x: x * 2])(3)
    8
    """

    def __init__(self, transforms: Iterable[Callable[[Any], Any]]) -> None:
        self.transforms = list(transforms)
        for position, transform in enumerate(self.transforms):
            if not callable(transform):
                raise ArgumentTypeError(f"transform {position} of Compose cannot be called: {transform!r}")

    @property
    def batched(self) -> bool:
        """Whether each of the transforms can be applied to a batch, or all together to one of encoded images."""
        if all(batch_function(transform) is not None for transform in self.transforms):
            return True
        return become_one_size([((), self)])

    @property
    def releases_gil(self) -> bool:
        """Whether each of the transforms does."""
        return all(getattr(transform, "releases_gil", False) for transform in self.transforms)

    @property
    def is_random(self) -> bool:
        """Whether one of the transforms is."""
        return any(getattr(transform, "is_random", False) for transform in self.transforms)

    def steps(self) -> list[Callable[[Any], Any]]:
        """The transforms, each of which draws in the slot of its position."""
        return self.transforms

    def __call__(self, sample: Any) -> Any:
        """Return the sample after all transforms."""
        whole: list[Step] = [((), self)]
        return make_sample(sample, whole) if begins_encoded(whole) else self._chain(self.transforms, sample)

    def apply_batch(self, batch: Any) -> Any:
        """Return the batch after all transforms."""
        whole: list[Step] = [((), self)]
        if become_one_size(whole):
            made = make_batch(batch, whole)
            if made is not None:
                return made
        functions = [batch_function(transform) or _not_batched(transform) for transform in self.transforms]
        return self._chain(functions, batch)

    def _chain(self, functions: list[Callable[[Any], Any]], value: Any) -> Any:
        for number, function in enumerate(functions):
            with slot(number):
                value = function(value)
        return value


def _not_batched(transform: Callable[[Any], Any]) -> Callable[[Any], Any]:
    raise ArgumentTypeError(f"{transform!r} works on single samples; apply Compose to each sample instead")
