"""Samplers that draw: passes that differ are resumed, asked for and told apart."""

from __future__ import annotations

import copy
import json
import pickle
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import DataLoader, HeadraceWarning
from headrace.errors import ArgumentError, StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LENGTH = 12


def random_of(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - no secret


class Drawing:
    """Shuffles in each pass with a generator of its own, all at once or as it goes."""

    def __init__(self, rng: Any, *, lazily: bool = False) -> None:
        self.rng = rng
        self.lazily = lazily

    def __len__(self) -> int:
        return LENGTH

    def __iter__(self) -> Iterator[int]:
        order = list(range(LENGTH))
        if not self.lazily:
            self.rng.shuffle(order)
            yield from order
            return
        while order:
            at = self.rng.randrange(len(order)) if isinstance(self.rng, random.Random) else draw(self.rng, len(order))
            yield order.pop(at)


def draw(rng: Any, below: int) -> int:
    return int(rng.random() * below)


class Counting:
    """Counts its passes, which decide on the order."""

    def __init__(self) -> None:
        self.passes = 0

    def __len__(self) -> int:
        return LENGTH

    def __iter__(self) -> Iterator[int]:
        self.passes += 1
        return iter(np.random.default_rng(self.passes).permutation(LENGTH).tolist())


class Around:
    """Holds another sampler, in a list."""

    def __init__(self, inner: Any) -> None:
        self.inner = [inner]

    def __len__(self) -> int:
        return LENGTH

    def __iter__(self) -> Iterator[int]:
        return iter(self.inner[0])


class Stateful:
    """Keeps what it draws from in an array, and tells it when it is asked."""

    def __init__(self) -> None:
        self.order = np.arange(LENGTH)

    def __len__(self) -> int:
        return LENGTH

    def __iter__(self) -> Iterator[int]:
        self.order = self.order * 5 % LENGTH + np.roll(self.order, 1) * 0
        self.order = np.roll(self.order, 3)
        return iter(self.order.tolist())

    def state_dict(self) -> dict[str, Any]:
        return {"order": self.order.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.order = np.array(state["order"])


class Hidden:
    """Draws from what no attribute shows."""

    def __init__(self) -> None:
        rng = random_of(5)
        self.draw: Callable[[], list[int]] = lambda: rng.sample(range(LENGTH), LENGTH)

    def __len__(self) -> int:
        return LENGTH

    def __iter__(self) -> Iterator[int]:
        return iter(self.draw())


class Global:
    """Draws from a global generator, as it goes."""

    def __init__(self, uniform: Callable[[], float]) -> None:
        self.uniform = uniform

    def __len__(self) -> int:
        return LENGTH

    def __iter__(self) -> Iterator[int]:
        order = list(range(LENGTH))
        while order:
            yield order.pop(int(self.uniform() * len(order)))


MADE: dict[str, Callable[[], Any]] = {
    "random.Random": lambda: Drawing(random_of(3)),
    "random.Random, lazily": lambda: Drawing(random_of(3), lazily=True),
    "numpy": lambda: Drawing(np.random.default_rng(3)),
    "numpy, MT19937, lazily": lambda: Drawing(np.random.Generator(np.random.MT19937(3)), lazily=True),
    "numpy, Philox, lazily": lambda: Drawing(np.random.Generator(np.random.Philox(3)), lazily=True),
    "numpy, SFC64": lambda: Drawing(np.random.Generator(np.random.SFC64(3))),
    "RandomState": lambda: Drawing(np.random.RandomState(3)),
    "counting": Counting,
    "in another": lambda: Around(Around(Drawing(random_of(3)))),
    "state_dict": Stateful,
    "hidden": Hidden,
}
SEEDED: dict[str, Callable[[], Any]] = {
    "random": lambda: Global(random.random),
    "numpy.random": lambda: Global(np.random.random),
}
WORKERS: list[dict[str, Any]] = [{}, {"num_workers": 2, "backend": "thread"}]


def make(name: str, **arguments: Any) -> DataLoader[Any]:
    sampler = {**MADE, **SEEDED}[name]()
    return DataLoader(range(LENGTH), 4, sampler=sampler, **arguments)


def listed(batches: Any) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("name", MADE)
def test_resumed_in_any_epoch(name: str, workers: dict[str, Any]) -> None:
    loader = make(name, **workers)
    states: list[tuple[int, str]] = []
    found: list[list[int]] = []
    for _ in range(3):
        states.append((len(found), json.dumps(loader.state_dict())))
        for batch in loader:
            found.append(batch.tolist())
            states.append((len(found), json.dumps(loader.state_dict())))
    assert len({str(found[at : at + 3]) for at in (0, 3, 6)}) == 3
    for position, state in states:
        resumed = make(name, **workers)
        resumed.load_state_dict(json.loads(state))
        again = listed(resumed)
        while len(again) < len(found) - position:
            again += listed(resumed)
        assert again == found[position:]


@pytest.mark.parametrize("name", SEEDED)
@pytest.mark.parametrize("workers", WORKERS)
def test_a_seed_decides_what_is_drawn_from_global_generators(name: str, workers: dict[str, Any]) -> None:
    loader = make(name, seed=7, **workers)
    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index] # noqa: NPY002
    first, second = listed(loader), listed(loader)
    assert first != second
    assert [loader.batch(step, 0).tolist() for step in range(3)] == first
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # type: ignore[index] # noqa: NPY002
    other = make(name, seed=7)
    batches = iter(other)
    next(batches)
    random.seed(99)
    assert listed(batches) == first[1:]
    resumed = make(name, seed=7)
    resumed.load_state_dict({**other.state_dict(), "step": 1})
    assert listed(resumed) == second[1:]


@pytest.mark.parametrize("name", [*(name for name in MADE if name != "hidden"), *SEEDED])
def test_asking_for_batches_changes_nothing(name: str) -> None:
    def run(ask: bool) -> Any:
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        loader = make(name)
        found = []
        for epoch in range(2):
            if ask:
                ahead = [loader.batch(step, epoch).tolist() for step in (0, 2)]
            for batch in loader:
                found.append(batch.tolist())
                if ask:
                    assert loader.batch(1).tolist() == (found[3 * epoch + 1 :] or [loader.batch(1).tolist()])[0]
            if ask:
                if name != "random":  # which draws the epoch's seed before the sampler draws
                    assert [found[3 * epoch], found[3 * epoch + 2]] == ahead
                assert [loader.batch(step, epoch).tolist() for step in range(3)] == found[3 * epoch :]
        return found, random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index] # noqa: NPY002

    assert run(ask=True) == run(ask=False)


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("name", [name for name in MADE if name != "hidden"])
def test_an_iterator_that_is_never_asked_changes_nothing(name: str, workers: dict[str, Any]) -> None:
    plain = make(name)
    expected = [listed(plain) for _ in range(2)]
    loader = make(name, **workers)
    found = []
    for _ in range(2):
        iter(loader)
        state = json.loads(json.dumps(loader.state_dict()))
        batches = iter(loader)
        assert loader.state_dict() == state
        found.append(listed(batches))
        resumed = make(name, **workers)
        resumed.load_state_dict(state)
        assert listed(resumed) == found[-1]
    assert found == expected


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda loader: pickle.loads(pickle.dumps(loader))])
@pytest.mark.parametrize("name", [name for name in MADE if name not in ("hidden", "numpy, lazily")])
def test_a_copy_stands_where_the_loader_stands(name: str, duplicate: Any) -> None:
    loader = make(name)
    list(loader)
    batches = iter(loader)
    next(batches)
    other = duplicate(loader)
    assert other.state_dict() == loader.state_dict()
    found = listed(batches), listed(loader)
    assert (listed(other), listed(other)) == found


