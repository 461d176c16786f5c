"""Batches of mixtures are the same for any workers, ranks and resumes."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from tests.restarts import check_restarts

from headrace import DataLoader, TensorDataset, mix
from headrace.insight.stats import SourceStats


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


def test_stats_tell_what_was_drawn() -> None:
    class Tokens(TensorDataset):
        def lengths(self) -> Any:
            return np.full(len(self), 3)

    mixture = mix({"a": Tokens(np.arange(30)), "b": TensorDataset(100 + np.arange(30))}, [2, 1], stop="all_exhausted")
    run = DataLoader(mixture, 8, shuffle=True, seed=0)
    assert run.stats().sources["a"].samples == 0
    seen: list[int] = []
    for _ in range(2):
        for step, (batch,) in enumerate(run):
            seen += batch.tolist()
            if step == 5:
                sources = run.stats().sources
                count = sum(value < 100 for value in seen)
                assert sources["a"] == SourceStats(count, count / 30, 3 * count)
                assert sources["b"] == SourceStats(len(seen) - count, (len(seen) - count) / 30, None)
    resumed = DataLoader(mixture, 8, shuffle=True, seed=0)
    resumed.load_state_dict(run.state_dict())
    assert resumed.stats().sources == run.stats().sources
    assert sum(source.samples for source in run.stats().sources.values()) == len(seen)
    assert DataLoader(range(4)).stats().sources == {}
    endless = DataLoader(mix([range(3), range(3)], stop="never"), 4, seed=0)
    next(iter(endless))
    assert endless.stats().sources["0"].samples in (0, 2)


@pytest.mark.parametrize("batches", ["mixed", "stratified", "per_source"])
@pytest.mark.parametrize("uneven", ["even_split", "drop", "repeat"])
@pytest.mark.parametrize("stop", ["first_exhausted", "all_exhausted"])
@pytest.mark.parametrize("size", [22, 25, 31])
def test_stats_of_ranks_that_do_not_divide_the_samples(batches: Any, uneven: Any, stop: Any, size: int) -> None:
    mixture = mix({"a": range(size), "b": range(100, 120)}, [3, 2], stop=stop, batches=batches)
    ranks = [DataLoader(mixture, 4, rank=rank, world_size=3, uneven=uneven) for rank in range(3)]
    for loader in ranks:
        loader.skip({(0, 1), (1, 0), (0, 99)})
    drawn: list[int] = []
    for _ in range(2):
        for parts in zip(*ranks, strict=True):
            drawn += np.concatenate(parts).tolist()
    counts = [sum(value < 100 for value in drawn), sum(value >= 100 for value in drawn)]
    found = [source.samples for source in ranks[0].stats().sources.values()]
    assert sum(found) == ranks[0].samples_seen
    if uneven != "repeat":  # of which each sample counts once
        assert found == counts


@pytest.mark.filterwarnings("ignore:sample .* damaged")
@pytest.mark.usefixtures("by_value")
@pytest.mark.parametrize("kind", ["packed", "grouped"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_run_is_the_same_on_any_ranks_workers_and_restarts(kind: str, seed: int) -> None:
    setups = [(1, 0, "auto"), (2, 2, "thread"), (3, 0, "auto"), (8, 0, "auto"), (2, 2, "process")]
    check_restarts(kind, seed, setups)
