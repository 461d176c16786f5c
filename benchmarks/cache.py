"""Cached epochs: JPEG files decoded and resized once, and what later epochs take.

    python -m benchmarks.cache [--smoke]

The files hold 500 x 375 images. The first epoch reads, decodes and resizes them to 256 x 256; behind that come
RandomCrop(224), RandomHorizontalFlip, ToFloat and ToCHW, in batches of 64 which are all touched. "Stacked in memory" is
what there would be if all images were an array: the floor for any cache. "Whole images, then the rest" is the floor for
the epoch that fills one: images are decoded and resized in full, and then cropped, since a cache keeps all of them.
First epochs begin their workers, with a cache and without; those of later epochs are there.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.common import Contender, begin, fewer, per, print_table, race, rate, touch

from headrace import (
    Compose,
    DataLoader,
    ImageDataset,
    RandomCrop,
    RandomHorizontalFlip,
    Resize,
    TensorDataset,
    ToCHW,
    ToFloat,
)

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 64
_DIFFERENT = 200  # images; the others are copies
AUGMENT = Compose([RandomCrop(224, padding=0), RandomHorizontalFlip(), ToFloat(), ToCHW()])


def photos(folder: Path, count: int) -> list[Path]:
    """Files of smooth images with some noise, whose JPEGs are about as large as those of photos."""
    from PIL import Image

    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        paths.append(folder / f"{number}.jpg")
        if number >= _DIFFERENT:
            paths[-1].write_bytes(paths[number % _DIFFERENT].read_bytes())
            continue
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize(
            (500, 375), Image.Resampling.BICUBIC
        )
        pixels = np.clip(np.asarray(coarse, np.int16) + rng.integers(-12, 13, (375, 500, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(paths[-1], quality=90)
    return paths


def epoch(loader: DataLoader[Any]) -> None:
    """Go through all batches."""
    for batch in loader:
        touch(batch)


def loader_of(dataset: Any, workers: int) -> DataLoader[Any]:
    return DataLoader(
        dataset.map(AUGMENT, field=0), BATCH, shuffle=True, seed=0, num_workers=workers, persistent_workers=workers > 0
    )


def anew(make: Callable[[], Any], workers: int) -> None:
    """The first epoch of a loader, whose workers are begun for it, and of a cache that has nothing."""
    with loader_of(make(), workers) as loader:
        epoch(loader)


def in_two_steps(files: Any, workers: int) -> None:
    """What a cache that costs nothing would take: without one, no more of an image is decoded than a crop shows."""
    with DataLoader(files, BATCH, shuffle=True, seed=0, num_workers=workers) as loader:
        for images, labels in loader:
            dataset = TensorDataset(images, labels).map(AUGMENT, field=0)
            touch(dataset.get_batch(np.arange(len(labels))))


def contenders(paths: list[Path], folder: Path, workers: int) -> list[Contender]:
    """Without a cache, first epochs, later epochs, and the floor."""
    files = ImageDataset(paths, np.arange(len(paths)), transform=Resize((256, 256)))
    made = iter(range(1000))

    def on_disk_anew() -> Any:
        return files.cache(folder / f"new {workers} {next(made)}")  # which no round, of no table, has filled

    in_memory, on_disk = files.cache(), files.cache(folder / "kept")
    loaders = [loader_of(dataset, workers) for dataset in (files, in_memory, on_disk)]
    for loader in loaders[1:]:
        epoch(loader)
    stacked = TensorDataset(*in_memory.get_batch(np.arange(len(paths))))
    return [
        Contender("headrace, files, no cache", partial(anew, lambda: files, workers)),
        Contender("whole images, then the rest", partial(in_two_steps, files, workers), limit=True),
        Contender("headrace, first epoch, in memory", partial(anew, files.cache, workers), most=1.2),
        Contender("headrace, first epoch, on disk", partial(anew, on_disk_anew, workers), most=1.2),
        Contender("headrace, later epochs, no cache", partial(epoch, loaders[0])),
        Contender("headrace, later epochs, in memory", partial(epoch, loaders[1])),
        Contender("headrace, later epochs, on disk", partial(epoch, loaders[2])),
        Contender("headrace, stacked in memory", partial(epoch, loader_of(stacked, workers))),
    ]


def main() -> None:
    """Run all of it."""
    smoke = begin("cached epochs of JPEG files")
    count = (2 if smoke else fewer(30)) * BATCH
    with tempfile.TemporaryDirectory() as name:
        paths = photos(Path(name), count)
        for workers in (0,) if smoke else (0, 2):
            entries = contenders(paths, Path(name), workers)
            figures = {"images/s": rate(count), "us/image": per(count, 1e-6)}
            print_table(
                f"headrace: {count:,} JPEG files, {workers} workers", entries, race(entries, 1 if smoke else 3), figures
            )


if __name__ == "__main__":
    main()
