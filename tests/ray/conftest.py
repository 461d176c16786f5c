"""The cluster of the tests of Ray Data."""

from tests.ray_cluster import cluster

__all__ = ["cluster"]
