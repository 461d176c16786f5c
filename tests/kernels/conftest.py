from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from headrace.kernels import Kernels, active, native, reference

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["reference", "native"])
def kernels(request: pytest.FixtureRequest) -> Kernels:
    """Each implementation in turn."""
    if request.param == "reference":
        return reference
    return _native_or_skip()


@pytest.fixture
def native_kernels() -> Kernels:
    return _native_or_skip()


def _native_or_skip() -> Kernels:
    found = native.load()
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture
def fresh_choice(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a test choose the kernels anew, and the tests after it too."""
    monkeypatch.delenv("HEADRACE_KERNELS", raising=False)
    active.cache_clear()
    native.load.cache_clear()
    yield
    monkeypatch.undo()
    active.cache_clear()
    native.load.cache_clear()
