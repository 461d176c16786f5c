"""CIFAR-10 and CIFAR-100, read from their original files.

Nothing is downloaded. They are published as pickles of Python 2 or as plain records, in a tar archive either way;
archives are read where they lie.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.datasets.idx import unpacked
from headrace.datasets.labelled_images import LabelledImages, check_labels, checked_root, describe_array
from headrace.datasets.plain_pickle import PickledArray, unpickle
from headrace.errors import ArgumentError
from headrace.io.safe_open import read_regular

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator
    from os import PathLike

    from numpy.typing import NDArray

__all__ = ["CIFAR10", "CIFAR100"]

_CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR_HOME = "https://www.cs.toronto.edu/~kriz/cifar.html"

_CHUNK = 1 << 20
_PIXELS = 3 * 32 * 32  # of a CIFAR image: the red ones, the green ones, the blue ones


class CIFAR10(LabelledImages):
    """CIFAR-10 from its original files: 50,000 small photographs to train on, 10,000 to test with.

    A sample is (image, label): uint8 of shape (32, 32, 3), and int64. The attributes are
    torchvision's: `data` and `targets` hold all images and all labels, `classes` the names of the
    classes, `class_to_idx` their numbers.

    Args:
        root: the folder that has one of these, the first of which is read: the unpacked folders
            `cifar-10-batches-py` and `cifar-10-batches-bin`, with all their files, and the
            archives `cifar-10-python.tar.gz` and `cifar-10-binary.tar.gz`. An archive is read
            where it lies: nothing is unpacked to disk.
        train: the part to train on, or the one to test with.
        output: "numpy" for arrays, "torch" for tensors.

    Raises:
        FileNotFoundError: the files are not there; the text says where they are published.
        ArgumentError: a file is damaged, or does not hold what it should (also a ValueError). A
            pickle of anything but arrays and plain values is refused, and no code of it runs.

    >>> photographs = CIFAR10("data", train=False)  # doctest: +SKIP
    >>> photographs.data.shape, photographs.classes[:3]  # doctest: +SKIP
    ((10000, 32, 32, 3), ['airplane', 'automobile', 'bird'])
    """

    def __init__(
        self,
        root: str | PathLike[str],
        train: bool = True,  # noqa: FBT001, FBT002 - as in torchvision
        *,
        output: str = "numpy",
    ) -> None:
        place = checked_root(root, train)
        super().__init__(place, *_read_cifar(place, _CIFAR10, train=train), train=train, output=output)


class CIFAR100(LabelledImages):
    """CIFAR-100 from its original files: as `CIFAR10`, of 100 classes in 20 groups.

    Args:
        root: the folder that has one of these, the first of which is read: the unpacked folders
            `cifar-100-python` and `cifar-100-binary`, with all their files, and the archives
            `cifar-100-python.tar.gz` and `cifar-100-binary.tar.gz`.
        train: the part to train on, or the one to test with.
        coarse: label each image with its group, instead of its class.
        output: "numpy" for arrays, "torch" for tensors.

    Raises:
        FileNotFoundError: the files are not there; the text says where they are published.
        ArgumentError: a file is damaged, or does not hold what it should (also a ValueError). A
            pickle of anything but arrays and plain values is refused, and no code of it runs.

    >>> CIFAR100("data").classes[:2]  # doctest: +SKIP
    ['apple', 'aquarium_fish']
    >>> CIFAR100("data", coarse=True).classes[:2]  # doctest: +SKIP
    ['aquatic_mammals', 'fish']
    """

    def __init__(
        self,
        root: str | PathLike[str],
        train: bool = True,  # noqa: FBT001, FBT002 - as in torchvision
        *,
        coarse: bool = False,
        output: str = "numpy",
    ) -> None:
        place = checked_root(root, train)
        super().__init__(place, *_read_cifar(place, _cifar100(coarse=coarse), train=train), train=train, output=output)
        self.coarse = coarse


@dataclass(frozen=True)
class _Release(ABC):
    """A form in which a data set is published: where its files lie and what they hold."""

    folder: str
    archive: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    names: str  # the file of the names of the classes
    known: tuple[str, ...] = ()  # the names, where they are known without it

    @abstractmethod
    def read_batch(self, content: bytes, where: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return the pixels, shape (n, 3072), and the labels."""

    @abstractmethod
    def read_names(self, content: bytes, where: str) -> tuple[str, ...]:
        """Return the names of the classes."""


