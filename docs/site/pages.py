"""What `mkdocs build` does beside reading docs/: the pages of the repository's root become pages of the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

_ROOT = Path(__file__).parents[2]
_PAGES = {"CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md", "CHANGELOG.md": "changelog.md"}
_PAGES |= {"benchmarks/README.md": "benchmarks.md"}
_PLOTS = "benchmarks/plots"
_DOCS = re.compile(r"\]\(docs/")  # a link from the root to a page in docs/
_OUTSIDE = re.compile(r"\[([^]]+)\]\((?!https?:|#|docs/|plots/)[^)]*\)")  # and one to what the site does not have


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root to the site's files."""
    for source, page in _PAGES.items():
        text = (_ROOT / source).read_text(encoding="utf-8")
        for other, its_page in _PAGES.items():
            text = text.replace(f"]({other}", f"](docs/{its_page}")
        text = _DOCS.sub("](", _OUTSIDE.sub(r"\1", text))
        files.append(File.generated(config, page, content=text))
    for plot in sorted((_ROOT / _PLOTS).glob("*.svg")):
        files.append(File.generated(config, f"plots/{plot.name}", abs_src_path=str(plot)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Let links to the root's pages lead to those of the site."""
    for source, page in _PAGES.items():
        markdown = re.sub(rf"\]\(((?:\.\./)*)\.\./{re.escape(source)}", rf"](\1{page}", markdown)
    return markdown
