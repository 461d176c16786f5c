"""The number of workers that a loader finds itself: it never shows in the batches, and it gets better."""

from __future__ import annotations

import copy
import json
import pickle
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, groupby, islice
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import (
    Compose,
    DataLoader,
    Dataset,
    RandomCrop,
    RandomHorizontalFlip,
    StackDataset,
    TensorDataset,
    sample_rng,
)
from headrace.errors import HeadraceWarning
from headrace.loader import auto_workers
from headrace.loader.auto_pool import AutoPool
from headrace.loader.auto_workers import AutoWorkers, InUse, Limits, Observed
from headrace.testing import check_same
from headrace.workers.processes.pool import ProcessPool

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("by_value")

BACKENDS = ["thread", "process"]
PLANS = {
    "more and fewer": [InUse(1, 2), InUse(3, 6), InUse(2, 2), InUse(4, 8)],
    "some and none": [InUse(2, 4), InUse(), InUse(1, 1), InUse()],
}


class Drawing(Dataset[Any]):
    """Draws of the sample's own generator and of the program's."""

    def __len__(self) -> int:
        return 203

    def __getitem__(self, index: int, /) -> Any:
        draws = [sample_rng().random(), random.random(), np.random.random()]  # noqa: NPY002, S311 - as users do
        return index, np.array(draws)


def images(length: int = 203) -> Dataset[Any]:
    pixels = np.arange(length * 24 * 24 * 3, dtype=np.uint32).astype(np.uint8).reshape(length, 24, 24, 3)
    augment = Compose([RandomCrop(20, padding=1), RandomHorizontalFlip()])
    return TensorDataset(pixels, np.arange(length)).map(augment, field=0)


DATASETS: dict[str, Callable[[], Any]] = {
    "rows in memory": lambda: TensorDataset(np.arange(4060.0).reshape(203, 20), np.arange(203)),
    "images": images,
    "draws": Drawing,
    "both": lambda: StackDataset(images(), Drawing()),
}


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[InUse], int], list[InUse]]:
    """Let a loader change its workers by a plan, every so many tasks; returns what was used, which grows."""
    used: list[InUse] = []

    def go(plan: list[InUse], every: int = 4) -> list[InUse]:
        steps = cycle(plan)
        use = AutoWorkers.use

        def take_note(auto: AutoWorkers, setting: InUse) -> None:
            used.append(setting)
            use(auto, setting)

        begin = AutoPool.begin_workers

        def begin_and_wait(pool: AutoPool, setting: InUse) -> None:
            begin(pool, setting)
            while pool.workers is not None and not pool.count_ready():
                sleep(0.01)

        monkeypatch.setattr(AutoPool, "begin_workers", begin_and_wait)
        monkeypatch.setattr(AutoWorkers, "is_due", lambda auto: auto.observed.tasks >= every)
        monkeypatch.setattr(AutoWorkers, "skips", lambda *_: False)
        monkeypatch.setattr(AutoWorkers, "decide", lambda auto, _: _restart(auto, next(steps)))
        monkeypatch.setattr(AutoWorkers, "use", take_note)
        return used

    return go


def _restart(auto: AutoWorkers, setting: InUse) -> InUse:
    auto.observed = Observed()
    return setting


