"""Sizes as people read them."""

from __future__ import annotations

__all__ = ["size_text"]


def size_text(size: float) -> str:
    """Return a size with its unit.

    >>> size_text(12_288), size_text(800)
    ('12.3 kB', '800 B')
    """
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:,.0f} B" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"
