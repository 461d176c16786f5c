"""Workers that are Ray actors, beside headrace's own processes and Ray Data.

    python -m benchmarks.ray [--smoke]

A local cluster of two nodes on this machine: that of the program, and one that stands for another machine, to which no
shared memory leads. Two workers each. Starting them and the first batches do not count, but for the last table, where
an actor and a node are killed in the midst of an epoch.
"""

from __future__ import annotations

import logging
import os
import signal
import statistics
import tempfile
import warnings
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.common import Contender, Same, begin, per, print_table, race, rate, rival, steady
from benchmarks.workers import AHEAD, PASSED_OVER, WORKERS, Slow, headrace_loader, turns_in

from headrace import DataLoader

if TYPE_CHECKING:
    from collections.abc import Iterator

FAR = {"resources": {"far": 1}, "num_cpus": 0}
STORE = 1 << 30  # of each node, in bytes


@contextmanager
def cluster() -> Iterator[Any]:
    """A cluster of two nodes on this machine, which this process has joined."""
    with tempfile.TemporaryDirectory() as home, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.environ["HOME"] = home  # Ray writes a key there
        import ray
        from ray.cluster_utils import Cluster

        logging.getLogger("ray").setLevel(logging.ERROR)  # it tells of other clusters on this machine

        head = {"num_cpus": 8, "object_store_memory": STORE, "include_dashboard": False}
        made = Cluster(initialize_head=True, head_node_args=head)
        made.far = made.add_node(num_cpus=0, resources={"far": 8}, object_store_memory=STORE)
        ray.init(address=made.address, logging_level="ERROR", log_to_driver=False)
        try:
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


def actors(
    dataset: Any, batch: int, name: str, options: dict[str, Any] | None = None, workers: int = WORKERS, **aim: Any
) -> Contender:
    """Headrace with Ray actors."""
    given: dict[str, Any] = {"num_cpus": 0, **(options or {})}

    def run() -> Any:
        loader = DataLoader(
            dataset, batch, num_workers=workers, backend="ray", prefetch_factor=AHEAD, ray_options=given
        )
        return iter(loader)

    return Contender(name, run, **aim)


