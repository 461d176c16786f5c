"""Transforms that hold others and decide for each sample which of them it gets."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import frameworks
from headrace.batch.arena import empty
from headrace.batch.capabilities import batch_function
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.images.layout import entry_layouts, layout_after, run_step
from headrace.rng.draws import draw
from headrace.rng.notes import note, notes_wanted
from headrace.rng.places import part, slot
from headrace.transforms.base import Transform
from headrace.transforms.chance import check_probability, fractions, happens
from headrace.transforms.compose import Compose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

__all__ = ["RandomApply", "RandomChoice", "RandomOrder"]

_WORDS_A_DRAW = 4


class _Holding(Transform):
    """Holds transforms, and decides for each sample what becomes of it by them.

    Whole batches are possible where every branch keeps the shape and the dtype of the images. Other
    branches take single samples: the batch would be none before the samples are alike again.
    """

    def __init__(self, transforms: Iterable[Callable[[Any], Any]]) -> None:
        self.transforms = _check_transforms(type(self).__name__, transforms)

    @property
    def batched(self) -> bool:
        """Whether each of the transforms can be applied to a batch and is known to keep shape and dtype."""
        return self.keeps_shape and all(batch_function(transform) is not None for transform in self.transforms)

    @property
    def keeps_shape(self) -> bool:
        """Whether each of the transforms keeps shape and dtype of images."""
        return all(getattr(transform, "keeps_shape", False) for transform in self.transforms)

    @property
    def releases_gil(self) -> bool:
        """Whether each of the transforms does."""
        return all(getattr(transform, "releases_gil", False) for transform in self.transforms)

    @property
    def is_random(self) -> bool:
        """Whether the result depends on draws: it does."""
        return True

    def _names(self, numbers: NDArray[np.int64]) -> list[str]:
        """Return the names of the transforms of some numbers."""
        names = [getattr(each, "__name__", type(each).__name__) for each in self.transforms]
        return [names[number] for number in numbers.tolist()]

    def __call__(self, sample: Any) -> Any:
        """Return what the sample becomes; `sample` itself if no transform is chosen for it."""
        return self.apply_in_layout(sample, None, batched=False)

    def apply_batch(self, batch: Any) -> Any:
        """Return what the images become; `batch` itself if no transform is chosen for any."""
        return self.apply_in_layout(batch, None, batched=True)

    @abstractmethod
    def layout_after(self, layout: str | None) -> str | None:
        """Return where the channels of images are then; None where that depends on the draw."""

    def apply_in_layout(self, value: Any, layout: str | None, *, batched: bool) -> Any:
        """Return what the sample, or the images of a batch, become.

        Args:
            value: the sample or the batch.
            layout: where the channels of images are, as far as the chain before knows.
            batched: whether it is a batch.
        """
        if not batched:
            return self._apply_to_sample(value, layout)
        adapter = frameworks.find(value)
        images = None if adapter is None else adapter.to_numpy(value)
        if adapter is None or images is None or not self.batched:
            raise ArgumentTypeError(f"{self!r} takes single samples here; apply it to each of them instead")
        out = self._apply_to_images(images, layout)
        return value if out is images else adapter.from_numpy(out, value)

    @abstractmethod
    def _apply_to_sample(self, sample: Any, layout: str | None) -> Any:
        """Return what a sample becomes."""

    @abstractmethod
    def _apply_to_images(self, images: NDArray[Any], layout: str | None) -> NDArray[Any]:
        """Return what the images become, or `images` itself where none of them is changed."""


class _Choosing(_Holding):
    """Gives each sample to one of several branches, or to none."""

    @abstractmethod
    def _choose(self, count: int) -> NDArray[np.int64]:
        """Return the number of each sample's branch, -1 for none, shape (count,)."""

    @abstractmethod
    def _branch(self, number: int) -> Transform:
        """Return the branch of a number."""

    def _apply_to_sample(self, sample: Any, layout: str | None) -> Any:
        number = int(self._choose(1)[0])
        return sample if number < 0 else run_step(self._branch(number), sample, layout, batched=False)

    def _apply_to_images(self, images: NDArray[Any], layout: str | None) -> NDArray[Any]:
        return _in_branches(images, self._choose(len(images)), self._branch, layout)


class RandomApply(_Choosing):
    """Apply transforms one after the other, or none of them, with probability p.

    Args:
        transforms: functions of one sample.
        p: the probability that they are applied, 0 ... 1.

    Raises:
        ArgumentError: p is no probability.
        ArgumentTypeError: one of the transforms cannot be called.

    Named as torchvision.transforms.v2.RandomApply. One decision is made for each sample of a loader,
    and one for each call outside of it.

    >>> RandomApply([lambda x: x + 1, lambda x: x * 2], p=1.0)(3)
    8
    """

    def __init__(self, transforms: Iterable[Callable[[Any], Any]], p: float = 0.5) -> None:
        super().__init__(transforms)
        self.p = check_probability(p)

    def layout_after(self, layout: str | None) -> str | None:
        """Return where the channels of images are then: as before, unless the transforms move them."""
        return layout if entry_layouts(self.transforms, layout)[-1] == layout else None

    def _choose(self, count: int) -> NDArray[np.int64]:
        happened = happens(draw(count)[:, 0], self.p)
        note(self, applied=happened)
        return happened.astype(np.int64) - 1

    def _branch(self, number: int) -> Transform:  # noqa: ARG002 - there is one
        return Compose(self.transforms)


