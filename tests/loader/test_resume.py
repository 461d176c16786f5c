"""A state taken anywhere goes on exactly there."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import (
    Compose,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomCrop,
    RandomHorizontalFlip,
    TensorDataset,
    sample_rng,
)
from headrace.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EPOCHS = 3


class Noisy(Dataset[Any]):
    """Sample i is i and a number of its own; some samples fail; every read is counted."""

    def __init__(self, length: int, failing: tuple[int, ...] = ()) -> None:
        self.length = length
        self.failing = failing
        self.reads = 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int, /) -> tuple[int, float]:
        self.reads += 1
        if index in self.failing:
            raise OSError(f"sample {index} is broken")
        return index, sample_rng().random()


class Stream(IterableDataset[Any]):
    """Numbers of the epoch, each with randomness of its own."""

    def __init__(self, length: int | None) -> None:
        self.length = length
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, float]]:
        number = 0
        while number != self.length:
            yield 1000 * self.epoch + number, sample_rng().random()
            number += 1


class EpochSampler:
    """An order of its own in each epoch, which it has to be told."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        return iter(np.random.default_rng(self.epoch).permutation(self.length).tolist())


class EpochBatches:
    """Batches of changing sizes around an EpochSampler, which they keep in `sampler`, as torch's do."""

    def __init__(self, length: int) -> None:
        self.sampler = EpochSampler(length)

    def __iter__(self) -> Iterator[list[int]]:
        batch: list[int] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == 1 + batch[0] % 4:
                yield batch
                batch = []


def augmented(length: int) -> Dataset[Any]:
    images = np.arange(length * 36, dtype=np.uint8).reshape(length, 1, 6, 6)
    augment = Compose([RandomCrop(5, padding=1), RandomHorizontalFlip()])
    return TensorDataset(images, np.arange(length)).map(augment, field=0)


@dataclass
class Point:
    """Where a state was taken: as JSON, and how many batches had come before."""

    state: str
    batches: int


def next_batches(loader: DataLoader[Any]) -> Iterator[Any]:
    """The batches of an epoch, without those that fail."""
    batches = iter(loader)
    while True:
        try:
            yield next(batches)
        except StopIteration:
            return
        except OSError:
            yield None


def run(loader: DataLoader[Any], epochs: range, points: list[Point] | None = None, tell: bool = False) -> list[Any]:
    """All batches of the epochs, with a state taken wherever one can be."""
    found: list[Any] = []

    def take() -> None:
        if points is not None:
            points.append(Point(json.dumps(loader.state_dict()), len(found)))

    for epoch in epochs:
        take()
        if tell:
            loader.set_epoch(epoch)
            take()
        for batch in next_batches(loader):
            found.append(batch)
            take()
    take()
    return found


def check_resumes_everywhere(make: Callable[[], DataLoader[Any]], epochs: int = EPOCHS, *, tell: bool = False) -> None:
    points: list[Point] = []
    expected = run(make(), range(epochs), points, tell)
    assert len(points) >= len(expected) + epochs
    for point in points:
        loader = make()
        state = json.loads(point.state)
        loader.load_state_dict(state)
        assert loader.state_dict() == state
        rest = run(loader, range(state["epoch"], epochs), tell=tell)
        np.testing.assert_equal(rest, expected[point.batches :])


# ------------------------------------------------------------------ everywhere


@pytest.mark.parametrize("tell", [False, True])
@pytest.mark.parametrize(
    "given",
    [
        {"batch_size": 3},
        {"batch_size": 3, "shuffle": True},
        {"batch_size": 3, "shuffle": True, "drop_last": True},
        {"batch_size": 10, "shuffle": True},
        {"batch_size": 100, "shuffle": True},
        {"batch_size": None, "shuffle": True},
        {"batch_size": 2, "shuffle": True, "rank": 1, "world_size": 3},
        {"batch_size": 3, "sampler": [3, 1, 4, 1, 5, 9, 2]},
        {"batch_size": None, "sampler": [3, 1, 4]},
        {"batch_sampler": [[3, 1], [4], [1, 5, 9]]},
    ],
)
def test_resume_of_a_dataset(given: dict[str, Any], tell: bool) -> None:
    for make in (augmented, Noisy):
        check_resumes_everywhere(lambda make=make: DataLoader(make(10), seed=4, **given), tell=tell)  # type: ignore[misc]


@settings(deadline=None, max_examples=30)
@given(length=st.integers(0, 12), batch_size=st.integers(1, 13), shuffle=st.booleans(), drop_last=st.booleans())
def test_resume_of_any_length(length: int, batch_size: int, shuffle: bool, drop_last: bool) -> None:
    check_resumes_everywhere(
        lambda: DataLoader(Noisy(length), batch_size, shuffle, drop_last=drop_last, seed=1), epochs=2
    )


def test_resume_of_a_long_shuffled_dataset() -> None:
    check_resumes_everywhere(lambda: DataLoader(Noisy(5000), 700, shuffle=True, seed=1), epochs=2)


