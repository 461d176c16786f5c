"""Tables as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from headrace.bench.results import Behind, Comparison

__all__ = ["aligned", "as_text", "behind_as_text"]


def as_text(table: Comparison) -> str:
    """Return a table with its title, a line a contender.

    >>> from headrace.bench.results import Comparison, Measurement
    >>> measured = Measurement("headrace", figures={"us": 1.5}), Measurement("b", note="not installed")
    >>> print(as_text(Comparison("a copy", measured)))
    a copy
                  us
      headrace  1.50
      b         not installed
    """
    header, *lines = aligned(table.rows())
    width = max(len(result.name) for result in table.results)
    shown = [
        f"  {result.name.ljust(width)}  {result.note}" if result.note else line
        for result, line in zip(table.results, lines, strict=True)
    ]
    checked = [f"  the same for all: {table.checked}"] if table.checked else []
    checked += [f"  not the same work: {table.differs}"] if table.differs else []
    return "\n".join([table.title, header, *shown, *checked])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(["  " + row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]


def behind_as_text(places: Iterable[Behind]) -> str:
    """Return where headrace is behind, the farthest first, or that it is nowhere."""
    found = sorted(places, key=lambda place: -place.ratio)
    if not found:
        return "headrace is behind nobody, and has reached its aims"
    header = ["", "takes", "of", "which is", "in"]
    rows = [[place.ours, f"x {place.ratio:.2f}", place.other, f"{place.kind}", place.title] for place in found]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in (header, *rows)]
    return "\n".join(["where headrace is behind", *(f"  {line}" for line in lines)])
