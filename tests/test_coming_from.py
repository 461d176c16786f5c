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


@pytest.mark.parametrize(
    ("page", "library"),
    [
        ("grain.md", "grain"),
        ("tf-data.md", "tensorflow"),
        ("webdataset.md", "webdataset"),
        ("mosaic-streaming.md", "streaming"),
    ],
)
def test_both_scripts_see_all_samples_in_each_epoch(page: str, library: str) -> None:
    pytest.importorskip(library, exc_type=ImportError)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of that library
        before = script(page, "py")["labels"]
    after = script(page, "python")["labels"]
    for labels in (before, after):
        assert sorted(labels[:32]) == sorted(labels[32:]) == list(range(32))
    assert after[:32] != after[32:]
