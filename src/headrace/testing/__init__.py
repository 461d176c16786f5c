"""Conformance suites: what a dataset or a pool of workers must keep to, as checks for anyone's tests."""

from headrace.testing.datasets import check_dataset, check_same
from headrace.testing.pools import check_pool

__all__ = ["check_dataset", "check_pool", "check_same"]
