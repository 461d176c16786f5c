"""What a pixel is made of that lies between others: the names that torchvision and Pillow give it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["check_interpolation"]

_PILLOWS = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # as plain numbers


def check_interpolation(interpolation: Any, allowed: Sequence[str]) -> str:
    """The name of an interpolation.

    Args:
        interpolation: that name, or a constant of torchvision's or of Pillow's.
        allowed: the names that there may be.

    Raises:
        ArgumentError: it is another.

    >>> check_interpolation(2, ["nearest", "bilinear"])
    'bilinear'
    """
    name = interpolation
    if isinstance(interpolation, Enum):
        name = interpolation.name.lower()
    elif isinstance(interpolation, int) and not isinstance(interpolation, bool):
        name = _PILLOWS.get(interpolation)
    if not isinstance(name, str) or name not in allowed:
        raise ArgumentError(f"interpolation must be one of {', '.join(allowed)}, but got {interpolation!r}")
    return name
