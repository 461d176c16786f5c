"""Photographs in JPEG files, from their bytes to normalised planes of float32.

Files near 500x375 and near 2000x1500 at quality 90, batches of 64: decoded, RandomResizedCrop(224),
RandomHorizontalFlip, Normalize, float32 in planes. Every contender does all of it for a full epoch on two threads or
processes; but simplejpeg decodes only, all of each image, which is a floor for those that do. The windows of all have
the same distribution, but for mlx-data's, which it draws in its own way, and scales without a filter against aliasing.
"""

from __future__ import annotations

import math
import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import (
    Compose,
    DataLoader,
    ImageDataset,
    Normalize,
    RandomHorizontalFlip,
    RandomResizedCrop,
    ToCHW,
    ToFloat,
)
from headrace.bench.race import Contender, rival
from headrace.bench.results import rate
from headrace.bench.work import Race, missing, of_rivals

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["AUGMENT", "BATCH", "THREADS", "photograph", "works"]

BATCH, SIZE, THREADS = 64, 224, 2
# How many files there are of each size, and in how much of DALI's time headrace is to be done.
FILES = ((2_000, 375, 500, 1 / 5), (200, 1500, 2000, 1 / 4))
FEW = ((8, 90, 120, 1 / 5), (4, 150, 200, 1 / 4))
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
AUGMENT = [RandomResizedCrop(SIZE), RandomHorizontalFlip(), ToFloat(), Normalize(MEAN, STD), ToCHW()]


def works(folder: Path, wanted: Collection[str], *, smoke: bool = False) -> Iterator[Race]:
    """Yield the epoch of all contenders, for each size of files.

    Args:
        folder: an empty one, for the files.
        wanted: the names of the rivals that take part.
        smoke: with tiny sizes, to see that it runs.

    Raises:
        ImportError: Pillow is not there, with which the files are made.
    """
    makers: dict[str, Callable[..., Iterable[Contender]]] = {
        "headrace": _headrace,
        "simplejpeg": _decoding_alone,
        "tf": _tf_data,
        "mlx": _mlx_data,
        "torch": _torch,
    }
    if not rival("PIL.Image"):
        raise ImportError("the workload jpeg makes its files with Pillow: pip install 'headrace[images]'")
    for count, height, width, aim in FEW if smoke else FILES:
        inner = folder / f"{width}x{height}"
        inner.mkdir()
        paths = _write(inner, count, height, width)
        size = sum(path.stat().st_size for path in paths) / count
        title = f"{count:,} files near {width}x{height}, {size / 1000:,.0f} KB each, batch {BATCH}"
        entries = of_rivals({**makers, "dali": partial(_dali, aim=aim)}, wanted, paths)
        yield Race(title, entries, {"images/s": rate(count)}, 1 if smoke else 5, tolerance=5 if smoke else 0.1)