def test_an_epoch_that_cannot_be_known() -> None:
    loader = make("numpy", seed=0)
    list(loader)
    text = (
        r"^the samples of epoch 5 are not known: the loader's sampler has a state of its own, so only the epoch begun"
    )
    with pytest.raises(ArgumentError, match=text):
        loader.batch(0, 5)


def test_a_pass_that_cannot_be_made_again_is_noticed() -> None:
    loader = make("random")
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    random.seed(8)
    resumed = make("random")
    resumed.load_state_dict(state)
    text = r"^the sampler \(Global\) gives other samples than before the state was taken, so some come twice in this"
    with pytest.warns(HeadraceWarning, match=text):
        assert len(list(resumed)) == 2


def test_hidden_draws_are_noticed_when_a_batch_is_asked_for() -> None:
    loader = make("hidden")
    list(loader)
    with pytest.warns(HeadraceWarning, match=r"^the sampler \(Hidden\) gives other samples each time"):
        loader.batch(0)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(0, 7))
def test_a_generator_resumes_in_later_epochs(seed: int, steps: int) -> None:
    for kind in (random.Random, np.random.default_rng):
        loader = DataLoader(range(10), 4, shuffle=True, generator=kind(seed))
        whole = [batch for _ in range(4) for batch in listed(loader)]
        loader = DataLoader(range(10), 4, shuffle=True, generator=kind(seed))
        found: list[list[int]] = []
        batches = iter(loader)
        while len(found) < steps:
            try:
                found.append(next(batches).tolist())
            except StopIteration:
                batches = iter(loader)
        resumed = DataLoader(range(10), 4, shuffle=True, generator=kind(0))
        resumed.load_state_dict(json.loads(json.dumps(loader.state_dict())))
        while len(found) < len(whole):
            found += listed(resumed)
        assert found == whole


def test_states_of_other_generators_and_samplers_are_refused() -> None:
    state = DataLoader(range(10), 4, shuffle=True, generator=np.random.default_rng(1)).state_dict()
    with pytest.raises(StateError, match=r"^the state of a random generator does not fit the Random here"):
        DataLoader(range(10), 4, shuffle=True, generator=random_of(1)).load_state_dict(state)
    state = make("numpy").state_dict()
    with pytest.raises(StateError, match=r"^the state belongs to a sampler with a random generator at 'sampler\.rng'"):
        make("counting").load_state_dict(state)
    state["sampler"] = {"values": {"sampler": {"lazily": [1]}}}
    with pytest.raises(StateError, match=r"^the state is damaged: the sampler's values at 'sampler' are"):
        make("numpy").load_state_dict(state)
