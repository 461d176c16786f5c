"""Tables, as text and as HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TextTable", "as_html", "as_text", "paragraph"]


class TextTable(NamedTuple):
    """A table of texts.

    Attributes:
        columns: the names of the columns; the first holds names.
        rows: a text for each column.
        numbers: whether the other columns hold numbers, which go to the right.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numbers: bool = True


def as_text(table: TextTable) -> str:
    """Return a table as lines of text, numbers to the right.

    >>> print(as_text(TextTable(("stage", "time"), [("read", "1.0 s"), ("decode", "12 s")])))
    stage    time
    read    1.0 s
    decode   12 s
    """
    lines = [table.columns, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.columns))]
    align = str.rjust if table.numbers else str.ljust
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(align(text, width) for text, width in zip(line[1:], widths[1:], strict=True))]
        ).rstrip()
        for line in lines
    )


def paragraph(text: str) -> str:
    """Return a text as a paragraph of HTML.

    >>> paragraph("a < b")
    '<p>a &lt; b</p>'
    """
    return f"<p>{escape(text)}</p>"


def as_html(table: TextTable, pictures: Sequence[str] = ()) -> str:
    """Return a table as HTML.

    Args:
        table: the table.
        pictures: HTML that each row begins with; none for no such column.

    >>> as_html(TextTable(("name",), [("a < b",)]))
    '<table><thead><tr><th>name</th></tr></thead><tbody><tr><td>a &lt; b</td></tr></tbody></table>'
    """
    head = ("<th></th>" if pictures else "") + "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = ["".join(f"<td>{escape(text)}</td>" for text in row) for row in table.rows]
    if pictures:
        rows = [f"<td>{picture}</td>{row}" for picture, row in zip(pictures, rows, strict=True)]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
