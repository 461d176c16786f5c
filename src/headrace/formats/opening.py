"""From a path to the dataset that lies there, whatever its format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.datasets.cifar import CIFAR10, CIFAR100
from headrace.datasets.images import ImageFolder
from headrace.datasets.mnist import MNIST
from headrace.errors import ArgumentError, DecodeError
from headrace.formats.registry import formats
from headrace.images.codecs.decode import read_header
from headrace.io.paths import find_paths
from headrace.transforms.decode import Decode

if TYPE_CHECKING:
    import os

    from headrace.datasets.base import Dataset

__all__ = ["format_at", "image_fields", "open_dataset", "open_up_to_damage"]

_ORIGINALS = {"mnist": MNIST, "cifar10": CIFAR10, "cifar100": CIFAR100}


def open_dataset(
    path: str | os.PathLike[str], *, images: bool = True, fields: bool = True, train: bool = True
) -> Dataset[Any]:
    """Return the dataset at a path: the format is told from the names of the files.

    Args:
        path: a tar, TFRecord, LMDB, Parquet, .npy, Arrow or CSV file, or a pattern of several; a folder of such
            files; a folder with a folder of images for each class; or one with the original files of MNIST,
            CIFAR-10 or CIFAR-100.
        images: decode images to arrays, where fields hold them encoded; else they stay bytes.
        fields: parse what a tar (`.cls`, `.txt`, `.json`, `.npy`), a tf.train.Example or a value of an LMDB holds;
            else it stays bytes.
        train: which part of MNIST and CIFAR, the one to train on or the one to test with.

    Raises:
        FileNotFoundError: there is nothing.
        ArgumentError: it cannot be told what is there.
        StorageError: a file is not what its name says, or damaged.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/squares.npy", np.arange(5) ** 2)
    ...     open_dataset(f"{folder}/squares.npy")[3]
    np.int64(9)
    """
    form, found = format_at(path)
    if form in _ORIGINALS:
        return _ORIGINALS[form](str(path), train)
    if form == "images":
        return ImageFolder(path) if images else ImageFolder(path, decode=None)
    dataset = formats()[form].open(found, fields=fields)
    for name in image_fields(dataset) if images else []:
        dataset = dataset.map(Decode(), field=name)
    return dataset


def format_at(path: str | os.PathLike[str]) -> tuple[str, list[str]]:
    """Return the format of a path (or "images", or the name of a set of images) and its files.

    Raises:
        FileNotFoundError: there is nothing.
        ArgumentError: it cannot be told what is there.
    """
    found = find_paths(path)
    if len(found) == 1 and "://" in found[0]:
        found = _files_at(found[0])
    if len(found) == 1 and Path(found[0]).is_dir():
        return _format_of_folder(Path(found[0]))
    forms = {_format_of_address(each) if "://" in each else _format_of_file(Path(each)) for each in found}
    if len(forms) != 1 or None in forms:
        raise ArgumentError(
            f"it cannot be told what {path} is: names of files end in {', '.join(_extensions())}, all in the same; "
            "open it with the dataset of its format"
        )
    return str(forms.pop()), found


def _extensions() -> list[str]:
    return list(dict.fromkeys(extension for each in formats().values() for extension in each.extensions))


def _format_of_file(path: Path) -> str | None:
    return next((each.name for each in formats().values() if each.holds(path)), None)


def _format_of_address(path: str) -> str | None:
    """Return the format that the name of a file far away tells of; what a query asks is no part of it."""
    return _format_of_file(Path(path.partition("?")[0].rpartition("/")[2]))


def _files_at(path: str) -> list[str]:
    """Return the files of one format that lie at an address, if it is one of a folder; else the address itself."""
    from headrace.io.remote import find_remote, is_remote_folder  # for these alone

    if _format_of_address(path) is not None or not is_remote_folder(path):
        return [path]
    entries = find_remote(f"{path.rstrip('/')}/*")
    for form in formats():
        shards = [each for each in entries if _format_of_address(each) == form]
        if shards:
            return shards
    return [path]


def _format_of_folder(folder: Path) -> tuple[str, list[str]]:
    own = _format_of_file(folder)
    if own is not None:
        return own, [str(folder)]
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    for form in formats():
        shards = [str(entry) for entry in entries if _format_of_file(entry) == form]
        if shards:
            return form, shards
    for name, kind in _ORIGINALS.items():
        if _has(folder, kind):
            return name, [str(folder)]
    if any(entry.is_dir() for entry in entries):
        return "images", [str(folder)]
    raise ArgumentError(
        f"it cannot be told what {folder} is: there are no files in it that end in {', '.join(_extensions())}, no "
        "originals of MNIST or CIFAR, and no folders of images"
    )


def _has(folder: Path, kind: Any) -> bool:
    names: dict[Any, list[str]] = {
        MNIST: ["*-images-idx3-ubyte*", "raw/*-images-idx3-ubyte*", "MNIST/raw/*-images-idx3-ubyte*"],
        CIFAR10: ["cifar-10-batches-*", "cifar-10-*.tar.gz"],
        CIFAR100: ["cifar-100-python", "cifar-100-binary", "cifar-100-*.tar.gz"],
    }
    return any(next(folder.glob(pattern), None) is not None for pattern in names[kind])


# -- what is in a dataset


def open_up_to_damage(path: str) -> Dataset[Any] | None:
    """Return the samples of a file that come before what is damaged in it; None of formats where that cannot be told.

    Raises:
        StorageError: there are none.
    """
    form = _format_of_file(Path(path))
    return None if form is None else formats()[form].open_up_to_damage(path)


def image_fields(dataset: Dataset[Any]) -> list[str | None]:
    """Return the fields of a sample that hold an encoded image; None for a sample that is one itself."""
    if not len(dataset):
        return []
    sample = dataset[0]
    if isinstance(sample, bytes):
        return [None] if _is_image(sample) else []
    if not isinstance(sample, dict):
        return []
    return [name for name, value in sample.items() if isinstance(value, bytes) and _is_image(value)]


def _is_image(content: bytes) -> bool:
    try:
        read_header(content)
    except (DecodeError, ImportError):
        return False
    return True
