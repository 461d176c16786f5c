"""Which batches go together, and how they are parted again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from headrace.batch.coalesce import batches_to_coalesce, split

if TYPE_CHECKING:
    from collections.abc import Callable


def test_how_many() -> None:
    assert batches_to_coalesce((np.zeros((8, 2)), {"y": np.zeros(8)}), 8, limit=1000) == 5
    assert batches_to_coalesce(np.zeros((8, 1)), 8, limit=10**9) == 32
    assert batches_to_coalesce(np.zeros((8, 1000)), 8, limit=1000) == 1
    strange: Any
    for strange in (np.zeros(4), np.zeros(()), ["a"] * 8, (np.zeros(8), 3)):
        assert batches_to_coalesce(strange, 8, limit=10**9) == 1


def test_tensors_are_split_into_views() -> None:
    torch = pytest.importorskip("torch")
    batch = torch.arange(6)
    assert batches_to_coalesce(batch, 6, limit=480) == 10
    parts = split(batch, (4, 2))
    assert [part.tolist() for part in parts] == [[0, 1, 2, 3], [4, 5]]
    assert parts[1].untyped_storage().data_ptr() == batch.untyped_storage().data_ptr()


class Pair(NamedTuple):
    x: Any
    y: Any


@pytest.mark.parametrize(
    "of",
    [
        lambda x, y: (x, y),
        lambda x, y: [x, y],
        lambda x, y: {"x": x, "y": y},
        lambda x, y: (x, {"y": y}),
        lambda x, y: (x, y, {}),
        lambda x, y: [(x, y), [y]],
        Pair,
        lambda x, _: [x],
        lambda x, _: x,
    ],
)
@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_parts_are_batches_of_the_same_structure(of: Callable[[Any, Any], Any], framework: str) -> None:
    x, y = np.arange(12).reshape(6, 2), np.arange(6.0)
    if framework == "torch":
        torch = pytest.importorskip("torch")
        x, y = torch.from_numpy(x), torch.from_numpy(y)
    parts = split(of(x, y), (2, 3, 1))
    assert len(parts) == 3
    for part, rows in zip(parts, (slice(2), slice(2, 5), slice(5, 6)), strict=True):
        expected = of(x[rows], y[rows])
        assert type(part) is type(expected)
        assert repr(part) == repr(expected)
