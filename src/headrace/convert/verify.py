"""Everything at a path is read, and what cannot be is listed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.tree import count_bytes
from headrace.convert.workers import useful_workers
from headrace.datasets.base import Dataset
from headrace.datasets.compose import ConcatDataset
from headrace.datasets.images import ImageDataset
from headrace.datasets.map import MapDataset
from headrace.errors import CorruptDataError, HeadraceError
from headrace.formats.opening import format_at, image_fields, open_dataset, open_up_to_damage
from headrace.formats.registry import formats
from headrace.images.codecs.decode import decode
from headrace.loader.dataloader import DataLoader
from headrace.pipeline.compile import compile_dataset
from headrace.pipeline.reading import check_index

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


__all__ = ["Bad", "Verified", "verify"]

_CHUNK = 64  # samples


@dataclass(frozen=True)
class Bad:
    """A sample, or a file, that could not be read.

    Attributes:
        index: of the sample; None for a file that could not be opened.
        where: the file, and the place in it where that is known.
        reason: what was wrong with it.
    """

    index: int | None
    where: str
    reason: str


@dataclass(frozen=True)
class Verified:
    """The result of verifying a path.

    Attributes:
        samples: how many samples were read, of files that could be opened.
        bytes: of the good ones.
        bad: what could not be read.
        good: the others, to be written, and those that come before the damage in a file that could not be opened; None
            if there are none.
        saved: how many good ones such files have.
    """

    samples: int
    bytes: int
    bad: list[Bad]
    good: Dataset[Any] | None = field(repr=False, default=None)
    saved: int = 0


def verify(
    path: str,
    *,
    train: bool = True,
    workers: int = 0,
    backend: str = "auto",
    progress: Callable[[int, int, int], None] | None = None,
) -> Verified:
    """Read all samples at a path: hold them against their checksums, parse their fields, decode their images.

    Args:
        path: as for `open_dataset`.
        train: which part of MNIST and CIFAR.
        workers: workers that read; 0 reads in the calling thread.
        backend: what they are, "thread", "process" or "ray"; "auto" as for the DataLoader.
        progress: called with the samples read, all samples, and the bytes so far.

    Raises:
        FileNotFoundError: there is nothing.
        ArgumentError: it cannot be told what is there.
    """
    parts, bad, damaged = _open(path, train=train)
    if not parts:
        return Verified(0, 0, bad)
    dataset = parts[0] if len(parts) == 1 else ConcatDataset(parts)
    checks = _Checks(parts)
    read = size = 0
    useful = useful_workers(workers, len(checks))
    with DataLoader(checks, None, seed=0, num_workers=useful, backend=backend) as loader:
        for samples, nbytes, found in loader:
            read, size = read + samples, size + nbytes
            bad += found
            if progress is not None:
                progress(read, len(dataset), size)
    wrong = {each.index for each in bad}
    good = [index for index in range(len(dataset)) if index not in wrong]
    stops = np.cumsum([len(part) for part in parts])
    numbers = np.searchsorted(stops, good, side="right")
    saved = int(np.isin(numbers, damaged).sum())
    samples = sum(len(part) for number, part in enumerate(parts) if number not in damaged)
    return Verified(samples, size, bad, dataset.subset(good) if good else None, saved)


def _open(path: str, *, train: bool) -> tuple[list[Dataset[Any]], list[Bad], list[int]]:
    """Open the files at a path as datasets; return also those that failed, and the datasets that are theirs."""
    form, found = format_at(path)
    datasets, bad, damaged = [], [], []
    for each in found if form in formats() else [path]:
        try:
            datasets.append(open_dataset(each, images=False, train=train))
        except HeadraceError as error:
            bad.append(Bad(None, each, str(error)))
            part = _up_to_damage(each) if isinstance(error, CorruptDataError) else None
            if part is not None:
                damaged.append(len(datasets))
                datasets.append(part)
    return datasets, bad, damaged


def _up_to_damage(path: str) -> Dataset[Any] | None:
    """Return the samples of a file that come before what is damaged in it, if there are any."""
    with suppress(HeadraceError):
        part = open_up_to_damage(path)
        return part if part is not None and len(part) else None
    return None


class _Checks(Dataset[tuple[int, int, list[Bad]]]):
    """For each few samples how many they are, the bytes of the good ones, and what is wrong with the others."""

    def __init__(self, parts: list[Dataset[Any]]) -> None:
        self._parts = parts
        self._images = [_images_of(part) for part in parts]
        self._stops = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return -(-int(self._stops[-1]) // _CHUNK)

    def __getitem__(self, index: int, /) -> tuple[int, int, list[Bad]]:
        first = check_index(index, len(self)) * _CHUNK
        indices = np.arange(first, min(first + _CHUNK, int(self._stops[-1])))
        size, bad = 0, []
        for number in np.unique(np.searchsorted(self._stops, indices, side="right")).tolist():
            start = int(self._stops[number]) - len(self._parts[number])
            rows = indices[(indices >= start) & (indices < self._stops[number])] - start
            nbytes, found = self._check(number, rows, start)
            size += nbytes
            bad += found
        return len(indices), size, bad

    def releases_gil(self) -> bool:
        """Return whether checks are best made in threads: where decoding is most of the work."""
        return all(self._images)

    def _check(self, number: int, rows: NDArray[np.int64], start: int) -> tuple[int, list[Bad]]:
        """Return the bytes of the good samples in some rows of a part, and the bad ones."""
        dataset, images = self._parts[number], self._images[number]
        plan = compile_dataset(dataset)
        if plan.reads_batches:
            try:
                batch = plan.batch(rows)
                _decode_all(batch, images)
                return count_bytes(batch), []
            except Exception:  # noqa: S110 - the samples are looked at one by one
                pass
        size, bad = 0, []
        for row in rows.tolist():
            try:
                sample = dataset[row]
                _decode_all(sample, images)
                size += _size(sample)
            except Exception as error:
                bad.append(Bad(start + row, _where(dataset, row), f"{type(error).__name__}: {error}"))
        return size, bad


def _images_of(dataset: Dataset[Any]) -> list[Any]:
    if isinstance(dataset, ImageDataset):
        return [0]
    try:
        return image_fields(dataset)
    except Exception:
        return []


def _decode_all(values: Any, images: list[Any]) -> None:
    """Decode the images of a sample or a batch."""
    for name in images:
        value = values if name is None else values[name]
        for image in value if isinstance(value, list) else [value]:
            if not isinstance(image, bytes):
                raise CorruptDataError(f"field {name!r} is a {type(image).__name__} and not the bytes of an image")
            decode(image, None)


def _size(sample: Any) -> int:
    if isinstance(sample, bytes | str):
        return len(sample)
    if isinstance(sample, dict | tuple):
        return sum(map(_size, sample.values() if isinstance(sample, dict) else sample))
    return int(getattr(sample, "nbytes", 8))


def _where(dataset: Any, row: int) -> str:
    """Return the file that a sample lies in, and its place there."""
    while isinstance(dataset, MapDataset):
        dataset = dataset.dataset
    if isinstance(dataset, ImageDataset):
        return dataset.paths[row]
    try:
        return str(dataset.where(row))
    except Exception:
        return ", ".join(map(str, getattr(dataset, "paths", [])))
