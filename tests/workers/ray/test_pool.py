"""Ray actors keep the rules of every pool, and give the batches of a loader without workers."""

from __future__ import annotations

import gc
from functools import partial
from typing import Any

import numpy as np
import pytest

from headrace import DataLoader, TensorDataset
from headrace.errors import ArgumentError, ArgumentTypeError, WorkerTraceback
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
    ],
)
def test_wrong_options_are_refused(options: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        DataLoader(images(), num_workers=1, backend="ray", ray_options=options)
    with pytest.raises(ArgumentError, match="ray_options is for backend='ray', but got"):
        DataLoader(images(), num_workers=1, backend="thread", ray_options={})
