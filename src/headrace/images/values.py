"""The values of pixels as a table that transforms change, made once for all batches."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.images.layout import Axes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Change = Callable[[NDArray[Any], Axes], NDArray[Any]]

__all__ = ["Values", "cached", "changed", "filled", "unchanged"]

_VALUES = 256  # of a byte
_ITEM_BYTES = (1, 2, 4)  # that the kernel writes


class Values:
    """The values of pixels at a point of a chain, as a table.

    Args:
        table: of each byte, shape (channels, 256).
        fill: of the pixels around the images, shape (channels,); None while there are none.
        noted: by what has been divided, what subtracted, and by what divided to come to the table.

    Attributes:
        around: the fill, or a value that is never shown.
        terms: the numbers from which a kernel may compute the table, shape (3, channels); None if it cannot.
    """

    def __init__(self, table: NDArray[Any], fill: NDArray[Any] | None = None, noted: tuple[Any, ...] = ()) -> None:
        self.table = table
        self.fill = fill
        self.noted = noted
        self.around = np.zeros(len(table), table.dtype) if fill is None else fill
        self.terms = _terms(noted, len(table)) if table.dtype == np.float32 else None


def _terms(noted: tuple[Any, ...], channels: int) -> NDArray[np.float32] | None:
    if len(noted) not in (1, 3):
        return None
    terms = np.zeros((3, channels), np.float32)
    terms[2] = 1
    for row, term in zip(terms, noted, strict=False):
        row[:] = term
    return terms


@cache
def unchanged(channels: int) -> Values:
    """Return values before any change."""
    return Values(np.tile(np.arange(_VALUES, dtype=np.uint8), (channels, 1)))


@lru_cache(64)
def filled(values: Values, value: Any) -> Values | None:
    """Return the values where new pixels have this one; None if there are others already, or they cannot have it."""
    fill = np.empty(len(values.table), values.table.dtype)
    try:
        fill[:] = np.asarray(value, fill.dtype)
    except (OverflowError, TypeError, ValueError):  # the transform itself will say so
        return None
    if values.fill is not None:
        return values if (fill == values.fill).all() else None
    return Values(values.table, fill, values.noted)


@lru_cache(64)
def changed(
    values: Values,
    pixels: Change,
    parameters: tuple[Any, ...],  # noqa: ARG001 - they tell apart what the cache keeps
    terms: tuple[Any, ...],
    has_channels: bool,  # noqa: FBT001
) -> Values | None:
    """Return the values of images that have all of them, once changed; None if the kernel cannot write the result."""
    axes = Axes(1, 2, 3 if has_channels else None)

    def change(numbers: NDArray[Any]) -> NDArray[Any]:
        """Return the changed numbers, of shape (n, channels)."""
        images = numbers[np.newaxis, :, np.newaxis]
        return pixels(images if has_channels else images[..., 0], axes).reshape(numbers.shape)

    table = change(values.table.T)
    if table.dtype.itemsize not in _ITEM_BYTES or table.dtype.hasobject:
        return None
    fill = None if values.fill is None else change(values.fill[np.newaxis])[0]
    return Values(np.ascontiguousarray(table.T), fill, (*values.noted, *terms))


def cached(function: Callable[..., Values | None], *arguments: Any) -> Values | None:
    """Call a function that has a cache; arguments that the cache cannot hold are passed around it."""
    try:
        return function(*arguments)
    except TypeError:
        uncached: Callable[..., Values | None] = function.__wrapped__  # type: ignore[attr-defined]
        return uncached(*arguments)