@dataclass(frozen=True)
class _PickledRelease(_Release):
    labels_key: str = "labels"
    names_key: str = "label_names"

    def read_batch(self, content: bytes, where: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return the pixels, shape (n, 3072), and the labels."""
        entries = unpickle(content, where)
        pixels = _entry(entries, "data", where)
        if (
            not isinstance(pixels, PickledArray)
            or pixels.array.dtype != np.uint8
            or pixels.array.shape[1:] != (_PIXELS,)
        ):
            found = describe_array(pixels.array) if isinstance(pixels, PickledArray) else f"a {type(pixels).__name__}"
            raise ArgumentError(f"{where}: expected 'data' to be uint8 of shape (n, {_PIXELS}), found {found}")
        labels = _integers(_entry(entries, self.labels_key, where))
        if labels is None or len(labels) != len(pixels.array):
            found = "something else" if labels is None else f"{len(labels)} integers"
            raise ArgumentError(
                f"{where}: expected {self.labels_key!r} to be {len(pixels.array)} integers, one for each image, "
                f"found {found}"
            )
        return pixels.array, labels

    def read_names(self, content: bytes, where: str) -> tuple[str, ...]:
        """Return the names of the classes."""
        names = _entry(unpickle(content, where), self.names_key, where)
        if not isinstance(names, list) or not all(isinstance(name, bytes | str) for name in names):
            raise ArgumentError(f"{where}: expected {self.names_key!r} to be a list of names, found something else")
        return tuple(_text(name, where) if isinstance(name, bytes) else name for name in names)


@dataclass(frozen=True)
class _BinaryRelease(_Release):
    labels: int = 1  # of each image, one byte each, before its pixels
    label: int = 0  # which of them counts

    def read_batch(self, content: bytes, where: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return the pixels, shape (n, 3072), and the labels."""
        width = self.labels + _PIXELS
        if len(content) % width:
            raise ArgumentError(
                f"{where}: expected records of {width} bytes, found {len(content)} bytes, which are "
                f"{len(content) // width} records and {len(content) % width} bytes; get the file anew"
            )
        records = np.ndarray((len(content) // width, width), np.uint8, content)
        return records[:, self.labels :], records[:, self.label].astype(np.int64)

    def read_names(self, content: bytes, where: str) -> tuple[str, ...]:
        """Return the names of the classes, one a line."""
        return tuple(line.strip() for line in _text(content, where).splitlines() if line.strip())


_CIFAR10_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))

_CIFAR10: list[_Release] = [
    _PickledRelease(
        folder="cifar-10-batches-py",
        archive="cifar-10-python.tar.gz",
        train=_CIFAR10_BATCHES,
        test=("test_batch",),
        names="batches.meta",
    ),
    _BinaryRelease(
        folder="cifar-10-batches-bin",
        archive="cifar-10-binary.tar.gz",
        train=tuple(f"{batch}.bin" for batch in _CIFAR10_BATCHES),
        test=("test_batch.bin",),
        names="batches.meta.txt",
        known=_CIFAR10_CLASSES,
    ),
]


def _cifar100(*, coarse: bool) -> list[_Release]:
    level = "coarse" if coarse else "fine"
    return [
        _PickledRelease(
            folder="cifar-100-python",
            archive="cifar-100-python.tar.gz",
            train=("train",),
            test=("test",),
            names="meta",
            labels_key=f"{level}_labels",
            names_key=f"{level}_label_names",
        ),
        _BinaryRelease(
            folder="cifar-100-binary",
            archive="cifar-100-binary.tar.gz",
            train=("train.bin",),
            test=("test.bin",),
            names=f"{level}_label_names.txt",
            labels=2,
            label=0 if coarse else 1,
        ),
    ]


def _read_cifar(
    root: Path, releases: list[_Release], *, train: bool
) -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[str, ...]]:
    release, source = _find_cifar(root, releases, train=train)
    batches = release.train if train else release.test
    contents = _from_folder if source.is_dir() else _from_archive
    whole, classes = _Whole(batches), release.known
    for name, where, content in contents(source, release.folder, {*batches, release.names}):
        if name == release.names:
            classes = release.read_names(content, where)
        else:
            whole.put(name, where, *release.read_batch(content, where))
    absent = whole.absent() + ([] if classes else [release.names])
    if absent:
        raise ArgumentError(f"{source}: expected {', '.join(absent)} in it, found none; get the archive anew")
    check_labels(whole.labels, classes, source)
    return whole.images, whole.labels, classes


