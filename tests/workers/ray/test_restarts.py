"""A run that goes on with actors of Ray, and with workers of other kinds, has the samples of one that never stops."""

from __future__ import annotations

from typing import Any

import pytest
from tests.restarts import check_restarts

pytest.importorskip("ray")

pytestmark = [
    pytest.mark.usefixtures("by_value", "cluster"),
    pytest.mark.filterwarnings("ignore:.*Ray actors have not started", "ignore:sample .* damaged"),
]


@pytest.mark.parametrize("kind", ["packed", "grouped"])
def test_a_run_is_the_same_on_ray_and_elsewhere(kind: Any) -> None:
    check_restarts(kind, 0, [(1, 2, "ray"), (3, 0, "auto"), (2, 2, "thread"), (8, 0, "auto")])