# ------------------------------------------------------------------ the batches


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_batches_are_those_of_any_number(backend: str, plan: list[InUse], follow: Any) -> None:
    used = follow(plan, 1)
    for name, make in DATASETS.items():
        if backend == "thread" and name in ("draws", "both"):
            continue  # threads have the program's generators together, and draw what nobody can foretell
        options: dict[str, Any] = {"batch_size": 3, "shuffle": True, "seed": 7}
        expected = DataLoader(make(), num_workers=2, backend=backend, **options)
        with DataLoader(make(), num_workers="auto", backend=backend, persistent_workers=True, **options) as loader:
            for epoch in range(2):
                check_same(list(loader), list(expected), f"epoch {epoch} of {name}")
        expected.close()
    assert set(used) >= set(plan[:2])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_size": None},
        {"batch_sampler": [[index, index + 1] for index in range(60)]},
        {"batch_size": 3, "sampler": list(range(100, 0, -1))},
        {"batch_size": 3, "rank": 1, "world_size": 2, "uneven": "pad"},
        {"batch_size": 4, "collate_fn": lambda samples: [sample[1] for sample in samples]},
    ],
)
def test_other_loaders(arguments: dict[str, Any], backend: str, follow: Any) -> None:
    follow([InUse(2, 4), InUse(), InUse(3, 3)], 6)
    expected = DataLoader(images(), seed=3, **arguments)
    with DataLoader(images(), seed=3, num_workers="auto", backend=backend, **arguments) as loader:
        check_same(list(loader), list(expected))


@pytest.mark.parametrize("backend", BACKENDS)
def test_epochs_that_follow_each_other(backend: str, follow: Any) -> None:
    follow(PLANS["some and none"])
    expected = DataLoader(images(), 8, shuffle=True, seed=1)
    with DataLoader(images(), 8, shuffle=True, seed=1, num_workers="auto", backend=backend) as loader:
        check_same(list(islice(loader.forever(), 60)), list(islice(expected.forever(), 60)))
        assert loader.state_dict() == expected.state_dict()
        check_same(list(loader.iterate(2, 9, epoch=1)), list(expected.iterate(2, 9, epoch=1)))


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=6),
    st.integers(1, 7),
    st.integers(1, 40),
)
def test_any_plan_and_a_resume_at_any_step(plan: list[tuple[int, int]], every: int, stop: int) -> None:
    settings_of_plan = [InUse(workers, workers + more if workers else 0) for workers, more in plan]
    with pytest.MonkeyPatch.context() as patch:
        steps = cycle(settings_of_plan)
        patch.setattr(AutoWorkers, "is_due", lambda auto: auto.observed.tasks >= every)
        patch.setattr(AutoWorkers, "skips", lambda *_: False)
        patch.setattr(AutoWorkers, "decide", lambda auto, _: _restart(auto, next(steps)))
        expected = [batch[1].tolist() for batch in DataLoader(images(), 5, shuffle=True, seed=2)]
        found = []
        with DataLoader(images(), 5, shuffle=True, seed=2, num_workers="auto", backend="thread") as loader:
            batches = iter(loader)
            found += [batch[1].tolist() for batch in islice(batches, stop)]
            state = json.loads(json.dumps(loader.state_dict()))
        with DataLoader(images(), 5, shuffle=True, seed=2, num_workers="auto", backend="thread") as loader:
            loader.load_state_dict(state)
            found += [batch[1].tolist() for batch in loader]
    assert found == expected


class Failing(Dataset[Any]):
    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int, /) -> int:
        if index % 13 == 5:
            raise ValueError(index)
        return index


@pytest.mark.parametrize("backend", BACKENDS)
def test_errors_come_in_their_places(backend: str, follow: Any) -> None:
    follow(PLANS["some and none"], 2)

    def outcomes(**options: Any) -> list[Any]:
        found: list[Any] = []
        with DataLoader(Failing(), 2, seed=0, **options) as loader:
            batches = iter(loader)
            while True:
                try:
                    found.append(next(batches).tolist())
                except StopIteration:
                    return found
                except ValueError as error:
                    found.append((str(error), error.__notes__))

    assert outcomes(num_workers="auto", backend=backend) == outcomes()
    skipping = DataLoader(Failing(), 2, num_workers="auto", backend=backend, on_error="skip")
    with pytest.warns(HeadraceWarning, match="it is left out"):
        assert sum(len(batch) for batch in skipping) == 55
    assert len(skipping.bad_samples) == 5
    skipping.close()


