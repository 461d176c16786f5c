"""Describing: a dataset becomes the node of what it is made of."""

from __future__ import annotations

from typing import Any

from headrace.batch.capabilities import capability
from headrace.pipeline.nodes import Node, Source
from headrace.pipeline.torch_datasets import torch_node

__all__ = ["describe"]


def describe(dataset: Any) -> Node:
    """Return the node of a dataset: a Source unless its class says more, and no derived class reads otherwise.

    Datasets of headrace's say so in their method `node()`; torch's own are known here.

    Args:
        dataset: any object with `__len__` and `__getitem__`.

    >>> from headrace import Subset
    >>> type(describe("abc")).__name__, type(describe(Subset("abc", [2, 0]))).__name__
    ('Source', 'Select')
    """
    node = capability(dataset, "node")
    found: Node | None = torch_node(dataset, describe) if node is None else node()
    return Source(dataset) if found is None else found
