"""Images in files: from a list of paths, or from a folder with a folder a class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from headrace.batch.collate import default_collate
from headrace.datasets.base import Dataset
from headrace.datasets.composed import ComposedDataset
from headrace.datasets.output import converter
from headrace.datasets.paths import PackedPaths, check_endings, pack_paths, walk
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.errors.notes import add_note, name_file
from headrace.images.steps import begins_encoded
from headrace.io.counts import ReadCounts
from headrace.io.files import read_files, whole_files
from headrace.io.progress import Progress
from headrace.io.safe_open import read_regular
from headrace.io.source import options_for
from headrace.pipeline.nodes import Map, Node, Source
from headrace.pipeline.reading import check_dataset, check_index, check_indices
from headrace.transforms.decode import Decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from headrace.io.ranges import FileRanges
    from headrace.io.remote_options import RemoteOptions
    from headrace.pipeline.reading import Indexable

__all__ = ["EXTENSIONS", "ImageDataset", "ImageFolder"]

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # torchvision's

_TO_RGB = Decode()


class ImageDataset(ComposedDataset[tuple[Any, Any]]):
    """Images in files, each read when it is asked for: sample i is (image, label).

    Only the paths and labels are in memory, packed, so that a million of them are small and cheap
    to send to workers. No file stays open. Where the transform gives all images one size, whole
    batches are decoded and transformed in one pass.

    Args:
        paths: of the image files, or their addresses.
        labels: one a path, of any kind: integers, strings, rows of an array.
        transform: takes the decoded image and returns what replaces it.
        decode: takes the bytes of the file and returns the image; None to keep the bytes.
        output: "numpy" for arrays, "torch" for tensors, of images as the transform leaves them.

    Raises:
        ArgumentError: there are not as many labels as paths, or output is another (also a ValueError).
        ArgumentTypeError: labels have no length, or transform or decode cannot be called.
        DecodeError: when a sample is asked for whose file holds no image; a note and `filename` name
            the file, as with every other error then.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "abc.pgm")
    ...     _ = path.write_bytes(b"P5 3 1 255 abc")
    ...     ImageDataset([path], labels=[7], decode=Decode("L"))[0]
    (array([[97, 98, 99]], dtype=uint8), 7)
    """

    made_of = ("paths", "labels", "transform", "decode", "output")

    def __init__(
        self,
        paths: Iterable[str | bytes | os.PathLike[Any]],
        labels: Indexable[Any],
        transform: Callable[[Any], Any] | None = None,
        decode: Callable[[bytes], Any] | None = _TO_RGB,
        output: str = "numpy",
    ) -> None:
        check_dataset(labels, "labels")
        for name, function in (("transform", transform), ("decode", decode)):
            if function is not None and not callable(function):
                raise ArgumentTypeError(f"{name} must be a function of one image or None, but got {function!r}")
        self.paths = paths if isinstance(paths, PackedPaths) else pack_paths(paths)
        self._options = options_for(needed=self.paths.has_addresses)
        self._counts = ReadCounts()
        self.labels, self._plain = _packed_labels(labels)
        if len(self.paths) != len(self.labels):
            raise ArgumentError(
                f"there must be one label a path, but got {len(self.paths)} paths and {len(self.labels)} labels"
            )
        self.transform = transform
        self.decode = decode
        self.output = output
        self._converter = converter(output)

    def __len__(self) -> int:
        return len(self.paths)

    def releases_gil(self) -> bool:
        """Return whether files are read, decoded and transformed without the GIL for most of the time."""
        functions = self._functions()
        return all(getattr(function, "releases_gil", False) for function in functions)

    def node(self) -> Node:
        """Return the description of the dataset: of files, and of what is made of them."""
        files = _ImageFiles(self.paths, self.labels, self._options, self._counts, plain=self._plain)
        files.reads_for = type(self)
        node: Node = Source(files, draws=False)
        functions = self._functions()
        if not begins_encoded([((), function) for function in functions]):
            functions = [self._prepare] if functions else []
        for function in functions:
            node = Map(self, node, function, 0)
        return node

    def counters(self) -> dict[str, int]:
        """Return how many bytes were read, and of files far away with how many requests."""
        return self._counts.totals()

    def _prepare(self, image: Any) -> Any:
        """Return what the functions make of a file, where that is no pass over encoded images."""
        for function in self._functions():
            image = function(image)
        return image

    def _functions(self) -> list[Callable[[Any], Any]]:
        """Return what is applied to the bytes of a file, one after the other."""
        return [function for function in (self.decode, self.transform, self._converter) if function is not None]


class _ImageFiles(Dataset[tuple[bytes, Any]]):
    """The bytes of image files, with their labels.

    Attributes:
        reads_for: the class of the dataset that they are read for, by whose name a user knows them.
    """

    reads_for: type = ImageDataset

    def __init__(
        self, paths: PackedPaths, labels: Any, options: RemoteOptions | None, counts: ReadCounts, *, plain: bool
    ) -> None:
        self._paths = paths
        self._labels = labels
        self._options = options
        self._counts = counts
        self._plain = plain

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int, /) -> tuple[bytes, Any]:
        position = check_index(index, len(self))
        try:
            path = self._paths[position]
            far = self._options is not None and "://" in path
            data = read_files([path], self._options, self._counts)[0] if far else self._read_local(path)
        except Exception as error:
            self.annotate(error, position)
            raise
        return data, _label(self._labels, position, plain=self._plain)

    def releases_gil(self) -> bool:
        """Return whether files are read without the GIL for most of the time: they are."""
        return True

    def get_batch(self, indices: NDArray[np.int64]) -> tuple[list[bytes], Any]:
        """Return the batch of the samples at the indices, shape (n,), int64."""
        indices = check_indices(indices, len(self))
        paths = [self._paths[index] for index in indices.tolist()]
        return read_files(paths, self._options, self._counts), self._label_batch(indices)

    def byte_ranges(self, indices: NDArray[np.int64]) -> list[FileRanges]:
        """Return all bytes of the files at the indices, shape (n,), int64."""
        return whole_files([self._paths[index] for index in indices.tolist()], self._options)

    def _read_local(self, path: str) -> bytes:
        content = read_regular(path, links=True)
        self._counts.add(len(content))
        return content

    def annotate(self, error: Exception, index: int) -> None:
        """Let an error say of which file it is: in a note, and as `filename`."""
        add_note(error, f"while reading the image {self._paths[index]!r}")
        name_file(error, self._paths[index])

    def where(self, index: int) -> str:
        """Return the path of an image."""
        return self._paths[index]

    def _label_batch(self, indices: NDArray[np.int64]) -> Any:
        if isinstance(self._labels, np.ndarray) and self._labels.dtype.kind in "biuf":
            return self._labels[indices]
        return default_collate([self._labels[index] for index in indices.tolist()], indices)


class ImageFolder(ImageDataset):
    """Images in a folder with a folder a class, as torchvision.datasets.ImageFolder reads them.

    Samples and classes are in torchvision's order: classes by name, in each of them folders by path,
    in each of these files by name. Links are followed, but not back into a folder above them. A
    folder that cannot be read is an error.

    Args:
        root: the folder that holds the folders of the classes.
        transform: takes the decoded image and returns what replaces it.
        extensions: how names of images end, in any case; by default torchvision's.
        is_valid_file: takes a path and says whether it is an image, in place of extensions.
        decode: takes the bytes of the file and returns the image; None to keep the bytes.
        output: "numpy" for arrays, "torch" for tensors, of images as the transform leaves them.
        allow_empty: whether a class may have no images.
        progress: whether to count on stderr while searching; by default where that is a terminal,
            after two seconds.

    Attributes:
        classes: the classes' names, sorted.
        class_to_idx: their numbers by name.
        targets: the samples' labels, an int64 array.
        samples: (path, label) of each sample, also as imgs; the pairs are made when asked for.

    Raises:
        FileNotFoundError: root is not there or has no folders, or a class has no images.
        ArgumentError: both extensions and is_valid_file are given, or output is another.
        DecodeError: when a sample is asked for whose file holds no image.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as root:
    ...     for name in ("dog", "cat"):
    ...         Path(root, name).mkdir()
    ...         _ = Path(root, name, "1.pgm").write_bytes(b"P5 3 1 255 abc")
    ...     dataset = ImageFolder(root)
    >>> dataset.classes, dataset.targets
    (['cat', 'dog'], array([0, 1]))
    """

    def __init__(
        self,
        root: str | bytes | os.PathLike[Any],
        transform: Callable[[Any], Any] | None = None,
        *,
        extensions: str | Sequence[str] | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        decode: Callable[[bytes], Any] | None = _TO_RGB,
        output: str = "numpy",
        allow_empty: bool = False,
        progress: bool | None = None,
    ) -> None:
        if extensions is not None and is_valid_file is not None:
            raise ArgumentError("extensions and is_valid_file are mutually exclusive: each alone says what an image is")
        endings = check_endings(EXTENSIONS if extensions is None else extensions)
        if "://" in os.fsdecode(root):
            raise ArgumentError(
                f"ImageFolder searches a folder of this machine, but got the address {os.fsdecode(root)!r}; give a "
                "list of addresses to ImageDataset, an address to FilesDataset, or pack the images for TarDataset"
            )
        self.root = os.path.abspath(Path(os.fsdecode(root)).expanduser())  # noqa: PTH100 - no link is to be resolved
        self.classes = _find_classes(self.root)
        self.class_to_idx = {name: number for number, name in enumerate(self.classes)}
        counts = [0] * len(self.classes)
        is_valid = is_valid_file or (lambda path: path.lower().endswith(endings))
        with Progress(lambda: f"{sum(counts):,} images found in {self.root}", wanted=progress) as show:
            paths = PackedPaths(_find_files(self.root, self.classes, is_valid, counts, show))
        if not allow_empty:
            _check_none_empty(self.classes, counts, "" if is_valid_file else ", ".join(endings))
        super().__init__(paths, np.repeat(np.arange(len(counts)), counts), transform, decode, output)
        self._plain = True

    @property
    def targets(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The samples' labels."""
        labels: np.ndarray[Any, np.dtype[np.int64]] = self.labels
        return labels

    @property
    def samples(self) -> Sequence[tuple[str, int]]:
        """The path and label of each sample."""
        return _Pairs(self.paths, self.targets)

    imgs = samples