def test_in_any_order_all_come(follow: Any) -> None:
    follow(PLANS["more and fewer"])
    with DataLoader(range(200), None, num_workers="auto", backend="process", in_order=False) as loader:
        assert sorted(loader) == list(range(200))


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_iterators_and_one_that_is_broken_off(backend: str, follow: Any) -> None:
    follow(PLANS["some and none"], 3)
    before = set(threading.enumerate())
    with DataLoader(range(90), 3, num_workers="auto", backend=backend, persistent_workers=True) as loader:
        for _ in islice(loader, 8):
            pass
        one, other = iter(loader), iter(loader)
        pairs = [(next(one).tolist(), next(other).tolist()) for _ in range(20)]
        assert [len(pair) for pair in pairs] == [2] * 20
    assert not [each for each in {*threading.enumerate()} - before if each.name.startswith("headrace worker")]


def test_seed_none_draws_what_it_draws_with_workers(follow: Any) -> None:
    """Code that draws from the program's generators has them seeded, so loading in this process shows nowhere."""
    follow(PLANS["some and none"])
    found = []
    for options in ({"num_workers": 2}, {"num_workers": "auto"}):
        random.seed(5)
        np.random.seed(5)  # noqa: NPY002
        with DataLoader(Drawing(), 4, shuffle=True, backend="process", **options) as loader:
            found.append([*loader, random.random(), np.random.random()])  # noqa: NPY002, S311
    check_same(found[1], found[0])


# ------------------------------------------------------------------ what is told


def test_it_begins_without_workers_and_says_so() -> None:
    loader = DataLoader(range(100), 10, num_workers="auto")
    assert (loader.num_workers, loader.stats().settings.auto) == (0, True)
    assert repr(loader).endswith("num_workers='auto')")
    assert len(list(loader)) == 10
    assert loader.num_workers == 0  # loading takes no time
    assert not DataLoader(range(3)).stats().settings.auto


def test_the_number_in_use(follow: Any) -> None:
    follow([InUse(3, 6)])
    with DataLoader(range(100), 2, num_workers="auto", backend="thread") as loader:
        for _ in loader:
            pass
        assert loader.num_workers == 3
        told = loader.stats().settings
        assert (told.num_workers, told.in_flight, told.backend, told.auto) == (3, 6, "thread", True)
        assert told.workers_text() == "3 thread (auto)"
        for other in (copy.copy(loader), pickle.loads(pickle.dumps(loader))):
            assert other.num_workers == 0
            assert len(list(other)) == 50


def test_it_can_be_set_before_the_first_iteration() -> None:
    loader = DataLoader(range(10), num_workers="auto")
    loader.num_workers = 0
    assert repr(loader).endswith("num_workers=0)")
    loader.num_workers = "auto"
    assert repr(loader).endswith("num_workers='auto')")


class Unpicklable(Dataset[int]):
    """Opens what cannot be sent, as it reads its first sample."""

    lock: Any = None

    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int, /) -> int:
        self.lock = self.lock or threading.Lock()
        return index


def test_a_dataset_that_cannot_be_sent_is_loaded_here(follow: Any) -> None:
    follow([InUse(2, 4)])
    loader = DataLoader(Unpicklable(), 2, num_workers="auto", backend="process")
    with pytest.warns(HeadraceWarning, match="num_workers='auto' stays at 0, as the dataset cannot be sent"):
        found = [batch.tolist() for batch in loader]
    assert found == [[index, index + 1] for index in range(0, 60, 2)]
    assert loader.num_workers == 0


# ------------------------------------------------------------------ the decisions