def ray_data(dataset: Same, batch: int) -> Contender:
    """Ray Data, whose tasks make the same batches in `map_batches`."""
    sample = dataset.sample

    def make(block: dict[str, Any]) -> dict[str, Any]:
        return {"image": np.stack([sample] * len(block["id"])), "label": block["id"]}

    def run() -> Iterator[Any]:
        data = rival("ray.data")
        data.DataContext.get_current().enable_progress_bars = False
        table = data.range(len(dataset), override_num_blocks=max(1, len(dataset) // batch))
        made = table.map_batches(make, batch_size=batch, compute=data.TaskPoolStrategy(WORKERS))
        for found in made.iter_batches(batch_size=batch, prefetch_batches=WORKERS * AHEAD):
            yield found["image"], found["label"]

    return Contender("Ray Data, map_batches (read-only)", run)


def print_large(batches: int, side: int, rounds: int) -> None:
    """Print how quickly large batches arrive, from the node of the program and from another one."""
    batch = 64
    dataset = Same(np.ones((3, side, side), np.float32), batch * (PASSED_OVER + batches))
    near = actors(dataset, batch, "headrace, 2 actors on this node", most=1.5)
    entries = [
        headrace_loader(dataset, batch, WORKERS),
        near,
        actors(dataset, batch, "headrace, 2 actors on another node", FAR, most=5),
        *([ray_data(dataset, batch)] if rounds > 1 else []),  # it takes half a minute to begin
    ]
    took = race(entries, rounds, steady(PASSED_OVER))
    megabytes = batches * batch * (dataset.sample.nbytes + 8) / 1e6
    title = f"{batches:,} batches of {batch} x 3x{side}x{side} float32 and a label"
    print_table(title, entries, took, {"MB/s": rate(megabytes), "ms/batch": per(batches, 1e-3)})
    middle = {name: statistics.median(of_name) for name, of_name in took.items()}
    if rounds > 1:
        print(f"  this node is {middle[entries[3].name] / middle[near.name]:.1f} times as fast as Ray Data (aim 3)")


def print_tiny(batches: int, rounds: int) -> None:
    """Print what a batch costs that holds next to nothing."""
    batch = 2
    dataset = Same(np.ones(8, np.float32), batch * (PASSED_OVER + batches))
    entries = [
        headrace_loader(dataset, batch, WORKERS),
        actors(dataset, batch, "headrace, 2 actors on this node", most=1.2),
        actors(dataset, batch, "headrace, 2 actors on another node", FAR),
    ]
    title = f"{batches:,} batches of {batch} x 8 float32 and a label"
    print_table(title, entries, race(entries, rounds, steady(PASSED_OVER)), {"us/batch": per(batches, 1e-6)})


def print_slow(batches: int, seconds: float, rounds: int) -> None:
    """Print how much quicker two actors are than one where samples take Python a while."""
    batch = 16
    dataset = Slow(np.ones(8, np.float32), batch * (PASSED_OVER + batches), turns_in(seconds))
    entries = [
        actors(dataset, batch, "headrace, 2 actors on this node"),
        actors(dataset, batch, "headrace, 1 actor on this node", workers=1, aim=1 / 1.8),
    ]
    title = f"{batches:,} batches of {batch} samples of {seconds * 1e3:g} ms of Python each"
    print_table(title, entries, race(entries, rounds, steady(PASSED_OVER)), {"ms/batch": per(batches, 1e-3)})


def print_deaths(made: Any, batches: int) -> None:
    """Print how long an epoch stops where an actor, and then a node, is killed in the midst of it."""
    dataset = Slow(np.ones((64, 64), np.float32), 16 * batches, turns_in(1e-3))
    print(f"\nan epoch of {batches} batches of 16 samples of 1 ms, with a death in the midst of it")
    for what, options in (("an actor", {"num_cpus": 0}), ("a node", FAR)):
        loader: Any = DataLoader(
            dataset, 16, num_workers=WORKERS, backend="ray", on_worker_death="restart", ray_options=options
        )
        if what == "a node":
            made.add_node(num_cpus=0, resources={"far": 8}, object_store_memory=STORE)
            made.wait_for_nodes()
        with loader:
            start = perf_counter()
            seen, longest, last = 0, 0.0, start
            for step, (images, labels) in enumerate(loader):
                if step == batches // 3:
                    _kill(made, what)
                assert labels[0] == step * 16
                seen += len(images)
                longest, last = max(longest, perf_counter() - last), perf_counter()
        assert seen == len(dataset)
        print(
            f"  {what:9} killed: the longest wait is {longest:5.1f} s, the epoch took {perf_counter() - start:5.1f} s"
        )


def _kill(made: Any, what: str) -> None:
    if what == "a node":
        made.remove_node(made.far, allow_graceful=False)
        return
    from ray.util.state import list_actors

    alive = [actor for actor in list_actors() if actor.state == "ALIVE" and actor.class_name == "RayActor"]
    os.kill(alive[0].pid, signal.SIGKILL)


def main() -> None:
    """Run all of it."""
    smoke = begin("workers that are Ray actors")
    if find_spec("ray") is None:
        print("Ray is not installed: pip install 'headrace[ray]'")
        return
    rounds = 1 if smoke else 5
    with cluster() as made:
        print(f"Ray {version('ray')}")
        print_large(4 if smoke else 60, 8 if smoke else 224, rounds)
        print_tiny(20 if smoke else 3000, rounds)
        print_slow(2 if smoke else 60, 1e-4 if smoke else 1e-3, 1 if smoke else 3)
        if not smoke:
            print_deaths(made, 200)


if __name__ == "__main__":
    main()
