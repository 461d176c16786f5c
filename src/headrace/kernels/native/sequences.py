"""The kernels of mixtures and sequences, in C."""

from __future__ import annotations

from ctypes import c_int64, c_void_p
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.native.calls import LITTLE, address

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.kernels.native.calls import Library

__all__ = ["SequenceKernels"]


class SequenceKernels:
    """The order of mixtures; `headrace.kernels.reference` documents each function."""

    def __init__(self, library: Library) -> None:
        self._radical_count = library.both("headrace_radical_count", [c_void_p, c_void_p, c_int64, c_void_p])
        self._radical_find = library.both("headrace_radical_find", [c_void_p, c_void_p, c_void_p, c_int64, c_void_p])

    def radical_count(self, positions: NDArray[np.int64], bounds: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Count the earlier positions of the van der Corput sequence with a value below a bound."""
        positions, bounds = np.ascontiguousarray(positions), np.ascontiguousarray(bounds)
        out = np.empty(len(positions), np.int64)
        self._radical_count[out.nbytes > LITTLE](address(positions), address(bounds), len(positions), address(out))
        return out

    def radical_find(
        self, lows: NDArray[np.uint64], highs: NDArray[np.uint64], ranks: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return positions of the van der Corput sequence by their rank among those with a value in a range."""
        lows, highs, ranks = np.ascontiguousarray(lows), np.ascontiguousarray(highs), np.ascontiguousarray(ranks)
        out = np.empty(len(ranks), np.int64)
        find = self._radical_find[out.nbytes > LITTLE]
        find(address(lows), address(highs), address(ranks), len(ranks), address(out))
        return out
