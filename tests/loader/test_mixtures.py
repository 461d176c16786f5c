"""Batches of mixtures are the same for any workers, ranks and resumes."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from headrace import DataLoader, TensorDataset, mix


def sources() -> dict[str, Any]:
    return {
        "web": TensorDataset(np.arange(200)),
        "books": TensorDataset(1000 + np.arange(31)),
        "code": mix([TensorDataset(2000 + np.arange(40)), TensorDataset(3000 + np.arange(5))], [0.7, 0.3]),
    }


MIXTURES: dict[str, dict[str, Any]] = {
    "mixed": {"weights": [5, 3, 2], "stop": "all_exhausted"},
    "stratified": {"weights": [5, 3, 2], "batches": "stratified"},
    "per_source": {"weights": [5, 3, 2], "batches": "per_source"},
    "schedule": {"weights": [1, 1, 0], "schedule": [(3, [0, 1, 1]), (5, [1, 1, 1])], "stop": "all_exhausted"},
    "sizes": {},
}


def loader(kind: str, batch_size: int = 12, **arguments: Any) -> DataLoader[Any]:
    return DataLoader(mix(sources(), **MIXTURES[kind]), batch_size, shuffle=True, seed=5, **arguments)


def digest(batches: list[Any]) -> str:
    return hashlib.sha256(np.concatenate([batch for (batch,) in batches]).tobytes()).hexdigest()


@pytest.mark.parametrize("kind", MIXTURES)
def test_same_on_ranks(kind: str) -> None:
    expected = list(loader(kind, drop_last=True))
    for world_size in (2, 3):
        ranks = [
            list(loader(kind, 12 // world_size, rank=rank, world_size=world_size, drop_last=True))
            for rank in range(world_size)
        ]
        together = [(np.concatenate([part for (part,) in step]),) for step in zip(*ranks, strict=True)]
        assert digest(together) == digest(expected)


@pytest.mark.parametrize("kind", MIXTURES)
def test_same_after_a_resume_at_any_step(kind: str) -> None:
    expected = list(loader(kind))
    going = loader(kind)
    batches = iter(going)
    for step in range(len(expected)):
        resumed = loader(kind)
        resumed.load_state_dict(going.state_dict())
        assert digest(list(resumed)) == digest(expected[step:])
        next(batches)


@pytest.mark.parametrize("backend", ["thread", "process"])
@pytest.mark.parametrize("kind", MIXTURES)
def test_same_in_workers(kind: str, backend: Any) -> None:
    expected = [*loader(kind), *loader(kind)]
    with loader(kind, num_workers=2, backend=backend) as working:
        assert digest([*working, *loader(kind)]) == digest(expected)
