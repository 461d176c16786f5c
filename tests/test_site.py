"""The site of the docs: its reference has every public name, and its figures are those that the code draws."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import headrace

if TYPE_CHECKING:
    from types import ModuleType

_DOCS = Path(__file__).parents[1] / "docs"


def load_figures() -> ModuleType:
    """The script that draws the figures, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("figures", _DOCS / "site" / "figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_public_name_is_in_one_page_of_the_reference() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (_DOCS / "api").glob("*.md"))
    names = re.findall(r"^::: headrace\.(\w+)$", pages, re.MULTILINE)
    assert len(set(names)) == len(names)
    assert set(headrace.__all__) - set(names) == {"HeadraceError", "HeadraceWarning"}  # the page of errors has all


def test_figures_are_those_that_the_code_draws() -> None:
    """`python docs/site/figures.py` draws them anew."""
    figures: dict[str, object] = load_figures().FIGURES
    assert sorted(figures) == sorted(file.name for file in (_DOCS / "figures").glob("*.svg"))


@pytest.mark.parametrize("name", ["function.svg", "orders.svg", "packing.svg", "workers.svg"])
def test_a_figure_is_up_to_date(name: str) -> None:
    drawn: str = load_figures().FIGURES[name]()
    assert drawn == (_DOCS / "figures" / name).read_text(encoding="utf-8")
