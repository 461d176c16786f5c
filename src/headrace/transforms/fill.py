"""Values of the pixels that come from outside of an image, or of a mask."""

from __future__ import annotations

from typing import Any

from headrace.errors import ArgumentError

__all__ = ["check_fill", "fill_of"]

_KINDS = ("image", "mask")


def check_fill(fill: Any) -> Any:
    """Return the fill of a transform: a number, one a channel, None, or a dict of them for "image" and "mask".

    Raises:
        ArgumentError: it is a dict with another key.
    """
    unknown = [kind for kind in fill if kind not in _KINDS] if isinstance(fill, dict) else []
    if unknown:
        raise ArgumentError(f"fill must be a value, or a dict of them for 'image' and 'mask', but got {fill!r}")
    return fill


def fill_of(fill: Any, kind: str = "image") -> Any:
    """Return the value for an image, or for a mask, for which one a channel says nothing.

    >>> fill_of({"image": (124, 116, 104), "mask": 255}, "mask"), fill_of((124, 116, 104), "mask"), fill_of(7, "mask")
    (255, 0, 7)
    """
    value = fill.get(kind) if isinstance(fill, dict) else fill
    if value is None or (kind == "mask" and not isinstance(value, int | float)):
        return 0
    return value