class _Pairs(Sequence[tuple[str, int]]):
    """Paths with their labels, as torchvision lists them."""

    def __init__(self, paths: PackedPaths, labels: Any) -> None:
        self._paths = paths
        self._labels = labels

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int, /) -> tuple[str, int]: ...
    @overload
    def __getitem__(self, index: slice, /) -> Sequence[tuple[str, int]]: ...
    def __getitem__(self, index: Any, /) -> Any:
        if isinstance(index, slice):
            return [self[position] for position in range(len(self))[index]]
        position = check_index(index, len(self))
        return self._paths[position], int(self._labels[position])


def _packed_labels(labels: Any) -> tuple[Any, bool]:
    """Return the labels, integers among them as an array, and whether that is of integers that were Python's."""
    if isinstance(labels, list | tuple) and labels and all(type(label) is int for label in labels):
        try:
            return np.array(labels, np.int64), True
        except OverflowError:  # of integers larger than 64 bits
            return labels, False
    return labels, False


def _label(labels: Any, position: int, *, plain: bool) -> Any:
    return int(labels[position]) if plain else labels[position]


# -- searching a folder


def _find_classes(root: str) -> list[str]:
    with os.scandir(root) as entries:
        classes = sorted(entry.name for entry in entries if entry.is_dir())
    if not classes:
        raise FileNotFoundError(f"Couldn't find any class folder in {root}.")
    return classes


def _check_none_empty(classes: list[str], counts: list[int], endings: str) -> None:
    empty = [name for name, count in zip(classes, counts, strict=True) if not count]
    if empty:
        supported = f" Supported extensions are: {endings}" if endings else ""
        raise FileNotFoundError(f"Found no valid file for the classes {', '.join(empty)}.{supported}")


def _find_files(
    root: str, classes: list[str], is_valid: Callable[[str], bool], counts: list[int], show: Progress
) -> Iterator[str]:
    """Yield the paths of the images, class after class, each counted for its class."""
    for number, name in enumerate(classes):
        for _, files in sorted(walk(str(Path(root, name)))):
            for path in sorted(files):
                show()
                if is_valid(path):
                    counts[number] += 1
                    yield path
