from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader, IterableDataset, TensorDataset
from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Counting(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(8))


def test_an_epoch_of_the_first_batches() -> None:
    loader = DataLoader(TensorDataset(np.arange(20)), batch_size=4, shuffle=True, seed=3)
    kept = loader.replay(2)
    expected = [batch for (batch,) in loader]
    assert len(kept) == len(loader) == 5
    for _ in range(2):
        found = [batch for (batch,) in kept]
        assert [batch.tolist() for batch in found] == [expected[step % 2].tolist() for step in range(5)]
    again = iter(kept)
    first = next(again)
    next(again)
    assert next(again) is first


def test_the_loader_stays_where_it_is() -> None:
    loader = DataLoader(range(10), batch_size=2, seed=0)
    batches = iter(loader)
    next(batches)
    before = loader.state_dict()
    loader.replay(3)
    assert loader.state_dict() == before
    assert loader.stats().batches == 1


def test_more_than_there_are() -> None:
    assert [batch.tolist() for batch in DataLoader(range(4), batch_size=2).replay(9)] == [[0, 1], [2, 3]]


def test_a_stream_of_unknown_length() -> None:
    kept = DataLoader(Counting(), batch_size=2).replay(3)
    assert [batch.tolist() for batch in kept] == [[0, 1], [2, 3], [4, 5]]
    assert len(kept) == 3


@pytest.mark.parametrize("batches", [0, -1, 1.5, True, None])
def test_none_to_keep(batches: Any) -> None:
    with pytest.raises(ArgumentError, match="batches must be a positive integer below 2"):
        DataLoader(range(4)).replay(batches)
