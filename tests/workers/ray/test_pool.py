"""Ray actors keep the rules of every pool, and give the batches of a loader without workers."""

from __future__ import annotations

import gc
from functools import partial
from typing import Any

import numpy as np
import pytest

from headrace import DataLoader, TensorDataset
from headrace.errors import ArgumentError, ArgumentTypeError, WorkerError, WorkerTraceback
from headrace.testing import check_pool

pytest.importorskip("ray")

pytestmark = [pytest.mark.usefixtures("by_value"), pytest.mark.filterwarnings("ignore:.*Ray actors have not started")]


def images(samples: int = 300) -> TensorDataset:
    return TensorDataset(
        np.arange(samples * 3 * 32 * 32, dtype=np.float32).reshape(samples, 3, 32, 32), np.arange(samples)
    )


def test_pool_passes_check_pool(ray_options: dict[str, Any]) -> None:
    from headrace.workers.ray.pool import RayPool

    check_pool(partial(RayPool, ray_options=ray_options))


def test_batches_are_those_without_workers_and_may_be_written_to(ray_options: dict[str, Any]) -> None:
    dataset = images()
    inline = DataLoader(dataset, 64, shuffle=True, seed=1)
    epochs = [[(x.copy(), y.copy()) for x, y in inline] for _ in range(2)]
    options: dict[str, Any] = {"num_workers": 2, "persistent_workers": True, "ray_options": ray_options}
    with DataLoader(dataset, 64, shuffle=True, seed=1, backend="ray", **options) as loader:
        for epoch in epochs:
            kept = []
            for (x, y), (expected_x, expected_y) in zip(loader, epoch, strict=True):
                np.testing.assert_array_equal(x, expected_x)
                np.testing.assert_array_equal(y, expected_y)
                x[:] = y[:, None, None, None]
                kept.append((x, y))
            for x, y in kept:  # none of the memory has been used again
                np.testing.assert_array_equal(x, np.broadcast_to(y[:, None, None, None], x.shape))


