from __future__ import annotations

import copy
import json
import pickle
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import headrace
from headrace import Compose, DataLoader, Dataset, RandomCrop, RandomHorizontalFlip, TensorDataset, sample_rng
from headrace.errors import ArgumentError, ArgumentTypeError, HeadraceError, HeadraceWarning
from headrace.loader import base as module

if TYPE_CHECKING:
    from collections.abc import Iterator


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
    assert repr(loader) == "DataLoader(range(10 samples), batch_size=4, shuffle=True, seed=2, num_workers=0)"
    stream = DataLoader({1, 2, 3}, num_workers=2)
    assert repr(stream) == "DataLoader(set(3 samples), batch_size=1, shuffle=False, seed=None, num_workers=2)"


@pytest.mark.parametrize("shuffle", [1, np.int64(1), np.True_])
def test_shuffle_is_taken_as_torch_takes_it(shuffle: Any) -> None:
    loader = DataLoader(range(10), 10, shuffle, seed=0)
    assert loader.shuffle is True
    np.testing.assert_equal(list(loader), list(DataLoader(range(10), 10, True, seed=0)))
    assert DataLoader(range(10), shuffle=0).shuffle is False  # type: ignore[call-overload]


@pytest.mark.parametrize("name", sorted(module._FIXED))
def test_what_torch_fixes_is_fixed(name: str) -> None:
    loader = DataLoader(range(10))
    with pytest.raises(
        ArgumentError, match=rf"^{name} cannot be changed after the DataLoader is made; make a new DataLoader$"
    ):
        setattr(loader, name, getattr(loader, name))


@pytest.mark.parametrize("name", sorted(module._FIXED_LATER))
def test_what_batches_depend_on_is_fixed_by_the_first_iterator(name: str) -> None:
    loader = DataLoader(range(10), shuffle="block")
    setattr(loader, name, None if name in ("rank", "world_size") else getattr(loader, name))
    iter(loader)
    with pytest.raises(
        ArgumentError, match=rf"^{name} cannot be changed after the first iteration; make a new DataLoader$"
    ):
        setattr(loader, name, getattr(loader, name))


def test_attributes_set_before_the_first_iterator_are_heeded() -> None:
    loader: DataLoader[Any] = DataLoader(range(10), 4, seed=1)
    loader.shuffle, loader.num_workers, loader.backend, loader.collate_fn = True, 2, "thread", list
    loader.seed = 3
    expected = list(DataLoader(range(10), 4, True, seed=3, collate_fn=list))
    assert list(loader) == expected
    assert loader.prefetch_factor == 2


def test_a_generator_set_before_the_first_iterator_is_heeded() -> None:
    loader = DataLoader(range(10), 4, shuffle=True)
    loader.generator = np.random.default_rng(3)
    expected = list(DataLoader(range(10), 4, shuffle=True, generator=np.random.default_rng(3)))
    np.testing.assert_equal(list(loader), expected)


def test_attributes_are_checked_when_they_are_set() -> None:
    loader = DataLoader(range(10), 4, shuffle=True, num_workers=1, backend="thread")
    for name, value in (("num_workers", -1), ("seed", "x"), ("timeout", -1), ("collate_fn", 3), ("shuffle", "yes")):
        before = getattr(loader, name)
        with pytest.raises((ArgumentError, ArgumentTypeError), match=rf"^{name} must be"):
            setattr(loader, name, value)
        assert getattr(loader, name) == before
    loader.num_workers = 0  # the prefetch_factor that went with workers goes with them
    assert loader.prefetch_factor is None


def test_other_attributes_are_free() -> None:
    loader = DataLoader(range(10), num_workers=1, backend="thread")
    iter(loader)
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


