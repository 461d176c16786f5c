from __future__ import annotations

from typing import Any

import pytest
from tests.torchvision_operators import import_torchvision


@pytest.fixture(scope="session")
def v2() -> Any:
    """torchvision.transforms.v2, which needs none of the operators that torchvision compiles."""
    pytest.importorskip("torch")
    import_torchvision()
    return pytest.importorskip("torchvision.transforms.v2")
