"""Transforms in a chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.capabilities import batch_function
from headrace.errors import ArgumentTypeError
from headrace.images.encoded import become_one_size, make_batch, make_sample
from headrace.images.fuse import run_batch
from headrace.images.layout import entry_layouts, run_steps
from headrace.images.steps import begins_encoded
from headrace.transforms.base import Transform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from headrace.images.layout import Step

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

    @property
    def keeps_shape(self) -> bool:
        """Whether each of the transforms keeps shape and dtype of images."""
        return all(getattr(transform, "keeps_shape", False) for transform in self.transforms)

    def steps(self) -> list[Callable[[Any], Any]]:
        """Return the transforms, each of which draws in the slot of its position."""
        return self.transforms

    def __call__(self, sample: Any) -> Any:
        """Return the sample after all transforms."""
        return self.apply_in_layout(sample, None, batched=False)

    def apply_batch(self, batch: Any) -> Any:
        """Return the batch after all transforms."""
        return self.apply_in_layout(batch, None, batched=True)

    def apply_in_layout(self, value: Any, layout: str | None, *, batched: bool) -> Any:
        """Return the sample or the batch after all transforms.

        Args:
            value: the sample or the batch.
            layout: where the channels of images are, as far as the chain before knows.
            batched: whether it is a batch.
        """
        whole: list[Step] = [((), self)]
        if not batched and not _are_pixels(value) and begins_encoded(whole):
            return make_sample(value, whole)
        if batched and become_one_size(whole):
            made = make_batch(value, whole)
            if made is not None:
                return made
        steps: list[Step] = [((number,), transform) for number, transform in enumerate(self.transforms)]
        if not batched:
            return run_steps(steps, value, layout, batched=False)
        self._check_batched()
        return run_batch(steps, value, layout)

    def layout_after(self, layout: str | None) -> str | None:
        """Return where the channels of images are after all transforms, as far as that is known."""
        return entry_layouts(self.transforms, layout)[-1]

    def _check_batched(self) -> None:
        for transform in self.transforms:
            if batch_function(transform) is None:
                raise ArgumentTypeError(f"{transform!r} works on single samples; apply Compose to each sample instead")


def _are_pixels(value: Any) -> bool:
    """Return whether a value is surely no encoded image, which is asked for each sample."""
    return type(value) is np.ndarray and value.ndim > 1
