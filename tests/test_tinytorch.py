"""TinyTorch programs run with one changed import: their Tensor in, their Tensor out, their errors."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import Compose, DataLoader, Dataset, RandomCrop, RandomHorizontalFlip, TensorDataset

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Tensor:
    """TinyTorch's Tensor, as far as a loader meets it: a float32 ndarray in `.data`."""

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        self.data: NDArray[np.float32] = np.array(data.data if isinstance(data, Tensor) else data, np.float32)
        self.shape = self.data.shape
        self.size = self.data.size
        self.dtype = self.data.dtype
        self.requires_grad = requires_grad
        self.grad = None

    def __repr__(self) -> str:
        return f"Tensor({self.data})"

    def __add__(self, other: Tensor) -> Tensor:
        return Tensor(self.data + other.data)


def features_and_labels(count: int = 100) -> tuple[Tensor, Tensor]:
    features = np.arange(count * 10, dtype=np.float32).reshape(count, 10)
    return Tensor(features), Tensor(np.arange(count) % 7)


def values(batches: Any) -> list[list[Any]]:
    return [[tensor.data.tolist() for tensor in batch] for batch in batches]


# ------------------------------------------------------------------ the seed page


def test_the_pattern_of_the_page() -> None:
    features, labels = features_and_labels()
    dataset = TensorDataset(features, labels)
    loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(dataset, batch_size=32, shuffle=True)
    assert len(loader) == 4
    sizes, seen = [], []
    for batch_features, batch_labels in loader:
        assert type(batch_features) is type(batch_labels) is Tensor
        assert batch_features.shape[1:] == (10,)
        assert batch_labels.shape == batch_features.shape[:1]
        assert batch_features.data.dtype == np.float32
        sizes.append(batch_features.shape[0])
        for row, label in zip(batch_features.data, batch_labels.data, strict=True):
            seen.append(int(row[0]) // 10)
            assert label == seen[-1] % 7
    assert sizes == [32, 32, 32, 4]
    assert sorted(seen) == list(range(100))
    assert seen != sorted(seen)
    validation = DataLoader(dataset, batch_size=32, shuffle=False)
    np.testing.assert_array_equal(next(iter(validation))[0].data, features.data[:32])
    assert (loader.dataset, loader.batch_size, loader.shuffle) == (dataset, 32, True)


def test_samples_of_a_tensor_dataset() -> None:
    features, labels = features_and_labels()
    dataset = TensorDataset(features, labels)
    sample = dataset[0]
    assert isinstance(sample, tuple)
    assert [type(item) for item in sample] == [Tensor, Tensor]
    assert (sample[0].shape, sample[1].shape) == ((10,), ())
    assert dataset.tensors == (features, labels)
    assert dataset[-1][1].data == labels.data[-1]
    assert len(dataset) == 100


def test_datasets_are_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Dataset()  # type: ignore[abstract]

    class Half(Dataset[Any]):
        def __len__(self) -> int:
            return 1

    with pytest.raises(TypeError, match="__getitem__"):
        Half()  # type: ignore[abstract]


def test_a_dataset_of_ones_own() -> None:
    class ImageDataset(Dataset[Any]):
        def __init__(self, image_paths: list[str], labels: list[int]) -> None:
            self.image_paths = image_paths
            self.labels = labels

        def __len__(self) -> int:
            return len(self.image_paths)

        def __getitem__(self, idx: int, /) -> tuple[Tensor, Tensor]:
            image = np.full((3, 4, 4), float(self.image_paths[idx]))
            return Tensor(image), Tensor(self.labels[idx])

    loader = DataLoader(ImageDataset(["0", "1", "2"], [5, 6, 7]), batch_size=2)
    (images, labels), (last, _) = loader
    assert (images.shape, labels.shape, last.shape) == ((2, 3, 4, 4), (2,), (1, 3, 4, 4))
    assert labels.data.tolist() == [5, 6]


def test_collate_batch() -> None:
    loader = DataLoader(TensorDataset(Tensor(np.zeros((4, 2)))), batch_size=2)
    assert loader._collate_batch([]) == ()
    batch = loader._collate_batch([(Tensor([1.0, 2.0]), Tensor(3)), (Tensor([4.0, 5.0]), Tensor(6))])
    assert isinstance(batch, tuple)
    assert [type(item) for item in batch] == [Tensor, Tensor]
    assert [item.data.tolist() for item in batch] == [[[1, 2], [4, 5]], [3, 6]]


# ------------------------------------------------------------------ its errors


def test_sizes_that_differ() -> None:
    text = r"^All tensors must have same size in first dimension\. Tensor 0: 100, Tensor 1: 90"
    with pytest.raises(ValueError, match=text):
        TensorDataset(Tensor(np.zeros((100, 10))), Tensor(np.zeros(90)))


def test_no_tensors() -> None:
    with pytest.raises(ValueError, match="at least one tensor"):
        TensorDataset()


@pytest.mark.parametrize("index", [100, -101])
def test_index_out_of_bounds(index: int) -> None:
    with pytest.raises(IndexError, match=f"^Index {index} out of range for dataset of size 100$"):
        TensorDataset(*features_and_labels())[index]


def test_slices() -> None:
    with pytest.raises(TypeError, match="a sample index is an integer"):
        TensorDataset(*features_and_labels())[1:3]  # type: ignore[index]


@pytest.mark.parametrize("batch_size", [0, -1, True, 2.5, "8"])
def test_batch_size(batch_size: Any) -> None:
    with pytest.raises(ValueError, match="^batch_size must be a positive integer"):  # noqa: RUF043 - as TinyTorch has it
        DataLoader(TensorDataset(*features_and_labels()), batch_size)


# ------------------------------------------------------------------ samples of every kind that its tests want


def test_pairs_of_array_and_numpy_integer() -> None:
    samples = [(np.full(3, number, np.float32), np.int64(number)) for number in range(4)]
    images, labels = next(iter(DataLoader(samples, batch_size=4)))
    assert (images.shape, images.dtype, labels.dtype) == ((4, 3), np.float32, np.int64)
    assert labels.tolist() == [0, 1, 2, 3]


def test_python_integers() -> None:
    assert [batch.tolist() for batch in DataLoader([1, 2, 3], batch_size=2)] == [[1, 2], [3]]
    loader = DataLoader([(Tensor([1.0]), 5), (Tensor([2.0]), 6)], batch_size=2)
    ((images, labels),) = loader
    assert (type(images), labels.tolist()) == (Tensor, [5, 6])


def test_bare_tensors() -> None:
    (batch,) = DataLoader([Tensor([1.0, 2.0]), Tensor([3.0, 4.0])], batch_size=2)
    assert type(batch) is Tensor
    assert batch.data.tolist() == [[1, 2], [3, 4]]


def test_an_empty_dataset() -> None:
    for shuffle in (False, True):
        loader: DataLoader[Any] = DataLoader([], batch_size=2, shuffle=shuffle)
        assert (len(loader), list(loader)) == (0, [])


def test_numpy_batch_size() -> None:
    assert len(DataLoader([1, 2, 3], batch_size=np.int64(2))) == 2  # type: ignore[call-overload]


def test_sequences() -> None:
    """A dataset of tokens: the input and the same shifted by one."""

    class Sequences(Dataset[Any]):
        tokens = np.arange(50)

        def __len__(self) -> int:
            return len(self.tokens) - 8

        def __getitem__(self, idx: int, /) -> tuple[Tensor, Tensor]:
            return Tensor(self.tokens[idx : idx + 8]), Tensor(self.tokens[idx + 1 : idx + 9])

    for inputs, targets in DataLoader(Sequences(), batch_size=5, shuffle=True):
        np.testing.assert_array_equal(inputs.data + 1, targets.data)


# ------------------------------------------------------------------ augmentation and random.seed


class Cifar(Dataset[Any]):
    """Images augmented where they are read, as TinyTorch's CIFAR-10 milestone does it."""

    def __init__(self, transform: Any, count: int = 40) -> None:
        rng = np.random.default_rng(0)
        self.images = rng.random((count, 3, 32, 32), np.float32)
        self.labels = np.arange(count)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, idx: int, /) -> tuple[Tensor, Tensor]:
        image = self.images[idx]
        if self.transform is not None:
            image = self.transform(image)
        return Tensor(image), Tensor(self.labels[idx])