def test_threads_begin_epochs_of_their_own() -> None:
    class Slow(random.Random):
        def getrandbits(self, bits: int, /) -> int:
            time.sleep(0.02)  # for the other threads to come as far
            return super().getrandbits(bits)

    loader = DataLoader(range(10), generator=Slow(0))
    with ThreadPoolExecutor(4) as pool:
        begun = list(pool.map(lambda _: iter(loader).state_dict(), range(4)))
    assert sorted(state["epoch"] for state in begun) == [0, 1, 2, 3]
    assert len({state["epoch_seed"] for state in begun}) == 4


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


# ------------------------------------------------------------------ looks at the data


def stands(loader: Any) -> tuple[int, int]:
    state = loader.state_dict()
    return state["epoch"], state["step"]


KINDS: list[dict[str, Any]] = [{}, {"num_workers": 2, "backend": "thread"}]


@pytest.mark.parametrize("workers", KINDS)
def test_an_iterator_that_is_asked_for_nothing_draws_and_starts_nothing(workers: dict[str, Any]) -> None:
    draws: list[int] = []

    class Counted(random.Random):
        def getrandbits(self, bits: int, /) -> int:
            draws.append(bits)
            return super().getrandbits(bits)

    sampler = iter(range(12))
    for arguments in ({"shuffle": True}, {"sampler": sampler}):
        loader = DataLoader(range(12), 3, generator=Counted(0), **arguments, **workers)
        before = threading.active_count()
        spare = iter(loader)
        assert (len(draws), threading.active_count()) == (0, before)
        del spare
        draws.clear()
    assert next(sampler) == 0


@pytest.mark.parametrize("workers", KINDS)
def test_what_is_said_between_iter_and_the_first_batch_counts(workers: dict[str, Any]) -> None:
    loader = DataLoader(Noisy(12), 3, shuffle=True, seed=0, **workers)
    expected = epochs(loader, 3)
    batches = iter(loader)
    loader.set_epoch(2)
    np.testing.assert_equal(list(batches), expected[2])
    other = DataLoader(Noisy(12), 3, shuffle=True, seed=0)
    walk = iter(other)
    next(walk)
    batches = iter(loader)
    loader.load_state_dict(other.state_dict())
    assert len(batches) == 4
    np.testing.assert_equal(list(batches), expected[0][1:])


def test_an_epoch_whose_workers_cannot_start_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = DataLoader(Noisy(12), 3, shuffle=True, num_workers=1, backend="thread")
    batches = iter(loader)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _refuse)
        with pytest.raises(RuntimeError, match="no more threads"):
            next(batches)
    state = loader.state_dict()
    assert (state["epoch"], state["step"]) == (0, 0)
    assert len(list(batches)) == 4
    assert stands(loader) == (1, 0)


def _refuse(thread: threading.Thread) -> None:
    raise RuntimeError("no more threads")


@pytest.mark.parametrize("workers", KINDS)
def test_an_iterator_alone_begins_no_epoch(workers: dict[str, Any]) -> None:
    loader = DataLoader(Noisy(12), 3, shuffle=True, seed=0, **workers)
    expected = epochs(loader, 3)
    iter(loader)
    kept = iter(loader)
    assert stands(loader) == (0, 0)
    np.testing.assert_equal(list(loader), expected[0])
    assert stands(loader) == (1, 0)
    np.testing.assert_equal(list(kept), expected[1])
    np.testing.assert_equal(list(loader), expected[2])


@pytest.mark.parametrize("workers", KINDS)
@pytest.mark.parametrize("looks", [1, 2, 3])
def test_looks_before_each_epoch(looks: int, workers: dict[str, Any]) -> None:
    loader = DataLoader(Noisy(12), 3, shuffle=True, seed=0, **workers)
    expected = epochs(loader, 3)
    for epoch in range(3):
        for _ in range(looks):
            np.testing.assert_equal(next(iter(loader)), expected[epoch][0])
            assert stands(loader) == (epoch, 0)
        np.testing.assert_equal(list(loader), expected[epoch])


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_look_in_the_midst_of_an_epoch_is_not_the_state(at: int, kept: bool) -> None:
    loader = DataLoader(Noisy(12), 3, shuffle=True, seed=0)
    expected = epochs(loader, 2)
    looks = []
    for number, _ in enumerate(loader):
        if number == at:
            batches = iter(loader)
            next(batches)
            if kept:
                looks.append(batches)
            del batches
            assert stands(loader) == (0, at + 1)
            state = loader.state_dict()
    resumed = DataLoader(Noisy(12), 3, shuffle=True, seed=0)
    resumed.load_state_dict(state)
    np.testing.assert_equal(list(resumed), expected[0][at + 1 :])


