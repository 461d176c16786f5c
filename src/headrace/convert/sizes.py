"""Sizes as people write them."""

from __future__ import annotations

import re
from typing import Any

from headrace.errors import ArgumentError

__all__ = ["parse_size"]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", re.IGNORECASE)


def parse_size(name: str, value: Any) -> int | None:
    """Return a number of bytes.

    Args:
        name: what it is for, for the text of an error.
        value: a positive integer, or a text as "256 MB", "1.5GiB" or "1000"; None stays None.

    Raises:
        ArgumentError: it is something else.

    >>> parse_size("shard_size", "1.5 GiB")
    1610612736
    """
    size = value
    if isinstance(value, str) and (match := _TEXT.fullmatch(value)) and match[2].lower() in _UNITS:
        size = int(float(match[1]) * _UNITS[match[2].lower()])
    if size is not None and (isinstance(size, bool) or not hasattr(size, "__index__") or size < 1):
        raise ArgumentError(f"{name} must be a positive number, or a text such as '256 MB', but got {value!r}")
    return None if size is None else int(size)