def test_resume_after_failing_samples() -> None:
    """A batch that failed counts: the next one comes after it."""
    check_resumes_everywhere(lambda: DataLoader(Noisy(10, failing=(0, 3, 9)), 2, shuffle=True, seed=1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: DataLoader(Noisy(10), 3, sampler=EpochSampler(10), seed=2),
        lambda: DataLoader(Noisy(10), batch_sampler=EpochBatches(10), seed=2),
    ],
)
def test_resume_of_samplers_with_set_epoch(make: Callable[[], DataLoader[Any]]) -> None:
    check_resumes_everywhere(make, tell=True)


def test_resume_of_fresh_iterators() -> None:
    check_resumes_everywhere(lambda: DataLoader(Noisy(10), 3, sampler=iter(range(10)), seed=2), epochs=1)
    check_resumes_everywhere(
        lambda: DataLoader(Noisy(10), batch_sampler=([n, n + 1] for n in range(5)), seed=2), epochs=1
    )


@pytest.mark.parametrize("tell", [False, True])
@pytest.mark.parametrize(
    "given", [{"batch_size": 3}, {"batch_size": 3, "drop_last": True}, {"batch_size": None}, {"batch_size": 20}]
)
def test_resume_of_a_stream(given: dict[str, Any], tell: bool) -> None:
    check_resumes_everywhere(lambda: DataLoader(Stream(10), seed=3, **given), tell=tell)


def test_resume_of_an_endless_stream() -> None:
    loader = DataLoader(Stream(None), 4, seed=3)
    batches = iter(loader)
    walked = [next(batches) for _ in range(5)]
    state = loader.state_dict()
    after = [next(batches) for _ in range(3)]
    resumed = DataLoader(Stream(None), 4, seed=3)
    resumed.load_state_dict(state)
    again = iter(resumed)
    np.testing.assert_equal([next(again) for _ in range(3)], after)
    assert state["step"] == len(walked)


# ------------------------------------------------------------------ without a seed


@pytest.mark.parametrize("given", [{"shuffle": True}, {"sampler": [3, 1, 4, 1, 5, 9, 2]}, {}])
@pytest.mark.parametrize("generator", [None, np.random.default_rng(5)])
def test_an_epochs_own_seed_travels_with_the_state(given: dict[str, Any], generator: Any) -> None:
    """Also that of the next epoch, in a state taken before it begins."""
    loader = DataLoader(Noisy(10), 3, generator=generator, **given)
    for _ in range(EPOCHS):
        points: list[Point] = []
        expected = run(loader, range(1), points)
        for point in points[:-1]:
            random.seed(point.batches)
            resumed = DataLoader(Noisy(10), 3, generator=generator and np.random.default_rng(0), **given)
            resumed.load_state_dict(json.loads(point.state))
            np.testing.assert_equal(list(resumed), expected[point.batches :])


def test_taking_a_state_changes_nothing() -> None:
    def epochs(take: bool) -> list[Any]:
        random.seed(1)
        loader = DataLoader(Noisy(10), 3, shuffle=True)
        found = []
        for _ in range(EPOCHS):
            if take:
                loader.state_dict()
            for batch in loader:
                if take:
                    loader.state_dict()
                found.append(batch)
        return found

    np.testing.assert_equal(epochs(take=True), epochs(take=False))


def test_the_state_between_epochs_is_the_next_one() -> None:
    loader = DataLoader(range(6), 2, shuffle=True)
    list(loader)
    state = loader.state_dict()
    expected = list(loader)
    assert (state["epoch"], state["step"]) == (1, 0)
    resumed = DataLoader(range(6), 2, shuffle=True)
    resumed.load_state_dict(state)
    np.testing.assert_equal(list(resumed), expected)


# ------------------------------------------------------------------ what it costs


@pytest.mark.parametrize(
    "given",
    [
        {"batch_size": 3, "shuffle": True},
        {"batch_size": 3, "sampler": range(30)},
        {"batch_sampler": [[number] for number in range(30)]},
    ],
)
def test_no_data_is_loaded_to_find_the_place(given: dict[str, Any]) -> None:
    loader = DataLoader(Noisy(30), seed=0, **given)
    batches = iter(loader)
    for _ in range(7):
        next(batches)
    state = loader.state_dict()
    dataset = Noisy(30)
    resumed = DataLoader(dataset, seed=0, **given)
    resumed.load_state_dict(state)
    again = iter(resumed)
    assert dataset.reads == 0
    np.testing.assert_equal(next(again), next(batches))
    assert dataset.reads == len(given.get("batch_sampler", [[0] * 3])[0])


def test_a_state_is_a_few_numbers_whatever_the_dataset() -> None:
    class Virtual(Noisy):
        pass

    sizes = set()
    for length in (10**3, 10**18):
        loader = DataLoader(Virtual(length), 3, shuffle=True, seed=0)
        batches = iter(loader)
        for _ in range(3):
            next(batches)
        state = loader.state_dict()
        assert state.pop("ahead") == []
        assert all(value is None or type(value) in (int, bool) for value in state.values())
        sizes.add(len(state))
    assert sizes == {len(state)}


