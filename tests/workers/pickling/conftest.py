"""Fixtures of the tests of pickling."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture
def no_cloudpickle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
