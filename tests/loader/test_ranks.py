"""The rank of a loader as it is found: of variables, libraries and meshes, and never guessed where they disagree."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from headrace import DataLoader
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.loader.ranks import find_ranks

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "16"}
VARIABLES: tuple[str, ...] = (
    "RANK",
    "WORLD_SIZE",
    "SLURM_PROCID",
    "SLURM_NTASKS",
    "SLURM_STEP_NUM_TASKS",
    "GROUP_RANK",
)
VARIABLES += ("GROUP_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (0, 1)),
        (TORCHRUN, (5, 16)),
        ({"SLURM_PROCID": "3", "SLURM_NTASKS": "4"}, (3, 4)),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "2"}, (1, 2)),
        ({"SLURM_NTASKS": "4"}, (0, 1)),  # of a job that has not started its tasks
        ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"}, (0, 2)),
        (TORCHRUN | {"SLURM_PROCID": "5", "SLURM_NTASKS": "16"}, (5, 16)),
        # SLURM has started torchrun on each of two nodes
        (TORCHRUN | {"GROUP_RANK": "0", "GROUP_WORLD_SIZE": "2", "SLURM_PROCID": "0", "SLURM_NTASKS": "2"}, (5, 16)),
    ],
)
def test_variables_of_launchers(environment: dict[str, str], expected: tuple[int, int]) -> None:
    assert find_ranks(environment) == expected


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (TORCHRUN | {"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, "torchrun says rank 5 of 16, SLURM says rank 1 of 2"),
        ({"RANK": "5"}, "found RANK='5' and no WORLD_SIZE; set both"),
        ({"RANK": "5", "WORLD_SIZE": "5"}, "RANK='5' and WORLD_SIZE='5', which is no rank"),
        ({"RANK": "first", "WORLD_SIZE": "5"}, "RANK='first' and WORLD_SIZE='5', which is no rank"),
        ({"RANK": "-1", "WORLD_SIZE": "5"}, "which is no rank"),
    ],
)
def test_variables_that_say_no_rank(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        find_ranks(environment)


def test_a_loader_takes_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    loader = DataLoader(range(10), batch_size=2, ranks="auto")
    assert (loader.rank, loader.world_size, loader.ranks) == (1, 2, "auto")
    given = DataLoader(range(10), batch_size=2, rank=1, world_size=2)
    assert [batch.tolist() for batch in loader] == [batch.tolist() for batch in given]


def test_without_ranks_variables_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert DataLoader(range(10)).world_size == 1


def test_a_rank_that_was_found_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    loader = DataLoader(range(10), batch_size=2, ranks="auto")
    monkeypatch.setenv("RANK", "0")
    loader.num_workers = 1
    assert loader.rank == 1


def test_a_process_group_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)
    assert find_ranks({}) == (2, 3)
    assert find_ranks({"RANK": "2", "WORLD_SIZE": "3"}) == (2, 3)
    with pytest.raises(ArgumentError, match="torch's process group says rank 2 of 3, torchrun says rank 5 of 16"):
        find_ranks(TORCHRUN)


def test_processes_of_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    jax = pytest.importorskip("jax")
    assert find_ranks({}) == (0, 1)
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert find_ranks({}) == (1, 2)


class Context:
    @staticmethod
    def get_world_rank() -> int:
        return 3

    @staticmethod
    def get_world_size() -> int:
        return 4


def test_a_worker_of_ray_train(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray.train", SimpleNamespace(get_context=Context))
    assert find_ranks({}) == (3, 4)


def test_a_program_that_has_imported_ray_train_and_is_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_context() -> None:
        raise RuntimeError("no training")

    monkeypatch.setitem(sys.modules, "ray.train", SimpleNamespace(get_context=get_context))
    assert find_ranks({}) == (0, 1)


class Mesh:
    """What a DeviceMesh of torch tells."""

    def __init__(self, coordinate: list[int] | None, **sizes: int) -> None:
        self.shape = tuple(sizes.values())
        self.mesh_dim_names = tuple(sizes)
        self._coordinate = coordinate

    def get_coordinate(self) -> list[int] | None:
        return self._coordinate


@pytest.mark.parametrize(
    ("mesh", "expected"),
    [
        (Mesh([2], any=4), (2, 4)),
        (Mesh([1, 3], dp=2, tp=4), (1, 2)),
        (Mesh([1, 2, 0], dp_replicate=2, dp_shard=3, tp=2), (5, 6)),
        (Mesh([1, 1], model=2, data=3), (1, 3)),
    ],
)
def test_meshes(mesh: Mesh, expected: tuple[int, int]) -> None:
    loader = DataLoader(range(24), batch_size=2, device_mesh=mesh)
    assert (loader.rank, loader.world_size) == expected


def test_a_mesh_of_torch_itself() -> None:
    dist = pytest.importorskip("torch.distributed")
    from torch.distributed.device_mesh import init_device_mesh
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", rank=5, world_size=8, store=FakeStore())
    try:
        assert find_ranks({}) == (5, 8)
        mesh = init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("dp_replicate", "dp_shard", "tp"))
        for part, expected in ((mesh, (2, 4)), (mesh["dp_shard"], (0, 2)), (mesh["dp_replicate", "tp"], (1, 2))):
            loader = DataLoader(range(24), batch_size=2, device_mesh=part)
            assert (loader.rank, loader.world_size) == expected
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize(
    ("mesh", "message"),
    [(Mesh(None, dp=2), "does not hold this process"), (Mesh([0, 0], tp=2, pp=2), "none of the dimensions")],
)
def test_meshes_without_a_rank(mesh: Mesh, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        DataLoader(range(24), batch_size=2, device_mesh=mesh)


def test_what_is_no_mesh() -> None:
    with pytest.raises(ArgumentTypeError, match="must be a torch DeviceMesh, but got a list"):
        DataLoader(range(24), batch_size=2, device_mesh=[0, 1])


def test_replicas_get_the_same_data() -> None:
    def batches(rank: int) -> list[Any]:
        loader = DataLoader(range(24), batch_size=2, rank=rank, world_size=4, replication=2, shuffle=True, seed=0)
        return [batch.tolist() for batch in loader]

    first, second, third, fourth = map(batches, range(4))
    assert first == second != third == fourth
    assert sorted(np.ravel(first + third).tolist()) == list(range(24))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ranks": "auto", "rank": 0, "world_size": 2}, "rank and ranks are mutually exclusive"),
        ({"ranks": "auto", "device_mesh": Mesh([0], dp=2)}, "ranks and device_mesh are mutually exclusive"),
        ({"ranks": "auto", "world_size": 2}, "ranks says how many ranks there are, too, but got world_size=2"),
        ({"device_mesh": Mesh([0], dp=2), "world_size": 2}, "device_mesh says how many ranks there are"),
        ({"ranks": 4}, "ranks must be 'auto' or None, but got ranks=4; give a rank as rank="),
        ({"replication": 2}, "replication needs ranks"),
        ({"rank": 0, "world_size": 3, "replication": 2}, "replication=2 does not divide world_size=3"),
        ({"rank": 0, "world_size": 2, "replication": 0}, "replication must be a positive integer"),
        ({"device_mesh": Mesh([0], dp=2), "replication": 2}, "replication and device_mesh are mutually exclusive"),
    ],
)
def test_arguments_that_exclude_each_other(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        DataLoader(range(24), batch_size=2, **arguments)
