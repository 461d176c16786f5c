"""The places in the cluster where actors of the tests may be."""

from __future__ import annotations

from typing import Any

import pytest
from tests.ray_cluster import FAR

__all__ = ["ray_options"]


@pytest.fixture(params=["near", "far"])
def ray_options(request: pytest.FixtureRequest, cluster: Any) -> dict[str, Any]:
    """Return options of actors on the node of the tests, and on another."""
    return FAR if request.param == "far" else {}