def _find_cifar(root: Path, releases: list[_Release], *, train: bool) -> tuple[_Release, Path]:
    """Return the release that is there, and its folder or archive."""
    looked_for = []
    for release in releases:
        needed = [*(release.train if train else release.test), *([] if release.known else [release.names])]
        absent = [name for name in needed if not (root / release.folder / name).is_file()]
        if not absent:
            return release, root / release.folder
        looked_for.append(f"{root / release.folder} with {', '.join(absent)}")
    for release in releases:
        if (root / release.archive).is_file():
            return release, root / release.archive
        looked_for.append(str(root / release.archive))
    raise FileNotFoundError(
        f"found none of: {'; '.join(looked_for)} (of a folder, the files that it lacks are named); nothing is "
        f"downloaded: get one of the archives from {_CIFAR_HOME}"
    )


def _from_folder(source: Path, _: str, wanted: set[str]) -> Iterator[tuple[str, str, bytes]]:
    """Yield the name, the place and the content of each wanted file that is there."""
    for name in sorted(wanted):
        path = source / name
        if path.is_file():
            yield name, str(path), read_regular(path, links=True)


def _from_archive(source: Path, folder: str, wanted: set[str]) -> Iterator[tuple[str, str, bytes]]:
    """Yield the same from a tar archive, in one pass over it, in its order."""
    with unpacked(source) as file:
        for member, content in _members(file, source, lambda path: path.parent.name == folder and path.name in wanted):
            yield PurePosixPath(member).name, f"{source}, in it {member}", content
        while file.read(_CHUNK):  # to the end, where gzip checks its sum
            pass


def _members(
    file: io.BufferedIOBase, source: Path, wants: Callable[[PurePosixPath], bool]
) -> Iterator[tuple[str, bytes]]:
    import tarfile  # it takes a while, and few need it

    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                if member.isreg() and not member.issparse() and wants(PurePosixPath(member.name)):
                    content = archive.extractfile(member)
                    yield member.name, content.read() if content else b""
    except (tarfile.TarError, ValueError, OverflowError, MemoryError) as error:
        raise ArgumentError(f"{source}: this is no tar archive, or a damaged one ({error}); get it anew") from error


class _Whole:
    """The batches of a data set, each put in its place of the array of all of them."""

    def __init__(self, batches: tuple[str, ...]) -> None:
        self._batches = batches
        self._seen: set[str] = set()
        self._size = 0  # of each batch
        self.images = np.empty((0, 32, 32, 3), np.uint8)
        self.labels = np.empty(0, np.int64)

    def put(self, name: str, where: str, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        if not self._seen:  # the first batch tells how large all are, so that the array is made once
            self._size = len(pixels)
            self.images = np.empty((len(self._batches) * len(pixels), 32, 32, 3), np.uint8)
            self.labels = np.empty(len(self.images), np.int64)
        elif len(pixels) != self._size:
            raise ArgumentError(
                f"{where}: expected {self._size} images, as in the other batches, found {len(pixels)}; get it anew"
            )
        self._seen.add(name)
        start = self._batches.index(name) * self._size
        self.images[start : start + self._size] = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        self.labels[start : start + self._size] = labels

    def absent(self) -> list[str]:
        return [name for name in self._batches if name not in self._seen]


def _entry(entries: Any, key: str, where: str) -> Any:
    """Return the entry of a dict whose keys are bytes, if Python 2 wrote them, or strings."""
    if not isinstance(entries, dict):
        raise ArgumentError(f"{where}: expected a pickled dict, found a pickled {type(entries).__name__}")
    for each in (key.encode(), key):
        if each in entries:
            return entries[each]
    raise ArgumentError(f"{where}: expected a dict with {key!r}, found none in it")


def _integers(values: Any) -> NDArray[np.int64] | None:
    """Return a list or an array of integers as an array; None where it is something else."""
    if isinstance(values, PickledArray):
        array = values.array
        return array.astype(np.int64) if array.ndim == 1 and array.dtype.kind in "iu" else None
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        return None
    try:
        return np.array(values, np.int64)
    except OverflowError:
        return None


def _text(content: bytes, where: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ArgumentError(f"{where}: expected names in UTF-8, found other bytes ({error})") from error
