"""Datasets of images that give torch tensors, with the numbers that they give as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import (
    MNIST,
    Compose,
    DataLoader,
    ImageDataset,
    ImageFolder,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
    ToCHW,
    ToFloat,
)
from headrace.datasets.output import ToTorch, converter
from headrace.errors import ArgumentError
from headrace.testing import check_dataset

if TYPE_CHECKING:
    from pathlib import Path

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(5):
            pixels = rng.integers(0, 256, (30 + number, 40, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    return tmp_path


FUSED = Compose([RandomResizedCrop(16), RandomHorizontalFlip(), ToFloat(), ToCHW()])
CHAINS: list[Any] = [FUSED, Compose([Resize((8, 9)), lambda image: image[::-1, ::-1]]), None]


@pytest.mark.parametrize("transform", CHAINS)
def test_tensors_are_the_arrays(root: Path, transform: Any) -> None:
    arrays, tensors = ImageFolder(root, transform), ImageFolder(root, transform, output="torch")
    for index in range(len(arrays)):
        image, label = tensors[index]
        assert type(image) is torch.Tensor
        assert label == arrays[index][1]
        if transform is not FUSED:  # which draws
            np.testing.assert_array_equal(image.numpy(), arrays[index][0])
    if transform is None:
        return
    for found, expected in zip(DataLoader(tensors, 4, seed=1), DataLoader(arrays, 4, seed=1), strict=True):
        assert type(found[0]) is type(found[1]) is torch.Tensor
        assert type(expected[0]) is type(expected[1]) is np.ndarray
        np.testing.assert_array_equal(found[0].numpy(), expected[0])
        np.testing.assert_array_equal(found[1].numpy(), expected[1])


@pytest.mark.parametrize("workers", [{"num_workers": 2, "backend": "process"}, {"num_workers": 2, "backend": "thread"}])
def test_workers_change_nothing(root: Path, workers: Any) -> None:
    dataset = ImageFolder(root, FUSED, output="torch")
    check_dataset(ImageFolder(root, Resize((8, 8)), output="torch"))
    with DataLoader(dataset, 4, seed=1, **workers) as loader:
        for found, expected in zip(loader, DataLoader(dataset, 4, seed=1), strict=True):
            assert all(map(torch.equal, found, expected))


def test_a_list_of_files(root: Path) -> None:
    paths = sorted(root.rglob("*.png"))
    images, labels = DataLoader(ImageDataset(paths, list("abcdefghij"), FUSED, output="torch"), 3, seed=0).batch(0)
    assert type(images) is torch.Tensor
    assert labels == ["a", "b", "c"]


def test_classic_sets(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28), np.uint8)
    for name, array in (("images-idx3", images), ("labels-idx1", np.arange(6, dtype=np.uint8))):
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
        (tmp_path / f"train-{name}-ubyte").write_bytes(header + array.tobytes())
    dataset = MNIST(tmp_path, output="torch")
    assert type(dataset.data) is type(dataset.targets) is torch.Tensor
    pixels, labels = DataLoader(dataset, 6).batch(0)
    np.testing.assert_array_equal(pixels.numpy(), images)
    assert labels.tolist() == list(range(6))


def test_arrays_that_torch_cannot_see_are_copied() -> None:
    image = np.arange(6)[::-1]
    assert ToTorch()(image).tolist() == image.tolist()
    assert ToTorch()("text") == "text"


def test_other_outputs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentError, match="output must be 'numpy' or 'torch', but got output='jax'"):
        ImageFolder(root, output="jax")

    def missing(*_: Any) -> Any:
        raise ImportError("no torch")

    monkeypatch.setattr("headrace.frameworks.rebuild", missing)
    with pytest.raises(ArgumentError, match="output='torch' needs PyTorch, which is not there: pip install torch"):
        converter("torch")
