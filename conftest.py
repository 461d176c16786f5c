"""What every test and every example in a docstring may rely on."""

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

# The one file that knows a framework cannot be imported, nor its examples run, where that is missing.
_MISSING = [name for name in ("torch", "jax") if find_spec(name) is None]
collect_ignore = [f"src/headrace/adapters/{name}.py" for name in _MISSING]


def pytest_report_header() -> str:
    """Say which frameworks the tests do without."""
    return f"frameworks not installed, so not tested: {', '.join(_MISSING) or 'none'}"


@pytest.fixture(autouse=True)
def _numpy_in_doctests(doctest_namespace: dict[str, Any]) -> None:
    """Examples say `np` without importing it, as NumPy's own do."""
    doctest_namespace["np"] = np
