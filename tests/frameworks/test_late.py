"""What is done once a module has been imported."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from headrace.frameworks.late import when_imported

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a package with a module `inner` that can be imported, and that nobody has imported."""
    name = f"late_{tmp_path.name}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    (tmp_path / name / "inner.py").write_text("number = 1\n")
    (tmp_path / name / "asks.py").write_text(f"from {name}.inner import number\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    return name


def test_function_is_called_before_import_returns(package: str) -> None:
    def change() -> None:
        sys.modules[f"{package}.inner"].number = 2  # type: ignore[attr-defined]

    before = list(sys.meta_path)
    when_imported(f"{package}.inner", change)
    asks = __import__(f"{package}.asks", fromlist=["number"])
    assert asks.number == 2
    assert sys.meta_path == before


def test_a_module_that_is_not_there(package: str) -> None:
    when_imported(f"{package}.missing", lambda: pytest.fail("it was not imported"))
    with pytest.raises(ModuleNotFoundError):
        __import__(f"{package}.missing")
    assert __import__(f"{package}.inner", fromlist=["number"]).number == 1
