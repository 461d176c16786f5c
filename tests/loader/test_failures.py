"""What goes wrong says which sample, step and epoch it was, and the iteration can go on."""

from __future__ import annotations

import json
import re
import warnings
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader, Dataset, HeadraceWarning, TensorDataset
from headrace.errors import (
    ArgumentTypeError,
    DatasetChangedError,
    HeadraceError,
    MixedSamplesError,
    OutOfRangeError,
    RaggedSamplesError,
    UnexpectedStopIterationError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

STEP = "in step 1 of epoch 0 (seed 5)"


class Failing(Dataset[Any]):
    """Eight samples, of which one raises something."""

    def __init__(self, error: BaseException, at: int = 3) -> None:
        self.error, self.at = error, at

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int, /) -> int:
        if index == self.at:
            raise self.error
        return index


class FailingAtOnce(Failing):
    """Reads whole batches, and fails in them where a sample would."""

    def get_batch(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.array([self[index] for index in indices.tolist()])

    def __getitem__(self, index: int, /) -> int:
        return super().__getitem__(index)


class FailingMany(Failing):
    def __getitems__(self, indices: list[int]) -> list[int]:
        return [self[index] for index in indices]

    def __getitem__(self, index: int, /) -> int:
        return super().__getitem__(index)


class Custom(Exception):
    def __init__(self, code: int, *, where: str) -> None:
        super().__init__(code, where)
        self.code = code


def notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


def lists(loader: Any) -> list[Any]:
    return [batch.tolist() for batch in loader]


# ------------------------------------------------------------------ a sample that raises


@pytest.mark.parametrize("kind", [Failing, FailingAtOnce, FailingMany])
@pytest.mark.parametrize(
    "make", [lambda: KeyError("x"), lambda: Custom(7, where="there"), lambda: OSError(2, "no file")]
)
def test_the_original_error_with_the_sample_and_the_step(kind: type[Failing], make: Callable[[], Exception]) -> None:
    error = make()
    text = str(error)
    batches = iter(DataLoader(kind(error), 2, seed=5))
    assert next(batches).tolist() == [0, 1]
    with pytest.raises(type(error)) as caught:
        next(batches)
    assert caught.value is error
    assert str(caught.value) == text
    assert notes(error)[-2:] == [f"while reading sample 3 of {kind.__name__}", STEP]
    assert lists(batches) == [[4, 5], [6, 7]]


def test_every_failing_batch_of_an_epoch_is_told_and_passed_over() -> None:
    class Broken(Failing):
        def __getitem__(self, index: int, /) -> int:
            raise KeyError(index)

    batches = iter(DataLoader(Broken(KeyError()), 4, seed=5))
    for _ in range(2):
        with pytest.raises(KeyError):
            next(batches)
    assert next(batches, "over") == "over"


def test_a_batch_asked_for_tells_the_same() -> None:
    error = KeyError(3)
    with pytest.raises(KeyError):
        DataLoader(Failing(error), 2, seed=5).batch(1, 0)
    assert notes(error) == ["while reading sample 3 of Failing", STEP]


def test_the_index_of_a_shuffled_sample_and_of_a_key() -> None:
    error = KeyError(3)
    loader = DataLoader(Failing(error), 8, shuffle=True, seed=0)
    with pytest.raises(KeyError):
        next(iter(loader))
    assert notes(error)[0] == "while reading sample 3 of Failing"
    with pytest.raises(KeyError) as caught:
        next(iter(DataLoader({"cat": 1}, sampler=["cat", "dog"], batch_size=2)))
    assert notes(caught.value)[0] == "while reading sample 'dog' of dict"


def test_nested_datasets_name_what_was_asked_of_the_outer_one() -> None:
    error = KeyError(3)
    dataset = Failing(error).map(lambda value: value).subset([5, 3])
    with pytest.raises(KeyError):
        next(iter(DataLoader(dataset, 2)))
    assert notes(error)[0] == "while reading sample 1 of Subset"


def test_a_single_sample() -> None:
    error = KeyError(3)
    batches = iter(DataLoader(Failing(error), None, seed=5))
    assert [next(batches), next(batches), next(batches)] == [0, 1, 2]
    with pytest.raises(KeyError):
        next(batches)
    assert notes(error) == ["while reading sample 3 of Failing", "in step 3 of epoch 0 (seed 5)"]
    assert list(batches) == [4, 5, 6, 7]


@pytest.mark.parametrize("kind", [Failing, FailingAtOnce, FailingMany])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_interrupts_pass_through(kind: type[Failing], error: BaseException) -> None:
    batches = iter(DataLoader(kind(error), 2))
    next(batches)
    with pytest.raises(type(error)) as caught:
        next(batches)
    assert caught.value is error
    assert notes(error) == []


def test_interrupt_in_get_batch_is_not_retried() -> None:
    class Interrupted(Dataset[int]):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int, /) -> int:
            return index

        def get_batch(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(iter(DataLoader(Interrupted(), 2)))


def test_an_index_out_of_range() -> None:
    dataset = TensorDataset(np.arange(8))
    batches = iter(DataLoader(dataset, 2, sampler=[0, 1, 8, 2, -8, -9, 3], seed=5))
    assert lists([next(batches)[0]]) == [[0, 1]]
    with pytest.raises(OutOfRangeError, match=r"^Index 8 out of range for dataset of size 8\n") as caught:
        next(batches)
    assert notes(caught.value) == ["while reading sample 8 of TensorDataset", STEP]
    with pytest.raises(IndexError, match=r"^Index -9 out of range for dataset of size 8\n"):
        next(batches)
    assert lists([next(batches)[0]]) == [[3]]


# ------------------------------------------------------------------ samples that do not fit together


@pytest.mark.parametrize(
    ("samples", "error", "text"),
    [
        (
            [np.zeros(2), np.zeros(2), np.zeros(2), np.zeros(3)],
            RaggedSamplesError,
            "the sample differs in shape: sample 2 has (2,), sample 3 has (3,); crop, resize or pad",
        ),
        (
            [(0, 1), (0, 1), (0, 1), (0, "1")],
            MixedSamplesError,
            "field sample[1] differs in type: sample 2 has int64, sample 3 has str; give all samples the same type",
        ),
        (
            [{"x": 0}, {"x": 0}, {"x": 0}, {"y": 0}],
            MixedSamplesError,
            "the sample differs in keys: sample 2 has ['x'], sample 3 has ['y'] (only one of them has 'x', 'y'); give",
        ),
        (
            [(0,), (0,), (0,), (0, 0)],
            RaggedSamplesError,
            "the sample differs in length: sample 2 has 1, sample 3 has 2; give all samples the same number of items",
        ),
        ([0, 0, None, 0], MixedSamplesError, "the sample is None in sample 2, which has no batch; allowed are"),
    ],
)
def test_samples_that_make_no_batch(samples: list[Any], error: type[HeadraceError], text: str) -> None:
    batches = iter(DataLoader(samples, 2, seed=5))
    next(batches)
    with pytest.raises(error, match=f"^{re.escape(text)}") as caught:
        next(batches)
    assert notes(caught.value) == [STEP]
    assert next(batches, "over") == "over"


def test_samples_are_named_by_index_not_by_place() -> None:
    samples = [np.zeros(1 + (index == 6)) for index in range(9)]
    with pytest.raises(RaggedSamplesError, match=r"sample 4 has \(1,\), sample 6 has \(2,\)"):
        next(iter(DataLoader(samples, 3, sampler=[4, 8, 6])))


# ------------------------------------------------------------------ capabilities


def test_get_batch_fails_where_getitem_does_not() -> None:
    class Wrong(Dataset[int]):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int, /) -> int:
            return index

        def get_batch(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
            if 2 in indices:
                raise KeyError("no such row")
            return indices

    batches = iter(DataLoader(Wrong(), 2))
    assert next(batches).tolist() == [0, 1]
    text = r"^Wrong could not read a batch at once, but sample by sample: KeyError: 'no such row'$"
    with pytest.warns(HeadraceWarning, match=text):
        assert next(batches).tolist() == [2, 3]


def test_an_error_of_collate_fn_is_told_once_and_warns_of_nothing() -> None:
    def collate(samples: list[int]) -> Any:
        raise KeyError("mine")

    for dataset in (range(4), FailingMany(KeyError(), at=-1)):
        batches = iter(DataLoader(dataset, 2, collate_fn=collate, seed=5))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(KeyError, match="mine") as caught:
                next(batches)
        assert notes(caught.value) == ["in step 0 of epoch 0 (seed 5)"]


# ------------------------------------------------------------------ StopIteration


def test_stop_iteration_in_getitem() -> None:
    for kind in (Failing, FailingAtOnce, FailingMany):
        batches = iter(DataLoader(kind(StopIteration()), 2, seed=5))
        next(batches)
        text = (
            rf"^{kind.__name__}\.__getitem__\(3\) raised StopIteration; raise IndexError or another exception there\n"
        )
        with pytest.raises(UnexpectedStopIterationError, match=text) as caught:
            next(batches)
        assert isinstance(caught.value.__cause__, StopIteration)
        assert notes(caught.value) == [STEP]
        assert lists(batches) == [[4, 5], [6, 7]]


@pytest.mark.parametrize("batch_size", [2, None])
def test_stop_iteration_in_collate_fn(batch_size: int | None) -> None:
    loader = DataLoader(range(4), batch_size, collate_fn=lambda samples: next(iter([])), seed=5)
    batches = iter(loader)
    for step in range(len(loader)):
        with pytest.raises(UnexpectedStopIterationError, match=r"^StopIteration came out of a collate_fn") as caught:
            next(batches)
        assert notes(caught.value) == [f"in step {step} of epoch 0 (seed 5)"]
    assert next(batches, "over") == "over"
    with pytest.raises(UnexpectedStopIterationError):
        loader.batch(0)


def test_stop_iteration_in_get_batch_alone() -> None:
    class Careless(FailingAtOnce):
        def get_batch(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
            raise StopIteration

        def __getitem__(self, index: int, /) -> int:
            return index

    with pytest.warns(HeadraceWarning, match="but sample by sample: StopIteration"):
        assert lists(DataLoader(Careless(KeyError()), 4)) == [[0, 1, 2, 3], [4, 5, 6, 7]]


# ------------------------------------------------------------------ a changing dataset


def test_a_dataset_that_shrinks_while_an_epoch_runs() -> None:
    samples = list(range(6))
    loader = DataLoader(samples, 2)
    batches = iter(loader)
    next(batches)
    samples.pop()
    text = r"^the dataset had 6 samples when epoch 0 began and has 5 at step 1; samples may be added in the midst of"
    for _ in range(2):
        with pytest.raises(DatasetChangedError, match=text):
            next(batches)
    assert sum(map(len, lists(loader))) == 5


@pytest.mark.parametrize("arguments", [{}, {"shuffle": True}, {"shuffle": "block", "block_size": 2, "window": 2}])
def test_a_dataset_that_grows_while_an_epoch_runs(arguments: dict[str, Any]) -> None:
    """As a replay buffer does: the epoch goes on with the order that it has, also after a resume."""
    expected = lists(DataLoader(range(7), 2, seed=0, **arguments))
    samples = list(range(7))
    loader = DataLoader(samples, 2, seed=0, **arguments)
    batches = iter(loader)
    found = [next(batches).tolist()]
    samples += [7, 8, 9]
    assert [loader.batch(step).tolist() for step in range(4)] == expected
    state = json.loads(json.dumps(loader.state_dict()))
    assert (state["length"], state["epoch_length"], len(batches), len(loader)) == (10, 7, 4, 5)
    assert found + lists(batches) == expected
    assert sorted(chain.from_iterable(lists(loader))) == samples
    resumed = DataLoader(samples, 2, seed=0, **arguments)
    resumed.load_state_dict(state)
    assert found + lists(resumed) == expected
    assert sorted(chain.from_iterable(lists(resumed))) == samples


def test_a_length_that_changes_back() -> None:
    samples = list(range(6))
    batches = iter(DataLoader(samples, 2))
    next(batches)
    samples.pop()
    with pytest.raises(DatasetChangedError):
        next(batches)
    samples.append(5)
    assert lists(batches) == [[2, 3], [4, 5]]


def test_a_sampler_decides_whatever_the_datasets_length() -> None:
    samples = list(range(6))
    batches = iter(DataLoader(samples, 2, sampler=[0, 1, 6, 7]))
    next(batches)
    samples += [6, 7]
    assert next(batches).tolist() == [6, 7]


# ------------------------------------------------------------------ samplers that fail


def test_a_sampler_that_fails() -> None:
    def broken() -> Iterator[int]:
        yield from (0, 1)
        raise OSError("no more")

    batches = iter(DataLoader(range(4), 2, sampler=broken()))
    assert next(batches).tolist() == [0, 1]
    with pytest.raises(OSError, match="no more"):
        next(batches)


def test_a_batch_sampler_of_single_indices() -> None:
    singles: Any = [0, 1]
    batches = iter(DataLoader(range(4), batch_sampler=singles))
    with pytest.raises(ArgumentTypeError, match=r"^the batch_sampler gave 0, but each of its items is a list of"):
        next(batches)


def test_an_empty_batch() -> None:
    batches = iter(DataLoader(range(4), batch_sampler=[[0], [], [1]]))
    next(batches)
    with pytest.raises(ValueError, match=r"^default_collate got no samples; a batch needs at least one"):
        next(batches)
    assert next(batches).tolist() == [1]