def photograph(height: int, width: int, number: int) -> bytes:
    """Return a JPEG of smooth shapes with as much noise as a camera's, as large as a photograph is at this quality.

    Args:
        height: in pixels.
        width: in pixels.
        number: decides what it shows.
    """
    image_module: Any = rival("PIL.Image")
    rng = np.random.default_rng(number)
    small = image_module.fromarray(rng.integers(0, 256, (max(height // 30, 2), max(width // 30, 2), 3), np.uint8))
    smooth = np.asarray(small.resize((width, height), 3)).astype(np.float32)
    noisy = smooth + rng.normal(0, 16, (height, width, 1)).astype(np.float32)
    file = BytesIO()
    image_module.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def _write(folder: Path, count: int, height: int, width: int) -> list[Path]:
    """So many files, a tenth of which are photographs of their own."""
    different = [photograph(height + 3 * n % 32, width - 5 * n % 48, n) for n in range(max(1, count // 10))]
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(different[number % len(different)])
    return paths


class _PillowPhotos:
    """A dataset as people write it for torch, with Pillow and what torchvision does."""

    def __init__(self, paths: list[Path]) -> None:
        torch: Any = rival("torch")
        self.paths = paths
        self.mean, self.std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        torch, image_module = rival("torch"), rival("PIL.Image")
        with image_module.open(self.paths[index]) as file:
            image = file.convert("RGB")
        image = image.crop(_window(*image.size)).resize((SIZE, SIZE), 2)
        image = image.transpose(0) if random.random() < 0.5 else image  # noqa: S311
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        return pixels.float().div(255).sub(self.mean).div(self.std), index


def _window(width: int, height: int) -> tuple[int, int, int, int]:
    """Torchvision's window, for Pillow: left, top, right, bottom."""
    for _ in range(10):
        area = width * height * random.uniform(0.08, 1)  # noqa: S311
        shape = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))  # noqa: S311
        wide, high = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < wide <= width and 0 < high <= height:
            left, top = random.randint(0, width - wide), random.randint(0, height - high)  # noqa: S311
            return left, top, left + wide, top + high
    return 0, 0, width, height


def _headrace(paths: list[Path]) -> Iterator[Contender]:
    """With threads, and inline: then its kernel has them."""
    dataset = ImageDataset(paths, np.arange(len(paths)), transform=Compose(AUGMENT))
    threads: DataLoader[Any] = DataLoader(dataset, BATCH, shuffle=True, num_workers=THREADS, backend="thread")
    inline: DataLoader[Any] = DataLoader(dataset, BATCH, shuffle=True)
    yield Contender.over(f"headrace, {THREADS} threads", lambda: threads)
    yield Contender.over("headrace, inline", lambda: inline)


def _decoding_alone(paths: list[Path]) -> list[Contender]:
    """Decode all of each image with simplejpeg on as many threads, and do nothing else."""
    name = f"simplejpeg, decoding alone, {THREADS} threads"
    simplejpeg: Any = rival("simplejpeg")
    if not simplejpeg:
        return missing(name)

    def run() -> None:
        with ThreadPoolExecutor(THREADS) as threads:
            for _ in threads.map(lambda path: simplejpeg.decode_jpeg(path.read_bytes()), paths):
                pass

    return [Contender(name, run, limit=True)]


def _torch(paths: list[Path]) -> list[Contender]:
    """Load with torch's DataLoader and Pillow in as many processes."""
    name = f"torch DataLoader and Pillow, {THREADS} processes"
    torch: Any = rival("torch")
    if not torch:
        return missing(name)
    loader = torch.utils.data.DataLoader(_PillowPhotos(paths), BATCH, shuffle=True, num_workers=THREADS)
    return [Contender.over(name, lambda: loader)]


def _dali(paths: list[Path], *, aim: float) -> list[Contender]:
    """Run DALI's CPU pipeline, which decodes the window alone."""
    name = f"DALI, {THREADS} threads"
    dali: Any = rival("nvidia.dali")
    if not dali:
        return missing(name)
    fn, types, rng = dali.fn, dali.types, np.random.default_rng(0)
    names = [np.frombuffer(bytes(path), np.uint8) for path in paths]

    def source() -> Iterator[tuple[list[NDArray[np.uint8]], NDArray[np.int64]]]:
        order = rng.permutation(len(names))
        for start in range(0, len(names), BATCH):
            rows = order[start : start + BATCH]
            yield [names[row] for row in rows], rows

    pipeline = dali.Pipeline(batch_size=BATCH, num_threads=THREADS, device_id=None, prefetch_queue_depth=2, seed=0)
    with pipeline:
        chosen, labels = fn.external_source(source, num_outputs=2, cycle="raise")
        images = fn.decoders.image_random_crop(fn.io.file.read(chosen), device="cpu", output_type=types.RGB)
        images = fn.resize(images, size=(SIZE, SIZE), interp_type=types.INTERP_LINEAR, antialias=True)
        scaled = {"mean": [255 * value for value in MEAN], "std": [255 * value for value in STD]}
        mirror = fn.random.coin_flip()
        pixels = fn.crop_mirror_normalize(images, mirror=mirror, output_layout="CHW", dtype=types.FLOAT, **scaled)
        pipeline.set_outputs(pixels, labels)
    pipeline.build()

    def epoch() -> Iterator[list[NDArray[Any]]]:
        pipeline.reset()  # else the first batches of an epoch would be there before it begins
        for _ in range(0, len(paths), BATCH):
            yield [field.as_array() for field in pipeline.run()]

    return [Contender.over(name, epoch, aim=aim)]


def _tf_data(paths: list[Path]) -> list[Contender]:
    """Run tf.data, which decodes the window alone."""
    name = f"tf.data, {THREADS} threads"
    tensorflow: Any = rival("tensorflow")
    if not tensorflow:
        return missing(name)
    tf = tensorflow

    def window(shape: Any) -> Any:
        high, wide = (tf.cast(shape[axis], tf.float32) for axis in (0, 1))
        areas = high * wide * tf.random.uniform([10], 0.08, 1)
        shapes = tf.exp(tf.random.uniform([10], math.log(3 / 4), math.log(4 / 3)))
        sizes = tf.round(tf.sqrt(tf.stack([areas / shapes, areas * shapes], 1)))
        fits = tf.reduce_all((sizes > 0) & (sizes <= [high, wide]), 1)
        size = tf.cond(tf.reduce_any(fits), lambda: sizes[tf.argmax(fits)], lambda: tf.stack([high, wide]))
        start = tf.floor(tf.random.uniform([2]) * ([high, wide] - size + 1))
        return tf.cast(tf.concat([start, size], 0), tf.int32)

    def load(path: Any, label: Any) -> tuple[Any, Any]:
        file = tf.io.read_file(path)
        pixels = tf.image.decode_and_crop_jpeg(file, window(tf.image.extract_jpeg_shape(file)), channels=3)
        pixels = tf.image.resize(pixels, [SIZE, SIZE], "bilinear", antialias=True)
        pixels = tf.image.random_flip_left_right(pixels)
        return tf.transpose((pixels / 255 - MEAN) / STD, [2, 0, 1]), label

    files = tf.data.Dataset.from_tensor_slices(([str(path) for path in paths], np.arange(len(paths))))
    batches = files.shuffle(len(paths)).map(load, num_parallel_calls=THREADS, deterministic=False)
    options = tf.data.Options()
    options.threading.private_threadpool_size = THREADS
    batches = batches.batch(BATCH).prefetch(2).with_options(options)
    return [Contender.over(name, batches.as_numpy_iterator)]


def _mlx_data(paths: list[Path]) -> list[Contender]:
    """Run mlx-data, which decodes all of each image, and scales without an antialias filter."""
    name = f"mlx-data, {THREADS} threads"
    mlx: Any = rival("mlx.data")
    if not mlx:
        return missing(name)
    files = mlx.buffer_from_vector([{"image": bytes(path), "label": row} for row, path in enumerate(paths)])

    def epoch() -> Iterator[tuple[Any, Any]]:
        images = files.shuffle().to_stream().load_image("image")
        images = images.image_random_area_crop("image", (0.08, 1), (3 / 4, 4 / 3)).image_resize("image", SIZE, SIZE)
        images = images.image_random_h_flip("image", 0.5).key_transform("image", _planes)
        batches = images.batch(BATCH).prefetch(2, THREADS)
        return ((batch["image"], batch["label"]) for batch in batches)

    return [Contender.over(name, epoch)]


def _planes(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Normalised planes of an image, in few passes."""
    planes = np.empty((3, *pixels.shape[:2]), np.float32)
    for plane, channel, mean, std in zip(planes, np.moveaxis(pixels, 2, 0), MEAN, STD, strict=True):
        np.multiply(channel, np.float32(1 / 255 / std), out=plane)
        plane -= np.float32(mean / std)
    return planes
