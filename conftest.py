"""What every test and every example in a docstring may rely on."""

from typing import Any

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _numpy_in_doctests(doctest_namespace: dict[str, Any]) -> None:
    """Examples say `np` without importing it, as NumPy's own do."""
    doctest_namespace["np"] = np
