"""Scripts before and after a move to headrace: the one before runs where its library is installed."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

PAGES = Path(__file__).parents[1] / "docs" / "coming-from"


def script(page: str, kind: str) -> dict[str, Any]:
    """Run the one script of a kind on a page, and return its names."""
    (code,) = re.findall(
        rf"^```{kind}\n(.*?)^```$", (PAGES / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    names: dict[str, Any] = {"__name__": "script"}
    exec(compile(code, page, "exec"), names)  # noqa: S102 - running the page's code is the test
    return names


def test_grain() -> None:
    pytest.importorskip("grain", exc_type=ImportError)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of that library
        before = script("grain.md", "py")
    after = script("grain.md", "python")
    for epoch in range(2):
        seen = slice(32 * epoch, 32 * (epoch + 1))
        assert sorted(before["labels"][seen]) == sorted(after["labels"][seen]) == list(range(32))
    assert before["batch"]["x"].shape == after["batch"]["x"].shape
    assert after["labels"][:32] != after["labels"][32:]