class Failing:
    """A dataset some of whose samples fail, with an error whose constructor takes other arguments than it stores."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> int:
        if index == 3:
            raise SampleError(index, word="broken")
        return index


class SampleError(Exception):
    def __init__(self, index: int, *, word: str) -> None:
        super().__init__(f"{word} {index}")
        self.index = index


def test_errors_are_those_of_processes(ray_options: dict[str, Any]) -> None:
    with DataLoader(Failing(), num_workers=1, backend="ray", ray_options=ray_options) as loader:
        batches = iter(loader)
        assert [int(next(batches)[0]) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(SampleError, match="broken 3") as caught:
            next(batches)
        assert type(caught.value) is SampleError
        assert caught.value.index == 3
        assert "in step 3 of epoch 0" in "".join(caught.value.__notes__)
        assert isinstance(caught.value.__cause__, WorkerTraceback)
        assert "__getitem__" in str(caught.value.__cause__)
        assert int(next(batches)[0]) == 4


def test_state_goes_on_with_another_number_of_actors(cluster: Any) -> None:
    dataset = images(90)
    expected = [y.tolist() for _, y in DataLoader(dataset, 8, shuffle=True, seed=2)]
    with DataLoader(dataset, 8, shuffle=True, seed=2, num_workers=2, backend="ray") as loader:
        batches = iter(loader)
        assert [next(batches)[1].tolist() for _ in range(5)] == expected[:5]
        state = loader.state_dict()
    resumed = DataLoader(dataset, 8, shuffle=True, seed=2, num_workers=1, backend="ray")
    resumed.load_state_dict(state)
    with resumed:
        assert [y.tolist() for _, y in resumed] == expected[5:]


def test_actors_end_with_the_loader(cluster: Any) -> None:
    import ray

    loader = DataLoader(images(), 8, num_workers=2, ray_options={"num_cpus": 1})
    batches = iter(loader)
    next(batches)
    workers = next(iter(loader._pools._open)).supervisor.workers  # type: ignore[attr-defined]
    del batches, loader
    gc.collect()
    assert all(worker.reference is None for worker in workers)
    wait_until(lambda: ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"])


def wait_until(condition: Any) -> None:
    from time import monotonic, sleep

    deadline = monotonic() + 20
    while not condition():
        assert monotonic() < deadline
        sleep(0.1)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ([], ArgumentTypeError, "ray_options must be a dict or None, but got ray_options="),
        ({"cpus": 1}, ArgumentError, "ray_options may have 'address', 'num_cpus', .*, but got 'cpus'"),
        ({"num_cpus": -1}, ArgumentError, "num_cpus in ray_options must be a non-negative number"),
        ({"num_cpus": True}, ArgumentError, "num_cpus in ray_options must be a non-negative number"),
        ({"num_cpus": float("inf")}, ArgumentError, "num_cpus in ray_options must be a non-negative number"),
        ({"num_cpus": "2"}, ArgumentError, "num_cpus in ray_options must be a non-negative number"),
        ({"resources": "gpu"}, ArgumentError, "resources in ray_options must be a dict of names and non-negative"),
        ({"resources": {"CPU": 1}}, ArgumentError, "without those of CPU and GPU, but got {'CPU': 1}"),
        ({"resources": {"disk": None}}, ArgumentError, "resources in ray_options must be a dict of names"),
        ({"label_selector": {"zone": 1}}, ArgumentError, "label_selector in ray_options must be a dict of labels"),
        ({"scheduling_strategy": "SPRED"}, ArgumentError, "must be 'DEFAULT', 'SPREAD' or an object of ray"),
        ({"scheduling_strategy": 5}, ArgumentError, "must be 'DEFAULT', 'SPREAD' or an object of ray"),
        ({"runtime_env": "pip"}, ArgumentError, "runtime_env in ray_options must be a dict"),
        ({"address": 6379}, ArgumentError, "address in ray_options must be the host:port of a cluster"),
        ({"address": "head"}, ArgumentError, "address in ray_options must be the host:port of a cluster"),
        ({"address": "ray://head:10001"}, ArgumentError, "that of a Ray Client.* run the program on a node"),
    ],
)
def test_wrong_options_are_refused_at_once(options: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        DataLoader(images(), num_workers=1, backend="ray", ray_options=options)
    with pytest.raises(ArgumentError, match="ray_options is for backend='ray', but got"):
        DataLoader(images(), num_workers=1, backend="thread", ray_options={})


def test_options_that_say_nothing_and_numbers_of_numpy_are_taken(cluster: Any) -> None:
    for options in ({"num_cpus": None, "resources": None}, {"num_cpus": np.int64(1)}, {"num_cpus": np.float32(0.5)}):
        with DataLoader(range(4), 2, num_workers=1, backend="ray", ray_options=options) as loader:
            assert [batch.tolist() for batch in loader] == [[0, 1], [2, 3]]


def test_what_ray_refuses_is_an_argument_error(cluster: Any) -> None:
    loader = DataLoader(range(4), num_workers=1, backend="ray", ray_options={"label_selector": {"no name!": "x"}})
    with pytest.raises(ArgumentError, match=r"Ray does not take these ray_options: .*no name!"):
        next(iter(loader))


def test_another_cluster_than_the_one_that_was_joined_is_refused(cluster: Any) -> None:
    host, _, port = cluster.address.rpartition(":")
    for address in ("auto", cluster.address, f"localhost:{port}"):
        with DataLoader(range(4), 4, num_workers=1, backend="ray", ray_options={"address": address}) as loader:
            assert len(list(loader)) == 1
    for address in (f"{host}:{int(port) + 1}", f"192.0.2.77:{port}"):
        loader = DataLoader(range(4), num_workers=1, backend="ray", ray_options={"address": address})
        with pytest.raises(WorkerError, match=f"has joined the Ray cluster at .*asks for the one at {address}"):
            next(iter(loader))