class World:
    """A machine with a dataset and a consumer: how long a step takes with so many workers, by its own rules.

    Args:
        load: how long a batch takes to load, in seconds.
        consumer: and to be consumed.
        cores: how many processors there are.
        busy: how many of them a load keeps busy.
        serial: the part of a load that only one worker at a time can do, as under a lock.
    """

    def __init__(self, load: float, consumer: float, *, cores: int = 8, busy: float = 1.0, serial: float = 0.0) -> None:
        self.load, self.consumer, self.cores, self.busy, self.serial = load, consumer, cores, busy, serial

    def step(self, workers: int) -> float:
        if not workers:
            return self.load + self.consumer
        share = max(1.0, workers * self.busy / self.cores)
        return max(self.consumer, self.load * share / workers, self.load * self.serial) + 1e-4

    def fill(self, auto: AutoWorkers) -> None:
        """Measure a observed."""
        workers, observed = auto.setting.workers, auto.observed
        share = max(1.0, workers * self.busy / self.cores) if workers else 1.0
        observed.began = 0.0
        for _ in range(100):
            wait = self.step(workers) - self.consumer
            observed.add(1, wait, self.consumer, self.load * share)
            observed.add_cpu(self.busy * self.load, self.load)
        observed.task_bytes = 1000

    def settle(self, auto: AutoWorkers, limits: Limits, rounds: int = 30) -> list[InUse]:
        seen = [auto.setting]
        for _ in range(rounds):
            self.fill(auto)
            chosen = auto.decide(limits)
            if chosen != auto.setting:
                auto.use(chosen)
                seen.append(chosen)
        return seen


WORLDS = {
    "hidden by two": World(0.015, 0.01),
    "bound by the processors": World(0.1, 0.001),
    "waits for files": World(0.05, 0.004, cores=2, busy=0.01),
    "few processors": World(0.1, 0.01, cores=2),
    "consumer takes all": World(0.001, 0.1),
    "a lock": World(0.1, 0.001, serial=0.4),
    "nothing but a lock": World(0.1, 0.0, serial=1.0),
    "has threads itself": World(0.1, 0.0, cores=4, busy=4.0),
}


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_it_comes_near_the_best(world: World) -> None:
    auto, limits = AutoWorkers(), Limits(cores=world.cores)
    seen = world.settle(auto, limits)
    best = min(world.step(workers) for workers in range(65))
    assert world.step(auto.setting.workers) <= 1.15 * best
    assert len(seen) <= 10  # it comes to rest
    assert auto.setting.workers <= 16


def test_no_more_workers_than_are_of_use() -> None:
    auto = AutoWorkers()
    World(0.015, 0.01).settle(auto, Limits(cores=16))
    assert auto.setting.workers == 2
    assert World(0.001, 0.1).settle(AutoWorkers(), Limits(cores=16)) == [InUse()]
    tiny = World(0.00005, 0.0)
    assert tiny.settle(AutoWorkers(), Limits(cores=16)) == [InUse()]


def test_it_follows_a_change() -> None:
    auto, limits = AutoWorkers(), Limits(cores=16)
    World(0.01, 0.1).settle(auto, limits)
    assert auto.setting.workers <= 1
    World(0.4, 0.1).settle(auto, limits)
    assert 4 <= auto.setting.workers <= 8
    World(0.02, 0.1).settle(auto, limits)
    assert auto.setting.workers <= 1


def test_a_trial_that_failed_is_made_again_when_loading_is_another() -> None:
    auto, limits = AutoWorkers(), Limits(cores=8)
    locked = World(0.1, 0.0, serial=1.0)
    locked.settle(auto, limits)
    assert auto.setting == InUse()
    assert locked.settle(auto, limits) == [InUse()]
    World(0.3, 0.0).settle(auto, limits)
    assert auto.setting.workers >= 8


