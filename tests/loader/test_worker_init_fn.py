"""What `worker_init_fn` does to a worker: it stays there, and comes out the same in each run."""

from __future__ import annotations

import os
import random
import threading
from time import sleep
from typing import Any

import numpy as np
import pytest

from headrace import DataLoader, Dataset, IterableDataset, TensorDataset, frameworks, get_worker_info
from headrace.errors import WorkerTimeoutError
from headrace.testing import check_same

pytestmark = pytest.mark.usefixtures("by_value", "forks_quietly")

POOLS: dict[str, dict[str, Any]] = {
    "thread": {"backend": "thread"},
    "process": {"backend": "process"},
    "fork": {"multiprocessing_context": "fork"},
}


def seed_worker(worker: int) -> None:
    """Seed all generators of a process, as PyTorch's documentation has it."""
    random.seed(worker)
    np.random.seed(worker)  # noqa: NPY002


def seed_torch_too(worker: int) -> None:
    import torch

    seed_worker(worker)
    torch.manual_seed(worker)


# ------------------------------------------------------------------ the program's own generators


def check_leaves_alone(loader: DataLoader[Any]) -> None:
    """Check that the program draws what it would draw without the loader, before its first batch and after it."""
    for _ in range(3):
        before = frameworks.global_states()
        batches = iter(loader)
        assert frameworks.global_states() == before
        drawn = random.random(), np.random.random()  # noqa: NPY002, S311
        after = frameworks.global_states()
        list(batches)
        assert frameworks.global_states() == after, "nor later, when a thread is late"
        frameworks.restore_globals(before)
        assert (random.random(), np.random.random()) == drawn  # noqa: NPY002, S311
        frameworks.restore_globals(after)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("backend", POOLS)
def test_worker_init_fn_leaves_the_global_generators_of_the_program(backend: str, workers: int) -> None:
    dataset = TensorDataset(np.arange(12))
    loader = DataLoader(dataset, 2, num_workers=workers, worker_init_fn=seed_worker, seed=0, **POOLS[backend])
    check_leaves_alone(loader)


def test_worker_init_fn_leaves_the_global_generator_of_torch() -> None:
    torch = pytest.importorskip("torch")
    dataset = TensorDataset(torch.arange(12))
    check_leaves_alone(DataLoader(dataset, 2, num_workers=2, worker_init_fn=seed_torch_too, seed=0, backend="thread"))


def test_global_generators_are_kept_with_streams_and_persistent_workers() -> None:
    class Stream(IterableDataset[int]):
        def __iter__(self) -> Any:
            return iter(range(12))

    options: dict[str, Any] = {"num_workers": 2, "worker_init_fn": seed_worker, "seed": 0, "backend": "thread"}
    check_leaves_alone(DataLoader(Stream(), 2, **options))
    with DataLoader(range(12), 2, persistent_workers=True, **options) as loader:
        check_leaves_alone(loader)


def test_global_generators_are_kept_when_worker_init_fn_fails_or_is_slow() -> None:
    def begin(worker: int) -> None:
        sleep(0.02 * worker)
        seed_worker(worker)
        raise OSError(f"worker {worker} has no file")

    before = frameworks.global_states()
    batches = iter(DataLoader(range(4), 2, num_workers=2, worker_init_fn=begin, seed=0, backend="thread"))
    assert frameworks.global_states() == before
    for worker in range(2):
        with pytest.raises(OSError, match=f"worker {worker} has no file"):
            next(batches)


def test_threads_may_wait_for_each_other_there() -> None:
    barrier = threading.Barrier(3, timeout=60)

    def begin(worker: int) -> None:
        barrier.wait()

    loader = DataLoader(range(12), num_workers=3, worker_init_fn=begin, backend="thread")
    assert len(list(loader)) == 12


def test_a_thread_that_does_not_come_back_from_it() -> None:
    done = threading.Event()

    def begin(worker: int) -> None:
        done.wait(60)

    loader = DataLoader(range(4), num_workers=1, timeout=0.2, worker_init_fn=begin, backend="thread")
    threading.Timer(1, done.set).start()
    with pytest.raises(WorkerTimeoutError, match=r"timeout=0\.2"):
        next(iter(loader))
    assert done.is_set(), "the thread has ended"


# ------------------------------------------------------------------ a generator for each worker


class OwnGenerator(Dataset[Any]):
    """Draws from a generator of its worker, and takes its time."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int, /) -> Any:
        info = get_worker_info()
        assert info is not None
        sleep(0.01 * random.SystemRandom().random())
        return index, info.id, vars(threading.current_thread())["rng"].random()


def make_generator(worker: int) -> None:
    info = get_worker_info()
    assert info is not None
    vars(threading.current_thread())["rng"] = np.random.default_rng(info.seed)


def draw(dataset: Any, **options: Any) -> list[Any]:
    with DataLoader(dataset, 2, num_workers=3, worker_init_fn=make_generator, seed=5, **options) as loader:
        return [list(loader) for _ in range(2)]


@pytest.mark.parametrize("persistent_workers", [False, True])
@pytest.mark.parametrize("backend", POOLS)
def test_a_generator_of_a_worker_gives_the_same_in_each_run(backend: str, persistent_workers: bool) -> None:
    options = {"persistent_workers": persistent_workers, **POOLS[backend]}
    first = draw(OwnGenerator(), **options)
    check_same(draw(OwnGenerator(), **options), first)
    for epoch in first:
        assert [workers.tolist() for _, workers, _ in epoch] == [[step % 3] * 2 for step in range(12)]


@pytest.mark.parametrize("backend", ["process", "fork"])
def test_generator_stored_on_the_dataset_gives_the_same_in_each_run(backend: str) -> None:
    torch = pytest.importorskip("torch")
    data = pytest.importorskip("torch.utils.data")

    class Theirs(data.Dataset):  # type: ignore[misc,name-defined]
        rng: Any = None

        def __len__(self) -> int:
            return 12

        def __getitem__(self, index: int) -> Any:
            sleep(0.01 * random.SystemRandom().random())
            return self.rng.random()

    def begin(worker: int) -> None:
        data.get_worker_info().dataset.rng = np.random.default_rng(torch.initial_seed() % 2**32)

    def run() -> list[Any]:
        generator = torch.Generator().manual_seed(0)
        return list(DataLoader(Theirs(), 2, num_workers=2, worker_init_fn=begin, generator=generator, **POOLS[backend]))

    first = run()
    assert len({value for batch in first for value in batch.tolist()}) == 12
    check_same(run(), first)


def test_restarted_workers_keep_their_turn(tmp_path: Any) -> None:
    class Mortal(OwnGenerator):
        def __getitem__(self, index: int, /) -> Any:
            if index == 9 and not (tmp_path / "died").exists():
                (tmp_path / "died").touch()
                os._exit(1)
            return super().__getitem__(index)

    epoch, _ = draw(Mortal(), backend="process", on_worker_death="restart")
    assert [batch[0].tolist() for batch in epoch] == [[index, index + 1] for index in range(0, 24, 2)]
    assert [workers.tolist() for _, workers, _ in epoch] == [[step % 3] * 2 for step in range(12)]
