"""A network that is trained on a GPU: how many images a second, with which loader, and how long it waits for them.

    python -m benchmarks.training [--smoke]

50,000 images of 32x32x3 bytes, shuffled, batches of 512: RandomCrop(32, padding=4), RandomHorizontalFlip, ToFloat,
Normalize, ToCHW, in pinned memory, and copied to the GPU while the step before is computed. A small residual network in
bfloat16 is trained for an epoch. The first contender loads nothing: it trains on one batch again and again. torch's
DataLoader makes the calls that torchvision makes, in a process for each core, but one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.common import Contender, begin, print_table, race, rate, rival

from headrace import (
    Compose,
    DataLoader,
    Normalize,
    RandomCrop,
    RandomHorizontalFlip,
    TensorDataset,
    ToCHW,
    ToFloat,
)
from headrace.bench.workloads.images import MEAN, STD, TensorPhotos

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

BATCH, CLASSES = 512, 10
NOTHING = "nothing loaded"
torch: Any = rival("torch")
data: Any = rival("torch.utils.data")
has_gpu = bool(torch) and torch.cuda.is_available()


def network() -> Any:
    """Convolutions with a residual block at each of two sizes, about as deep as those that are trained in minutes."""
    nn: Any = torch.nn

    def block(channels: int, to: int) -> Any:
        return nn.Sequential(nn.Conv2d(channels, to, 3, padding=1, bias=False), nn.BatchNorm2d(to), nn.ReLU())

    class Residual(nn.Module):  # type: ignore[misc]
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.inner = nn.Sequential(block(channels, channels), block(channels, channels))

        def forward(self, images: Any) -> Any:
            return images + self.inner(images)

    halves = nn.MaxPool2d(2)
    first = [block(3, 64), block(64, 128), halves, Residual(128)]
    then = [block(128, 256), halves, block(256, 512), halves, Residual(512)]
    return nn.Sequential(*first, *then, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(512, CLASSES))


class Trainer:
    """A network on the GPU, and what it does with an epoch of batches."""

    def __init__(self) -> None:
        self.model = network().to("cuda", memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.01, momentum=0.9)

    def epoch(self, batches: Iterable[Any]) -> None:
        """Train on all of them, and wait until that is done."""
        for images, labels in batches:
            images = images.to("cuda", non_blocking=True)
            labels = labels.to("cuda", non_blocking=True)
            with torch.autocast("cuda", torch.bfloat16):
                scores = self.model(images.contiguous(memory_format=torch.channels_last))
                loss = torch.nn.functional.cross_entropy(scores, labels)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()


def nothing_loaded(images: NDArray[Any]) -> Callable[[], Iterable[Any]]:
    """One batch, again and again, from the GPU's own memory."""
    batch = torch.zeros(BATCH, 3, 32, 32, device="cuda"), torch.zeros(BATCH, dtype=torch.int64, device="cuda")

    def batches() -> Iterator[Any]:
        return iter([batch] * (len(images) // BATCH))

    return batches


def headrace_loader(images: NDArray[Any], workers: int) -> Callable[[], Iterable[Any]]:
    """Headrace with that many threads, or none."""
    augment = Compose(
        [RandomCrop(32, padding=4), RandomHorizontalFlip(), ToFloat(), Normalize(MEAN, STD), ToCHW(layout="HWC")]
    )
    tensors = torch.from_numpy(images), torch.arange(len(images)) % CLASSES
    dataset = TensorDataset(*tensors).map(augment, field=0)
    loader = DataLoader(
        dataset,
        BATCH,
        shuffle=True,
        drop_last=True,
        pin_memory=True,
        num_workers=workers,
        persistent_workers=bool(workers),
    )
    return lambda: loader


def torch_loader(images: NDArray[Any], workers: int) -> Callable[[], Iterable[Any]]:
    """torch's DataLoader with that many processes."""
    loader = data.DataLoader(
        TensorPhotos(images),
        BATCH,
        shuffle=True,
        drop_last=True,
        pin_memory=True,
        num_workers=workers,
        persistent_workers=True,
    )
    return lambda: loader


def contender(
    name: str, make: Callable[[], Callable[[], Iterable[Any]]], trainer: Trainer | None, *, is_there: bool
) -> Contender:
    """An epoch of training with a loader, if that can be."""
    if not is_there:
        return Contender(name, None)
    if trainer is None:
        return Contender(name, None, "there is no GPU")
    batches = make()
    return Contender(name, lambda: trainer.epoch(batches()), limit=name == NOTHING)


def main() -> None:
    """Run all of it."""
    smoke = begin("a network that is trained on a GPU")
    count = 2_048 if smoke else 50_000
    images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)
    processes = max(1, (os.cpu_count() or 2) - 1)
    loaders: dict[str, tuple[bool, Callable[[], Callable[[], Iterable[Any]]]]] = {
        NOTHING: (bool(torch), lambda: nothing_loaded(images)),
        "headrace, inline": (bool(torch), lambda: headrace_loader(images, 0)),
        "headrace, 2 threads": (bool(torch), lambda: headrace_loader(images, 2)),
        f"torch DataLoader, {processes} processes": (bool(torch), lambda: torch_loader(images, processes)),
    }
    trainer = Trainer() if has_gpu else None
    entries = [contender(name, make, trainer, is_there=is_there) for name, (is_there, make) in loaders.items()]
    title = f"{count:,} images, batch {BATCH}, on {torch.cuda.get_device_name() if has_gpu else 'no GPU'}"
    print_table(title, entries, race(entries, 1 if smoke else 5), {"images/s": rate(count // BATCH * BATCH)})


if __name__ == "__main__":
    main()
