"""Values of the pixels that come from outside of an image, or of a mask."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.errors import ArgumentError

__all__ = ["check_fill", "fill_of", "is_fill"]

_KINDS = ("image", "mask")


def check_fill(fill: Any) -> Any:
    """Return the fill of a transform: a number, one a channel, None, or a dict of them for "image" and "mask".

    Raises:
        ArgumentError: it is something else, or a dict with another key.
    """
    values = fill.values() if isinstance(fill, dict) else [fill]
    known = not isinstance(fill, dict) or all(kind in _KINDS for kind in fill)
    if not known or not all(value is None or is_fill(value) for value in values):
        raise ArgumentError(
            f"fill must be a number, one a channel, None, or a dict of them for 'image' and 'mask', but got {fill!r}"
        )
    return fill


def is_fill(value: Any) -> bool:
    """Return whether it is a number, or a sequence of some."""
    try:
        numbers = np.asarray(value)
    except (TypeError, ValueError):  # of several lengths
        return False
    return numbers.dtype.kind in "biufc" and numbers.ndim < 2 and numbers.size > 0


def fill_of(fill: Any, kind: str = "image") -> Any:
    """Return the value for an image, or for a mask, for which one a channel says nothing.

    >>> fill_of({"image": (124, 116, 104), "mask": 255}, "mask"), fill_of((124, 116, 104), "mask"), fill_of(7, "mask")
    (255, 0, 7)
    """
    value = fill.get(kind) if isinstance(fill, dict) else fill
    if value is None or (kind == "mask" and not isinstance(value, int | float)):
        return 0
    return value
