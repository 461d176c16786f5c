"""The rank of a loader: given, or found from what has started the program."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace import frameworks
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.workers.backends import ranks_of_backends

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["RankAndSize", "find_ranks", "resolve_ranks"]


class RankAndSize(NamedTuple):
    """A rank, and how many there are."""

    rank: int
    world_size: int


class _Variables(NamedTuple):
    """The environment variables in which a launcher says the rank of a process, and of how many."""

    launcher: str
    rank: str
    sizes: tuple[str, ...]  # the first that is set counts


# torchrun: https://docs.pytorch.org/docs/stable/elastic/run.html; SLURM: man srun, "OUTPUT ENVIRONMENT VARIABLES"; Open
# MPI: https://docs.open-mpi.org, "Environment variables": what jax.distributed reads, too.
_LAUNCHERS = (
    _Variables("torchrun", "RANK", ("WORLD_SIZE",)),
    _Variables("SLURM", "SLURM_PROCID", ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")),
    _Variables("Open MPI", "OMPI_COMM_WORLD_RANK", ("OMPI_COMM_WORLD_SIZE",)),
)
# Where torchrun has been started by SLURM, or by Open MPI, their ranks are those of the nodes, which it tells as well.
_OF_NODES = _Variables("torchrun", "GROUP_RANK", ("GROUP_WORLD_SIZE",))


def resolve_ranks(given: Mapping[str, Any]) -> dict[str, int]:
    """Return `rank` and `world_size` where other arguments of a loader say them; nothing where none does.

    Args:
        given: the loader's arguments by name, unchecked: `rank`, `world_size`, `ranks`, `device_mesh`, `replication`.

    Raises:
        ArgumentError: two of them exclude each other, what was found disagrees, or `replication` does not divide the
            ranks.
        ArgumentTypeError: `device_mesh` is none.
    """
    ways = [name for name in ("rank", "ranks", "device_mesh") if given[name] is not None]
    if len(ways) > 1:
        raise ArgumentError(f"{' and '.join(ways)} are mutually exclusive: each of them says which rank this is")
    if given["world_size"] is not None and ways not in ([], ["rank"]):
        raise ArgumentError(
            f"{ways[0]} says how many ranks there are, too, but got world_size={given['world_size']!r}; leave it out"
        )
    if given["ranks"] not in (None, "auto"):
        raise ArgumentError(f"ranks must be 'auto' or None, but got ranks={given['ranks']!r}; give a rank as rank=")
    if given["ranks"] is not None:
        found = find_ranks()
    elif given["device_mesh"] is not None:
        found = _rank_in_mesh(given["device_mesh"])
    else:
        found = RankAndSize(given["rank"], given["world_size"])
    if given["replication"] is not None:
        return _divided(found, given["replication"], given["device_mesh"])._asdict()
    return {} if ways in ([], ["rank"]) else found._asdict()


def find_ranks(environment: Mapping[str, str] = os.environ) -> RankAndSize:
    """Return the rank of this process, as whoever has started it says; rank 0 of 1 where nobody does.

    An initialised process group of torch, `jax.distributed`, a worker of Ray Train, and the variables of torchrun,
    SLURM and Open MPI are asked. None of the libraries is imported for it.

    Args:
        environment: where the variables are.

    Raises:
        ArgumentError: two of them disagree, or variables are incomplete.

    >>> find_ranks({"RANK": "1", "WORLD_SIZE": "4"})
    RankAndSize(rank=1, world_size=4)
    """
    found = dict(_of_libraries())
    found |= _of_launchers(environment)
    if len(set(found.values())) > 1:
        words = ", ".join(f"{name} says rank {each.rank} of {each.world_size}" for name, each in found.items())
        raise ArgumentError(
            f"ranks='auto' found ranks that disagree: {words}; give rank= and world_size=, or unset what does not hold"
        )
    return next(iter(found.values()), RankAndSize(0, 1))


def _of_libraries() -> Iterator[tuple[str, RankAndSize]]:
    """Yield what libraries say that the program has imported and set up."""
    for name, ranks in frameworks.ranks_in_use():
        yield name, RankAndSize(*ranks)
    for name, *numbers in ranks_of_backends():
        yield name, RankAndSize(*numbers)


def _of_launchers(environment: Mapping[str, str]) -> dict[str, RankAndSize]:
    """Return what launchers say; those that have started torchrun on each node, and nothing else, are left out."""
    of_nodes = _read(_OF_NODES, environment)
    found = {}
    for variables in _LAUNCHERS:
        ranks = _read(variables, environment)
        if ranks is not None and not (variables.rank != "RANK" and ranks == of_nodes and "RANK" in environment):
            found[variables.launcher] = ranks
    return found


def _read(variables: _Variables, environment: Mapping[str, str]) -> RankAndSize | None:
    """Return what the variables of a launcher say; None where they are not set."""
    size_name = next((name for name in variables.sizes if name in environment), None)
    if variables.rank not in environment:
        return None  # a size alone is set where a job asks for processes, and in none of them
    if size_name is None:
        raise ArgumentError(
            f"ranks='auto' found {variables.rank}={environment[variables.rank]!r} and no {variables.sizes[-1]}; set "
            "both, or give rank= and world_size="
        )
    texts = {name: environment[name] for name in (variables.rank, size_name)}
    try:
        ranks = RankAndSize(*map(int, texts.values()))
    except ValueError:
        ranks = RankAndSize(-1, 0)
    if not 0 <= ranks.rank < ranks.world_size:
        words = " and ".join(f"{name}={text!r}" for name, text in texts.items())
        raise ArgumentError(
            f"ranks='auto' found {words}, which is no rank; set them right, or give rank= and world_size="
        )
    return ranks


def _rank_in_mesh(mesh: Any) -> RankAndSize:
    """Return the rank along the dimensions of a torch DeviceMesh over which data is divided.

    They are all of a mesh of one dimension, else those whose names begin with "dp" or are "data" or "batch".
    """
    if not all(hasattr(mesh, name) for name in ("get_coordinate", "mesh_dim_names", "shape")):
        raise ArgumentTypeError(f"device_mesh must be a torch DeviceMesh, but got a {type(mesh).__name__}")
    coordinate, names, shape = mesh.get_coordinate(), mesh.mesh_dim_names, tuple(mesh.shape)
    if coordinate is None:
        raise ArgumentError("device_mesh does not hold this process, so it has no rank there; give the mesh that does")
    divided = [number for number in range(len(shape)) if len(shape) == 1 or _divides_data(names, number)]
    if not divided:
        raise ArgumentError(
            f"none of the dimensions {names} of device_mesh divides data by its name ('dp...', 'data', 'batch'); give "
            "the part that does, as in device_mesh=mesh['replicate']"
        )
    rank, size = 0, 1
    for number in divided:
        rank, size = rank * shape[number] + coordinate[number], size * shape[number]
    return RankAndSize(rank, size)


def _divides_data(names: tuple[str, ...] | None, number: int) -> bool:
    return names is not None and (names[number].startswith("dp") or names[number] in ("data", "batch"))


def _divided(found: RankAndSize, replication: Any, mesh: Any) -> RankAndSize:
    """Return the rank among groups of `replication` consecutive ranks, all of which need the same data."""
    if isinstance(replication, bool) or not isinstance(replication, int | np.integer) or replication < 1:
        raise ArgumentError(f"replication must be a positive integer or None, but got replication={replication!r}")
    if mesh is not None:
        raise ArgumentError("replication and device_mesh are mutually exclusive: the mesh says which ranks share data")
    rank, world_size = found
    if not all(isinstance(value, int | np.integer) for value in found):
        raise ArgumentError(
            f"replication needs ranks: give ranks='auto', or rank= and world_size=, but got rank={rank!r}, "
            f"world_size={world_size!r}"
        )
    if world_size % replication:
        raise ArgumentError(
            f"replication={replication} does not divide world_size={world_size}: so many consecutive ranks get the "
            "same data"
        )
    return RankAndSize(int(rank // replication), int(world_size // replication))
