"""The whole augmentation of CIFAR-10, from bytes to normalised planes of float32.

50,000 images of 32x32x3 bytes, shuffled, batches of 128: RandomCrop(32, padding=4), RandomHorizontalFlip, ToFloat,
Normalize, ToCHW. torch makes the calls that torchvision makes. DALI's images, as those of the loops by hand, are padded
beforehand, which spares it a part of the work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import (
    Compose,
    DataLoader,
    Normalize,
    RandomCrop,
    RandomHorizontalFlip,
    TensorDataset,
    ToCHW,
    ToFloat,
    kernels,
)
from headrace.bench.race import Contender, rival, touch, touch_all
from headrace.bench.results import per, rate
from headrace.bench.work import Race, missing, of_rivals

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["MEAN", "STD", "TensorPhotos", "works"]

BATCH = 128
PADDING = 4
_FEW = 10_000  # images, of what would take too long
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
MEANS, STDS = np.array(MEAN, np.float32), np.array(STD, np.float32)


class TensorPhotos:
    """A dataset as people write it for torch: tensors of bytes in planes, one at a time.

    Args:
        images: bytes, shape (n, 32, 32, 3).
    """

    def __init__(self, images: NDArray[Any]) -> None:
        torch: Any = rival("torch")
        self.images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        self.mean, self.std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        torch: Any = rival("torch")
        image = torch.nn.functional.pad(self.images[index], (PADDING,) * 4)
        top, left = (int(torch.randint(0, 2 * PADDING + 1, (1,)).item()) for _ in range(2))
        image = image[:, top : top + 32, left : left + 32]
        image = image.flip(2) if torch.rand(1) < 0.5 else image
        return image.float().div(255).sub(self.mean).div(self.std), index % 10


def works(folder: Path, wanted: Collection[str], *, smoke: bool = False) -> Iterator[Race]:  # noqa: ARG001
    """Yield the epoch of all contenders, and then the kernel beside the least that there is to do.

    Args:
        folder: stays empty.
        wanted: the names of the rivals that take part.
        smoke: with tiny sizes, to see that it runs.
    """
    count = 1_000 if smoke else 50_000
    images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)
    makers = {
        "headrace": _headrace,
        "numpy": _numpy,
        "torch": _torch,
        "dali": _dali,
        "spdl": _spdl,
        "grain": _grain,
    }
    figures = {"images/s": rate(count), "us/image": per(count, 1e-6)}
    title = f"{count:,} images, crop, flip, normalise, batch {BATCH}"
    yield Race(title, of_rivals(makers, wanted, images), figures, 1 if smoke else 5, tolerance=0.2 if smoke else 0.02)
    if "numpy" in wanted:
        floors = _kernel_and_floor(images)
        yield Race("one core, in memory alone", floors, {"us/image": per(count, 1e-6)}, 1 if smoke else 15)


def _headrace(images: NDArray[Any]) -> Iterator[Contender]:
    """With two threads, and inline."""
    pixels = [ToFloat(), Normalize(MEAN, STD), ToCHW()]
    augment = Compose([RandomCrop(32, padding=PADDING), RandomHorizontalFlip(), *pixels])
    dataset = TensorDataset(images, np.arange(len(images)) % 10).map(augment, field=0)
    threads: DataLoader[Any] = DataLoader(dataset, BATCH, shuffle=True, num_workers=2, backend="thread")
    inline: DataLoader[Any] = DataLoader(dataset, BATCH, shuffle=True)
    yield Contender.over("headrace, 2 threads", lambda: threads)
    yield Contender.over("headrace, inline", lambda: inline, aim=1 / 1.5)


class _PaddedImages:
    """Whole batches in NumPy, as one would write it for speed: padded once, windows by fancy indexing."""

    def __init__(self, images: NDArray[Any]) -> None:
        self._padded = np.pad(images, ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)))

    def orders(self, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        """Yield the rows of each batch of an epoch."""
        order = rng.permutation(len(self._padded))
        for start in range(0, len(order), BATCH):
            yield order[start : start + BATCH]

    def load(self, rows: NDArray[np.int64], rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return a batch."""
        at = np.arange(32)
        top, left = rng.integers(0, 2 * PADDING + 1, (2, len(rows), 1))
        columns = left + np.where(rng.random((len(rows), 1)) < 0.5, at[::-1], at)
        cut = self._padded[rows[:, None, None], (top + at)[:, :, None], columns[:, None, :]]
        floats = (cut.astype(np.float32) / 255 - MEANS) / STDS
        return np.ascontiguousarray(floats.transpose(0, 3, 1, 2)), rows % 10


def _numpy(images: NDArray[Any]) -> Iterator[Contender]:
    """Load one batch after the other."""
    padded, rng = _PaddedImages(images), np.random.default_rng(0)
    yield Contender.over("NumPy on whole batches", lambda: (padded.load(rows, rng) for rows in padded.orders(rng)))


