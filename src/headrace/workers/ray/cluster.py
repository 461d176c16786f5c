"""The Ray cluster that workers run in: it is joined, or a small local one is started."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from contextlib import contextmanager, suppress
from math import ceil
from pathlib import Path
from socket import create_connection, gethostbyname
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.errors import HeadraceWarning, WorkerError
from headrace.errors.notes import level_of_user

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Place", "describe_resources", "is_free", "join_cluster", "store_of_a_node", "with_cores"]

# Of a cluster that is started here, in bytes: batches do not lie in it, since all workers are on this machine.
_LOCAL_STORE = 256 << 20
_LOOPBACK = "127.0.0.1"
# How long an address has to answer, and cores that an earlier run has had to be free; how often to look; in seconds.
_PATIENCE = 3.0
_LOOK = 0.05
# Ray keeps the loopback address for a cluster only where it is told that no other machine will join.
_ONE_MACHINE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


class Place(NamedTuple):
    """The place where a process runs. Two with equal places can open each other's files.

    Attributes:
        node: Ray's name of the node; one machine may play several.
        boot: of the running system, so that it tells machines apart; None where a system has no such thing.
        processes: the number of the namespace of its processes.
        user: whose process it is.
    """

    node: str
    boot: str | None
    processes: int
    user: int

    @classmethod
    def here(cls) -> Place:
        """Return that of this process, which Ray has initialised."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
            return cls(node, boot, os.stat("/proc/self/ns/pid").st_ino, os.getuid())  # noqa: PTH116 - not of a path
        except OSError:
            return cls(node, None, 0, 0)

    def shares_files_with(self, other: Place) -> bool:
        """Return whether a process there can open the files of one here."""
        return self == other and self.boot is not None


def join_cluster(options: Mapping[str, Any], workers: int) -> None:
    """Initialise Ray in this process unless that has been done.

    Args:
        options: `address` is that of a cluster to join. Without one it is what RAY_ADDRESS says, or one that `ray
            start` has started on this machine; else, and for "local", a local one is started.
        workers: for how many workers such a one is.

    Raises:
        WorkerError: there is no cluster at the address.
    """
    import ray

    if ray.is_initialized():
        _check_joined(ray.get_runtime_context().gcs_address, options.get("address"))
    else:
        _join(ray, options, workers)


def _check_joined(joined: str, address: str | None) -> None:
    """Refuse to go on in another cluster than the one that is asked for."""
    if address in (None, "", "auto", "local", joined):
        return
    host, _, port = address.rpartition(":")
    with suppress(OSError):
        here = host.startswith("127.") or host == "localhost"  # Ray takes that for the address of the machine
        if port == joined.rpartition(":")[2] and (here or gethostbyname(host) == joined.rpartition(":")[0]):
            return
    raise WorkerError(
        f"this process has joined the Ray cluster at {joined}, and ray_options asks for the one at {address}: a "
        "process can be in one cluster alone; leave the address out, or call ray.shutdown() before"
    )


def _join(ray: Any, options: Mapping[str, Any], workers: int) -> None:
    asked = options.get("address") or os.environ.get("RAY_ADDRESS")
    address = None if asked == "local" else asked or _find_cluster()
    if address is not None:
        try:
            _check_reachable(address)
            ray.init(address, logging_level=logging.WARNING)
        except ConnectionError as error:
            if asked:
                raise WorkerError(f"there is no Ray cluster to join at {address}: {error}") from error
        else:
            return
    num_cpus = options.get("num_cpus")
    _start(ray, max(ceil(workers * (1 if num_cpus is None else num_cpus)), os.cpu_count() or 1))


def _find_cluster() -> str | None:
    """Return the address of a cluster that was started on this machine to be joined, as by `ray start`.

    Ray's "auto" would also join what another program has started for itself, and takes down when it ends.
    """
    from ray._private.services import get_ray_address_from_environment

    found: str | None = get_ray_address_from_environment(None, None)
    return found


