"""Datasets that are streams: lazily batched, forever if they are endless."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader, IterableDataset, sample_rng
from headrace.errors import UnexpectedStopIterationError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Numbers(IterableDataset[int]):
    """0, 1, 2, ... as far as asked; how far is counted."""

    def __init__(self, length: int | None = None) -> None:
        self.length = length
        self.drawn = 0
        self.epochs: list[int] = []

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def __iter__(self) -> Iterator[int]:
        number = 0
        while number != self.length:
            self.drawn += 1
            yield number
            number += 1


class Sized(Numbers):
    def __len__(self) -> int:
        assert self.length is not None
        return self.length


class Flaky(IterableDataset[int]):
    """An iterator that fails at some numbers and can be asked again."""

    def __init__(self, length: int, failing: dict[int, Exception]) -> None:
        self.length, self.failing = length, failing

    def __iter__(self) -> Iterator[int]:
        self.number = -1
        self.left = dict(self.failing)
        return self

    def __next__(self) -> int:
        if self.number + 1 in self.left:
            raise self.left.pop(self.number + 1)
        self.number += 1
        if self.number == self.length:
            raise StopIteration
        return self.number


def lists(loader: Any) -> list[Any]:
    return [batch.tolist() for batch in loader]


def test_batches() -> None:
    assert lists(DataLoader(Numbers(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert lists(DataLoader(Numbers(7), 3, drop_last=True)) == [[0, 1, 2], [3, 4, 5]]
    assert lists(DataLoader(Numbers(6), 3, drop_last=True)) == [[0, 1, 2], [3, 4, 5]]
    assert list(DataLoader(Numbers(3), None)) == [0, 1, 2]
    assert list(DataLoader(Numbers(0), 3)) == []


def test_endless_and_lazy() -> None:
    stream = Numbers()
    batches = iter(DataLoader(stream, 3))
    assert stream.drawn == 0
    for count in range(1, 50):
        assert next(batches).tolist() == [3 * count - 3, 3 * count - 2, 3 * count - 1]
        assert stream.drawn == 3 * count


def test_each_epoch_asks_anew_and_says_which_it_is() -> None:
    stream = Numbers(4)
    loader = DataLoader(stream, 2)
    assert [lists(loader), lists(loader)] == [[[0, 1], [2, 3]]] * 2
    loader.set_epoch(7)
    list(loader)
    assert stream.epochs == [0, 1, 7]


def test_exhausted_iterator_stays_exhausted() -> None:
    batches = iter(DataLoader(Numbers(5), 2, drop_last=True))
    assert lists(batches) == [[0, 1], [2, 3]]
    assert [next(batches, "over") for _ in range(3)] == ["over"] * 3


def test_length() -> None:
    assert len(DataLoader(Sized(7), 3)) == len(iter(DataLoader(Sized(7), 3))) == 3
    assert len(DataLoader(Sized(7), 3, drop_last=True)) == 2
    assert len(DataLoader(Sized(7), None)) == 7
    text = r"^the loader has no length, because its dataset \(Numbers\) has none$"
    with pytest.raises(TypeError, match=text):
        len(DataLoader(Numbers(7)))
    with pytest.raises(TypeError, match=text):
        len(iter(DataLoader(Numbers(7))))


def test_two_iterators() -> None:
    loader = DataLoader(Numbers(), 2)
    one, other = iter(loader), iter(loader)
    assert [next(one).tolist(), next(one).tolist(), next(other).tolist()] == [[0, 1], [2, 3], [0, 1]]
    assert next(one).tolist() == [4, 5]


def test_stream_that_is_its_own_iterator() -> None:
    loader = DataLoader(Flaky(3, {}), 2)
    assert [lists(loader), lists(loader)] == [[[0, 1], [2]]] * 2
    assert lists(DataLoader(Flaky(3, {}), 2, drop_last=True)) == [[0, 1]]


@pytest.mark.parametrize("batch_size", [None, 2])
def test_collate_fn(batch_size: int | None) -> None:
    loader = DataLoader(Numbers(3), batch_size, collate_fn=lambda given: ("made of", given))
    assert list(loader) == [("made of", batch) for batch in (([0, 1], [2]) if batch_size else (0, 1, 2))]


def test_iterable_dataset_of_torch() -> None:
    data = pytest.importorskip("torch.utils.data")

    class Theirs(data.IterableDataset):  # type: ignore[misc,name-defined]
        def __iter__(self) -> Iterator[int]:
            return iter(range(5))

    assert lists(DataLoader(Theirs(), 2)) == lists(data.DataLoader(Theirs(), 2)) == [[0, 1], [2, 3], [4]]
    chained = data.ChainDataset([Theirs(), Theirs()])
    assert lists(DataLoader(chained, 4)) == lists(data.DataLoader(chained, 4))


def test_anything_that_has_only_iter() -> None:
    class Lines:
        def __iter__(self) -> Iterator[str]:
            return iter(["a", "b", "c"])

    assert list(DataLoader(Lines(), 2)) == [["a", "b"], ["c"]]


# ------------------------------------------------------------------ randomness


class Random(IterableDataset[Any]):
    """Draws where it starts, where samples are made, and in between."""

    def __iter__(self) -> Iterator[tuple[float, float]]:
        return self.samples(sample_rng().random())

    def samples(self, start: float) -> Iterator[tuple[float, float]]:
        for _ in range(6):
            yield start, sample_rng().random()


def drawn(loader: Any) -> list[tuple[float, float]]:
    return [pair for one, other in loader for pair in zip(one.tolist(), other.tolist(), strict=True)]


def test_randomness_is_the_samples_own() -> None:
    first = drawn(DataLoader(Random(), 6, seed=0))
    assert len({value for pair in first for value in pair}) == 7
    assert drawn(DataLoader(Random(), 2, seed=0)) == first
    assert drawn(DataLoader(Random(), 1, seed=0)) == first
    other = drawn(DataLoader(Random(), 6, seed=1))
    assert not {value for pair in first for value in pair} & {value for pair in other for value in pair}
    loader = DataLoader(Random(), 4, seed=0)
    assert drawn(loader) == first
    later = drawn(loader)
    assert not {value for pair in first for value in pair} & {value for pair in later for value in pair}


# ------------------------------------------------------------------ errors


def test_an_error_loses_no_sample() -> None:
    broken = OSError("sample 4 is broken")
    batches = iter(DataLoader(Flaky(8, {4: broken}), 3, seed=5))
    assert next(batches).tolist() == [0, 1, 2]
    with pytest.raises(OSError, match="sample 4 is broken") as caught:
        next(batches)
    assert caught.value is broken
    assert caught.value.__notes__ == ["in step 1 of epoch 0 (seed 5)"]
    assert lists(batches) == [[3, 4, 5], [6, 7]]


def test_a_generator_that_fails_is_over_after_what_it_gave() -> None:
    class Broken(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            yield from range(5)
            raise OSError

    batches = iter(DataLoader(Broken(), 3))
    assert next(batches).tolist() == [0, 1, 2]
    with pytest.raises(OSError):  # noqa: PT011 - it has no text
        next(batches)
    assert lists(batches) == [[3, 4]]


def test_an_error_of_collation_passes_the_batch_over() -> None:
    class Ragged(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            for number in range(6):
                yield np.zeros(1 + (number == 3))

    batches = iter(DataLoader(Ragged(), 2, seed=5))
    assert next(batches).shape == (2, 1)
    text = "the sample differs in shape: sample 2 has (1,), sample 3 has (2,)"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}") as caught:
        next(batches)
    assert caught.value.__notes__ == ["in step 1 of epoch 0 (seed 5)"]
    assert next(batches).shape == (2, 1)


def test_an_error_at_the_start() -> None:
    class Broken(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            raise OSError("no such file")

    batches = iter(DataLoader(Broken(), seed=5))
    with pytest.raises(OSError, match="no such file") as caught:
        next(batches)
    assert caught.value.__notes__ == ["in step 0 of epoch 0 (seed 5)"]
    assert next(batches, "over") == "over"


def test_stop_iteration_inside_a_generator_is_an_error() -> None:
    class Careless(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            yield 1
            yield next(iter([]))

    batches = iter(DataLoader(Careless()))
    next(batches)
    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        next(batches)


def test_stop_iteration_in_a_collate_fn_is_an_error() -> None:
    batches = iter(DataLoader(Numbers(4), 2, collate_fn=lambda samples: next(iter([]))))
    for _ in range(2):
        with pytest.raises(UnexpectedStopIterationError, match=r"^StopIteration came out of a collate_fn"):
            next(batches)
    assert next(batches, "over") == "over"
