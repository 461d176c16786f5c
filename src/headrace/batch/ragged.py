"""Sequences of different lengths, end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Ragged"]


class Ragged(NamedTuple):
    """The sequences of a batch that differ in length, as a dataset's `get_ragged(indices)` reads them.

    Attributes:
        values: the sequences end to end, of one dimension.
        lengths: how many items each has, shape (n,), int64.
    """

    values: NDArray[Any]
    lengths: NDArray[np.int64]
