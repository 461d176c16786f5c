"""A batch is a function of (dataset, seed, epoch, step), and iterating only walks it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import (
    Compose,
    ConcatDataset,
    DataLoader,
    Dataset,
    RandomCrop,
    RandomHorizontalFlip,
    StackDataset,
    TensorDataset,
    sample_rng,
)
from headrace.errors import ArgumentError, ArgumentTypeError, OutOfRangeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

AUGMENT = Compose([RandomCrop(5, padding=1), RandomHorizontalFlip()])
EPOCHS = 3


def images(count: int) -> NDArray[np.uint8]:
    return np.arange(count * 36, dtype=np.uint32).astype(np.uint8).reshape(count, 1, 6, 6)


class Plain(Dataset[Any]):
    """Reads one sample at a time, with randomness of its own, augmented on the way."""

    def __init__(self, length: int) -> None:
        self.images = images(length)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        image = AUGMENT(self.images[index])
        return {"image": image, "noise": sample_rng().random(2), "index": index, "name": f"{index}"}


def mapped(length: int) -> Dataset[Any]:
    return TensorDataset(images(length), np.arange(length)).map(AUGMENT, field=0)


def stacked(length: int) -> Dataset[Any]:
    return StackDataset(one=mapped(length), other=Plain(length))


def joined(length: int) -> Dataset[Any]:
    half = TensorDataset(images(length - length // 2), np.arange(length - length // 2)).map(AUGMENT, field=0)
    return mapped(length // 2) + half


DATASETS = [Plain, mapped, stacked, joined]


def check_is_a_function(loader: DataLoader[Any], order: list[int]) -> None:
    """The batches iterated are those asked for, in whatever order, of any epoch, by another loader too."""
    walked = [list(loader) for _ in range(EPOCHS)]
    for epoch in reversed(range(EPOCHS)):
        assert len(walked[epoch]) == len(loader)
        for step in order:
            np.testing.assert_equal(loader.batch(step, epoch), walked[epoch][step])
    for step in order:
        np.testing.assert_equal(loader.batch(step), walked[-1][step])


@settings(deadline=None, max_examples=60)
@given(
    data=st.data(),
    make=st.sampled_from(DATASETS),
    length=st.integers(0, 40),
    batch_size=st.integers(1, 15) | st.none(),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    seed=st.integers(0, 2**64) | st.none(),
)
def test_batches_asked_for_are_those_iterated(
    data: st.DataObject,
    make: Any,
    length: int,
    batch_size: int | None,
    shuffle: bool,
    drop_last: bool,
    seed: int | None,
) -> None:
    drop_last = drop_last and batch_size is not None
    loader = DataLoader(make(length), batch_size, shuffle, drop_last=drop_last, seed=0 if seed is None else seed)
    check_is_a_function(loader, data.draw(st.permutations(range(len(loader)))))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("length", [4095, 4096, 9000])
def test_batch_of_a_dataset_longer_than_a_chunk(length: int, shuffle: bool) -> None:
    loader = DataLoader(range(length), 1000, shuffle, seed=7)
    check_is_a_function(loader, [4, 0, 3, 1, 2])


def test_batch_of_samplers() -> None:
    given: list[dict[str, Any]] = [
        {"sampler": [3, 1, 4, 1, 5, 9, 2], "batch_size": 3},
        {"sampler": [3, 1, 4], "batch_size": None},
        {"batch_sampler": [[3, 1], [4, 1, 5], [9]]},
    ]
    for arguments in given:
        loader = DataLoader(Plain(10), seed=1, **arguments)
        check_is_a_function(loader, [2, 0, 1])


@pytest.mark.parametrize("make", DATASETS)
def test_another_loader_gives_the_same(make: Any) -> None:
    one, other = (DataLoader(make(23), 5, shuffle=True, seed=3) for _ in range(2))
    list(one)
    np.testing.assert_equal(list(one), [other.batch(step, 1) for step in range(5)])


@pytest.mark.parametrize("make", DATASETS)
def test_epochs_and_seeds_differ(make: Any) -> None:
    batches = [DataLoader(make(40), 40, shuffle=True, seed=seed).batch(0, epoch) for seed in (0, 1) for epoch in (0, 1)]
    seen = {repr(batch) for batch in batches}
    assert len(seen) == 4


@pytest.mark.parametrize("make", [mapped, stacked, joined])
def test_read_at_once_or_one_by_one(make: Any) -> None:
    """Overriding `__getitem__` turns the capabilities off: the bytes must not change."""

    class OneByOne(Dataset[Any]):
        def __init__(self, dataset: Dataset[Any]) -> None:
            self.dataset = dataset

        def __len__(self) -> int:
            return len(self.dataset)

        def __getitem__(self, index: int, /) -> Any:
            return self.dataset[index]

    fast, slow = (DataLoader(wrap(make(31)), 8, shuffle=True, seed=5) for wrap in (lambda same: same, OneByOne))
    for epoch in range(2):
        for step in range(4):
            np.testing.assert_equal(fast.batch(step, epoch), slow.batch(step, epoch))


def test_overridden_getitem_is_used() -> None:
    """By the loader too, which would else read around it."""

    class Negative(TensorDataset):
        def __getitem__(self, index: int, /) -> Any:
            return -super().__getitem__(index)[0]

    assert [batch.tolist() for batch in DataLoader(Negative(np.arange(4)), 2)] == [[0, -1], [-2, -3]]


def test_concat_of_concats() -> None:
    nested = ConcatDataset([joined(10), ConcatDataset([mapped(5), mapped(7)])])
    loader = DataLoader(nested, 4, shuffle=True, seed=1)
    check_is_a_function(loader, list(range(len(loader))))


def test_dataset_growing_between_epochs_is_followed() -> None:
    samples = list(range(4))
    loader = DataLoader(samples, 2, shuffle=True, seed=0)
    assert [len(loader), len(list(loader))] == [2, 2]
    samples += [4, 5]
    assert [len(loader), len(list(loader))] == [3, 3]
    assert sorted(index for step in range(3) for index in loader.batch(step).tolist()) == samples


# ------------------------------------------------------------------ what can be asked for


def test_no_such_step() -> None:
    loader = DataLoader(range(10), 4)
    with pytest.raises(OutOfRangeError, match=r"^there is no step 3 in an epoch of 3 steps$"):
        loader.batch(3)
    with pytest.raises(OutOfRangeError, match=r"^there is no step 0 in an epoch of 0 steps$"):
        DataLoader([]).batch(0)
    with pytest.raises(IndexError, match=r"^there is no step 2: the sampler ends before it"):
        DataLoader(range(10), 4, sampler=range(5)).batch(2)


@pytest.mark.parametrize("bad", [-1, 1.0, "1", None, True, np.float32(1)])
def test_step_and_epoch_that_are_no_counts(bad: Any) -> None:
    loader = DataLoader(range(10))
    allowed = r"must be a non-negative integer below 2\*\*63, but got"
    with pytest.raises(ArgumentError, match=rf"^step {allowed} step={re.escape(repr(bad))}$"):
        loader.batch(bad)
    text = rf"^epoch {allowed} epoch={re.escape(repr(bad))}$"
    with pytest.raises(ArgumentError, match=text):
        loader.set_epoch(bad)
    if bad is not None:
        with pytest.raises(ArgumentError, match=text):
            loader.batch(0, bad)


def test_numpy_integers_count() -> None:
    loader = DataLoader(range(10), seed=0)
    assert loader.batch(np.int64(3), np.uint8(2)).tolist() == [3]  # type: ignore[arg-type]


def test_a_stream_has_no_batch_to_be_asked_for() -> None:
    with pytest.raises(ArgumentTypeError, match=r"^a stream has no batch to be asked for; batch\(step\) needs"):
        DataLoader({1, 2}).batch(0)


def test_asking_does_not_move_an_iterator() -> None:
    loader = DataLoader(mapped(20), 4, shuffle=True, seed=0)
    expected = list(loader)
    loader.set_epoch(0)
    found = []
    for batch in loader:
        loader.batch(3, 5)
        loader.batch(0)
        found.append(batch)
    np.testing.assert_equal(found, expected)


# ------------------------------------------------------------------ without a seed


def test_epochs_of_their_own_seeds_can_be_asked_while_they_are_known() -> None:
    loader = DataLoader(Plain(20), 4, shuffle=True)
    first = list(loader)
    np.testing.assert_equal([loader.batch(step) for step in range(5)], first)
    second = list(loader)
    np.testing.assert_equal([loader.batch(step, 1) for step in range(5)], second)
    text = "the batches of epoch 0 are not known: with seed=None each epoch draws its seed when it begins; give"
    with pytest.raises(ArgumentError, match=f"^{text}"):
        loader.batch(0, 0)
    with pytest.raises(ArgumentError, match=r"^the batches of epoch 7 are not known"):
        loader.batch(0, 7)


def test_looking_at_the_next_epoch_fixes_it() -> None:
    loader = DataLoader(Plain(20), 4, shuffle=True)
    ahead = [loader.batch(step) for step in range(5)]
    np.testing.assert_equal(list(loader), ahead)
    ahead = [loader.batch(step, 1) for step in range(5)]
    np.testing.assert_equal(list(loader), ahead)


@pytest.mark.parametrize("steps_of", [1, 2])
def test_set_epoch_is_the_start_of_that_epoch(steps_of: int) -> None:
    loader = DataLoader(Plain(12), 4, shuffle=True, seed=2)
    expected = {epoch: [loader.batch(step, epoch) for step in range(3)] for epoch in range(6)}
    for epoch in (3, 0, 5):
        loader.set_epoch(epoch)
        np.testing.assert_equal(loader.batch(1), expected[epoch][1])
        batches = iter(loader)
        for step in range(steps_of):
            np.testing.assert_equal(next(batches), expected[epoch][step])
    np.testing.assert_equal(list(loader), [loader.batch(step, 6) for step in range(3)])


def test_set_epoch_of_the_running_epoch_starts_it_again() -> None:
    loader = DataLoader(range(12), 4, shuffle=True, seed=2)
    first = next(iter(loader))
    loader.set_epoch(0)
    np.testing.assert_equal(next(iter(loader)), first)