def test_a_trial_that_failed_is_made_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other programs may have been at work; each time it is later."""
    now = [100.0]
    monkeypatch.setattr(auto_workers, "perf_counter", lambda: now[0])
    auto, limits = AutoWorkers(), Limits(cores=2)
    disturbed, calm = World(0.1, 0.0, serial=1.0), World(0.1, 0.0)
    assert disturbed.settle(auto, limits)[1:] == [InUse(2, 4), InUse()]
    assert calm.settle(auto, limits) == [InUse()]
    now[0] += 60
    assert disturbed.settle(auto, limits)[1:] == [InUse(2, 4), InUse()]
    now[0] += 20
    assert calm.settle(auto, limits) == [InUse()]
    now[0] += 60
    assert calm.settle(auto, limits)[-1] == InUse(2, 4)


def test_a_given_prefetch_stays() -> None:
    for setting in Limits(cores=8, prefetch=3).settings(1.0):
        assert setting.ahead == 3 * setting.workers


def test_workers_cannot_be_had_after_all() -> None:
    auto = AutoWorkers()
    auto.refuse_workers()
    assert World(0.1, 0.0).settle(auto, Limits(cores=8)) == [InUse()]


@given(st.integers(1, 10**6), st.integers(0, 10**5), st.booleans())
def test_the_memory_is_kept_to(budget: int, worker_bytes: int, separate: bool) -> None:
    """By all settings on the way, but for the one process that tells how much a process takes."""
    auto, limits = AutoWorkers(), Limits(cores=8, ram_budget=budget, separate=separate)
    world = World(0.1, 0.01)
    for _ in range(20):
        world.fill(auto)
        if separate and auto.setting.workers:
            auto.worker_bytes = worker_bytes
        before = auto.worker_bytes
        chosen = auto.decide(limits)
        if chosen != auto.setting:
            auto.use(chosen)
        if before is not None or not separate:
            each = (before or 0) if separate else 0
            in_flight = chosen.ahead + 1 + (3 * chosen.workers if separate else 0)
            assert not chosen.workers or chosen.workers * each + in_flight * 1000 <= budget
        else:
            assert chosen.workers <= 1


def test_a_window_lasts_long_enough() -> None:
    observed = Observed(began=10.0)
    assert not observed.lasts(1.0, 4, 20.0)
    for _ in range(3):
        observed.add(1, 0.1, 0.1, 0.1)
    assert not observed.lasts(1.0, 4, 10.5)
    assert not observed.lasts(1.0, 4, 12.0)
    assert observed.lasts(1.0, 4, 15.0)
    observed.add(1, 0.1, 0.1, 0.1)
    assert observed.lasts(1.0, 4, 11.0)


def test_a_pause_of_the_consumer_is_no_longer_step() -> None:
    observed = Observed()
    for step in range(20):
        observed.add(2, 0.01, 600.0 if step == 7 else 0.03, 0.01)
    assert observed.step == pytest.approx(0.02)
    assert observed.wait_share > 0.1
    assert max(observed.measured(InUse(), Limits(2)).consumers) == 1.0


def test_iterators_in_several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have one search together, in which each may change what the others have measured."""
    monkeypatch.setattr(auto_workers, "_FIRST", 0.0)
    monkeypatch.setattr(auto_workers, "_AFTER_CHANGE", 0.0)
    monkeypatch.setattr(auto_workers, "_LONGEST", 0.0)
    monkeypatch.setattr(auto_workers, "_TINY", 0.0)
    expected = list(range(300))
    with DataLoader(range(300), None, num_workers="auto", backend="thread") as loader, ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: list(loader.iterate()), range(12)):
            assert found == expected


# ------------------------------------------------------------------ memory and life


class Heavy(Dataset[Any]):
    """Batches of a megabyte; counts those that were read."""

    def __init__(self) -> None:
        self.read = 0

    def __len__(self) -> int:
        return 100

    def __getitem__(self, index: int, /) -> Any:
        self.read += 1
        return np.full(1 << 17, index, np.float64)


def test_batches_in_flight_keep_to_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AutoWorkers, "is_due", lambda auto: auto.observed.tasks >= 3)
    monkeypatch.setattr(AutoWorkers, "_choose", lambda *_: InUse(4, 64))  # which is more than there is room for
    monkeypatch.setattr(AutoWorkers, "_fits", lambda *_: True)
    dataset = Heavy()
    most = 0
    with DataLoader(dataset, None, num_workers="auto", backend="thread", ram_budget=6 << 20) as loader:
        for step, _ in enumerate(loader):
            most = max(most, dataset.read - step - 1)
        assert loader.num_workers == 4
    assert 1 <= most <= 6


