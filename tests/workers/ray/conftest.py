"""The cluster of the tests of actors, and where in it they may be."""

from __future__ import annotations

from typing import Any

import pytest
from tests.ray_cluster import FAR, cluster

__all__ = ["cluster", "ray_options"]


@pytest.fixture(params=["near", "far"])
def ray_options(request: pytest.FixtureRequest, cluster: Any) -> dict[str, Any]:
    """Return options of actors on the node of the tests, and on another."""
    return FAR if request.param == "far" else {}
