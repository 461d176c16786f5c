"""Moves of images' crop boxes, from which kernels compute the place of each image."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.errors import ArgumentError
from headrace.kernels.checks import check_indices

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["KEY", "Kind", "Move", "check_move", "signed"]

KEY = 1  # the column of a table of moves that says with which key they draw


class Kind(IntEnum):
    """The kind of a move, which says what its four numbers are."""

    WHOLE = 0  # begin with all of the image
    BOX = 1  # go on with a part: its top, left, height and width
    PAD = 2  # add lines around it: above, before, and how many in height and width
    CROP = 3  # go on with a part of this height and width, anywhere in it
    MIRROR = 4  # along its height (0) or width (1), if a random word is below this number
    HIDE = 5  # see nothing but what the image is at this point
    REPEAT = 6  # lines stand for its own: how many above, before, and how many in height and width


class Move(NamedTuple):
    """A move of all images of a batch, which a table of moves has as a row of int64.

    Attributes:
        kind: what it does.
        key: the 64-bit key of its draws, if it draws.
        stream: their stream.
        block: their block.
        numbers: up to four; what they mean is said of each kind.
    """

    kind: Kind
    key: int = 0
    stream: int = 0
    block: int = 0
    numbers: tuple[int, ...] = ()

    def row(self) -> tuple[int, ...]:
        """Return the row of a table."""
        return (self.kind, signed(self.key), self.stream, self.block, *self.numbers, 0, 0, 0, 0)[:_COLUMNS]


def signed(key: int) -> int:
    """Return the int64 of the same bits as a 64-bit key.

    >>> signed(2**64 - 1)
    -1
    """
    return key - (key >> 63 << 64)


_INT64, _INT32 = np.dtype(np.int64), np.dtype(np.int32)
_COLUMNS = 8


def check_move(
    indices: NDArray[np.int64], sizes: NDArray[np.int64], moves: NDArray[np.int64], places: NDArray[np.int32]
) -> None:
    """Raise unless the arrays fit one another."""
    check_indices(indices)
    count = len(indices)
    if sizes.dtype != _INT64 or sizes.shape != (count, 2) or sizes.strides[1] != _INT64.itemsize:
        raise ArgumentError(f"sizes is {sizes.dtype} of shape {sizes.shape}, but int64 of ({count}, 2) is needed")
    if moves.dtype != _INT64 or moves.ndim != 2 or moves.shape[1] != _COLUMNS or not moves.flags.c_contiguous:
        raise ArgumentError(f"moves is {moves.dtype} of shape {moves.shape}, but int64 of (m, {_COLUMNS}) is needed")
    if places.dtype != _INT32 or places.shape != (count, _COLUMNS) or not places.flags.c_contiguous:
        raise ArgumentError(f"places is {places.dtype} of shape {places.shape}, but int32 of ({count}, 8) is needed")
