"""What an error refers to, it refers to no longer than itself: no pool, no batch, no descriptor outlives it."""

from __future__ import annotations

import gc
import os
import signal
import threading
from contextlib import contextmanager
from functools import partial
from time import sleep
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.loader.conftest import Footprint

from headrace import DataLoader, Dataset, IterableDataset
from headrace.errors import WorkerDiedError, WorkerError, WorkerTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [
    pytest.mark.usefixtures("by_value", "forks_quietly"),
    pytest.mark.filterwarnings("ignore:sample .*on_error:headrace.errors.HeadraceWarning"),
]

POOLS: dict[str, dict[str, Any]] = {
    "inline": {},
    "thread": {"num_workers": 2, "backend": "thread"},
    "process": {"num_workers": 2, "backend": "process"},
    "fork": {"num_workers": 2, "multiprocessing_context": "fork"},
}
WITH_PROCESSES = ["process", "fork", "forkserver", "spawn"]
OPTIONS = POOLS | {name: {"num_workers": 2, "multiprocessing_context": name} for name in ("forkserver", "spawn")}


class Large(Dataset[Any]):
    """Samples that travel in blocks of memory, of which one does something else."""

    def __init__(self, act: Callable[[], Any], at: int = 9) -> None:
        self.act, self.at = act, at

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int, /) -> Any:
        if index == self.at:
            self.act()
        return np.full(1 << 17, index)


class LargeStream(IterableDataset[Any]):
    """The same, that goes on after an error."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.samples = Large(act)

    def __iter__(self) -> Iterator[Any]:
        return map(self.samples.__getitem__, range(len(self.samples)))


def fail() -> Any:
    raise ValueError("a sample")


class Unwilling(Large):
    """Reads batches, too, though not all."""

    def __getitems__(self, indices: list[int]) -> list[Any]:
        return [self[index] for index in indices]


class AllBad(Large):
    """Has no sample that could be read."""

    def __getitem__(self, index: int, /) -> Any:
        fail()


class Sampler:
    """Fails on the way."""

    def __iter__(self) -> Iterator[int]:
        yield from range(9)
        fail()


@contextmanager
def no_collection() -> Iterator[None]:
    """Let nothing but reference counts free memory: nobody should have to wait for a garbage collection."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


ERRORS: dict[str, tuple[Callable[..., DataLoader[Any]], type[Exception]]] = {
    "sample": (partial(DataLoader, Large(fail), 4), ValueError),
    "sample of several": (partial(DataLoader, Unwilling(fail), 4), ValueError),
    "stream": (partial(DataLoader, LargeStream(fail), 4), ValueError),
    "sampler": (partial(DataLoader, Large(fail, at=-1), 4, sampler=Sampler()), ValueError),
    "too many": (partial(DataLoader, Large(fail), 4, on_error="skip", max_errors=0), RuntimeError),
    "no replacement": (partial(DataLoader, AllBad(fail), 4, on_error="replace"), RuntimeError),
    "too many in a stream": (partial(DataLoader, LargeStream(fail), 4, on_error="skip", max_errors=0), RuntimeError),
}


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("kind", ERRORS)
def test_dropped_error_leaves_nothing(kind: str, pool: str, before: Footprint) -> None:
    make, error = ERRORS[kind]

    def run() -> None:
        with pytest.raises(error):
            list(make(**POOLS[pool]))

    with no_collection():
        run()
        before.check_is_back()


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_a_sample(options: dict[str, Any]) -> str:
    with pytest.raises(WorkerDiedError, match="SIGKILL"):
        for _ in DataLoader(Large(kill), 4, prefetch_factor=3, **options):
            pass
    return "died"


def collection_of_forks() -> Footprint:
    """What there is once the servers of multiprocessing run, which stay."""
    for name in ("forkserver", "spawn"):
        list(DataLoader(range(2), **OPTIONS[name]))
    return Footprint()


@pytest.mark.parametrize("pool", WITH_PROCESSES)
def test_deaths_that_are_caught_leave_nothing(pool: str, before: Footprint) -> None:
    before = collection_of_forks()
    with no_collection():
        for _ in range(3):
            die_at_a_sample(OPTIONS[pool])
            before.check_is_back()


@pytest.mark.parametrize("pool", WITH_PROCESSES)
def test_stored_worker_death_error_keeps_no_batches(pool: str, before: Footprint) -> None:
    """In a list of errors, say. What it refers to then are a few objects, neither memory files nor descriptors."""
    before = collection_of_forks()
    kept = []
    for _ in range(3):
        try:
            for batch in DataLoader(Large(kill), 4, prefetch_factor=3, **OPTIONS[pool]):
                del batch
        except WorkerDiedError as error:
            kept.append(error)
    assert len(kept) == 3
    before.check_is_back()


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("pool", ["thread", *WITH_PROCESSES])
def test_repeated_error_is_not_kept_alive(pool: str, before: Footprint) -> None:
    """Each iterator that is asked again says the same, in a new error."""
    before = collection_of_forks()

    def run() -> None:
        interrupted = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        batches = iter(DataLoader(Large(partial(sleep, 0.5), at=0), 4, **OPTIONS[pool]))
        interrupted.start()
        with pytest.raises(KeyboardInterrupt):
            next(batches)
        for _ in range(2):
            with pytest.raises(WorkerError, match="the run was interrupted"):
                next(batches)
        interrupted.join()

    with no_collection():
        run()
        before.check_is_back()


@pytest.mark.parametrize("pool", ["thread", "process"])
def test_timeouts_leave_nothing(pool: str, before: Footprint) -> None:
    def run() -> None:
        batches = iter(DataLoader(Large(partial(sleep, 0.5), at=0), 4, timeout=0.1, **POOLS[pool]))
        with pytest.raises(WorkerTimeoutError):
            next(batches)

    with no_collection():
        run()
        before.check_is_back()
