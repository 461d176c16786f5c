"""Datasets of image files as the files' own bytes: an image that was encoded once stays as it is."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from headrace.datasets.cifar import CIFAR10, CIFAR100
from headrace.datasets.compose import ConcatDataset, Subset
from headrace.datasets.images import ImageDataset, ImageFolder
from headrace.datasets.map import MapDataset
from headrace.datasets.mnist import MNIST, FashionMNIST
from headrace.transforms.decode import Decode

if TYPE_CHECKING:
    from headrace.pipeline.reading import Indexable

__all__ = ["field_names", "undecoded"]

_OF_IMAGES = (ImageDataset, MNIST, FashionMNIST, CIFAR10, CIFAR100)


def field_names(dataset: Any) -> list[str] | None:
    """Return names for the positions of a sample, where the dataset's class tells them."""
    if isinstance(dataset, _OF_IMAGES):
        return ["image", "label"]
    if isinstance(dataset, Subset) or (isinstance(dataset, MapDataset) and dataset.field is not None):
        return field_names(dataset.dataset)
    if isinstance(dataset, ConcatDataset):
        return field_names(dataset.datasets[0])
    return None


def undecoded(dataset: Indexable[Any], *, classes: bool) -> Indexable[Any]:
    """Return the dataset with the bytes of its image files, where it only decodes them to RGB.

    Args:
        dataset: any dataset; one that is not of image files is given back.
        classes: whether a sample of an ImageFolder also tells the name of its class.
    """
    if isinstance(dataset, Subset):
        return Subset(undecoded(dataset.dataset, classes=classes), dataset.indices)
    if isinstance(dataset, ConcatDataset):
        return ConcatDataset([undecoded(each, classes=classes) for each in dataset.datasets])
    if not isinstance(dataset, ImageDataset) or dataset.transform is not None:
        return dataset
    if dataset.decode is not None and not (isinstance(dataset.decode, Decode) and dataset.decode.mode == "RGB"):
        return dataset
    files = copy.copy(dataset)
    files.decode = None
    return files.map(_Classified(files.classes)) if classes and isinstance(files, ImageFolder) else files


class _Classified:
    """Adds the name of its class to a sample."""

    def __init__(self, classes: list[str]) -> None:
        self._classes = classes

    def __call__(self, sample: tuple[bytes, int]) -> dict[str, Any]:
        image, label = sample
        return {"image": image, "label": label, "class": self._classes[label]}
