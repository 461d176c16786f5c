"""Memory: batches that are kept stay as they are, and a run needs no more than a few of them."""

from __future__ import annotations

import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import headrace
from headrace import Compose, DataLoader, Dataset, RandomCrop, RandomHorizontalFlip, TensorDataset

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    RunScript = Callable[..., Any]

MEGABYTE = 2**20


def small_images(length: int) -> Dataset[Any]:
    images = np.arange(length * 36, dtype=np.uint8).reshape(length, 1, 6, 6)
    augment = Compose([RandomCrop(5, padding=1), RandomHorizontalFlip()])
    return TensorDataset(images, np.arange(length)).map(augment, field=0)


def big(length: int = 48) -> TensorDataset:
    """Samples of 256 KB: a batch of eight is leased from the loader's arena."""
    return TensorDataset(np.random.default_rng(0).integers(256, size=(length, MEGABYTE // 4), dtype=np.uint8))


def checksum(batch: tuple[NDArray[np.uint8]]) -> int:
    return zlib.crc32(batch[0].tobytes())


def test_batches_kept_are_never_overwritten() -> None:
    dataset = big()
    loader = DataLoader(dataset, 8, shuffle=True, seed=0)
    kept = [batch for _ in range(2) for batch in loader]
    expected = [checksum((dataset.tensors[0][loader_indices],)) for loader_indices in indices_of(loader, 48, 2)]
    for batch in loader:  # freed as it goes, so that memory is used again
        checksum(batch)
    assert [checksum(batch) for batch in kept] == expected
    addresses = [batch[0].__array_interface__["data"][0] for batch in kept]
    assert len(set(addresses)) == len(kept)


def indices_of(loader: DataLoader[Any], length: int, count: int) -> list[NDArray[np.int64]]:
    """The indices of the batches of a loader over a dataset of that length."""
    same = DataLoader(range(length), loader.batch_size, shuffle=True, seed=0)
    return [same.batch(step, epoch) for epoch in range(count) for step in range(len(same))]


def test_a_view_keeps_its_batch() -> None:
    loader = DataLoader(big(), 8, seed=0)
    rows = [batch[0][3, ::1000] for batch in loader]
    expected = [row.copy() for row in rows]
    for _ in range(2):
        list(loader)
    np.testing.assert_equal(rows, expected)


class Virtual(Dataset[Any]):
    """20 GB of samples, which are made when asked for."""

    def __init__(self, empty: Any) -> None:
        self.empty = empty

    def __len__(self) -> int:
        return 20_000

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        batch: NDArray[np.uint8] = self.get_batch(np.array([index]))[0]
        return batch

    def get_batch(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        batch: NDArray[np.uint8] = self.empty((len(indices), MEGABYTE), np.uint8)
        batch[:, 0] = indices % 251  # the rest is never touched, and so costs no time
        return batch


@pytest.mark.parametrize("empty", [np.empty, headrace.empty])
def test_memory_of_a_run_over_more_than_there_is(empty: Any) -> None:
    batch_size = 32
    loader = DataLoader(Virtual(empty), batch_size, shuffle=True, seed=0)
    tracemalloc.start()
    try:
        seen = sum(len(batch) for batch in loader)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen == 20_000
    assert peak < 3.5 * batch_size * MEGABYTE


def test_no_growth_over_epochs(run_script: RunScript) -> None:
    """In a process of its own: tables of the interpreter that other tests have filled may grow at any time."""
    script = run_script(
        """
        import gc, tracemalloc
        import numpy as np
        from headrace import Compose, DataLoader, RandomCrop, RandomHorizontalFlip, TensorDataset

        images = np.arange(300 * 36, dtype=np.uint8).reshape(300, 1, 6, 6)
        augment = Compose([RandomCrop(5, padding=1), RandomHorizontalFlip()])
        dataset = TensorDataset(images, np.arange(300)).map(augment, field=0)
        loader = DataLoader(dataset, 10, shuffle=True, seed=0)
        tracemalloc.start()

        def most():
            # Over the 1,024 steps for which the loader keeps their times, and a few.
            sizes = []
            for _ in range(36):
                for _ in loader:
                    pass
                gc.collect()  # also empties the interpreter's lists of free tuples, which are no growth
                sizes.append(tracemalloc.get_traced_memory()[0])
            return max(sizes)

        most(), most()  # caches fill
        before = most()
        print(max(most(), most()) - before)
        """
    )
    assert int(script.output()) < 50_000  # a step takes a kilobyte until its times are put away, 1,024 at once


def test_shuffling_stores_no_order() -> None:
    loader = DataLoader(range(10**12), 16, shuffle=True, seed=0)
    batches = iter(loader)
    next(batches)
    tracemalloc.start()
    try:
        for _ in range(1000):
            next(batches)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEGABYTE


def test_an_abandoned_iterator_leaves_nothing() -> None:
    loader = DataLoader(big(), 8)
    batches = iter(loader)
    batch = next(batches)
    del batches
    assert len(loader._arena.leases) == 1
    del batch
    assert (len(loader._arena.leases), loader._arena.free) == (0, 1)  # kept for the next one
