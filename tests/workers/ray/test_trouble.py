"""A lost actor or node costs no batch and doubles none, and nothing is left behind however a program ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent
from threading import Event
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.ray_cluster import FAR

from headrace import DataLoader, TensorDataset
from headrace.errors import HeadraceWarning, WorkerDiedError, WorkerError, WorkerTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

pytest.importorskip("ray")

pytestmark = [pytest.mark.usefixtures("by_value"), pytest.mark.filterwarnings("ignore:.*Ray actors have not started")]

NEAR = {"num_cpus": 1}


class Slow:
    """A dataset whose samples take a while, so that an actor is killed with some in hand."""

    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> int:
        sleep(0.01)
        return index


def worker_of(loader: Any, number: int = 0) -> Any:
    pool: Any = next(iter(loader._pools._open))
    return pool.supervisor.workers[number]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + 30
    while not condition():
        assert monotonic() < deadline
        sleep(0.1)


def test_killed_actor_costs_no_batch(ray_options: dict[str, Any]) -> None:
    options: dict[str, Any] = {"backend": "ray", "ray_options": ray_options, "on_worker_death": "restart"}
    with DataLoader(Slow(), 2, shuffle=True, seed=3, num_workers=2, **options) as loader:
        expected = [loader.batch(step, epoch=0).tolist() for step in range(30)]
        batches = iter(loader)
        found = [next(batches).tolist() for _ in range(5)]
        worker = worker_of(loader)
        wait_until(lambda: worker.pid is not None)  # the batches may be of the other one
        os.kill(worker.pid, signal.SIGKILL)
        assert found + [batch.tolist() for batch in batches] == expected


def test_killed_actor_is_named(cluster: Any) -> None:
    with DataLoader(Slow(), 2, num_workers=1, backend="ray", ray_options=NEAR) as loader:
        batches = iter(loader)
        next(batches)
        worker = worker_of(loader)
        os.kill(worker.pid, signal.SIGKILL)
        where = rf"process {worker.pid} on node {worker.place.node}"
        text = rf"worker 0 \({where}\) ended while it loaded step \d+ of epoch 0"
        with pytest.raises(WorkerDiedError, match=text) as caught:
            list(batches)
        assert caught.value.pid == worker.pid
        assert type(caught.value.__cause__).__module__ == "ray.exceptions"
        with pytest.raises(WorkerDiedError, match=text):
            next(batches)


class Deadly:
    """A dataset with a sample that no worker survives."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        if index == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return index


def test_deadly_sample_is_not_tried_for_ever(cluster: Any) -> None:
    options: dict[str, Any] = {"ray_options": {"num_cpus": 0}, "on_worker_death": "restart"}
    with DataLoader(Deadly(), num_workers=1, backend="ray", **options) as loader:
        batches = iter(loader)
        assert [int(next(batches)[0]), int(next(batches)[0])] == [0, 1]
        with pytest.raises(WorkerDiedError, match=r"(?s)step 2 of epoch 0.* so did 3 in a row"):
            next(batches)


class Endless(Slow):
    """A dataset whose samples never come."""

    def __getitem__(self, index: int) -> int:
        Event().wait()
        return index


def test_loader_that_another_thread_closes_ends(cluster: Any) -> None:
    with DataLoader(Endless(), num_workers=1, backend="ray", ray_options={"num_cpus": 0}) as loader:
        batches = iter(loader)
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(next, batches)
            wait_until(lambda: len(loader._pools._open) > 0 and worker_of(loader).is_ready)
            loader.close()
            with pytest.raises(WorkerError, match="the workers have ended; begin a new iterator"):
                waiting.result(30)


def test_stopped_actor_shows_through_the_timeout(cluster: Any) -> None:
    with DataLoader(Slow(), num_workers=1, backend="ray", ray_options=NEAR, timeout=30) as loader:
        batches = iter(loader)
        next(batches)
        worker = worker_of(loader)
        pool: Any = next(iter(loader._pools._open))
        pool.supervisor._timeout = 1.0
        os.kill(worker.pid, signal.SIGSTOP)
        with pytest.raises(WorkerTimeoutError, match=rf"process {worker.pid} on node .*: step \d+ of epoch 0"):
            list(batches)


