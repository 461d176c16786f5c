"""Loaders with workers in datasets, in threads, and at the limits of the system."""

from __future__ import annotations

import re
import threading
from time import sleep
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.loader.failing import (
    BACKENDS,
    lists,
)

from headrace import DataLoader, Dataset, MapDataset
from headrace.errors import (
    HeadraceError,
    WorkerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.loader.conftest import Footprint

    Eventually = Callable[[Callable[[], Any]], None]
    RunScript = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("by_value", "forks_quietly")


class Nested(Dataset[Any]):
    """A loader in each sample."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int, /) -> Any:
        return np.concatenate(list(DataLoader(range(index, index + 6), 2, num_workers=2, **self.options)))


THREADS, PROCESSES, FORKS = {"backend": "thread"}, {"backend": "process"}, {"multiprocessing_context": "fork"}


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        (THREADS, THREADS),
        (THREADS, PROCESSES),
        (PROCESSES, THREADS),
        (PROCESSES, PROCESSES),
        (FORKS, THREADS),
        (FORKS, FORKS),
    ],
)
def test_a_loader_in_a_dataset(outer: dict[str, Any], inner: dict[str, Any], before: Footprint) -> None:
    loader = DataLoader(Nested(**inner), 2, num_workers=2, **outer)
    assert lists(loader) == [[list(range(n, n + 6)), list(range(n + 1, n + 7))] for n in (0, 2)]
    before.check_is_back()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loader_in_a_thread(backend: Any) -> None:
    """Several at once, each in a thread of its own, of which one begins what another goes on with."""
    found: dict[int, Any] = {}
    loader = DataLoader(range(40), 4, num_workers=2, backend=backend, shuffle=True, seed=3)
    batches = iter(loader)

    def walk(number: int) -> None:
        own = DataLoader(range(40), 4, num_workers=1, backend=backend, shuffle=True, seed=number)
        found[number] = lists(own if number else batches)

    threads = [threading.Thread(target=walk, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(3):
        assert found[number] == lists(DataLoader(range(40), 4, shuffle=True, seed=number or 3))


@pytest.mark.parametrize("backend", BACKENDS)
def test_closed_by_another_thread_while_a_batch_is_waited_for(backend: Any) -> None:
    def wait(index: int) -> int:
        sleep(0.5 if index else 0)
        return index

    loader = DataLoader(MapDataset(range(8), wait), num_workers=1, backend=backend)
    batches = iter(loader)
    next(batches)
    closing = threading.Timer(0.1, loader.close)
    closing.start()
    with pytest.raises(HeadraceError, match=r"closed|have ended"):
        list(batches)
    closing.join()


def test_no_descriptor_is_left_for_a_batch(run_script: RunScript) -> None:
    """All that is kept stays; whoever goes on hears it again."""
    script = run_script(
        """
        import os, resource
        import numpy as np
        from headrace import DataLoader, TensorDataset

        rows = np.arange(300)[:, None].repeat(20_000, 1)
        batches = iter(DataLoader(TensorDataset(rows), num_workers=2, backend="process"))
        kept = [next(batches)[0] for _ in range(4)]
        most = len(os.listdir("/proc/self/fd")) + 4
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        for _ in range(2):
            try:
                while True:
                    kept.append(next(batches)[0])
            except RuntimeError as error:
                print(error)
        assert [int(batch[0, 0]) for batch in kept] == list(range(len(kept)))
        assert len(os.listdir("/proc/self/fd")) <= len(kept) + 8
        """
    )
    one, other = script.output().splitlines()
    assert re.match(
        r"a batch of worker \d cannot be taken in: \[Errno 24\] Too many open files; keep fewer batches", one
    )
    assert one == other


def test_closed_pool_raises() -> None:
    loader = DataLoader(range(8), 2, num_workers=1, backend="process")
    batches = iter(loader)
    next(batches)
    (pool,) = loader._pools._open
    pool.close()
    with pytest.raises(WorkerError, match=r"^the workers have ended; begin a new iterator$"):
        next(batches)


def test_stdin_and_output_of_workers(run_script: RunScript) -> None:
    """What a dataset prints is seen; what is typed is not a worker's."""
    script = run_script(
        """
        import sys
        from headrace import DataLoader

        def say(samples):
            print("said", samples, sys.stdin.read(), flush=True)
            return samples

        assert list(DataLoader(range(2), num_workers=1, backend="process", collate_fn=say)) == [[0], [1]]
        """
    )
    assert script.output() == "said [0] \nsaid [1] \n"
