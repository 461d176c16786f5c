from __future__ import annotations

import copy
import gc
import pickle
import random
import sys
import threading
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import headrace
from headrace import Compose, DataLoader, Dataset, RandomCrop, RandomHorizontalFlip, TensorDataset, sample_rng
from headrace import loader as module
from headrace.errors import ArgumentError, HeadraceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

MEGABYTE = 2**20


class Noisy(Dataset[Any]):
    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int, /) -> tuple[int, float]:
        return index, sample_rng().random()


def epochs(loader: DataLoader[Any], count: int) -> list[list[Any]]:
    return [[loader.batch(step, epoch) for step in range(len(loader))] for epoch in range(count)]


# ------------------------------------------------------------------ the seed page's basics


@pytest.mark.parametrize(
    ("length", "batch_size", "drop_last", "sizes"),
    [
        (100, 32, False, [32, 32, 32, 4]),
        (100, 32, True, [32, 32, 32]),
        (96, 32, True, [32, 32, 32]),
        (5, 10, False, [5]),
        (5, 10, True, []),
        (0, 10, False, []),
        (3, 1, False, [1, 1, 1]),
    ],
)
@pytest.mark.parametrize("shuffle", [False, True])
def test_len_and_sizes(length: int, batch_size: int, drop_last: bool, sizes: list[int], shuffle: bool) -> None:
    for given in ({"shuffle": shuffle}, {"sampler": range(length)}):
        loader = DataLoader(range(length), batch_size, drop_last=drop_last, **given)
        assert len(loader) == len(iter(loader)) == len(sizes)
        found = list(loader)
        assert [len(batch) for batch in found] == sizes
        if not drop_last:
            assert sorted(index for batch in found for index in batch.tolist()) == list(range(length))


def test_single_samples() -> None:
    samples = [object(), "text", 3]
    loader = DataLoader(samples, None)
    assert len(loader) == 3
    assert all(found is sample for found, sample in zip(loader, samples, strict=True))
    assert list(DataLoader([1, 2], None, collate_fn=lambda sample: [sample])) == [[1], [2]]


def test_defaults() -> None:
    loader = DataLoader(range(3))
    assert [batch.tolist() for batch in loader] == [[0], [1], [2]]
    assert (loader.batch_size, loader.shuffle, loader.drop_last, loader.num_workers) == (1, False, False, 0)


def test_not_shuffled_stays_in_order() -> None:
    loader = DataLoader(range(10), 4, seed=3)
    for _ in range(2):
        assert np.concatenate(list(loader)).tolist() == list(range(10))


def test_collate_fn_gets_the_samples() -> None:
    assert list(DataLoader("abcde", 2, collate_fn="".join)) == ["ab", "cd", "e"]
    assert DataLoader("abcde", 2, collate_fn="".join).batch(1) == "cd"


def test_collate_batch_of_loader() -> None:
    loader = DataLoader(range(3))
    assert loader._collate_batch([]) == ()
    np.testing.assert_equal(loader._collate_batch([(1, 2), (3, 4)]), (np.array([1, 3]), np.array([2, 4])))
    assert DataLoader(range(3), collate_fn=len)._collate_batch([1, 2]) == 2


def test_repr() -> None:
    loader = DataLoader(range(10), 4, shuffle=True, seed=2)
    assert repr(loader) == "DataLoader(range, batch_size=4, shuffle=True, seed=2)"


@pytest.mark.parametrize("name", sorted(module._FIXED))
def test_what_batches_depend_on_is_fixed(name: str) -> None:
    loader = DataLoader(range(10))
    with pytest.raises(
        ArgumentError, match=rf"^{name} cannot be changed after the DataLoader is made; make a new DataLoader$"
    ):
        setattr(loader, name, getattr(loader, name))


def test_other_attributes_are_free() -> None:
    loader = DataLoader(range(10))
    loader.timeout = 3
    loader.my_note = "mine"


