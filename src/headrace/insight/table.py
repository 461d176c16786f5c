"""Tables, as text and as HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TextTable", "as_html", "as_text"]


class TextTable(NamedTuple):
    """A table of texts.

    Attributes:
        columns: the names of the columns; the first holds names, the others numbers.
        rows: a text for each column.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def as_text(table: TextTable) -> str:
    """Return a table as lines of text, numbers to the right.

    >>> print(as_text(TextTable(("stage", "time"), [("read", "1.0 s"), ("decode", "12 s")])))
    stage    time
    read    1.0 s
    decode   12 s
    """
    lines = [table.columns, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.columns))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))]
        ).rstrip()
        for line in lines
    )


def as_html(table: TextTable) -> str:
    """Return a table as HTML.

    >>> as_html(TextTable(("name",), [("a < b",)]))
    '<table><thead><tr><th>name</th></tr></thead><tbody><tr><td>a &lt; b</td></tr></tbody></table>'
    """
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = ("".join(f"<td>{escape(text)}</td>" for text in row) for row in table.rows)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
