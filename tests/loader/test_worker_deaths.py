"""Workers that die: the death is reported at once, or the worker is started again."""

from __future__ import annotations

import os
import signal
import sys
from time import sleep
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.loader.failing import (
    CONTEXTS,
    DEATHS,
    Failing,
    Mortal,
    Once,
    coded,
    dying,
    is_alive,
    lists,
)

from headrace import DataLoader, IterableDataset, get_worker_info
from headrace.errors import (
    WorkerDiedError,
    WorkerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.loader.conftest import Footprint

    Eventually = Callable[[Callable[[], Any]], None]
    RunScript = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("by_value", "forks_quietly")


@pytest.mark.parametrize(
    ("how", "context"), [*((how, None) for how in DEATHS), *(("killed", context) for context in CONTEXTS)]
)
def test_a_worker_that_dies(how: str, context: str | None) -> None:
    loader = DataLoader(
        dying(how), 2, num_workers=2, prefetch_factor=1, backend="process", multiprocessing_context=context, seed=5
    )
    batches = iter(loader)
    text = (
        rf"^worker [01] \(process \d+\) {DEATHS[how][1]} while it loaded step 1 of epoch 0 \(seed 5\); "
        r"before that it had \d+ MB of memory$"
    )
    with pytest.raises(WorkerDiedError, match=text) as caught:
        list(batches)
    with pytest.raises(WorkerDiedError) as again:
        next(batches)
    assert str(again.value) == str(caught.value)


def test_a_death_is_noticed_while_another_worker_is_waited_for() -> None:
    class OneSleeps(Failing):
        def __getitem__(self, index: int, /) -> Any:
            return sleep(1000) if index == 0 else super().__getitem__(index)

    for in_order in (True, False):
        loader = DataLoader(OneSleeps(DEATHS["killed"][0], at=1), num_workers=2, backend="process", in_order=in_order)
        with pytest.raises(WorkerDiedError, match="SIGKILL"):
            next(iter(loader))


def test_idle_worker_that_dies(eventually: Eventually) -> None:
    """Between two epochs of persistent workers, and between two batches."""

    class Pids(Failing):
        def __getitem__(self, index: int, /) -> int:
            return os.getpid()

    loader = DataLoader(Pids(coded), num_workers=1, persistent_workers=True, backend="process")
    (pid,) = {batch.item() for batch in loader}
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not is_alive(pid))
    with pytest.raises(WorkerDiedError, match=r"was killed by signal 9 \(SIGKILL\), .* between tasks"):
        list(loader)
    assert len(list(loader)) == 8, "the loader can begin anew"
    batches = iter(loader)
    (pid,) = {batch.item() for batch in (next(batches), next(batches))}
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerDiedError, match="SIGKILL"):
        list(batches)
    loader.close()


def test_interpreter_that_cannot_start_processes(monkeypatch: pytest.MonkeyPatch, before: Footprint) -> None:
    """One that is part of another program."""
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(WorkerError, match=r"sys\.executable is empty\), so it cannot start worker processes"):
        next(iter(DataLoader(range(4), num_workers=2, backend="process")))
    before.check_is_back()


def test_a_worker_that_dies_while_it_starts() -> None:
    loader = DataLoader(range(4), num_workers=2, backend="process", worker_init_fn=lambda worker: os._exit(4))
    text = r"ended with exit code 4 while it started \(its standard error may say why\)"
    with pytest.raises(WorkerDiedError, match=text):
        next(iter(loader))


def test_after_a_death_no_worker_is_left_and_a_new_iterator_works(tmp_path: Path, eventually: Eventually) -> None:
    once = Once(tmp_path, "death", DEATHS["killed"][0])
    pids = tmp_path / "pids"
    pids.mkdir()
    loader = DataLoader(
        Failing(once),
        2,
        num_workers=3,
        backend="process",
        persistent_workers=True,
        worker_init_fn=lambda worker: (pids / str(os.getpid())).touch(),
    )
    with pytest.raises(WorkerDiedError):
        list(loader)
    eventually(lambda: not any(is_alive(int(path.name)) for path in pids.iterdir()))
    assert lists(loader) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    loader.close()


# ------------------------------------------------------------------ restarts


class MortalStream(IterableDataset[Any]):
    """A stream of them: all of it, or the share of a worker."""

    def __init__(self, dataset: Mortal, *, shared: bool) -> None:
        self.dataset, self.shared = dataset, shared

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info and self.shared else (0, 1)
        return (self.dataset[index] for index in range(first, len(self.dataset), step))