def test_subscripted_type() -> None:
    assert isinstance(DataLoader[int](range(3)), DataLoader)


# ------------------------------------------------------------------ iterators


def test_two_iterators_do_not_disturb_each_other() -> None:
    loader = DataLoader(Noisy(20), 3, shuffle=True, seed=0)
    expected = epochs(loader, 3)
    one, other = iter(loader), iter(loader)
    walked: list[list[Any]] = [[], []]
    for number in (0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 0, 1, 0):
        walked[number].append(next((one, other)[number]))
    np.testing.assert_equal(walked, expected[:2])
    np.testing.assert_equal(list(loader), expected[2])
    assert next(one, None) is next(other, None) is None


def test_nested_loops_over_one_loader() -> None:
    loader = DataLoader(Noisy(6), 2, shuffle=True, seed=0)
    expected = epochs(loader, 4)
    outer = []
    for number, batch in enumerate(loader):
        outer.append(batch)
        np.testing.assert_equal(list(loader), expected[number + 1])
    np.testing.assert_equal(outer, expected[0])


def test_an_iterator_is_its_own_and_ends_for_good() -> None:
    batches = iter(DataLoader(range(4), 2))
    assert iter(batches) is batches
    assert len(list(batches)) == 2
    assert [next(batches, "over"), next(batches, "over")] == ["over", "over"]


def test_threads_with_iterators_of_one_loader() -> None:
    loader = DataLoader(augmented(200), 7, shuffle=True, seed=0)
    expected = epochs(loader, 16)
    start = threading.Barrier(4)

    def walk(_: int) -> list[int]:
        start.wait()
        begun = []
        for _ in range(4):
            batches = iter(loader)
            epoch = batches.state_dict()["epoch"]
            np.testing.assert_equal(list(batches), expected[epoch])
            begun.append(epoch)
        return begun

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            begun = sorted(epoch for epochs in pool.map(walk, range(4)) for epoch in epochs)
    finally:
        sys.setswitchinterval(interval)
    assert begun == list(range(16))
    assert loader.stats().batches == 16 * len(loader)


def test_threads_ask_for_batches() -> None:
    loader = DataLoader(augmented(100), 7, shuffle=True, seed=0)
    expected = epochs(loader, 2)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda step: loader.batch(step % 15, step // 15), range(30)))
    np.testing.assert_equal(found, expected[0] + expected[1])


class Nested(Dataset[Any]):
    """Each sample reads an epoch of a loader of its own, or not, between its two draws."""

    def __init__(self, *, reads: bool) -> None:
        self.inner = DataLoader(Noisy(4), 2, shuffle=True, seed=9) if reads else None

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int, /) -> tuple[float, float]:
        first = sample_rng().random()
        if self.inner is not None:
            self.inner.set_epoch(index)
            np.testing.assert_equal(list(self.inner), epochs(DataLoader(Noisy(4), 2, shuffle=True, seed=9), 7)[index])
        return first, sample_rng().random()


def test_a_loader_within_a_dataset_keeps_its_draws_to_itself() -> None:
    with_inner, without = (list(DataLoader(Nested(reads=reads), 3, seed=1)) for reads in (True, False))
    np.testing.assert_equal(with_inner, without)


