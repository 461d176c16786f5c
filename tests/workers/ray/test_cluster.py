"""Without a cluster to join a small local one is started; one that is asked for and not there is an error at once."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from textwrap import dedent

import pytest

from headrace.errors import WorkerError

pytest.importorskip("ray")

# Half a core for each of so many workers as make an odd number; then two loaders that keep their workers, as of
# training and validation, each of which would take all cores; then one whose cluster is gone.
PROGRAM = """
    import os
    import warnings
    import numpy as np
    from headrace import DataLoader

    warnings.simplefilter("ignore")
    options = {"backend": "ray", "persistent_workers": True, "timeout": 300}
    half = {"num_cpus": 0.5}
    workers = 2 * os.cpu_count() + 1
    with DataLoader(range(6), 2, num_workers=workers, ray_options=half, **options) as loader:
        while any(worker.pid is None for pool in loader._pools._open for worker in pool.supervisor.workers):
            list(loader)
        print([batch.tolist() for batch in loader])

    import ray

    print(ray.get_runtime_context().gcs_address.partition(":")[0])
    cores = int(ray.cluster_resources()["CPU"])
    print(cores - os.cpu_count())
    loaders = [DataLoader(range(4), 2, num_workers=cores, **options) for _ in range(2)]
    for _ in range(2):
        print([batch.tolist() for loader in loaders for batch in loader])

    batches = iter(loaders[0])
    next(batches)
    ray.shutdown()
    try:
        next(batches)
    except RuntimeError as error:
        print(error)
    for loader in loaders:
        loader.close()
    print(ray.is_initialized())
"""


def test_a_local_cluster_is_small_on_loopback_and_has_room_for_two_loaders() -> None:
    with tempfile.TemporaryDirectory() as home:  # of a short name, in which Ray has sockets
        environment = {**os.environ, "HOME": home, "RAY_TMPDIR": home}
        environment.pop("RAY_ADDRESS", None)
        command = [sys.executable, "-c", dedent(PROGRAM)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    epoch = "[0, 1], [2, 3]"
    assert done.stdout.splitlines() == [
        f"[{epoch}, [4, 5]]",
        "127.0.0.1",
        "1",
        f"[{epoch}, {epoch}]",
        f"[{epoch}, {epoch}]",
        "Ray has been shut down, and with it the workers; begin a new iterator",
        "False",
    ]


def test_local_is_one_that_is_started_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small and on loopback, as without an address, and not as Ray would start it."""
    import ray

    from headrace.workers.ray import cluster

    started: list[int] = []
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster, "_start", lambda _, cores: started.append(cores))
    cluster.join_cluster({"address": "local"}, 100)
    monkeypatch.setenv("RAY_ADDRESS", "local")
    cluster.join_cluster({}, 100)
    assert started == [100, 100]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:6379"])
def test_an_address_where_nothing_answers_is_an_error(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    from headrace.workers.ray.cluster import join_cluster

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(WorkerError, match=f"there is no Ray cluster to join at {address}: "):
        join_cluster({"address": address}, 1)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(WorkerError, match=f"there is no Ray cluster to join at {address}: "):
        join_cluster({}, 1)
