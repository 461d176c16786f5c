"""Bars of speeds as an SVG: one drawing of several tables, readable on white and on black."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from headrace.bench.results import show_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from headrace.bench.results import Comparison, Measurement

__all__ = ["draw"]

_INK = "#808080"
_COLORS = {"headrace": "#3f7fbf", "rival": "#d98032", "limit": "#b0b0b0"}
_MEANINGS = {"headrace": "headrace", "rival": "another", "limit": "a limit, which does less"}
_WIDTH, _LINE, _GAP = 330, 18, 14  # units
_LETTER = 6.6  # how wide one is, at most in the mean


def draw(title: str, tables: Sequence[Comparison]) -> str:
    """Return a drawing of all tables that were timed: the longer a bar, the quicker.

    Args:
        title: what readers of screens are told.
        tables: those without times are left out.
    """
    timed = {table.title: [result for result in table.results if result.seconds] for table in tables}
    shown = {title: results for title, results in timed.items() if len(results) > 1}
    names = _longest(result.name for results in shown.values() for result in results) + 10
    figures = _longest(_figure(result) for results in shown.values() for result in results) + 10
    parts, y = _legend(names), 40
    for heading, results in shown.items():
        parts.append(_text(0, y, heading, weight="bold"))
        least = min(result.seconds or 0 for result in results)
        for result in results:
            y += _LINE
            parts += _bar(names, y, result, least)
        y += _LINE + _GAP
    width = max(names + _WIDTH + figures, 1.1 * _longest(shown))
    return _svg(round(width), y, title, parts)


def _longest(texts: Iterable[str]) -> float:
    """Return how wide the longest text is."""
    return _LETTER * max(map(len, texts), default=0)


def _legend(left: float) -> list[str]:
    parts = []
    for number, (kind, meaning) in enumerate(_MEANINGS.items()):
        x = left + 100 * number
        color = _COLORS[kind]
        parts += [f'<rect x="{x:g}" y="4" width="10" height="10" fill="{color}"/>', _text(x + 15, 13, meaning)]
    return parts


def _bar(left: float, y: int, result: Measurement, least: float) -> list[str]:
    width = max(1.0, _WIDTH * least / (result.seconds or least))
    shape = f'<rect x="{left:g}" y="{y - 11}" width="{width:.1f}" height="13" rx="2" fill="{_COLORS[result.kind]}"/>'
    return [_text(left - 6, y, result.name, "end"), shape, _text(left + width + 5, y, _figure(result))]


def _figure(result: Measurement) -> str:
    """Return the first median that the table shows, with its unit."""
    name = next((name for name in result.figures if name.endswith(" median")), "")
    value = result.figures.get(name, "")
    return f"{show_number(value) if isinstance(value, int | float) else value} {name.removesuffix(' median')}".strip()


def _text(x: float, y: float, words: str, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-weight="{weight}">{escape(words)}</text>'


def _svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="sans-serif" font-size="12" fill="{_INK}">\n<title>{escape(title)}</title>\n{body}\n</svg>\n'
    )