def test_what_cannot_be_scheduled_is_said(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.workers.ray.supervisor._LONG_START", 0.5)
    for name, asked in {
        "moon": {"num_cpus": 1, "resources": {"moon": 2}},
        "role": {"num_cpus": 1, "label_selector": {"role": "decode"}},
        "far": {"num_cpus": 1, "resources": {"far": 1}},  # the cluster has both, but no node of it
    }.items():
        with DataLoader(Slow(), num_workers=1, backend="ray", ray_options=asked, timeout=2) as loader:
            text = rf"1 of 1 Ray actors have not started .*{name}.*the cluster has .*CPU 4.*far 4"
            with pytest.warns(HeadraceWarning, match=text), pytest.raises(WorkerTimeoutError, match=name):
                next(iter(loader))


def test_a_window_that_fills_the_store_is_said_unless_it_is_bounded(
    cluster: Any, recwarn: pytest.WarningsRecorder
) -> None:
    rows = TensorDataset(np.zeros((12, 4 << 20), np.uint8))
    options: dict[str, Any] = {"num_workers": 2, "backend": "ray", "ray_options": FAR, "prefetch_factor": 8}
    for bound, said in ((32 << 20, 0), (None, 1)):
        recwarn.clear()
        with DataLoader(rows, 2, prefetch_bytes=bound, **options) as loader:
            assert len(list(loader)) == 6
        texts = [str(each.message) for each in recwarn if "object store of a Ray node" in str(each.message)]
        assert len(texts) == said


def test_killed_node_costs_no_batch(cluster: Any) -> None:
    node = cluster.add_node(num_cpus=0, resources={"doomed": 1}, object_store_memory=100 << 20)
    options: dict[str, Any] = {"resources": {"doomed": 0.01}, "num_cpus": 0}
    images = np.arange(40 * 30_000, dtype=np.float32).reshape(40, -1)
    more: dict[str, Any] = {"on_worker_death": "restart", "persistent_workers": True, "timeout": 60}
    with DataLoader(TensorDataset(images), 2, num_workers=1, backend="ray", ray_options=options, **more) as loader:
        batches = iter(loader)
        found = [next(batches)[0]]
        pool: Any = next(iter(loader._pools._open))
        cluster.add_node(num_cpus=0, resources={"doomed": 1}, object_store_memory=100 << 20)
        cluster.remove_node(node, allow_graceful=False)
        found += [batch[0] for batch in batches]
        assert pool.supervisor.workers[0].place.node != node.node_id
    np.testing.assert_array_equal(np.concatenate(found), images)


PROGRAM = """
    import os, signal, sys, time
    import ray
    from headrace import DataLoader

    class Slow:
        def __len__(self):
            return 10_000
        def __getitem__(self, index):
            time.sleep(0.01)
            return index

    ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
    loader = DataLoader(Slow(), num_workers=1, ray_options={"num_cpus": 1})
    batches = iter(loader)
    next(batches)
    pool = next(iter(loader._pools._open))
    print(pool.supervisor.workers[0].pid, flush=True)
    if sys.argv[2] == "break":
        sys.exit()
    for _ in batches:
        pass
"""


@pytest.mark.parametrize("how", ["break", "SIGINT", "SIGKILL"])
@pytest.mark.usefixtures("interruptible")
def test_no_actor_outlives_the_program(cluster: Any, tmp_path: Path, how: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(dedent(PROGRAM), encoding="utf-8")
    command = [sys.executable, program, cluster.address, how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        pid = int(running.stdout.readline())
        if how != "break":
            running.send_signal(getattr(signal, how))
        _, errors = running.communicate(timeout=60)
    assert ("KeyboardInterrupt" in errors) is (how == "SIGINT")
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
