"""Datasets without what is random in them: the samples as they are before augmentation."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

from headrace import Compose, ConcatDataset, MapDataset, StackDataset, Subset, frameworks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["draws", "functions_of", "layers_of", "without_random"]


class draws:  # noqa: N801 - a context manager reads like a function
    """Notice whether anything is drawn at random while this is open, and undo it for later draws.

    Outside of a loader all of headrace's own draws come from Python's `random`, so three global
    generators tell of everything.

    >>> import random
    >>> with draws() as noticed:
    ...     value = random.random()
    >>> noticed.any, random.random() == value
    (True, True)
    """

    any = False

    def __enter__(self) -> Self:
        self._before = frameworks.global_states()
        return self

    def __exit__(self, *_: object) -> None:
        self.any = frameworks.global_states() != self._before
        if self.any:
            frameworks.restore_globals(self._before)


class _Plain:
    """A function of a sample that leaves it as it is where the function is random."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def __call__(self, sample: Any) -> Any:
        with draws() as noticed:
            result = self._function(sample)
        return sample if noticed.any else result


def without_random(dataset: Any) -> Any:
    """Return the dataset with every random function left out that is mapped over it, or is its `transform`.

    Args:
        dataset: any dataset; what it draws in its own `__getitem__` cannot be left out.
    """
    kind = type(dataset)
    if kind is MapDataset:
        return MapDataset(without_random(dataset.dataset), _plain(dataset.fn), dataset.field)
    if kind is Subset:
        return Subset(without_random(dataset.dataset), dataset.indices)
    if kind is ConcatDataset:
        return ConcatDataset(map(without_random, dataset.datasets))
    if kind is StackDataset and isinstance(dataset.datasets, dict):
        return StackDataset(**{name: without_random(each) for name, each in dataset.datasets.items()})
    if kind is StackDataset:
        return StackDataset(*map(without_random, dataset.datasets))
    if not callable(getattr(dataset, "transform", None)):
        return dataset
    plain = copy.copy(dataset)
    plain.transform = _plain(dataset.transform)
    return plain


def _plain(function: Any) -> Any:
    inner = _parts(function)
    return _Plain(function) if inner is None else Compose([_plain(each) for each in inner])


def _parts(function: Any) -> list[Any] | None:
    """Return the transforms of a Compose, headrace's or torchvision's."""
    parts = getattr(function, "transforms", None)
    return list(parts) if type(function).__name__ == "Compose" and isinstance(parts, list | tuple) else None


def layers_of(dataset: Any) -> Iterator[Any]:
    """Yield the dataset and all that it is made of, from the outside in."""
    yield dataset
    many = getattr(dataset, "datasets", [])
    for each in many.values() if isinstance(many, dict) else many:
        yield from layers_of(each)
    if hasattr(dataset, "dataset"):
        yield from layers_of(dataset.dataset)


def functions_of(dataset: Any) -> Iterator[Any]:
    """Return the functions mapped over the dataset, or its `transform`s, those of a Compose one by one."""
    for layer in layers_of(dataset):
        for name in ("fn", "transform"):
            if callable(getattr(layer, name, None)):
                yield from _flat(getattr(layer, name))


def _flat(function: Any) -> Iterator[Any]:
    inner = _parts(function)
    if inner is None:
        yield function
    for each in inner or ():
        yield from _flat(each)