def test_a_look_that_is_kept_is_not_the_state_of_later_epochs() -> None:
    loader = DataLoader(range(12), 3, seed=0)
    look = iter(loader)
    next(look)
    assert stands(loader) == (0, 1)
    found = []
    for _ in loader:
        found.append(stands(loader))
    assert found == [(1, 1), (1, 2), (1, 3), (1, 4)]
    assert stands(loader) == (2, 0)
    next(look)  # it goes on, so it is more
    assert stands(loader) == (0, 2)


def test_an_epoch_within_an_epoch_leaves_the_state() -> None:
    """Such as the accuracy on the training data, measured on the way."""
    loader = DataLoader(range(12), 3, seed=0)
    found = []
    for number, _ in enumerate(loader):
        if number == 2:
            found = [stands(loader) for _ in loader]
            assert stands(loader) == (0, 3)
    assert found[1:] == [(1, 2), (1, 3), (1, 4)]
    assert stands(loader) == (2, 0)


def test_a_loop_that_is_broken_off_counts() -> None:
    loader = DataLoader(Noisy(12), 3, shuffle=True, seed=0)
    expected = epochs(loader, 4)
    for epoch in range(4):
        for batch in loader:
            np.testing.assert_equal(batch, expected[epoch][0])
            break
        assert stands(loader) == (epoch, 1)
    next(iter(loader))
    assert stands(loader) == (3, 1)


def test_two_iterators_in_step() -> None:
    loader = DataLoader(Noisy(12), 3, shuffle=True, seed=0)
    expected = epochs(loader, 3)
    np.testing.assert_equal(list(zip(loader, loader, strict=True)), list(zip(*expected[:2], strict=True)))
    np.testing.assert_equal(list(loader), expected[2])


def test_a_look_leaves_a_loaded_state() -> None:
    loader = DataLoader(Noisy(12), 3, shuffle=True, seed=0)
    loader.load_state_dict({**loader.state_dict(), "epoch": 5, "step": 2})
    first = next(iter(loader))
    rest = list(loader)
    np.testing.assert_equal(first, rest[0])
    np.testing.assert_equal(rest, [loader.batch(step, 5) for step in (2, 3)])


def test_a_look_that_fails_counts() -> None:
    loader = DataLoader([1, "x"], 2, seed=0, collate_fn=sum)
    with pytest.raises(TypeError):
        next(iter(loader))
    assert stands(loader) == (0, 1)


def test_training_on_first_batches_alone_warns() -> None:
    loader = DataLoader(Noisy(12), 3, shuffle=True, seed=0)
    expected = epochs(loader, 4)
    for _ in range(10):
        np.testing.assert_equal(next(iter(loader)), expected[0][0])
    with pytest.warns(HeadraceWarning, match=r"^next\(iter\(loader\)\) has given the first batch of epoch 0 10 times"):
        np.testing.assert_equal(next(iter(loader)), expected[0][0])
    np.testing.assert_equal(next(iter(loader)), expected[1][0])
    np.testing.assert_equal(next(iter(loader)), expected[2][0])
    np.testing.assert_equal(list(loader), expected[3])


def test_looks_without_a_seed_differ() -> None:
    """Each draws a seed, as in torch."""
    random.seed(0)
    loader = DataLoader(range(1000), 10, shuffle=True)
    assert len({tuple(next(iter(loader)).tolist()) for _ in range(20)}) == 20
    assert stands(loader) == (0, 0)


