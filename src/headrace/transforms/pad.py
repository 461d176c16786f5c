"""The transform that adds pixels around images, or cuts them off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.arena import empty
from headrace.errors import ArgumentError
from headrace.transforms.base import ImageTransform, per_channel
from headrace.transforms.fill import check_fill, fill_of
from headrace.transforms.placement import shifted
from headrace.transforms.sizes import check_mode, check_padding, padded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.images.layout import Axes
    from headrace.images.program import Program
    from headrace.transforms.placement import Placement

__all__ = ["Pad"]


class Pad(ImageTransform):
    """Add pixels on each side of the image.

    Args:
        padding: pixels: one integer, (left-right, top-bottom), or (left, top, right, bottom). Where it is negative,
            as many are cut off.
        fill: the value of the new pixels in mode "constant": one number, or one a channel; None for 0; a dict
            for an "image" and its "mask".
        padding_mode: "constant", "edge", "reflect" or "symmetric", as in numpy.pad.
        layout: "HW", "CHW", "HWC", or None to infer it from each image.

    Raises:
        ArgumentError: a padding or mode is not allowed; when called, fill does not fit the channels, or all of
            the image is cut off.

    Named as torchvision.transforms.Pad.

    >>> Pad(1)(np.ones((1, 1), np.uint8))
    array([[0, 0, 0],
           [0, 1, 0],
           [0, 0, 0]], dtype=uint8)
    """

    def __init__(
        self,
        padding: int | Sequence[int],
        fill: float | Sequence[float] | dict[str, Any] | None = 0,
        padding_mode: str = "constant",
        *,
        layout: str | None = None,
    ) -> None:
        super().__init__(layout)
        self.padding = check_padding(padding, negative=True)
        self.fill = check_fill(fill)
        self.padding_mode = check_mode(padding_mode)

    def transform(self, images: NDArray[Any], axes: Axes) -> NDArray[Any]:
        """Return the padded images."""
        if not any(self.padding):
            return images
        self._check_remains((images.shape[axes.height], images.shape[axes.width]))
        kept = images[_along(images, axes, *map(_shorter, self._sides()))]
        (top, bottom), (left, right) = (_added(side) for side in self._sides())
        widths = [(0, 0)] * images.ndim
        widths[axes.height], widths[axes.width] = (top, bottom), (left, right)
        if self.padding_mode != "constant":
            return np.pad(kept, widths, self.padding_mode)  # type: ignore[call-overload, no-any-return]
        shape = tuple(size + sum(width) for size, width in zip(kept.shape, widths, strict=True))
        out = empty(shape, images.dtype)
        out[...] = per_channel("fill", fill_of(self.fill), images, axes)
        rows, columns = slice(top, top + kept.shape[axes.height]), slice(left, left + kept.shape[axes.width])
        out[_along(images, axes, rows, columns)] = kept
        return out

    def place(self, extent: tuple[int, int]) -> Placement:
        """Return where an image of a height and width comes to lie."""
        return shifted(self.padding[0], self.padding[1], padded(extent, self.padding))

    def lower(self, program: Program) -> bool:
        """Write what the images become into a program; whether it can express that."""
        if min(self.padding) >= 0:
            return not any(self.padding) or program.pad(self.padding, fill_of(self.fill), self.padding_mode)
        if max(self.padding) > 0:  # cut and padded in one is for what comes after the program
            return False
        self._check_remains(program.size)
        left, top, _, _ = self.padding
        program.crop(-top, -left, padded(program.size, self.padding))
        return True

    def _sides(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return top and bottom, and left and right."""
        left, top, right, bottom = self.padding
        return (top, bottom), (left, right)

    def _check_remains(self, extent: tuple[int, int]) -> None:
        for length, side in zip(extent, self._sides(), strict=True):
            if length + sum(min(0, number) for number in side) < 1:
                raise ArgumentError(f"padding={self.padding} cuts off all of an image of {extent[0]} x {extent[1]}")


def _shorter(side: tuple[int, int]) -> slice:
    """Return what is left once negative padding is cut off."""
    return slice(max(0, -side[0]), min(0, side[1]) or None)


def _added(side: tuple[int, int]) -> tuple[int, int]:
    return max(0, side[0]), max(0, side[1])


def _along(images: NDArray[Any], axes: Axes, rows: slice, columns: slice) -> tuple[slice, ...]:
    """Return the index of rows and columns in a batch."""
    index = [slice(None)] * images.ndim
    index[axes.height], index[axes.width] = rows, columns
    return tuple(index)
