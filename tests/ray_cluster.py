"""A small Ray cluster on this machine: the node of the tests, and another one that stands for another machine."""

from __future__ import annotations

import tempfile
import warnings
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

STORE = 160 << 20
FAR = {"resources": {"far": 1}, "num_cpus": 0}  # what an actor asks for that is to be on the other node


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """Start the cluster and join it: its own node has 4 CPUs, and another one what `FAR` asks for.

    A process can have joined one alone, so all folders of tests have it together.
    """
    pytest.importorskip("ray")
    patch = pytest.MonkeyPatch()
    with tempfile.TemporaryDirectory() as home:
        patch.setenv("HOME", home)  # Ray writes a key there
        patch.delenv("RAY_ADDRESS", raising=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray's own
            import ray
            from ray.cluster_utils import Cluster

            head = {"num_cpus": 4, "object_store_memory": STORE, "include_dashboard": False}
            made = Cluster(initialize_head=True, head_node_args=head)
            made.add_node(num_cpus=0, resources={"far": 4}, object_store_memory=STORE)
            ray.init(address=made.address, logging_level="ERROR", log_to_driver=False)
        try:
            yield made
        finally:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ray.shutdown()
                made.shutdown()
            patch.undo()
