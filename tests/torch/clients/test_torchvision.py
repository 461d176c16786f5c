"""Datasets and v2 transforms of torchvision as input: the same batches as torch's loader makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
v2: Any = pytest.importorskip("torchvision.transforms.v2")
datasets: Any = pytest.importorskip("torchvision.datasets")

from PIL import Image  # noqa: E402
from tests.torch.oracle import assert_same, ours, run, theirs  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures of two classes."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(12):
        (root / "ab"[number % 2]).mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (20, 24, 3), np.uint8)
        Image.fromarray(pixels).save(root / "ab"[number % 2] / f"{number}.png")
    return root


def workers(number: int) -> dict[str, Any]:
    """Forked ones, that need not import torchvision: it may be compiled for another torch."""
    return {"num_workers": number, "multiprocessing_context": "fork"} if number else {}


def transform() -> Any:
    return v2.Compose(
        [
            v2.ToImage(),
            v2.RandomResizedCrop(16),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_folder_with_v2_transforms(folder: Path, num_workers: int) -> None:
    def make() -> Any:
        return datasets.ImageFolder(folder, transform())

    arguments = {"batch_size": 5, "shuffle": True, **workers(num_workers)}
    assert_same(run(theirs, make(), **arguments), run(ours, make(), **arguments))


def test_tensors_of_torchvision_keep_what_collation_makes_of_them(folder: Path) -> None:
    """The collate_fn that detection needs, and CutMix in it, as torchvision's references have them."""
    cutmix = v2.CutMix(num_classes=2)

    def collate(batch: list[Any]) -> Any:
        return cutmix(*theirs.default_collate(batch))

    def make() -> Any:
        return datasets.ImageFolder(folder, transform())

    arguments: dict[str, Any] = {"batch_size": 4, "shuffle": True, "collate_fn": collate}
    assert_same(run(theirs, make(), **arguments), run(ours, make(), **arguments))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_fake_data_and_its_subsets(num_workers: int) -> None:
    fake = datasets.FakeData(size=12, image_size=(3, 8, 8), num_classes=3, transform=v2.ToImage())
    arguments = {"batch_size": 4, **workers(num_workers)}
    found = []
    for module in (theirs, ours):
        torch.manual_seed(3)
        train, rest = module.random_split(fake, [9, 3])
        found.append(run(module, train, shuffle=True, **arguments) + run(module, rest, **arguments))
    assert_same(*found)
