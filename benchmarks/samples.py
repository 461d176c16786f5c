"""Datasets that give one sample at a time, and the augmentation of CIFAR-10.

    python -m benchmarks.samples [--smoke]

A sample is a 32x32x3 float32 image and an integer. Every contender goes through a full epoch, shuffled, in batches of
64, and touches each batch. The rivals' augmentation does what torchvision's does, in NumPy or torch.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.common import Contender, begin, per, print_table, race, rate, rival, touch

from headrace import Compose, DataLoader, RandomCrop, RandomHorizontalFlip, TensorDataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

BATCH = 64
torch: Any = rival("torch")
data: Any = rival("torch.utils.data")


class Photos:
    """A dataset as people write it."""

    def __init__(self, images: Any, transform: Callable[[Any], Any] | None = None) -> None:
        self.images = images
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = self.images[index]
        return image if self.transform is None else self.transform(image), index % 10


def crop_and_flip_in_numpy(image: NDArray[Any]) -> NDArray[Any]:
    """RandomCrop(32, padding=4) and RandomHorizontalFlip(), by hand."""
    top, left = random.randrange(9), random.randrange(9)  # noqa: S311
    cut = np.pad(image, ((4, 4), (4, 4), (0, 0)))[top : top + 32, left : left + 32]
    return cut[:, ::-1] if random.random() < 0.5 else cut  # noqa: S311


def crop_and_flip_in_torch(image: Any) -> Any:
    """RandomCrop(32, padding=4) and RandomHorizontalFlip(), with the calls that torchvision makes."""
    top, left = (int(torch.randint(0, 9, (1,)).item()) for _ in range(2))
    cut = torch.nn.functional.pad(image, (0, 0, 4, 4, 4, 4))[top : top + 32, left : left + 32]
    return cut.flip(1) if torch.rand(1) < 0.5 else cut


def stack(samples: Sequence[tuple[NDArray[Any], int]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The usual collate_fn of those who want ndarrays."""
    images, labels = zip(*samples, strict=True)
    return np.stack(images), np.array(labels)


def plain(images: NDArray[Any]) -> list[Contender]:
    """Without augmentation."""
    dataset = Photos(images)
    return [
        Contender("headrace", _epochs(DataLoader(dataset, BATCH, shuffle=True))),
        Contender("bare loop, np.stack", _bare_loop(dataset)),
        *_torch_loaders(dataset, Photos(torch.from_numpy(images)) if torch else None),
    ]


def augmented(images: NDArray[Any]) -> list[Contender]:
    """With the augmentation of CIFAR-10."""
    augment = Compose([RandomCrop(32, padding=4), RandomHorizontalFlip()])
    by_hand = Photos(images, crop_and_flip_in_numpy)
    in_torch = Photos(torch.from_numpy(images), crop_and_flip_in_torch) if torch else None
    batched = TensorDataset(images, np.arange(len(images)) % 10).map(augment, field=0)
    return [
        Contender("headrace, in __getitem__", _epochs(DataLoader(Photos(images, augment), BATCH, shuffle=True))),
        Contender("headrace, TensorDataset.map", _epochs(DataLoader(batched, BATCH, shuffle=True))),
        Contender("bare loop, np.stack", _bare_loop(by_hand), aim=1.0),
        *_torch_loaders(by_hand, in_torch),
    ]


def _torch_loaders(dataset: Photos, in_torch: Photos | None) -> list[Contender]:
    names = ["torch DataLoader, ndarrays, np.stack", "torch DataLoader, tensors"]
    if not torch:
        return [Contender(name, None) for name in names]
    stacked = data.DataLoader(dataset, BATCH, shuffle=True, collate_fn=stack)
    tensors = data.DataLoader(in_torch, BATCH, shuffle=True)
    return [Contender(names[0], _epochs(stacked), aim=1.0), Contender(names[1], _epochs(tensors))]


def _epochs(loader: Iterable[Any]) -> Callable[[], None]:
    def run() -> None:
        for batch in loader:
            touch(batch)

    return run


def _bare_loop(dataset: Photos) -> Callable[[], None]:
    rng = np.random.default_rng(0)

    def run() -> None:
        order = rng.permutation(len(dataset)).tolist()
        for start in range(0, len(order), BATCH):
            touch(stack([dataset[index] for index in order[start : start + BATCH]]))

    return run


def main() -> None:
    """Run all of it."""
    smoke = begin("one sample at a time, and augmentation")
    count = 200 if smoke else 20_000
    images = np.random.default_rng(0).random((count, 32, 32, 3), np.float32)
    figures = {"us/sample": per(count, 1e-6), "samples/s": rate(count)}
    for title, entries in (
        ("samples as they are", plain(images)),
        ("Compose([RandomCrop(32, padding=4), RandomHorizontalFlip()])", augmented(images)),
    ):
        print_table(f"{count:,} {title}, batch {BATCH}", entries, race(entries, 1 if smoke else 7), figures)


if __name__ == "__main__":
    main()