class RandomChoice(_Choosing):
    """Apply one transform, chosen at random.

    Args:
        transforms: functions of one sample, at least one.
        p: how often each of them is chosen, relative to the others; None for equally often.

    Raises:
        ArgumentError: there are no transforms, or p has not one non-negative number for each, not all 0.
        ArgumentTypeError: one of the transforms cannot be called.

    Named as torchvision.transforms.v2.RandomChoice. One choice is made for each sample of a loader,
    and one for each call outside of it.

    >>> RandomChoice([lambda x: x + 1, lambda x: x * 2], p=[0, 1])(3)
    6
    """

    def __init__(self, transforms: Iterable[Callable[[Any], Any]], p: Sequence[float] | None = None) -> None:
        super().__init__(transforms)
        self.p = _check_weights(p, len(self.transforms))

    def layout_after(self, layout: str | None) -> str | None:
        """Return where the channels of images are then, if that is the same for all of the transforms."""
        found = {layout_after(transform, layout) for transform in self.transforms}
        return found.pop() if len(found) == 1 else None

    def _choose(self, count: int) -> NDArray[np.int64]:
        limits = np.cumsum(self.p)[:-1]
        found = np.searchsorted(limits, fractions(draw(count)[:, 0]), side="right").astype(np.int64)
        if notes_wanted():
            note(self, chosen=self._names(found))
        return found

    def _branch(self, number: int) -> Transform:
        return _Numbered(self.transforms[number], number)


class RandomOrder(_Holding):
    """Apply all transforms, in random order.

    Args:
        transforms: functions of one sample.

    Raises:
        ArgumentTypeError: one of the transforms cannot be called.

    Named as torchvision.transforms.v2.RandomOrder. One order is drawn for each sample of a loader, and one for each
    call outside of it.

    >>> RandomOrder([lambda x: x + 1, lambda x: x * 2])(3) in (7, 8)
    True
    """

    def layout_after(self, layout: str | None) -> str | None:
        """Return where the channels of images are then: as before, unless one of the transforms moves them."""
        return layout if all(layout_after(transform, layout) == layout for transform in self.transforms) else None

    def _apply_to_sample(self, sample: Any, layout: str | None) -> Any:
        for number in self._orders(1)[0].tolist():
            sample = run_step(self._branch(number), sample, layout, batched=False)
            layout = self.layout_after(layout)
        return sample

    def _apply_to_images(self, images: NDArray[Any], layout: str | None) -> NDArray[Any]:
        for choice in self._orders(len(images)).T:
            images = _in_branches(images, choice, self._branch, layout)
        return images

    def _orders(self, count: int) -> NDArray[np.int64]:
        """Return the numbers of the transforms in each sample's order, shape (count, transforms)."""
        draws = [draw(count) for _ in range(0, len(self.transforms), _WORDS_A_DRAW)]
        words = np.hstack(draws)[:, : len(self.transforms)] if draws else np.empty((count, 0))
        orders = np.argsort(words, axis=1, kind="stable")
        if notes_wanted():
            note(self, order=[self._names(numbers) for numbers in orders])
        return orders

    def _branch(self, number: int) -> Transform:
        return _Numbered(self.transforms[number], number)


class _Numbered(Transform):
    """One of several transforms, at its own place: what it draws depends on no other one."""

    def __init__(self, transform: Callable[[Any], Any], number: int) -> None:
        self.transform = transform
        self.number = number

    def __call__(self, sample: Any) -> Any:
        return self.apply_in_layout(sample, None, batched=False)

    def apply_batch(self, batch: Any) -> Any:
        return self.apply_in_layout(batch, None, batched=True)

    def apply_in_layout(self, value: Any, layout: str | None, *, batched: bool) -> Any:
        with slot(self.number):
            return run_step(self.transform, value, layout, batched=batched)


def _in_branches(
    images: NDArray[Any], choice: NDArray[np.int64], branch: Callable[[int], Transform], layout: str | None
) -> NDArray[Any]:
    """Return what the images become, each by the branch of its number; `images` itself where all have none, -1."""
    if (choice < 0).all():
        return images
    out = empty(images.shape, images.dtype)
    np.copyto(out, images)
    for number in np.unique(choice[choice >= 0]).tolist():
        rows = np.flatnonzero(choice == number)
        with part(rows, len(images)):
            out[rows] = _checked(run_step(branch(number), images[rows], layout, batched=True), images)
    return out


def _checked(changed: Any, images: NDArray[Any]) -> NDArray[Any]:
    if changed.shape[1:] != images.shape[1:] or changed.dtype != images.dtype:
        raise ArgumentError(
            f"a transform made {changed.dtype} {changed.shape[1:]} of {images.dtype} {images.shape[1:]}, "
            "which do not fit into one batch with the images that it was not applied to"
        )
    out: NDArray[Any] = changed
    return out


def _check_transforms(who: str, transforms: Any) -> list[Callable[[Any], Any]]:
    try:
        checked = list(transforms)
    except TypeError:
        raise ArgumentTypeError(f"{who} takes a list of transforms, but got {transforms!r}") from None
    for position, transform in enumerate(checked):
        if not callable(transform):
            raise ArgumentTypeError(f"transform {position} of {who} cannot be called: {transform!r}")
    return checked


def _check_weights(p: Any, count: int) -> list[float]:
    """Return probabilities whose sum is 1."""
    if count == 0:
        raise ArgumentError("RandomChoice needs at least one transform, got none")
    try:
        weights = np.ones(count) if p is None else np.asarray(p, np.float64)
    except (TypeError, ValueError):
        weights = np.empty(0)
    if weights.shape != (count,) or not np.isfinite(weights).all() or weights.min() < 0 or weights.sum() == 0:
        raise ArgumentError(f"p must be {count} non-negative numbers, one a transform and not all 0, but got p={p!r}")
    return [float(weight) for weight in weights / weights.sum()]