def test_after_a_restart_not_one_batch_is_missing_or_doubled(tmp_path: Path) -> None:
    def load(deadly: dict[int, int], **options: Any) -> list[Any]:
        loader = DataLoader(
            Mortal(tmp_path, deadly), 2, shuffle=True, seed=3, num_workers=2, backend="process", **options
        )
        return list(loader)

    np.testing.assert_equal(load({1: 1, 11: 2, 12: 1, 22: 1}, on_worker_death="restart"), load({}))
    assert len(list(tmp_path.iterdir())) == 5, "it did not die so often"


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_restart_in_a_context(tmp_path: Path, context: str) -> None:
    loader = DataLoader(
        Mortal(tmp_path, {6: 2}),
        2,
        seed=3,
        num_workers=2,
        backend="process",
        multiprocessing_context=context,
        on_worker_death="restart",
    )
    without = DataLoader(Mortal(tmp_path, {}), 2, seed=3, num_workers=1, backend="process")
    np.testing.assert_equal(list(loader), list(without))


def test_a_restart_out_of_order_and_over_epochs(tmp_path: Path) -> None:
    """Persistent workers that die in two epochs; the number of deaths is counted for each task."""
    loader = DataLoader(
        Mortal(tmp_path, {5: 2, 10: 2, 15: 2, 22: 2}),
        2,
        num_workers=3,
        backend="process",
        persistent_workers=True,
        in_order=False,
        on_worker_death="restart",
    )
    for _ in range(2):
        assert sorted(index for batch in loader for index in batch["index"].tolist()) == list(range(24))
    assert len(list(tmp_path.iterdir())) == 8
    loader.close()


@pytest.mark.parametrize("options", [{"shared": True}, {"shared": False, "shard": True}])
def test_a_restart_in_a_stream(tmp_path: Path, options: dict[str, bool]) -> None:
    def load(deadly: dict[int, int], shared: bool, **rest: Any) -> list[Any]:
        stream = MortalStream(Mortal(tmp_path, deadly), shared=shared)
        loader = DataLoader(stream, 2, seed=3, num_workers=2, backend="process", on_worker_death="restart", **rest)
        return list(loader)

    np.testing.assert_equal(load({3: 1, 8: 2, 21: 1}, **options), load({}, **options))
    assert len(list(tmp_path.iterdir())) == 4


def test_batches_of_a_dead_worker_stay_valid(tmp_path: Path) -> None:
    loader = DataLoader(Mortal(tmp_path, {10: 1}), 2, num_workers=1, backend="process", on_worker_death="restart")
    kept = list(loader)
    assert [np.unique(batch["large"]).tolist() for batch in kept] == [[n, n + 1] for n in range(0, 24, 2)]
    for batch in kept:
        batch["large"] += 1


def test_a_worker_that_dies_while_it_starts_is_started_again(tmp_path: Path) -> None:
    once = Once(tmp_path, "death", DEATHS["exit"][0])

    def begin(worker: int) -> None:
        once()

    loader = DataLoader(range(8), 2, num_workers=2, backend="process", on_worker_death="restart", worker_init_fn=begin)
    assert lists(loader) == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_workers_that_die_together_between_epochs_are_started_again(eventually: Eventually) -> None:
    """As all of a machine do that runs out of memory: none of them is at fault."""
    options: dict[str, Any] = {"num_workers": 4, "backend": "process", "on_worker_death": "restart"}
    with DataLoader(range(16), 2, persistent_workers=True, **options) as loader:
        expected = lists(loader)
        pool: Any = next(iter(loader._pools._open))
        processes = pool.supervisor.processes
        eventually(lambda: all(process.pid for process in processes))  # an epoch may be over before all have started
        for process in processes:
            process.kill()
        for process in processes:
            process.wait(30)
        assert lists(loader) == expected


@pytest.mark.parametrize("where", ["in a task", "at the start"])
def test_worker_that_always_dies_is_given_up(where: str) -> None:
    die = DEATHS["exit"][0]
    loader = DataLoader(
        Failing(die) if where == "in a task" else range(8),
        num_workers=2,
        backend="process",
        on_worker_death="restart",
        worker_init_fn=(lambda worker: die()) if where == "at the start" else None,
    )
    with pytest.raises(WorkerDiedError, match=r"; so did 3 in a row, so it is not started again$"):
        list(loader)
