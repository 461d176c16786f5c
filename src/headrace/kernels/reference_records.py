"""The kernels that records are read with, in NumPy; `headrace.kernels.reference` offers them with the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.checks import check_ranges, range_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["gather_ranges"]


def gather_ranges(
    sources: Sequence[NDArray[np.uint8]],
    which: NDArray[np.int64],
    offsets: NDArray[np.int64],
    lengths: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Copy ranges of bytes of several sources into `out`, end to end.

    Args:
        sources: Contiguous arrays of one dimension, uint8.
        which: int64 of shape (n,): the place of each range's source.
        offsets: int64 of shape (n,): where in its source it starts.
        lengths: int64 of shape (n,): its bytes.
        out: Contiguous uint8 of shape (sum of lengths,), not overlapping the sources.

    Raises:
        ArgumentTypeError: A dtype does not match.
        ArgumentError: A shape does not match, or a range lies outside of its source; nothing is written then.
        OutOfRangeError: There is no such source.

    >>> out = np.empty(5, np.uint8)
    >>> text = np.frombuffer(b"headrace", np.uint8)
    >>> gather_ranges([text], np.zeros(2, np.int64), np.array([4, 0]), np.array([4, 1]), out)
    >>> out.tobytes()
    b'raceh'
    """
    check_ranges(sources, which, offsets, lengths, out)
    sizes = np.array([len(source) for source in sources], np.int64)[which]
    outside = (offsets < 0) | (lengths < 0) | (lengths > sizes) | (offsets > sizes - lengths)
    if outside.any():
        raise range_error(sources, which, offsets, lengths, int(outside.argmax()))
    end = 0
    for number, offset, length in zip(which.tolist(), offsets.tolist(), lengths.tolist(), strict=True):
        start, end = end, end + length
        out[start:end] = sources[number][offset : offset + length]
