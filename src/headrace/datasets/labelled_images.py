"""The base of the classic image sets: images and labels with torchvision's attributes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.datasets.output import converter
from headrace.datasets.tensor import TensorDataset
from headrace.errors import ArgumentError, ArgumentTypeError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from numpy.typing import NDArray

__all__ = ["LabelledImages", "check_labels", "checked_root", "describe_array"]


class LabelledImages(TensorDataset):
    """Images and labels with the attributes that torchvision gives them."""

    def __init__(
        self,
        root: Path,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        classes: Iterable[str],
        *,
        train: bool,
        output: str,
    ) -> None:
        convert = converter(output)
        super().__init__(*((images, labels) if convert is None else map(convert, (images, labels))))
        self.root = root
        self.train = train
        self.classes = list(classes)
        self.class_to_idx = {name: number for number, name in enumerate(self.classes)}

    # Properties, since a dataset whose `targets` could be set would go on giving the old ones.

    @property
    def data(self) -> Any:
        """All images, one array or tensor; those of the samples are views of it."""
        return self.tensors[0]

    @property
    def targets(self) -> Any:
        """All labels, one array or tensor."""
        return self.tensors[1]


def checked_root(root: str | PathLike[str], train: object) -> Path:
    """Return the folder with `~` expanded; raise ArgumentTypeError if `train` is no bool."""
    if not isinstance(train, bool):
        raise ArgumentTypeError(f"train is True for the training part and False for the test part, got {train!r}")
    return Path(root).expanduser()


def check_labels(labels: NDArray[np.int64], classes: tuple[str, ...], where: object) -> None:
    """Raise ArgumentError if a label has no class."""
    wrong = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if wrong.size:
        raise ArgumentError(
            f"{where}: expected labels below {len(classes)}, the number of classes, found {labels[wrong[0]]} for "
            f"image {wrong[0]}"
        )


def describe_array(array: NDArray[Any]) -> str:
    """Return the dtype and the shape of an array, for the texts of errors."""
    return f"{array.dtype} of shape {array.shape}"