def test_a_loader_over_a_loaders_batches() -> None:
    class Batches(headrace.IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return iter(DataLoader(Noisy(12), 2, seed=0))

    (whole,) = DataLoader(Batches(), 6, seed=1)
    np.testing.assert_equal(whole[1].ravel(), DataLoader(Noisy(12), 12, seed=0).batch(0)[1])


# ------------------------------------------------------------------ seeds


def test_pythons_random_decides_without_a_seed() -> None:
    def run(seed: int) -> list[Any]:
        random.seed(seed)
        loader = DataLoader(Noisy(10), 3, shuffle=True)
        return [batch for _ in range(3) for batch in loader]

    np.testing.assert_equal(run(0), run(0))
    assert repr(run(0)) != repr(run(1))


@pytest.mark.parametrize("make", [np.random.default_rng, random.Random])
def test_a_generator_decides_if_given(make: Any) -> None:
    def run(seed: int) -> list[Any]:
        loader = DataLoader(Noisy(10), 3, shuffle=True, generator=make(seed))
        return [batch for _ in range(3) for batch in loader]

    np.testing.assert_equal(run(0), run(0))
    assert repr(run(0)) != repr(run(1))


def test_a_seed_leaves_pythons_random_alone() -> None:
    random.seed(0)
    state = random.getstate()
    loader = DataLoader(Noisy(10), 3, shuffle=True, seed=0)
    list(loader)
    loader.load_state_dict(loader.state_dict())
    loader.batch(0)
    assert random.getstate() == state


def test_numpys_random_is_left_alone() -> None:
    state = np.random.get_state()[1].tolist()  # type: ignore[index] # noqa: NPY002 - the state users have
    list(DataLoader(Noisy(10), 3, shuffle=True))
    assert np.random.get_state()[1].tolist() == state  # type: ignore[index] # noqa: NPY002


# ------------------------------------------------------------------ copies


def augmented(length: int) -> Dataset[Any]:
    images = np.arange(length * 36, dtype=np.uint8).reshape(length, 1, 6, 6)
    augment = Compose([RandomCrop(5, padding=1), RandomHorizontalFlip()])
    return TensorDataset(images, np.arange(length)).map(augment, field=0)


def pickled(loader: DataLoader[Any]) -> Any:
    return pickle.loads(pickle.dumps(loader))


@pytest.mark.parametrize("duplicate", [pickled, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("seed", [0, None])
def test_a_copy_goes_on_from_the_next_epoch(duplicate: Any, seed: int | None) -> None:
    loader = DataLoader(augmented(20), 3, shuffle=True, seed=seed)
    list(loader)
    loader.state_dict()  # fixes the next epoch, were its seed not drawn yet
    other = duplicate(loader)
    assert other.stats().batches == 0
    expected = list(loader)
    np.testing.assert_equal(list(other), expected)
    np.testing.assert_equal(other.batch(2), expected[2])
    with pytest.raises(ArgumentError, match=r"^seed cannot be changed"):
        other.seed = 3


def test_a_copy_of_a_closed_loader_is_open() -> None:
    loader = DataLoader(range(4), 2)
    loader.close()
    assert len(list(pickled(loader))) == 2


# ------------------------------------------------------------------ closing


def test_closed() -> None:
    with DataLoader(TensorDataset(np.zeros((8, 600_000))), 4) as loader:
        batches = iter(loader)
        (batch,) = next(batches)
        batch[:] = 7
    for use in (lambda: next(batches), lambda: iter(loader), lambda: loader.batch(0)):
        with pytest.raises(HeadraceError, match=r"^the loader is closed; make a new one$"):
            use()
    assert (batch == 7).all()
    assert (len(loader), loader.stats().batches, loader.state_dict()["step"]) == (2, 1, 1)
    loader.close()


def test_closed_by_an_error_which_passes() -> None:
    loader = DataLoader(range(4))
    with pytest.raises(KeyError), loader:
        raise KeyError
    with pytest.raises(HeadraceError, match="closed"):
        iter(loader)


# ------------------------------------------------------------------ memory


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


def test_no_growth_over_epochs() -> None:
    loader = DataLoader(augmented(300), 10, shuffle=True, seed=0)
    sizes = []
    for _ in range(3):
        list(loader)  # caches fill
    tracemalloc.start()
    try:
        for _ in range(6):
            for _ in loader:
                pass
            gc.collect()  # also empties the interpreter's lists of free tuples, which are no growth
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[-1] - sizes[0] < 2000


def test_shuffling_stores_no_order() -> None:
    loader = DataLoader(Noisy(10**12), 16, shuffle=True, seed=0)
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
    assert loader._arena.leased == 1
    del batch
    assert loader._arena.leased == 0
