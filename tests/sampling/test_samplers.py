from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.errors import ArgumentError, ArgumentTypeError, OutOfRangeError
from headrace.sampling.permutation import Shuffled
from headrace.sampling.plan import Plan
from headrace.sampling.planned import PlanSampling
from headrace.sampling.ranks import Shares
from headrace.sampling.samplers import BatchSampling, Sampling, SingleSampling, as_selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ONCE = "is an iterator (generator) and has been gone through once; pass a list or an object whose __iter__ starts anew"
NO_SINGLE = "is an iterator (generator), which can be gone through once; pass a list or an object whose"


def lists(selections: Iterable[Any]) -> list[list[Any]]:
    return [list(selection) for selection in selections]


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


def pairs(count: int) -> Iterator[list[int]]:
    for number in range(count):
        yield [2 * number, 2 * number + 1]


SAMPLINGS: list[Sampling] = [
    PlanSampling(Plan(Shuffled(11), Shares(11, 3))),
    PlanSampling(Plan(Shuffled(11), Shares(11, 3, drop_last=True))),
    BatchSampling([[3, 1], [2], [0, 4, 5], []]),
    BatchSampling(["ab", "cd"]),
    SingleSampling(range(10, 21), 3, drop_last=False),
    SingleSampling(range(10, 21), 3, drop_last=True),
    SingleSampling([4, 2, 0], None, drop_last=False),
    SingleSampling([[4, 2], [0]], None, drop_last=False),
    SingleSampling([], 2, drop_last=False),
]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_started_anywhere_and_asked_for_one(sampling: Sampling) -> None:
    whole = lists(sampling.start(7, 0))
    assert len(whole) == sampling.steps()
    for step in range(len(whole) + 1):
        assert lists(sampling.start(7, step)) == whole[step:]
    for step in reversed(range(len(whole))):
        assert list(sampling.at(7, step)) == whole[step]


def test_batches_of_a_sampler() -> None:
    assert lists(SingleSampling(range(5), 2, drop_last=False).start(0, 0)) == [[0, 1], [2, 3], [4]]
    assert lists(SingleSampling(range(5), 2, drop_last=True).start(0, 0)) == [[0, 1], [2, 3]]
    assert lists(SingleSampling("abc", 2, drop_last=False).start(0, 0)) == [["a", "b"], ["c"]]


def test_a_sampler_is_asked_no_further_than_needed() -> None:
    asked = []

    def endless() -> Iterator[int]:
        number = 0
        while True:
            asked.append(number)
            yield number
            number += 1

    batches = SingleSampling(endless(), 3, drop_last=True).start(0, 0)
    assert list(next(batches)) == [0, 1, 2]
    assert asked == [0, 1, 2]


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        ([3, 1], [3, 1]),
        ((3, 1), [3, 1]),
        (range(2), [0, 1]),
        (np.array([3, 1]), [3, 1]),
        ([np.int32(3), 1], [3, 1]),
        ([-1, 0], [-1, 0]),
        ([], []),
        ((number for number in (3, 1)), [3, 1]),
    ],
)
def test_integers_become_an_array(batch: Any, expected: list[int]) -> None:
    found = as_selection(batch)
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.int64
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        ((key for key in "ab"), ["a", "b"]),
        ([1, "b"], [1, "b"]),
        ([[1, 2]], [[1, 2]]),
        ([2**70], [2**70]),
        ([1.0], [1.0]),
    ],
)
def test_other_keys_stay_a_list(batch: Any, expected: list[Any]) -> None:
    found = as_selection(batch)
    assert isinstance(found, list)
    assert found == expected


def test_single_indices_as_batch_sampler() -> None:
    batches = BatchSampling([[0], 1, [2]]).start(0, 0)
    assert list(next(batches)) == [0]
    text = "the batch_sampler gave 1, but each of its items is a list of indices; pass single indices as sampler="
    with pytest.raises(ArgumentTypeError, match=f"^{re.escape(text)}$"):
        next(batches)
    assert list(next(batches)) == [2]


def test_an_iterator_serves_one_epoch() -> None:
    for sampling, name in (
        (SingleSampling(numbers(4), 2, drop_last=False), "sampler"),
        (BatchSampling(pairs(2)), "batch_sampler"),
    ):
        assert lists(sampling.start(0, 0)) == [[0, 1], [2, 3]]
        with pytest.raises(ArgumentError, match=f"^the {name} {re.escape(ONCE)}$"):
            sampling.start(0, 0)


def test_iterator_with_rest_serves_another_epoch() -> None:
    sampling = SingleSampling(numbers(8), 2, drop_last=False)
    first = sampling.start(0, 0)
    assert [list(next(first)), list(next(first))] == [[0, 1], [2, 3]]
    assert lists(sampling.start(0, 0)) == [[4, 5], [6, 7]]


def test_an_iterator_is_not_used_up_for_one_batch() -> None:
    for sampling, name in (
        (SingleSampling(numbers(4), 2, drop_last=False), "sampler"),
        (BatchSampling(pairs(2)), "batch_sampler"),
    ):
        with pytest.raises(ArgumentError, match=f"^the {name} {re.escape(NO_SINGLE)}"):
            sampling.at(0, 1)
        assert lists(sampling.start(0, 0)) == [[0, 1], [2, 3]]


def test_no_such_step() -> None:
    for sampling in (SingleSampling(range(4), 2, drop_last=False), BatchSampling([[0, 1], [2, 3]])):
        with pytest.raises(OutOfRangeError, match=r"^there is no step 2: the sampler ends before it$"):
            sampling.at(0, 2)


def test_no_length() -> None:
    text = r"^the loader has no length, because its sampler \(generator\) has none$"
    with pytest.raises(TypeError, match=text):
        SingleSampling(numbers(4), 2, drop_last=False).steps()
    with pytest.raises(TypeError, match=text.replace("sampler", "batch_sampler")):
        BatchSampling(pairs(4)).steps()
