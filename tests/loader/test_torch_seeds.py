"""Where samples come from torch, torch's generator gives the seeds of epochs; elsewhere Python's `random` does."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader, Dataset, StackDataset, TensorDataset

if TYPE_CHECKING:
    from collections.abc import Callable

torch = pytest.importorskip("torch")
data = pytest.importorskip("torch.utils.data")

TORCHS: dict[str, Callable[[], Any]] = {
    "tensor": lambda: torch.arange(50),
    "TensorDataset": lambda: data.TensorDataset(torch.arange(50)),
    "own TensorDataset": lambda: TensorDataset(torch.arange(50), np.arange(50)),
    "part": lambda: TensorDataset(torch.arange(50)).subset(range(40)).map(len),
    "joined": lambda: TensorDataset(torch.arange(25)) + TensorDataset(torch.arange(25)),
    "side by side": lambda: StackDataset(x=torch.arange(50), y=range(50)),
    "list": lambda: [(torch.tensor(number), number) for number in range(50)],
}
OTHERS: dict[str, Callable[[], Any]] = {
    "range": lambda: range(50),
    "arrays": lambda: TensorDataset(np.arange(50)),
    "list": lambda: [(number, "text") for number in range(50)],
}


def order(dataset: Any) -> list[int]:
    """The seed of the first epoch stands for its order."""
    return [DataLoader(dataset, 10, shuffle=True).state_dict()["epoch_seed"]]


@pytest.mark.parametrize("name", TORCHS)
def test_torch_generator_decides_for_torch_datasets(name: str) -> None:
    found: list[Any] = []
    for seed in (0, 0, 1):
        random.seed(len(found))
        torch.manual_seed(seed)
        found.append(order(TORCHS[name]()))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("name", OTHERS)
def test_python_random_decides_for_other_datasets(name: str) -> None:
    found: list[Any] = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(found))
        random.seed(seed)
        found.append(order(OTHERS[name]()))
    assert found[0] == found[1] != found[2]


def test_a_class_of_torchs_with_samples_of_any_kind() -> None:
    class Own(data.Dataset):  # type: ignore[misc, name-defined]
        def __len__(self) -> int:
            return 50

        def __getitem__(self, index: int) -> int:
            return index

    class Headraces(Dataset[int]):
        def __len__(self) -> int:
            return 50

        def __getitem__(self, index: int, /) -> int:
            return index

    for dataset, seeds in ((Own(), torch.manual_seed), (Headraces(), random.seed)):
        found = []
        for _ in range(2):
            seeds(3)
            found.append([batch.tolist() for batch in DataLoader(dataset, 10, shuffle=True)])
        assert found[0] == found[1]


def test_asking_for_a_batch_leaves_torchs_generator() -> None:
    loader = DataLoader(torch.arange(50), 10, shuffle=True)
    before = torch.get_rng_state()
    first = loader.batch(0)
    assert bool((torch.get_rng_state() == before).all())
    assert bool((next(iter(loader)) == first).all())


def test_a_generator_of_torchs_resumes_in_later_epochs() -> None:
    def make(seed: int) -> DataLoader[Any]:
        return DataLoader(range(10), 4, shuffle=True, generator=torch.Generator().manual_seed(seed))

    loader = make(5)
    list(loader)
    batches = iter(loader)
    next(batches)
    resumed = make(0)
    resumed.load_state_dict(loader.state_dict())
    for _ in range(3):
        np.testing.assert_equal(list(resumed), list(batches))
        batches = iter(loader)
