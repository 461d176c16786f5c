"""Scripts before and after a move to headrace: the one before runs where its library is installed."""

from __future__ import annotations

import builtins
import itertools
import pathlib
import re
import warnings
from pathlib import Path
from typing import Any

import pytest

import headrace

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "coming-from"


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
        ("torchdata.md", "torchdata"),
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


def names_of_tables(page: Path, column: int) -> set[str]:
    """What a column calls, or names in camel case."""
    rows = re.findall(r"^\|(.*)\|$", page.read_text(encoding="utf-8"), re.MULTILINE)[2:]
    code = " ".join(part for row in rows for part in re.findall(r"`([^`]*)`", row.split(" | ")[column]))
    return set(re.findall(r"(?<![\w.\"])([A-Z]\w*[a-z]\w*|\w+(?=\())", code))


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_the_tables_name_what_there_is(page: Path) -> None:
    methods = [headrace.Dataset, headrace.DataLoader, headrace.IterableDataset, builtins, itertools, pathlib]
    found = names_of_tables(page, 1)
    assert found
    unknown = {name for name in found if not any(hasattr(home, name) for home in (headrace, *methods))}
    of_torch = re.findall(r'"(\w+)"', (ROOT / "src/headrace/torch/__init__.py").read_text(encoding="utf-8"))
    assert unknown - set(of_torch) - {"sample_key", "names"} == set()
