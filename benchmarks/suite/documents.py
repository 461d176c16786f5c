"""Write the documents from the results: `python -m benchmarks.suite.documents` does so without measuring anything.

What stands between two markers of a document is made here, and so are the plots; the rest is written by hand.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.suite.bars import draw
from benchmarks.suite.headline import headline, headline_table
from benchmarks.suite.results import RESULTS_FILE, behind, load

from headrace.bench.results import Comparison

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["documents", "write_documents"]

_ROOT = Path(__file__).parents[2]
_PLOTS = "benchmarks/plots"
_KINDS = {"rival": "another loader or loop", "limit": "a limit, which does less than the work", "aim": "an aim"}


def documents(found: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield each file that is made of the results, with what is to be in it."""
    for name in ("README.md", "benchmarks/README.md", "docs/comparison.md"):
        path = _ROOT / name
        yield path, _filled(path.read_text(encoding="utf-8"), found)
    yield _ROOT / _PLOTS / "headline.svg", draw("headrace beside others", [table for _, table in headline(found)])
    for benchmark in found["benchmarks"]:
        tables = [Comparison.from_dict(saved) for saved in benchmark["tables"]]
        if any(_is_timed(table) for table in tables):
            yield _ROOT / _PLOTS / f"{benchmark['name']}.svg", draw(f"benchmarks.{benchmark['name']}", tables)


def write_documents(found: dict[str, Any]) -> list[Path]:
    """Write all of them, and return their paths; plots of which there are no results any more are removed."""
    made = dict(documents(found))
    (_ROOT / _PLOTS).mkdir(exist_ok=True)
    for old in set((_ROOT / _PLOTS).glob("*.svg")) - made.keys():
        old.unlink()
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")
    return list(made)


def _filled(text: str, found: dict[str, Any]) -> str:
    """Return a document with what stands between its markers made anew."""

    def section(match: re.Match[str]) -> str:
        return f"{match[1]}\n\n{_SECTIONS[match[2]](found)}\n\n{match[3]}"

    return re.sub(r"(<!-- results: (\w+) -->).*?(<!-- end of results -->)", section, text, flags=re.DOTALL)


def _origin(found: dict[str, Any]) -> str:
    """Return what the figures are of."""
    here = found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    how = "python -m benchmarks" + " --quick" * found["quick"]
    text = (
        f"Measured on {found['date'][:10]} by `{how}` on {here['cores']} cores ({here['cpu']}, {here['memory_gb']} GB, "
        f"{here['system']}) with {versions}. All contenders of a table take turns in one run; figures are medians of "
        "the rounds."
    )
    return textwrap.fill(text, 118, break_long_words=False, break_on_hyphens=False)


def _headline(found: dict[str, Any]) -> str:
    return f"{headline_table(found)}\n\n{_origin(found)}"


def _behind(found: dict[str, Any]) -> str:
    """Return where headrace is behind, the farthest first."""
    lines = ["| headrace | takes | of | which is | in |", "| --- | --- | --- | --- | --- |"]
    for place in behind(found):
        cells = (place.ours, f"x {place.ratio:.2f}", place.other, _KINDS[place.kind], place.title)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) if len(lines) > 2 else "Nowhere in these tables."


def _tables(found: dict[str, Any]) -> str:
    """Return all tables, a section a benchmark."""
    parts = [_origin(found)]
    for benchmark in found["benchmarks"]:
        name = benchmark["name"]
        parts += [
            f"### {name}",
            f"`python -m benchmarks.{name}`, {benchmark['date'][:10]}; {_ended(benchmark)}.",
        ]
        tables = [Comparison.from_dict(saved) for saved in benchmark["tables"]]
        if any(map(_is_timed, tables)):
            parts.append(f"![speeds of benchmarks.{name}](plots/{name}.svg)")
        parts += [_markdown(table) for table in tables]
    return "\n\n".join(parts)


def _ended(benchmark: dict[str, Any]) -> str:
    ended = benchmark["ended"]
    return f"it ended well, after {benchmark['seconds']:.0f} s" if ended == "well" else f"it {ended}"


def _is_timed(table: Comparison) -> bool:
    return sum(result.seconds is not None for result in table.results) > 1


def _markdown(table: Comparison) -> str:
    header, *lines = table.rows()
    align = ["---", *["---:"] * (len(header) - 1)]
    for line, result in zip(lines, table.results, strict=True):
        if result.note:
            line[1:2] = [result.note]
    rows = "\n".join(f"| {' | '.join(cells)} |" for cells in (header, align, *lines))
    checked = f"\n\nThe same for all: {table.checked}." if table.checked else ""
    differs = f"\n\nNot the same work: {table.differs}." if table.differs else ""
    return f"**{table.title}**\n\n{rows}{checked}{differs}"


_SECTIONS: dict[str, Callable[[dict[str, Any]], str]] = {
    "headline": _headline,
    "behind": _behind,
    "tables": _tables,
}


if __name__ == "__main__":
    for written in write_documents(load(RESULTS_FILE)):
        print(written)
