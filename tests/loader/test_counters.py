"""What datasets count comes into the loader's statistics, also from worker processes."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

from headrace import DataLoader, Dataset, IterableDataset

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("by_value")


class Counting(Dataset[int]):
    """Counts its reads, and begins with some."""

    def __init__(self, length: int, reads: int = 0) -> None:
        self.length = length
        self.before = reads
        self.reads: list[int] = []  # appending is safe in threads

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int, /) -> int:
        self.reads.append(index)
        if index == 5:
            raise KeyError(index)
        return index

    def counters(self) -> dict[str, int]:
        return {"reads": self.before + len(self.reads), "idle": 0}


class CountingStream(IterableDataset[int]):
    def __init__(self) -> None:
        self.reads = 0

    def __iter__(self) -> Iterator[int]:
        for number in range(12):
            self.reads += 1
            yield number

    def counters(self) -> dict[str, int]:
        return {"reads": self.reads}


WORKERS: list[dict[str, Any]] = [
    {},
    {"num_workers": 2, "backend": "thread"},
    {"num_workers": 2, "backend": "process"},
    {"num_workers": 2, "backend": "process", "persistent_workers": True},
    {"num_workers": 1, "multiprocessing_context": "fork"},
]


@pytest.mark.parametrize("workers", WORKERS, ids=str)
@pytest.mark.usefixtures("forks_quietly")
@pytest.mark.filterwarnings("ignore:sample 5")
def test_reads_add_up(workers: dict[str, Any]) -> None:
    with DataLoader(Counting(12, reads=100), 2, on_error="skip", **workers) as loader:
        assert loader.stats().counters == {"reads": 100, "idle": 0}
        for epoch in range(1, 4):
            assert sum(map(len, loader)) == 11
            assert loader.stats().counters == {"reads": 100 + 12 * epoch, "idle": 0}
        assert loader.stats().samples == 33


@pytest.mark.parametrize("workers", WORKERS, ids=str)
def test_a_batch_that_raises_is_counted_with_the_next(workers: dict[str, Any]) -> None:
    if workers.get("num_workers") == 2 and workers["backend"] == "process":
        workers = {**workers, "num_workers": 1}
    with DataLoader(Counting(12), 2, **workers) as loader:
        batches = iter(loader)
        with pytest.raises(KeyError):
            list(batches)
        list(batches)
        assert loader.stats().counters["reads"] == 12


@pytest.mark.parametrize("workers", WORKERS[2:], ids=str)
@pytest.mark.usefixtures("forks_quietly")
def test_streams(workers: dict[str, Any]) -> None:
    with DataLoader(CountingStream(), 4, **{**workers, "num_workers": 1}) as loader:
        list(loader)
        assert loader.stats().counters == {"reads": 12}


def test_counters_through_wrapping_datasets() -> None:
    loader = DataLoader((Counting(3).map(abs) + Counting(3, reads=1)).subset([0, 1, 5]), 3)
    list(loader)
    assert loader.stats().counters == {"reads": 4, "idle": 0}


def test_dataset_without_counters() -> None:
    loader = DataLoader(range(3))
    list(loader)
    assert loader.stats().counters == {}
    assert pickle.loads(pickle.dumps(loader.stats())) == loader.stats()
