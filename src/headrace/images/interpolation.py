"""The names of interpolation modes that torchvision and Pillow use."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["check_interpolation"]

_PILLOWS = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # as plain numbers
_TORCHVISIONS = {"nearest-exact": "nearest"}  # its plain nearest is another one for tensors


def check_interpolation(interpolation: Any, allowed: Sequence[str]) -> str:
    """Return the name of an interpolation.

    Args:
        interpolation: that name, or torchvision's name or constant, or Pillow's constant.
        allowed: the names that there may be.

    Raises:
        ArgumentError: it is another.

    >>> check_interpolation(2, ["nearest", "bilinear"])
    'bilinear'
    """
    name = interpolation
    if isinstance(interpolation, Enum):
        name = interpolation.name.lower().replace("_", "-")
    elif isinstance(interpolation, int) and not isinstance(interpolation, bool):
        name = _PILLOWS.get(interpolation)
    if isinstance(name, str):
        name = _TORCHVISIONS.get(name, name)
    if not isinstance(name, str) or name not in allowed:
        raise ArgumentError(f"interpolation must be one of {', '.join(allowed)}, but got {interpolation!r}")
    return name
