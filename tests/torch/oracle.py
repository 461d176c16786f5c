"""Both loaders under the same seeds, and what they give compared value by value, types included."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.utils.data

import headrace.torch

__all__ = ["assert_same", "both", "ours", "run", "theirs"]

theirs: Any = torch.utils.data
ours: Any = headrace.torch


def run(module: Any, dataset: Any, *, epochs: int = 2, **arguments: Any) -> list[Any]:
    """All batches of a few epochs from fixed seeds, then numbers that tell what is left of the global generators."""
    torch.manual_seed(7)
    random.seed(8)
    np.random.seed(9)
    loader = module.DataLoader(dataset, **arguments)
    batches = [batch for _ in range(epochs) for batch in loader]
    return [*batches, torch.rand(2), random.random(), float(np.random.random())]


def both(make: Any, **arguments: Any) -> tuple[list[Any], list[Any]]:
    """What torch's loader gives, and what ours does; `make` makes a dataset for each."""
    return run(theirs, make(), **arguments), run(ours, make(), **arguments)


def assert_same(expected: Any, found: Any) -> None:
    """Values, dtypes, shapes and the types of containers."""
    assert type(found) is type(expected)
    if isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
    elif isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
    elif isinstance(expected, Mapping):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(expected[key], found[key])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(expected, found, strict=True):
            assert_same(one, other)
    else:
        assert found == expected
