"""The Python of the README and the docs runs, block after block, as a reader would type it."""

from __future__ import annotations

import pkgutil
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import headrace
from headrace.formats.registry import formats

_ROOT = Path(__file__).parents[1]
_PAGES = [*sorted(_ROOT.glob("*.md")), *sorted((_ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?://)([^)#]*)#?([^)]*)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_ROOT)))
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page.match("how-to/torch.md") or page.match("coming-from/torchdata.md"):
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)  # pages write files, as a reader's folder would have them
    text = page.read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": page.stem}
    for block in _BLOCK.finditer(text):
        line = text.count("\n", 0, block.start()) + 1
        code = compile("\n" * line + block.group(1), str(page), "exec")  # so that a traceback names the page's line
        exec(code, names)  # noqa: S102 - running the page's code is the test


@pytest.mark.parametrize("name", ["how-to/devices.md", "coming-from/torch.md"])
def test_blocks_for_frameworks_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are marked `py`, and each goes on from the one before."""
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    text = (_ROOT / "docs" / name).read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "blocks"}
    for block in re.findall(r"^```py\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        exec(block, names)  # noqa: S102 - running the page's code is the test


def prose(page: Path) -> str:
    """The text of a page without its blocks of code."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> list[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = _HEADING.findall(prose(page))
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in _LINK.findall(prose(page)):
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), f"{target}#{anchor}"


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_ROOT)))
def test_headings_of_a_page_differ(page: Path) -> None:
    found = anchors(page)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_ROOT)))
def test_lines_are_short(page: Path) -> None:
    """But for the rows of wide tables."""
    lines = enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
    tables = "|" if page.name in ("README.md", "comparison.md", "index.md", "ray.md") else "\0"
    assert [number for number, line in lines if len(line) > 120 and not line.startswith(tables)] == []


def test_the_table_of_formats_is_that_of_the_registry() -> None:
    text = (_ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    for each in formats().values():
        endings = ", ".join(f"`{ending}`" for ending in each.extensions)
        written, extra = "no" if each.writer is None else "yes", "" if each.extra is None else f"`{each.extra}` "
        row = re.escape(f"| {each.name} | {endings} | ") + r"`(\w+)`" + re.escape(f" | {written} | {extra}|")
        found = re.search(f"^{row}$", text, re.MULTILINE)
        assert found, each.name
        assert found[1] in headrace.__all__
    assert set(re.findall(r"^\| (\w+) \| `\.", text, re.MULTILINE)) == set(formats())


def test_public_names_are_in_the_reference() -> None:
    text = (_ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert [name for name in headrace.__all__ if f"`{name}`" not in text] == []


def test_the_index_of_how_tos_has_all_of_them() -> None:
    index = (_ROOT / "docs" / "how-to.md").read_text(encoding="utf-8")
    for page in sorted((_ROOT / "docs" / "how-to").glob("*.md")):
        for heading in re.findall(r"^## (.+)$", prose(page), re.MULTILINE):
            assert f"- [{heading}](how-to/{page.name}#" in index


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_ROOT)))
def test_paths_and_modules_exist(page: Path) -> None:
    text = prose(page)
    paths = re.findall(r"`((?:src|tests|benchmarks|examples|docs|native|\.ci)/[\w./]*)`", text)
    assert [path for path in paths if "NAME" not in path and not (_ROOT / path).exists()] == []
    for name in re.findall(r"`(headrace\.[a-z_.]*[a-z_]+)\b", text):
        face = name.split(".")[1]
        if face in ("torch", "jax", "ray") and find_spec(face) is None:
            continue  # the face of a framework that is missing
        if name not in ("headrace.codecs", "headrace.backends"):  # groups of entry points
            pkgutil.resolve_name(name)  # or it raises