def test_far_into_a_vast_epoch() -> None:
    loader = DataLoader(Noisy(10**15), 4, shuffle=True, seed=0)
    loader.load_state_dict({**loader.state_dict(), "step": 10**14, "epoch": 10**6})
    np.testing.assert_equal(next(iter(loader)), loader.batch(10**14, 10**6))


# ------------------------------------------------------------------ details


def test_resume_of_one_iterator_among_several() -> None:
    loader = DataLoader(Noisy(10), 2, shuffle=True, seed=0)
    one, other = iter(loader), iter(loader)
    next(one)
    next(other)
    next(other)
    for batches, epoch, step in ((one, 0, 1), (other, 1, 2)):
        state = batches.state_dict()
        assert (state["epoch"], state["step"]) == (epoch, step)
        resumed = DataLoader(Noisy(10), 2, shuffle=True, seed=0)
        resumed.load_state_dict(state)
        np.testing.assert_equal(next(iter(resumed)), next(batches))
    assert loader.state_dict()["epoch"] == 1  # where the latest one stands


def test_loading_disturbs_no_iterator() -> None:
    loader = DataLoader(Noisy(10), 2, shuffle=True, seed=0)
    expected = [loader.batch(step, 0) for step in range(5)]
    batches = iter(loader)
    found = [next(batches)]
    loader.load_state_dict({**loader.state_dict(), "epoch": 5, "step": 2})
    np.testing.assert_equal(next(iter(loader)), loader.batch(2, 5))
    np.testing.assert_equal(found + list(batches), expected)


def test_batch_after_loading_is_of_the_loaded_epoch() -> None:
    loader = DataLoader(Noisy(10), 2, shuffle=True, seed=0)
    loader.load_state_dict({**loader.state_dict(), "epoch": 5, "step": 2})
    np.testing.assert_equal(loader.batch(4), loader.batch(4, 5))


def test_the_epoch_after_a_resumed_one_is_whole() -> None:
    loader = DataLoader(Noisy(10), 2, shuffle=True, seed=0)
    loader.load_state_dict({**loader.state_dict(), "epoch": 5, "step": 3})
    assert len(list(loader)) == 2
    np.testing.assert_equal(list(loader), [loader.batch(step, 6) for step in range(5)])


def test_set_epoch_of_another_epoch_leaves_the_loaded_place() -> None:
    loader = DataLoader(range(10), 2, seed=0)
    loader.load_state_dict({**loader.state_dict(), "epoch": 5, "step": 3})
    loader.set_epoch(6)
    assert (loader.state_dict()["epoch"], loader.state_dict()["step"]) == (6, 0)
    assert len(list(loader)) == 5


# ------------------------------------------------------------------ refused


def of(**given: Any) -> dict[str, Any]:
    length = given.pop("length", 10)
    return DataLoader(range(length), **{"batch_size": 2, "seed": 1, **given}).state_dict()


def test_an_empty_state_changes_nothing() -> None:
    loader = DataLoader(range(10), 2, shuffle=True, seed=1)
    batches = iter(loader)
    next(batches)
    next(batches)
    before = loader.state_dict()
    loader.load_state_dict({})
    assert loader.state_dict() == before
    np.testing.assert_equal(next(batches), loader.batch(2))


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (of(length=11), "the dataset's length was 11 and is 10 here"),
        (of(seed=2), "seed was 2 and is 1 here"),
        (of(seed=None), "seed was None and is 1 here"),
        (of(batch_size=4), r"the samples a step \(batch_size \* world_size\) was 4 and is 2 here"),
        (of(rank=0, world_size=2), r"the samples a step \(batch_size \* world_size\) was 4 and is 2 here"),
        (of(batch_size=None), r"the samples a step \(batch_size \* world_size\) was 1 and is 2 here"),
        (of(shuffle=True), "shuffle was True and is False here"),
        (of(drop_last=True), "drop_last was True and is False here"),
        (of(sampler=[1]), "the dataset's length was None and is 10 here"),
        (of(batch_size=1, batch_sampler=[[1]]), "the dataset's length was None and is 10 here"),
        ({**of(), "step": 6}, "the state is damaged: step 6 of an epoch of 5 steps"),
        ({**of(), "step": -1}, "the state is damaged: step is -1"),
        ({**of(), "headrace": 8}, "the state has version 8; this release reads up to version 7"),
        (None, "this is not the state of a headrace loader: None"),
        ({"_num_yielded": 3}, "this is not the state of a headrace loader"),
        ({"headrace": 1}, "the state is damaged: missing or unknown keys"),
    ],
)
def test_state_of_another_loader_is_refused(state: Any, text: str) -> None:
    loader = DataLoader(range(10), 2, seed=1)
    next(iter(loader))
    before = loader.state_dict()
    with pytest.raises(StateError, match=text):
        loader.load_state_dict(state)
    assert loader.state_dict() == before


def test_state_at_the_last_step_is_accepted() -> None:
    loader = DataLoader(range(10), 2, seed=1)
    loader.load_state_dict({**of(), "step": 5})
    assert list(loader) == []
    assert len(list(loader)) == 5
