"""The whole augmentation of CIFAR-10, from bytes to normalised planes of float32.

    python -m benchmarks.images [--smoke]

50,000 images of 32x32x3 bytes, shuffled, batches of 128: RandomCrop(32, padding=4), RandomHorizontalFlip, ToFloat,
Normalize, ToCHW. Every contender does all of it for a full epoch, on two cores, and touches each batch. torch makes
the calls that torchvision makes. DALI (nvidia-dali-cuda120, its CPU pipeline) is there where it is installed; its
images, as those of the loops by hand, are padded beforehand, which spares it a part of the work. The last column has
the two threads against their aim: at most 1 is well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.common import Contender, begin, per, print_table, race, rate, rival, touch, use_cores

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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

BATCH = 128
PADDING = 4
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
torch: Any = rival("torch")
dali: Any = rival("nvidia.dali")
data: Any = rival("torch.utils.data")

MEANS, STDS = np.array(MEAN, np.float32), np.array(STD, np.float32)


class Photos:
    """A dataset as people write it for torch: tensors of bytes in planes, one at a time."""

    def __init__(self, images: NDArray[Any]) -> None:
        self.images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        self.mean, self.std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = torch.nn.functional.pad(self.images[index], (PADDING,) * 4)
        top, left = (int(torch.randint(0, 2 * PADDING + 1, (1,)).item()) for _ in range(2))
        image = image[:, top : top + 32, left : left + 32]
        image = image.flip(2) if torch.rand(1) < 0.5 else image
        return image.float().div(255).sub(self.mean).div(self.std), index % 10


def headrace_loader(images: NDArray[Any], workers: int) -> Contender:
    """Headrace with that many threads, or none."""
    pixels = [ToFloat(), Normalize(MEAN, STD), ToCHW()]
    augment = Compose([RandomCrop(32, padding=PADDING), RandomHorizontalFlip(), *pixels])
    dataset = TensorDataset(images, np.arange(len(images)) % 10).map(augment, field=0)
    loader = DataLoader(dataset, BATCH, shuffle=True, num_workers=workers, backend="thread" if workers else "auto")
    if workers:
        return Contender(f"headrace, {workers} threads", _epochs(loader))
    return Contender("headrace, inline", _epochs(loader), aim=1 / 1.5)


def numpy_by_hand(images: NDArray[Any]) -> Contender:
    """Whole batches in NumPy, as one would write it for speed: padded once, windows by fancy indexing."""
    padded = np.pad(images, ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)))
    rng, at = np.random.default_rng(0), np.arange(32)

    def batches() -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        order = rng.permutation(len(images))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            top, left = rng.integers(0, 2 * PADDING + 1, (2, len(rows), 1))
            flipped = rng.random((len(rows), 1)) < 0.5
            columns = left + np.where(flipped, at[::-1], at)
            cut = padded[rows[:, None, None], (top + at)[:, :, None], columns[:, None, :]]
            floats = (cut.astype(np.float32) / 255 - MEANS) / STDS
            yield np.ascontiguousarray(floats.transpose(0, 3, 1, 2)), rows % 10

    return Contender("NumPy on whole batches", lambda: _touch_all(batches()))


def torch_by_hand(images: NDArray[Any]) -> Contender:
    """Whole batches in torch, likewise."""
    if not torch:
        return Contender("torch on whole batches", None)
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

    return Contender("torch on whole batches", lambda: _touch_all(batches()))


def dali_pipeline(images: NDArray[Any]) -> Contender:
    """DALI's CPU pipeline on two threads, fed with whole batches."""
    if not dali:
        return Contender("DALI, 2 threads", None)
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

    return Contender("DALI, 2 threads", epoch, aim=1 / 12)


def torch_loader(images: NDArray[Any], workers: int) -> Contender:
    """torch's DataLoader over samples, with that many processes or none."""
    name = f"torch DataLoader, {workers} processes" if workers else "torch DataLoader, inline"
    if not torch:
        return Contender(name, None)
    return Contender(name, _epochs(data.DataLoader(Photos(images), BATCH, shuffle=True, num_workers=workers)))


def _epochs(loader: Iterable[Any]) -> Callable[[], None]:
    return lambda: _touch_all(loader)


def _touch_all(batches: Iterable[Any]) -> None:
    for batch in batches:
        touch(batch)


def kernel_and_floor(images: NDArray[Any]) -> list[Contender]:
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


def main() -> None:
    """Run all of it."""
    use_cores(2)
    smoke = begin("the augmentation of CIFAR-10")
    count = 1_000 if smoke else 50_000
    rounds = 1 if smoke else 5
    images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)
    figures = {"images/s": rate(count), "us/image": per(count, 1e-6)}
    entries = [
        headrace_loader(images, 2),
        headrace_loader(images, 0),
        numpy_by_hand(images),
        torch_by_hand(images),
        dali_pipeline(images),
        torch_loader(images, 2),
        torch_loader(images, 0),
    ]
    print_table(f"{count:,} images, crop, flip, normalise, batch {BATCH}", entries, race(entries, rounds), figures)
    floors = kernel_and_floor(images)
    print_table("one core, in memory alone", floors, race(floors, 3 * rounds), {"us/image": per(count, 1e-6)})


if __name__ == "__main__":
    main()