def test_asking_for_batches_changes_nothing() -> None:
    def run(ask: bool) -> list[Any]:
        random.seed(3)
        loader = DataLoader(range(20), 4, shuffle=True)
        if ask:
            loader.batch(0)
        found = [batch.tolist() for batch in loader]
        if ask:
            loader.batch(0)
            loader.batch(2, 1)
        return [*found, *(batch.tolist() for batch in loader), random.getstate()]

    assert run(ask=True) == run(ask=False)


def test_threads_share_an_iterator() -> None:
    loader = DataLoader(Noisy(400), 2, shuffle=True, seed=0)
    expected = [tuple(batch[0].tolist()) for batch in loader]
    loader.set_epoch(0)
    batches = iter(loader)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            parts = list(pool.map(lambda _: [tuple(batch[0].tolist()) for batch in batches], range(4)))
    finally:
        sys.setswitchinterval(interval)
    assert sorted(batch for part in parts for batch in part) == sorted(expected)


# ------------------------------------------------------------------ seeds


@pytest.mark.parametrize("seed", [0, 7])
def test_the_same_draw_gives_the_same_epoch(seed: int) -> None:
    """As TinyTorch has it: the number of the epoch does not matter."""
    loader = DataLoader(Noisy(10), 3, shuffle=True)
    found = []
    for _ in range(3):
        random.seed(seed)
        found.append(list(loader))
    np.testing.assert_equal(found[1:], [found[0]] * 2)


def test_an_epoch_of_an_earlier_release_goes_on_as_it_was() -> None:
    """There the number decided beside the drawn seed."""
    loader = DataLoader(Noisy(10), 3, shuffle=True)
    state = DataLoader(Noisy(10), 3, shuffle=True).state_dict()
    old = {name: value for name, value in state.items() if name not in ("numbered", "epoch_length", "generator")}
    del old["sampler"]
    loader.load_state_dict({**old, "headrace": 3, "epoch": 4, "step": 1, "epoch_seed": 11})
    expected = [DataLoader(Noisy(10), 3, shuffle=True, seed=11).batch(step, 4) for step in (1, 2, 3)]
    batches = iter(loader)
    np.testing.assert_equal(next(batches), expected[0])
    again = DataLoader(Noisy(10), 3, shuffle=True)
    again.load_state_dict(json.loads(json.dumps(loader.state_dict())))
    np.testing.assert_equal(list(batches), expected[1:])
    np.testing.assert_equal(list(again), expected[1:])


def test_pythons_random_decides_without_a_seed() -> None:
    def run(seed: int) -> list[Any]:
        random.seed(seed)
        loader = DataLoader(Noisy(10), 3, shuffle=True)
        return [batch for _ in range(3) for batch in loader]

    np.testing.assert_equal(run(0), run(0))
    assert repr(run(0)) != repr(run(1))


def test_each_epoch_draws_a_seed_of_its_own() -> None:
    loader = DataLoader(range(4))
    seeds = {iter(loader).state_dict()["epoch_seed"] for _ in range(20)}
    assert len(seeds) == 20


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
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_copy_stands_where_the_loader_stands(duplicate: Any, seed: int | None, steps: int) -> None:
    loader = DataLoader(augmented(20), 3, shuffle=True, seed=seed)
    list(loader)
    batches = iter(loader)
    for _ in range(steps):
        next(batches)
    state = loader.state_dict()
    other = duplicate(loader)
    assert other.state_dict() == state
    rest = list(batches)
    np.testing.assert_equal(list(other), rest)
    np.testing.assert_equal(other.batch(2), rest[2 - steps] if steps < 3 else loader.batch(2))


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
    del batch
    assert loader._arena.free == 0
    assert (len(loader), loader.stats().batches, loader.state_dict()["step"]) == (2, 1, 1)
    loader.close()


def test_closed_by_an_error_which_passes() -> None:
    loader = DataLoader(range(4))
    with pytest.raises(KeyError), loader:
        raise KeyError
    with pytest.raises(HeadraceError, match="closed"):
        iter(loader)