AUGMENT = Compose([RandomHorizontalFlip(p=0.5), RandomCrop(32, padding=4)])


def run(seed: int, epochs: int = 3) -> list[Any]:
    random.seed(seed)
    loader = DataLoader(Cifar(AUGMENT), batch_size=16, shuffle=True)
    return [values(loader) for _ in range(epochs)]


def test_random_seed_reproduces_order_and_augmentation() -> None:
    first = run(0)
    assert run(0) == first
    assert run(1) != first
    assert first[0] != first[1] != first[2]


def test_augmented_images_are_crops_of_their_image_flipped_or_not() -> None:
    dataset = Cifar(AUGMENT)
    padded = np.pad(dataset.images, ((0, 0), (0, 0), (4, 4), (4, 4)))
    flips = 0
    for images, labels in DataLoader(dataset, batch_size=16, shuffle=True, seed=0):
        assert images.shape[1:] == (3, 32, 32)
        for image, label in zip(images.data, labels.data.astype(int), strict=True):
            windows = np.lib.stride_tricks.sliding_window_view(padded[label], (32, 32), axis=(1, 2))
            flipped = np.lib.stride_tricks.sliding_window_view(padded[label][..., ::-1], (32, 32), axis=(1, 2))
            straight, mirrored = (
                (window.transpose(1, 2, 0, 3, 4) == image).all(axis=(2, 3, 4)).any() for window in (windows, flipped)
            )
            assert straight != mirrored
            flips += int(mirrored)
    assert 8 < flips < 32