def _spdl(images: NDArray[Any]) -> list[Contender]:
    """Load the same batches in the threads of SPDL, each with a generator of its own."""
    name = "SPDL, 2 threads, NumPy on whole batches"
    library: Any = rival("spdl.pipeline")
    if not library:
        return missing(name)
    padded, rng = _PaddedImages(images), np.random.default_rng(0)

    def load(rows: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        return padded.load(rows, np.random.default_rng(rows[0]))

    def epoch() -> Iterator[Any]:
        builder = library.PipelineBuilder().add_source(padded.orders(rng)).pipe(load, concurrency=2).add_sink(4)
        pipeline = builder.build(num_threads=2)
        with pipeline.auto_stop():
            yield from pipeline

    return [Contender.over(name, epoch)]


def _grain(images: NDArray[Any]) -> list[Contender]:
    """Augment samples one by one in two threads of Grain, a part of the images."""
    few = min(len(images), _FEW)
    name = f"Grain, 2 threads, {few:,} images"
    library: Any = rival("grain")
    if not library:
        return missing(name)

    def augment(sample: tuple[Any, int], rng: np.random.Generator) -> tuple[Any, int]:
        image, label = sample
        top, left = rng.integers(0, 2 * PADDING + 1, 2)
        cut = np.pad(image, ((PADDING, PADDING), (PADDING, PADDING), (0, 0)))[top : top + 32, left : left + 32]
        cut = cut[:, ::-1] if rng.random() < 0.5 else cut
        return ((cut.astype(np.float32) / 255 - MEANS) / STDS).transpose(2, 0, 1), label

    samples = list(zip(images[:few], (np.arange(few) % 10).tolist(), strict=True))
    dataset = library.MapDataset.source(samples).seed(0).shuffle().random_map(augment).batch(BATCH)
    options = library.ReadOptions(num_threads=2)
    return [Contender(name, lambda: touch_all(dataset.to_iter_dataset(options)), share=few / len(images))]


def _torch(images: NDArray[Any]) -> list[Contender]:
    """Whole batches in torch, likewise, and torch's DataLoader over samples."""
    names = "torch on whole batches", "torch DataLoader, 2 processes", "torch DataLoader, inline"
    torch: Any = rival("torch")
    if not torch:
        return missing(*names)
    planes = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    padded, at = torch.nn.functional.pad(planes, (PADDING,) * 4), torch.arange(32)
    channels, mean, std = torch.arange(3)[None, :, None, None], *(torch.tensor(v)[:, None, None] for v in (MEAN, STD))

    def batches() -> Iterator[tuple[Any, Any]]:
        order = torch.randperm(len(images))
        for rows in order.split(BATCH):
            top, left = torch.randint(0, 2 * PADDING + 1, (2, len(rows), 1))
            columns = left + torch.where(torch.rand(len(rows), 1) < 0.5, at.flip(0), at)
            place = rows[:, None, None, None], channels, (top + at)[:, None, :, None], columns[:, None, None, :]
            yield padded[place].float().div_(255).sub_(mean).div_(std), rows % 10

    data = torch.utils.data
    loaders = [data.DataLoader(TensorPhotos(images), BATCH, shuffle=True, num_workers=workers) for workers in (2, 0)]
    epochs = [batches, lambda: loaders[0], lambda: loaders[1]]
    return [Contender.over(name, epoch) for name, epoch in zip(names, epochs, strict=True)]


def _dali(images: NDArray[Any]) -> list[Contender]:
    """DALI's CPU pipeline on two threads, fed with whole batches; it leaves out a last one that is not whole."""
    dali: Any = rival("nvidia.dali")
    if not dali:
        return missing("DALI, 2 threads")
    fn, types = dali.fn, dali.types
    padded = np.pad(images, ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)))
    labels, rng, steps = np.arange(len(images)) % 10, np.random.default_rng(0), len(images) // BATCH

    def source() -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        while True:
            order = rng.permutation(len(images))
            for start in range(0, steps * BATCH, BATCH):
                rows = order[start : start + BATCH]
                yield padded[rows], labels[rows]

    pipeline = dali.Pipeline(batch_size=BATCH, num_threads=2, device_id=None, prefetch_queue_depth=2)
    with pipeline:
        raw, classes = fn.external_source(source(), num_outputs=2, layout=["HWC", ""])
        place = {f"crop_pos_{axis}": fn.random.uniform(range=(0.0, 1.0)) for axis in "xy"}
        scaled = {"mean": [255 * value for value in MEAN], "std": [255 * value for value in STD]}
        floats = fn.crop_mirror_normalize(
            raw, crop=(32, 32), mirror=fn.random.coin_flip(), output_layout="CHW", dtype=types.FLOAT, **place, **scaled
        )
        pipeline.set_outputs(floats, classes)
    pipeline.build()

    def epoch() -> None:
        for _ in range(steps):
            touch([field.as_array() for field in pipeline.run()])

    return [Contender("DALI, 2 threads", epoch, aim=1 / 12)]


def _kernel_and_floor(images: NDArray[Any]) -> list[Contender]:
    """The kernel alone, and the least that there is to do: gather the bytes, write as many floats."""
    rng = np.random.default_rng(0)
    count = len(images) // BATCH
    rows = [rng.integers(0, len(images), BATCH) for _ in range(count)]
    places = np.tile(np.array([0, 0, 1, 1, 0, 32, 0, 32], np.int32), (BATCH, 1))
    places[:, :2] = rng.integers(-PADDING, PADDING + 1, (BATCH, 2))
    places[::2, 1] += 31
    places[::2, 3] = -1
    terms = np.array([[255] * 3, MEAN, STD], np.float32)
    table = (np.arange(256, dtype=np.float32) / terms[0][:, None] - terms[1][:, None]) / terms[2][:, None]
    out, gathered = np.empty((BATCH, 3, 32, 32), np.float32), np.empty((BATCH, 32, 32, 3), np.uint8)
    fill = np.zeros(3, np.float32)
    active = kernels.active()

    def cut() -> None:
        for chosen in rows:
            active.cut(images, chosen, places, table, fill, out.transpose(0, 2, 3, 1), terms)

    def floor() -> None:
        for chosen in rows:
            active.gather(images, chosen, gathered)
            out.fill(1.0)

    return [Contender(f"headrace, {active.name} kernel", cut), Contender("gather and fill", floor, limit=True)]
