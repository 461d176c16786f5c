"""Iterations that are left: no process, thread, descriptor or memory of a worker stays."""

from __future__ import annotations

import gc
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.loader.conftest import Footprint
from tests.loader.failing import (
    BACKENDS,
    CONTEXTS,
    Coded,
    Failing,
    Mortal,
    coded,
    dying,
    is_alive,
)

from headrace import DataLoader, Dataset
from headrace.errors import (
    HeadraceError,
    WorkerDiedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Eventually = Callable[[Callable[[], Any]], None]
    RunScript = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("by_value", "forks_quietly")


class Pids(Dataset[Any]):
    """Where each sample was read, with an array that travels in a block. It does not end soon."""

    def __init__(self) -> None:
        self.array = np.zeros(1 << 18, np.uint8)

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, index: int, /) -> Any:
        return os.getpid(), np.full(1 << 17, index, np.uint8) + self.array[0]


def use_up(loader: Any) -> None:
    for _ in loader:
        pass


def leave_by_break(loader: Any) -> None:
    for number, _ in enumerate(loader):
        if number == 3:
            break


def leave_by_del(loader: Any) -> None:
    batches = iter(loader)
    next(batches)
    del batches


def leave_in_a_circle(loader: Any) -> None:
    circle: list[Any] = [iter(loader)]
    next(circle[0])
    circle.append(circle)
    del circle
    gc.collect()


def leave_by_an_error(loader: Any) -> None:
    with pytest.raises(KeyError):  # noqa: PT012 - the loop is what is left
        for _ in loader:
            raise KeyError


def leave_before_the_first(loader: Any) -> None:
    iter(loader)


def leave_by_close(loader: Any) -> None:
    batches = iter(loader)
    next(batches)
    loader.close()
    with pytest.raises(HeadraceError, match=r"^the loader is closed"):
        next(batches)


def leave_by_with(loader: Any) -> None:
    with loader:
        for _ in loader:
            return


def leave_to_a_thread(loader: Any) -> None:
    thread = threading.Thread(target=leave_by_break, args=(loader,))
    thread.start()
    thread.join()


def leave_two(loader: Any) -> None:
    one, other = iter(loader), iter(loader)
    for _ in range(3):
        next(one), next(other)


LEAVINGS: dict[str, Callable[[Any], None]] = {
    name: value for name, value in globals().items() if name.startswith("leave_")
}


@pytest.mark.parametrize("leave", LEAVINGS.values(), ids=LEAVINGS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_left_behind(leave: Callable[[Any], None], backend: Any, before: Footprint) -> None:
    leave(DataLoader(Pids(), 2, num_workers=1, backend=backend))
    before.check_is_back()


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_left_behind_by_an_error_of_a_sample(backend: Any, before: Footprint) -> None:
    with suppress(Coded):
        use_up(DataLoader(Failing(coded), num_workers=2, backend=backend))
    before.check_is_back()


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_left_behind_by_persistent_workers(backend: Any, before: Footprint) -> None:
    loader = DataLoader(Pids(), 2, num_workers=2, backend=backend, persistent_workers=True)
    for leave in LEAVINGS.values():
        if leave not in (leave_by_close, leave_by_with):
            leave(loader)
    assert any(batch for batch in loader)
    del loader
    before.check_is_back()
    for last in leave_by_close, leave_by_with:
        last(DataLoader(Pids(), 2, num_workers=1, backend=backend, persistent_workers=True))
        before.check_is_back()


@pytest.mark.parametrize("context", CONTEXTS)
def test_nothing_is_left_behind_by_a_context(context: str) -> None:
    def leave() -> None:
        leave_by_break(DataLoader(Pids(), 2, num_workers=2, backend="process", multiprocessing_context=context))

    leave()  # a server of multiprocessing stays, once
    before = Footprint()
    leave()
    before.check_is_back()


def test_nothing_is_left_behind_by_deaths_and_restarts(tmp_path: Path, before: Footprint) -> None:
    loader = DataLoader(Mortal(tmp_path, {5: 2, 15: 2}), 2, num_workers=2, backend="process", on_worker_death="restart")
    assert len(list(loader)) == 12
    with pytest.raises(WorkerDiedError):
        list(DataLoader(dying("exit"), num_workers=2, backend="process"))
    del loader
    before.check_is_back()


def test_batches_outlive_everything(before: Footprint) -> None:
    loader = DataLoader(Pids(), 2, num_workers=2, backend="process")
    pids, arrays = next(iter(loader))
    loader.close()
    del loader
    gc.collect()
    assert not any(map(is_alive, pids.tolist()))
    assert [np.unique(row).tolist() for row in arrays] == [[0], [1]]
    arrays += 1
    view = arrays[1, 7:]
    del arrays
    assert view[0] == 2
    del view
    before.check_is_back()