def _check_reachable(address: str) -> None:
    """Refuse an address where nothing answers: Ray would try for minutes.

    Raises:
        ConnectionError: nothing does.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
    except OSError as error:
        raise ConnectionError(str(error)) from error


def _start(ray: Any, cores: int) -> None:
    with _on_loopback():
        ray.init(
            "local",
            num_cpus=cores,
            object_store_memory=_LOCAL_STORE,
            include_dashboard=False,
            logging_level=logging.WARNING,
            _node_ip_address=_LOOPBACK,
        )
    warnings.warn(
        f"no Ray cluster was found, so one was started on this machine alone, with {cores} CPUs; to join one, "
        "call ray.init(address) before, or give ray_options={'address': ...}",
        HeadraceWarning,
        stacklevel=level_of_user(),
    )


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let Ray keep the loopback address while a cluster is started.

    Its processes read the variable when they start; it itself has read it when it was imported.
    """
    constants: Any = sys.modules.get("ray._private.ray_constants")
    variable, constant = os.environ.get(_ONE_MACHINE), getattr(constants, "ENABLE_RAY_CLUSTER", None)
    os.environ[_ONE_MACHINE] = "0"
    if constant is not None:
        constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        if constant is not None:
            constants.ENABLE_RAY_CLUSTER = constant
        if variable is None:
            del os.environ[_ONE_MACHINE]
        else:
            os.environ[_ONE_MACHINE] = variable


def with_cores(options: Mapping[str, Any], workers: int) -> dict[str, Any]:
    """Return what each actor asks of the cluster, where the user does not say: a core, if as many are free.

    Args:
        options: as the user gave them.
        workers: how many actors there will be.
    """
    given = {name: value for name, value in options.items() if name != "address" and value is not None}
    given |= {name: _plain(given[name]) for name in ("num_cpus", "resources") if name in given}
    return {"num_cpus": 1 if "num_cpus" not in given and _are_free(workers) else 0, **given}


def _are_free(cores: int) -> bool:
    """Return whether the cluster has so many cores free, or gets them in a moment: those of actors that end."""
    import ray

    if ray.cluster_resources().get("CPU", 0) < cores:
        return False
    deadline = monotonic() + _PATIENCE
    while ray.available_resources().get("CPU", 0) < cores:
        if monotonic() > deadline:
            return False
        sleep(_LOOK)
    return True


def _plain(value: Any) -> Any:
    """Return an amount, or a dict of such, as Python's own numbers, which are all that Ray takes."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return int(value) if value == int(value) else float(value)


def describe_resources(asked: Mapping[str, Any]) -> str:
    """Return a sentence of what was asked of the cluster for a worker, and of what it has."""
    import ray

    nodes = "; ".join(_nodes(ray)) or "nothing"
    free = _amounts(ray.available_resources()) or "nothing"
    return f"each asks for {dict(asked)}; the cluster has {nodes}; free are {free}"


def _nodes(ray: Any) -> Iterator[str]:
    for node in ray.nodes():
        if node["Alive"]:
            labels = {name: value for name, value in node.get("Labels", {}).items() if not name.startswith("ray.io/")}
            yield f"{_amounts(node['Resources'])}{f' with labels {labels}' if labels else ''}"


def _amounts(resources: Mapping[str, float]) -> str:
    """Return resources as text, but for those that every node has of its own."""
    shown = {name: amount for name, amount in resources.items() if ":" not in name and "memory" not in name}
    return ", ".join(f"{name} {amount:g}" for name, amount in sorted(shown.items()))


def is_free(asked: Mapping[str, Any]) -> bool:
    """Return whether the cluster has free what an actor asks for, and a node that could have it."""
    import ray

    wanted = {"CPU": asked.get("num_cpus") or 0, **(asked.get("resources") or {})}
    selector = asked.get("label_selector") or {}
    return _suffice(ray.available_resources(), wanted) and any(
        node["Alive"] and _suffice(node["Resources"], wanted) and _has_labels(node.get("Labels", {}), selector)
        for node in ray.nodes()
    )


def _suffice(resources: Mapping[str, float], wanted: Mapping[str, float]) -> bool:
    return all(resources.get(name, 0) >= amount for name, amount in wanted.items())


def _has_labels(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    """Return whether a node's labels are as a selector of Ray's wants them.

    >>> [_has_labels({"kind": "cpu"}, {"kind": text}) for text in ("cpu", "!cpu", "in(gpu, cpu)", "!in(gpu)")]
    [True, False, True, True]
    """
    for name, text in selector.items():
        wanted = text.removeprefix("!")
        values = [each.strip() for each in wanted[3:-1].split(",")] if wanted.startswith("in(") else [wanted]
        if (labels.get(name) in values) is text.startswith("!"):
            return False
    return True


def store_of_a_node() -> float:
    """Return how large the object store of a node is, on average, in bytes."""
    import ray

    stores = [node["Resources"].get("object_store_memory", 0) for node in ray.nodes() if node["Alive"]]
    return float(sum(stores)) / max(1, len(stores))
