"""The same seeds give the same batches as torch's loader gives, bit by bit, and leave the same random numbers."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from tests.torch.oracle import assert_same, both, ours, run, theirs  # noqa: E402

pytestmark = pytest.mark.usefixtures("by_value")


class Drawing:
    """Samples of all types that draw from every generator."""

    def __len__(self) -> int:
        return 23

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        drawn = float(torch.rand(())), np.random.rand(), random.random()
        return torch.full((3,), float(index)), index, f"{index}", np.arange(index, index + 2), *drawn


class WithSeeds(Drawing):
    def __getitem__(self, index: int) -> Any:
        info = torch.utils.data.get_worker_info()
        known = (-1, -1, 0) if info is None else (info.id, info.num_workers, info.seed % 1000)
        return index, known, torch.initial_seed() % 1000, torch.get_num_threads() if info else 1


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_draws_of_samples(num_workers: int, shuffle: bool) -> None:
    assert_same(*both(Drawing, batch_size=4, shuffle=shuffle, num_workers=num_workers))


def test_draws_of_persistent_workers() -> None:
    assert_same(*both(Drawing, batch_size=4, shuffle=True, num_workers=2, persistent_workers=True, epochs=3))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_seeds_of_workers(num_workers: int) -> None:
    arguments = {"batch_size": 5, "num_workers": num_workers}
    expected, found = both(WithSeeds, **arguments)
    assert_same(expected, found)
    seeded = {"generator": torch.Generator().manual_seed(5), **arguments}
    expected = run(theirs, WithSeeds(), **seeded)
    seeded["generator"] = torch.Generator().manual_seed(5)
    assert_same(expected, run(ours, WithSeeds(), **seeded))


def draw_in_worker(worker: int) -> None:
    random.random()
    np.random.rand()
    torch.rand(worker + 1)


def test_worker_init_fn_comes_after_the_seeds() -> None:
    assert_same(*both(Drawing, batch_size=4, num_workers=2, worker_init_fn=draw_in_worker))


@given(
    length=st.integers(1, 40),
    batch_size=st.integers(1, 9),
    drop_last=st.booleans(),
    own=st.booleans(),
    replacement=st.booleans(),
    num_samples=st.none() | st.integers(1, 99),
)
def test_random_sampler(
    length: int, batch_size: int, drop_last: bool, own: bool, replacement: bool, num_samples: int | None
) -> None:
    found = []
    for module in (theirs, ours):
        generator = torch.Generator().manual_seed(3) if own else None
        sampler = module.RandomSampler(range(length), replacement, num_samples, generator=generator)
        arguments = {"batch_size": batch_size, "drop_last": drop_last, "sampler": sampler}
        found.append([*run(module, list(range(length)), **arguments), generator and generator.get_state()])
    assert_same(*found)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("kind", ["SubsetRandomSampler", "WeightedRandomSampler", "DistributedSampler"])
def test_other_samplers(kind: str, own: bool) -> None:
    found = []
    for module in (theirs, ours):
        generator = {"generator": torch.Generator().manual_seed(3)} if own else {}
        sampler = {
            "SubsetRandomSampler": partial(module.SubsetRandomSampler, [3, 5, 9, 11], **generator),
            "WeightedRandomSampler": partial(module.WeightedRandomSampler, [1.0, 2.0, 3.0], 11, **generator),
            "DistributedSampler": partial(module.DistributedSampler, range(23), 3, 1),
        }[kind]()
        found.append(run(module, list(range(23)), batch_size=3, sampler=sampler))
    assert_same(*found)


def test_base_seed_is_drawn_by_iter_even_in_order() -> None:
    drawn = []
    for module in (theirs, ours):
        torch.manual_seed(1)
        iterator = iter(module.DataLoader(list(range(3))))
        before = torch.rand(1)
        next(iterator)
        drawn.append((before, torch.rand(1), iterator._base_seed))
    assert_same(*drawn)


def test_looks_are_epochs_of_their_own() -> None:
    found = []
    for module in (theirs, ours):
        torch.manual_seed(1)
        loader = module.DataLoader(list(range(100)), batch_size=5, shuffle=True)
        found.append([next(iter(loader)), next(iter(loader)), list(loader)])
    assert_same(*found)


def test_iterators_beside_each_other() -> None:
    found = []
    for module in (theirs, ours):
        torch.manual_seed(1)
        loader = module.DataLoader(list(range(10)), batch_size=5, shuffle=True)
        one, other = iter(loader), iter(loader)
        found.append([next(other), next(one), next(one), next(other), next(one, None), next(other, None)])
    assert_same(*found)


@pytest.mark.parametrize("lengths", [[3, 20], [0.5, 0.25, 0.25]])
def test_random_split(lengths: list[Any]) -> None:
    parts = []
    for module in (theirs, ours):
        torch.manual_seed(4)
        parts.append([list(part) for part in module.random_split(range(23), lengths)])
    assert_same(*parts)


@pytest.mark.parametrize("kind", ["DataLoader", "StatefulDataLoader"])
def test_samples_in_order_are_entered_at_any_step(kind: str) -> None:
    """Going through 10^12 of them would take days."""
    step = 10**10 - 2
    loader = getattr(ours, kind)(range(10**12 + 5), 100)
    loader.pass_over(step)
    state, batches = loader.state_dict(), iter(loader)
    found = [batch[0].item() for batch in batches]
    assert found == [step * 100, (step + 1) * 100, 10**12]
    assert loader.batch(step)[0].item() == found[0]
    resumed = getattr(ours, kind)(range(10**12 + 5), 100)
    resumed.load_state_dict(state)
    batches = iter(resumed)
    assert [next(batches)[0].item(), next(batches)[0].item()] == found[:2]
    state = resumed.state_dict()
    again = getattr(ours, kind)(range(10**12 + 5), 100, num_workers=1)
    again.load_state_dict(state)
    assert [batch.tolist() for batch in again] == [list(range(10**12, 10**12 + 5))]
    assert len(list(ours.DataLoader(range(25), 10, drop_last=True))) == 2
    with pytest.raises(IndexError, match="there is no step 3"):
        ours.DataLoader(range(25), 10).batch(3)
