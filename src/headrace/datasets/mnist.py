"""MNIST and Fashion-MNIST, read from their original IDX files.

Nothing is downloaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.datasets.idx import read_idx
from headrace.datasets.labelled_images import LabelledImages, check_labels, checked_root, describe_array
from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from os import PathLike
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["FashionMNIST", "MNIST"]  # noqa: RUF022 - in plain order

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_MNIST_CLASSES = tuple(f"{number} - {word}" for number, word in enumerate(_DIGITS))
_FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_MNIST_HOME = "https://yann.lecun.com/exdb/mnist"
_FASHION_HOME = "https://github.com/zalandoresearch/fashion-mnist"


class MNIST(LabelledImages):
    """MNIST from its four IDX files: 60,000 handwritten digits to train on, 10,000 to test with.

    A sample is (image, label): uint8 of shape (28, 28), and int64. The attributes are torchvision's:
    `data` and `targets` hold all images and all labels, `classes` the names of the classes,
    `class_to_idx` their numbers.

    Args:
        root: the folder of the files `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
            `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`. The first of `root`, `root/raw`
            and `root/MNIST/raw` that has the images and the labels is read; a file may be packed
            by gzip, as `train-images-idx3-ubyte.gz`, and is taken unpacked if it is there as both.
        train: the part to train on, or the one to test with.
        output: "numpy" for arrays, "torch" for tensors.

    Raises:
        FileNotFoundError: the files are not there; the text says where they are published.
        ArgumentError: a file is damaged, or does not hold what it should (also a ValueError).

    >>> digits = MNIST("data")  # doctest: +SKIP
    >>> image, label = digits[0]  # doctest: +SKIP
    >>> image.shape, digits.classes[label]  # doctest: +SKIP
    ((28, 28), '5 - five')
    """

    def __init__(
        self,
        root: str | PathLike[str],
        train: bool = True,  # noqa: FBT001, FBT002 - as in torchvision
        *,
        output: str = "numpy",
    ) -> None:
        place = checked_root(root, train)
        images, labels = _read_mnist(place, _MNIST_HOME, "MNIST", _MNIST_CLASSES, train=train)
        super().__init__(place, images, labels, _MNIST_CLASSES, train=train, output=output)


class FashionMNIST(LabelledImages):
    """Fashion-MNIST from its four IDX files: pictures of clothes, as many and as large as MNIST's digits.

    Samples and attributes are those of `MNIST`, and so are the names of the files.

    Args:
        root: the folder of the files: the first of `root`, `root/raw` and `root/FashionMNIST/raw`
            that has the images and the labels is read.
        train: the part to train on, or the one to test with.
        output: "numpy" for arrays, "torch" for tensors.

    Raises:
        FileNotFoundError: the files are not there; the text says where they are published.
        ArgumentError: a file is damaged, or does not hold what it should (also a ValueError).

    >>> clothes = FashionMNIST("data")  # doctest: +SKIP
    >>> clothes.classes[clothes.targets[0]]  # doctest: +SKIP
    'Ankle boot'
    """

    def __init__(
        self,
        root: str | PathLike[str],
        train: bool = True,  # noqa: FBT001, FBT002 - as in torchvision
        *,
        output: str = "numpy",
    ) -> None:
        place = checked_root(root, train)
        images, labels = _read_mnist(place, _FASHION_HOME, "FashionMNIST", _FASHION_CLASSES, train=train)
        super().__init__(place, images, labels, _FASHION_CLASSES, train=train, output=output)


def _read_mnist(
    root: Path, home: str, name: str, classes: tuple[str, ...], *, train: bool
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images_path, labels_path = _find_mnist(root, home, name, "train" if train else "t10k")
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
        raise ArgumentError(
            f"{images_path}: expected images, uint8 of shape (n, 28, 28), found {describe_array(images)}"
        )
    if labels.dtype != np.uint8 or labels.ndim != 1:
        raise ArgumentError(f"{labels_path}: expected labels, uint8 of shape (n,), found {describe_array(labels)}")
    if len(images) != len(labels):
        raise ArgumentError(
            f"{images_path} holds {len(images)} images and {labels_path} {len(labels)} labels; expected as many: "
            "take both files from one data set"
        )
    labels = labels.astype(np.int64)
    check_labels(labels, classes, labels_path)
    return images, labels


def _find_mnist(root: Path, home: str, name: str, part: str) -> tuple[Path, Path]:
    """Return the files of the images and of the labels, in the first folder that has both."""
    folders = [root, root / "raw", root / name / "raw"]
    files = [f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"]
    for folder in folders:
        images, labels = (_plain_or_packed(folder / file) for file in files)
        if images and labels:
            return images, labels
    raise FileNotFoundError(
        f"{name} needs the files {' and '.join(files)}, plain or with .gz, in one of the folders "
        f"{', '.join(map(str, folders))}; nothing is downloaded: get them from {home}"
    )


def _plain_or_packed(path: Path) -> Path | None:
    packed = path.with_name(f"{path.name}.gz")
    return path if path.is_file() else packed if packed.is_file() else None
