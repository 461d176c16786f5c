"""The checks of kernels for sequences, and their errors, which every implementation shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.errors import ArgumentError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["check_pack", "padded_width", "padding_error", "piece_error"]

_MOST_CAPACITY = 2**24


def check_pack(lengths: NDArray[np.int64], capacity: int, window: int, most: int) -> None:
    """Raise unless sequences of these lengths can be packed."""
    if not (1 <= capacity < _MOST_CAPACITY and 1 <= window < 2**31 and most >= 1):
        raise ArgumentError(
            f"rows of 1 to {_MOST_CAPACITY - 1} items, windows of 1 to {2**31 - 1} sequences and 1 or more sequences a "
            f"row can be packed, but got {capacity}, {window} and {most}"
        )
    if len(lengths) and not (lengths.min() >= 1 and lengths.max() <= capacity):
        raise ArgumentError(f"lengths must be from 1 to {capacity}, but are {lengths.min()} to {lengths.max()}")


def padded_width(longest: int, most: int | None, multiple: int) -> tuple[int, int]:
    """Return how many items padded rows have, and how many of a sequence are kept.

    Args:
        longest: items of a sequence.
        most: items that are to be kept; None for all.
        multiple: what the items of a row are to be a multiple of.

    >>> padded_width(13, None, 8), padded_width(13, 5, 8)
    ((16, 13), (8, 5))
    """
    kept = longest if most is None else most
    return -(-min(longest, kept) // multiple) * multiple, kept


def padding_error(values: NDArray[Any], lengths: NDArray[np.int64], out: NDArray[Any], number: int) -> ArgumentError:
    """Return the error for a sequence that is not in the values, or too long for its row."""
    return ArgumentError(
        f"sequence {number} has {lengths[number]} items; all must lie in {len(values)} values, and what is kept in "
        f"rows of {out.shape[1]}"
    )


def piece_error(
    values: NDArray[Any],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    places: NDArray[np.int64],
    out: NDArray[Any],
    number: int,
) -> ArgumentError:
    """Return the error for a piece that has no place."""
    return ArgumentError(
        f"piece {number} is {lengths[number]} of {len(values)} values from {starts[number]} on and goes to place "
        f"{places[number]} of {len(out)}; it must lie inside of both, and behind the piece before it"
    )
