"""Which batches go together, and how they are parted again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headrace.batch.coalesce import batches_to_coalesce, split


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
