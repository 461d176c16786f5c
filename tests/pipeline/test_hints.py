from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headrace import ConcatDataset, Dataset, StackDataset, Subset
from headrace.errors import ArgumentError
from headrace.pipeline.blocks import add_counters
from headrace.pipeline.hints import blocks, counters, reads_ahead, will_need


class Hearing(Dataset[int]):
    """Hears what will be read, lies in blocks, and counts."""

    def __init__(self, length: int, found: Any = 4, **counted: int) -> None:
        self.length = length
        self.found = found
        self.counted = counted
        self.heard: list[int] = []

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int, /) -> int:
        return index

    def will_need(self, indices: Any) -> None:
        assert indices.dtype == np.int64
        self.heard += indices.tolist()

    def blocks(self) -> Any:
        return self.found

    def counters(self) -> dict[str, int]:
        return self.counted


class Overriding(Hearing):
    def __getitem__(self, index: int, /) -> int:
        return -index


class Forwarding:
    """Has every attribute of what it wraps, but no class that says so."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def test_dataset_without_hints() -> None:
    for silent in (range(3), Forwarding(Hearing(3)), Subset(range(3), [1])):
        assert not reads_ahead(silent)
        assert blocks(silent) is None
        assert counters(silent) == {}
        will_need(silent, np.arange(1))


def test_a_subclass_may_override_getitem() -> None:
    dataset = Overriding(8, hits=2)
    will_need(dataset, np.array([3, 1]))
    assert (dataset.heard, blocks(dataset), counters(dataset)) == ([3, 1], 4, {"hits": 2})


def test_through_map_and_subset() -> None:
    dataset = Hearing(8, hits=2)
    part = dataset.map(abs).subset([7, 5, -8])
    assert reads_ahead(part)
    will_need(part, np.array([2, 0]))
    assert dataset.heard == [0, 7]
    assert counters(part) == {"hits": 2}
    assert blocks(dataset.map(abs)) == 4
    assert blocks(part) is None  # its samples may lie anywhere


def test_end_to_end() -> None:
    one, other = Hearing(6, hits=1), Hearing(5, np.array([0, 3, 5]), hits=2, misses=1)
    both = ConcatDataset([one, range(0), other])
    will_need(both, np.array([10, 0, 6, 5]))
    assert (one.heard, other.heard) == ([0, 5], [4, 0])
    assert counters(both) == {"hits": 3, "misses": 1}
    assert blocks(both) is None
    np.testing.assert_array_equal(blocks(ConcatDataset([one, Hearing(0), other])), [0, 4, 6, 9, 11])


def test_side_by_side() -> None:
    one, other = Hearing(6, None), Hearing(6, 3, misses=1)
    both = StackDataset(image=one, label=other, index=range(6))
    will_need(both, np.array([4]))
    assert (one.heard, other.heard) == ([4], [4])
    assert (counters(both), blocks(both)) == ({"misses": 1}, 3)
    assert not reads_ahead(StackDataset(range(6)))


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "four", [0, 4], [1, 8], [0, 4, 4, 8], [0, 8.0], [], [[0, 8]], [0, 9]])
def test_blocks_that_are_none(wrong: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^Hearing\.blocks\(\) returned .* must be a number of samples, or the bo"):
        blocks(Hearing(8, wrong))


def test_counters_are_summed() -> None:
    assert add_counters([]) == {}
    assert add_counters([{"a": 1}, {"b": 2}, {"a": 3}]) == {"a": 4, "b": 2}
