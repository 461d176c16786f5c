"""The calls that plans of reading tell, against those that reading makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace as hr
from headrace.pipeline.compile import compile_dataset

LENGTH = 12


class Alone(hr.Dataset[Any]):
    """Reads one sample at a time, and notes what it was asked for."""

    def __init__(self, log: list[tuple[int, list[int]]], number: int) -> None:
        self.log = log
        self.number = number

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int, /) -> Any:
        self.log.append((self.number, [index]))
        return np.array([self.number, index])

    def lengths(self) -> Any:
        return np.full(LENGTH, 2)


class Listed(Alone):
    """Reads lists of samples, too."""

    def __getitem__(self, index: int, /) -> Any:
        return super().__getitem__(index)

    def __getitems__(self, indices: list[int]) -> list[Any]:
        self.log.append((self.number, list(indices)))
        return [np.array([self.number, index]) for index in indices]


class Batched(Listed):
    """Reads batches, too."""

    def __getitem__(self, index: int, /) -> Any:
        return super().__getitem__(index)

    def __getitems__(self, indices: list[int]) -> list[Any]:
        return super().__getitems__(indices)

    def get_batch(self, indices: Any) -> Any:
        self.log.append((self.number, indices.tolist()))
        return np.stack([np.full(len(indices), self.number), indices], axis=1)


class Plus(hr.Transform):
    """Works on batches."""

    batched = True

    def transform(self, image: Any, draws: Any = None) -> Any:
        return image + 1

    def __call__(self, sample: Any) -> Any:
        return sample + 1

    def apply_batch(self, batch: Any) -> Any:
        return batch + 1


def one_by_one(sample: Any) -> Any:
    return sample * 2


@st.composite
def trees(draw: st.DrawFn, log: list[tuple[int, list[int]]]) -> Any:
    numbers = iter(range(100))

    def tree(depth: int) -> Any:
        kind = draw(st.integers(0, 7 if depth else 2))
        if kind < 3:
            return [Alone, Listed, Batched][kind](log, next(numbers))
        below = tree(depth - 1)
        match kind:
            case 3:
                return below.map(one_by_one)
            case 4:
                return below.map(Plus())
            case 5:
                return below.subset(draw(st.permutations(range(len(below)))))
            case 6:
                return below + tree(depth - 1)
            case _:
                return below.subset(range(LENGTH)).map(one_by_one).map(Plus())

    return tree(3)


@given(st.data())
def test_the_calls_that_are_told_are_made(data: st.DataObject) -> None:
    log: list[tuple[int, list[int]]] = []
    dataset = data.draw(trees(log))
    indices = np.array(data.draw(st.lists(st.integers(0, len(dataset) - 1), min_size=1, max_size=20)))
    plan = compile_dataset(dataset)
    for at_once, read in ((True, plan.batch), (False, plan.samples)):
        told = [(call.dataset.number, call.indices.tolist()) for call in plan.calls(indices, at_once=at_once)]
        assert not log
        read(indices)
        assert told == log
        log.clear()


@pytest.mark.parametrize("kind", [Alone, Listed, Batched])
def test_others(kind: type[Alone]) -> None:
    log: list[tuple[int, list[int]]] = []
    parts = [kind(log, number) for number in range(2)]
    packed = parts[0].map(one_by_one).pack_sequences(6)
    for dataset in (hr.StackDataset(*parts), hr.mix(parts, weights=[1, 2]), packed):
        plan = compile_dataset(dataset)
        indices = np.array([1, 0])
        for at_once, read in ((True, plan.batch), (False, plan.samples)):
            told = [(call.dataset.number, call.indices.tolist()) for call in plan.calls(indices, at_once=at_once)]
            log.clear()
            read(indices)
            assert told == log
