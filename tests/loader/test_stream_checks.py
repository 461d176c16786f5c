"""Streams that give other samples than they say, or none the second time, are not passed over in silence."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import DataLoader, IterableDataset, get_worker_info
from headrace.errors import ArgumentTypeError, HeadraceWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("by_value", "forks_quietly")

THREADS: dict[str, Any] = {"num_workers": 2, "backend": "thread"}
PROCESSES: dict[str, Any] = {"num_workers": 3, "backend": "process"}


class Sized(IterableDataset[int]):
    """Says one length and has another; a worker reads its share if it is to."""

    def __init__(self, count: int, length: Any, *, shared: bool = False) -> None:
        self.count, self.length, self.shared = count, length, shared

    def __len__(self) -> int:
        return self.length()  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[int]:
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info and self.shared else (0, 1)
        return iter(range(first, self.count, step))


def says(length: int) -> Callable[[], int]:
    return lambda: length


def warned(loader: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in loader:
            pass
    assert all(warning.category is HeadraceWarning and warning.filename == __file__ for warning in caught)
    return [str(warning.message) for warning in caught]


MORE = "the length of the stream Sized was reported to be 8 (len(dataset)), but more samples have come"
FEWER = "the length of the stream Sized was reported to be 8 (len(dataset)), but only {} samples have come"


# ------------------------------------------------------------------ lengths


@pytest.mark.parametrize("options", [{}, THREADS, PROCESSES | {"shard": True}])
def test_more_or_fewer_samples_than_the_length(options: dict[str, Any]) -> None:
    for count, texts in (
        (8, []),
        (9, [f"{MORE}, so len(loader) is too small"]),
        (50, [f"{MORE}, so len(loader) is too small"]),
        (7, [f"{FEWER.format(7)}, so len(loader) is too large"]),
        (0, [f"{FEWER.format(0)}, so len(loader) is too large"]),
    ):
        loader = DataLoader(Sized(count, says(8)), 4, **options)
        assert [warned(loader) for _ in range(2)] == [texts, texts]


def test_worker_processes_that_each_have_the_whole() -> None:
    loader = DataLoader(Sized(8, says(8)), 4, **PROCESSES)
    several = "; each of 3 worker processes reads it, so let its __iter__ pick the worker's share (get_worker_info()), "
    assert warned(loader) == [f"{MORE}, so len(loader) is too small{several}or use shard=True"]
    assert warned(DataLoader(Sized(8, says(8), shared=True), 4, **PROCESSES)) == []
    assert warned(DataLoader(Sized(8, says(8), shared=True), 3, drop_last=True, **PROCESSES)) == []


def test_wrong_length_is_raised_when_it_is_seen() -> None:
    batches = iter(DataLoader(Sized(100, says(8)), 4))
    for _ in range(2):
        next(batches)
    with pytest.warns(HeadraceWarning, match=re.escape(MORE)):
        next(batches)
    next(batches)


def test_single_samples() -> None:
    assert warned(DataLoader(Sized(8, says(8)), None)) == []
    assert len(warned(DataLoader(Sized(9, says(8)), None))) == 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 6), st.booleans())
def test_there_is_a_warning_where_the_batches_are_not_as_many(
    count: int, length: int, size: int, drop_last: bool
) -> None:
    loader = DataLoader(Sized(count, says(length)), size, drop_last=drop_last)
    texts = warned(loader)
    assert len(texts) <= 1
    if count // size != length // size:
        assert texts
    if count == length:
        assert not texts


def test_a_length_that_is_not_known() -> None:
    def fails() -> int:
        raise NotImplementedError

    assert warned(DataLoader(Sized(8, fails), 4)) == []
    assert warned(DataLoader(Sized(8, says(-1)), 4)) == []


def test_a_part_of_an_epoch_is_not_compared() -> None:
    loader = DataLoader(Sized(8, says(8)), 2)
    batches = iter(loader)
    next(batches)
    state = batches.state_dict()
    del batches
    resumed = DataLoader(Sized(8, says(8)), 2)
    resumed.load_state_dict(state)
    assert [warned(resumed), warned(resumed)] == [[], []]


def test_samples_that_fail_are_no_disagreement() -> None:
    class Flaky(Sized):
        def __iter__(self) -> Iterator[int]:
            self.number = -1
            return self

        def __next__(self) -> int:
            self.number += 1
            if self.number == 8:
                raise StopIteration
            if self.number == 5:
                raise OSError("5 is broken")
            return self.number

    loader = DataLoader(Flaky(8, says(8)), 2, on_error="skip")
    assert [text[:9] for text in warned(loader)] == ["sample 5 "]
    batches = iter(DataLoader(Flaky(8, says(8)), 2))
    found: list[Any] = []
    while len(found) < 5:
        try:
            found.append(next(batches, None))
        except OSError:
            found.append("5 is broken")
    assert found[-1] is None or next(batches, None) is None


# ------------------------------------------------------------------ streams that can be gone through once


class Itself(IterableDataset[int]):
    def __init__(self) -> None:
        self.number = 0

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        if self.number == 4:
            raise StopIteration
        self.number += 1
        return self.number


class Held(IterableDataset[int]):
    """Gives the iterator that it was made with."""

    def __init__(self, samples: Iterator[int]) -> None:
        self.samples = samples

    def __iter__(self) -> Iterator[int]:
        return self.samples


@pytest.mark.parametrize("options", [{}, THREADS])
@pytest.mark.parametrize(
    ("make", "text"),
    [
        (Itself, "is its own iterator and can be gone through once"),
        (lambda: Held(number for number in range(4)), "for its __iter__ gives a generator that has ended"),
    ],
)
def test_empty_second_epoch_is_refused(make: Callable[[], Any], text: str, options: dict[str, Any]) -> None:
    loader = DataLoader(make(), 2, **options)
    assert len(list(loader)) == 2
    for _ in range(2):
        with pytest.raises(ArgumentTypeError, match=text):
            list(loader)


def test_second_epoch_of_persistent_workers_is_refused() -> None:
    with DataLoader(Itself(), 2, num_workers=1, backend="process", persistent_workers=True) as loader:
        assert len(list(loader)) == 2
        with pytest.raises(ArgumentTypeError, match="can be gone through once"):
            list(loader)


def test_new_workers_start_the_stream_again() -> None:
    loader = DataLoader(Itself(), 2, num_workers=1, backend="process")
    assert [len(list(loader)) for _ in range(2)] == [2, 2]


def test_other_empty_streams_warn() -> None:
    """A queue, say, may have nothing for once."""
    stream = Held(iter(range(4)))
    loader = DataLoader(stream, 2)
    assert warned(loader) == []
    assert [text[:59] for text in warned(loader)] == ["this epoch of the stream Held has no samples, and an earlie"]
    stream.samples = iter(range(3))
    assert len(list(loader)) == 2


def test_restarting_and_endless_streams_are_accepted() -> None:
    class Anew(Itself):
        def __iter__(self) -> Iterator[int]:
            self.number = 0
            return self

    class WithEpochs(Itself):
        def set_epoch(self, epoch: int) -> None:
            self.number = epoch

    class Endless(Itself):
        def __next__(self) -> int:
            self.number += 1
            return self.number

    loader = DataLoader(Anew(), 2)
    assert [len(list(loader)) for _ in range(3)] == [2, 2, 2]
    loader = DataLoader(WithEpochs(), 1)
    assert [len(list(loader)) for _ in range(4)] == [4, 3, 2, 1]
    loader = DataLoader(Endless(), 2)
    assert [next(iter(loader)).tolist() for _ in range(2)] == [[1, 2], [3, 4]]


def test_a_stream_that_says_it_is_empty() -> None:
    left = [4, 0]
    stream = Sized(0, lambda: left[0])
    loader = DataLoader(stream, 2)
    stream.count = 4
    assert warned(loader) == []
    stream.count, left[0] = 0, 0
    assert warned(loader) == []
