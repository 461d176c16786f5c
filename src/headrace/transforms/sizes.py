"""Sizes and paddings as arguments, and where an image lies in a padded one."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.errors import ArgumentError

__all__ = ["check_fits", "check_mode", "check_padding", "check_size", "padded"]

_PADDING_MODES = ("constant", "edge", "reflect", "symmetric")


def padded(extent: tuple[int, int], padding: tuple[int, int, int, int]) -> tuple[int, int]:
    """Return the height and width of a padded image."""
    left, top, right, bottom = padding
    return extent[0] + top + bottom, extent[1] + left + right


def check_fits(size: tuple[int, int], height: int, width: int, what: str) -> None:
    """Raise an ArgumentError if a crop is larger than what it is cut out of."""
    if size[0] > height or size[1] > width:
        raise ArgumentError(f"crop size {size} is larger than the {what} ({height}, {width}); crop less, or pad more")


def check_size(size: object, name: str = "size", order: str = "(height, width)") -> tuple[int, int]:
    """Return two positive integers, of one or two of them.

    Args:
        size: what was given.
        name: what for.
        order: of the two.

    Raises:
        ArgumentError: it is anything else.
    """
    numbers = _integers(size if _is_sequence(size) else (size, size))
    if len(numbers) == 1:
        numbers *= 2
    if len(numbers) != 2 or min(numbers) < 1:
        raise ArgumentError(f"{name} must be a positive integer or {order}, but got {name}={size!r}")
    return numbers[0], numbers[1]


def check_mode(mode: Any) -> str:
    """Return the name of a mode of padding; raise an ArgumentError for another one."""
    if mode not in _PADDING_MODES:
        raise ArgumentError(f"padding_mode must be one of {', '.join(_PADDING_MODES)}, but got {mode!r}")
    return str(mode)


def check_padding(padding: object, *, negative: bool = False) -> tuple[int, int, int, int]:
    """Check the padding, and return it as left, top, right and bottom.

    Args:
        padding: what was given.
        negative: whether it may be so, where pixels are to be cut off.
    """
    numbers = _integers(padding if _is_sequence(padding) else (padding,))
    if len(numbers) not in (1, 2, 4) or (min(numbers) < 0 and not negative):
        kind = "an integer" if negative else "a non-negative integer"
        raise ArgumentError(
            f"padding must be {kind}, (left-right, top-bottom) or (left, top, right, bottom), "
            f"but got padding={padding!r}"
        )
    left, top, right, bottom = numbers * (4 // len(numbers))
    return left, top, right, bottom


def _is_sequence(value: object) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _integers(values: Any) -> tuple[int, ...]:
    """Return the values as integers; three zeros, which nothing allows, if one of them is none."""
    if any(isinstance(value, bool) or not isinstance(value, int | np.integer) for value in values):
        return (0, 0, 0)
    return tuple(map(int, values))