def test_transforms_of_a_tensor() -> None:
    """Outside of a loader too they take and return the same kind, and follow random.seed."""
    image = Tensor(np.arange(3 * 8 * 8).reshape(3, 8, 8))
    results = []
    for _ in range(2):
        random.seed(0)
        found = [Compose([RandomHorizontalFlip(), RandomCrop(8, padding=2)])(image) for _ in range(5)]
        assert all(type(each) is Tensor and each.shape == (3, 8, 8) for each in found)
        results.append([each.data.tolist() for each in found])
    assert results[0] == results[1]
    assert RandomHorizontalFlip(p=0.0)(image) is image


def test_the_loader_augments_a_tensor_dataset_as_well() -> None:
    """`dataset.map` does for whole batches what a transform in `__getitem__` does for each sample."""
    images = Tensor(np.random.default_rng(0).random((40, 3, 32, 32)))
    dataset = TensorDataset(images, Tensor(np.arange(40))).map(AUGMENT, field=0)
    batches = list(DataLoader(dataset, batch_size=16, shuffle=True, seed=0))
    assert [type(item) for batch in batches for item in batch] == [Tensor] * 6
    single = {int(label.data): image.data for image, label in DataLoader(dataset, None, seed=0)}
    for images, labels in batches:
        for image, label in zip(images.data, labels.data.astype(int), strict=True):
            np.testing.assert_array_equal(image, single[label])


# ------------------------------------------------------------------ a model learns


def test_a_training_loop() -> None:
    """Least squares by gradient steps: nothing is lost, doubled or mismatched on the way."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(200, 5)).astype(np.float32)
    weights = np.array([1, -2, 3, -4, 5], np.float32)
    dataset = TensorDataset(Tensor(inputs), Tensor(inputs @ weights))
    loader = DataLoader(dataset, batch_size=20, shuffle=True, seed=0)
    found = np.zeros(5, np.float32)
    for _ in range(30):
        for batch, targets in loader:
            found -= 0.1 * batch.data.T @ (batch.data @ found - targets.data) / len(batch.data)
    np.testing.assert_allclose(found, weights, atol=1e-3)