def _slowly(batch: Any) -> Any:
    """An epoch of such batches lasts until processes have started."""
    sleep(0.02)
    return batch


def test_a_process_that_is_too_large_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """One has to be started, to see how large they are."""
    monkeypatch.setattr(AutoWorkers, "is_due", lambda auto: auto.observed.tasks >= 3)
    monkeypatch.setattr(AutoWorkers, "skips", lambda *_: False)
    monkeypatch.setattr(AutoWorkers, "_choose", lambda auto, _window, present, _limits: max(present, InUse(1, 2)))
    used: list[InUse] = []
    use = AutoWorkers.use

    def take_note(auto: AutoWorkers, setting: InUse) -> None:
        used.append(setting)
        use(auto, setting)

    monkeypatch.setattr(AutoWorkers, "use", take_note)
    with DataLoader(range(100), None, num_workers="auto", backend="process", ram_budget=100_000) as loader:
        deadline = monotonic() + 60
        while InUse() not in used:
            assert [_slowly(index) for index in loader] == [*range(100)]
            assert monotonic() < deadline
    assert [setting for setting, _ in groupby(used)][:2] == [InUse(1, 2), InUse()]
    assert loader._auto is not None
    assert (loader._auto.worker_bytes or 0) > 100_000


def test_ranks_of_a_machine_share_its_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    from headrace.loader import auto_pool

    monkeypatch.setattr(auto_pool, "available_cores", lambda: 16)
    assert auto_pool._own_cores() == 16
    for ranks, cores in (("4", 4), ("64", 1), ("0", 16), ("many", 16)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
        assert auto_pool._own_cores() == cores


@pytest.mark.parametrize("persistent", [False, True])
def test_an_epoch_that_is_over_before_workers_are_ready(persistent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one begins with them."""
    monkeypatch.setattr(AutoWorkers, "is_due", lambda auto: auto.observed.tasks >= 2)
    monkeypatch.setattr(AutoWorkers, "decide", lambda auto, _: _restart(auto, InUse(2, 4)))
    counts = [0]
    monkeypatch.setattr(AutoPool, "count_ready", lambda _: counts[0])
    count_ready = ProcessPool.count_ready
    monkeypatch.setattr(ProcessPool, "count_ready", lambda pool: counts[0] and count_ready(pool))
    with DataLoader(
        range(40), 2, num_workers="auto", backend="process", persistent_workers=persistent, timeout=60
    ) as loader:
        expected = [[index, index + 1] for index in range(0, 40, 2)]
        assert [batch.tolist() for batch in loader] == expected
        assert loader.num_workers == 2
        assert set(loader.stats().timeline.tasks["worker"]) == {0}  # which is this thread
        counts[0] = 2
        deadline = monotonic() + 30
        while len(set(loader.stats().timeline.tasks["worker"])) < 3:  # two, and what the consumer does for them
            assert [_slowly(batch.tolist()) for batch in loader] == expected  # or it would be over before again
            assert monotonic() < deadline


def test_workers_are_gone_with_the_loader(before: Any, follow: Any) -> None:
    follow(PLANS["more and fewer"])
    for backend in BACKENDS:
        loader = DataLoader(range(100), 2, num_workers="auto", backend=backend, persistent_workers=True)
        assert len(list(loader)) == 50
        batches = iter(loader)
        next(batches)
        assert loader.num_workers
        del batches, loader
        before.check_is_back()


def test_bounds_are_sane() -> None:
    assert 0 < auto_workers._FIRST < auto_workers._AFTER_CHANGE < auto_workers._LONGEST
    assert 0 < auto_workers._KEPT_PROMISE < 1 < auto_workers._LOSS
