"""The kernels that order samples, in C."""

from __future__ import annotations

from ctypes import c_int64, c_uint32, c_uint64, c_void_p
from operator import index as as_int
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.checks import check_feistel, check_indices, check_shuffle_length
from headrace.kernels.native.calls import LITTLE, address

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.kernels.native.calls import Library

__all__ = ["OrderKernels"]


class OrderKernels:
    """Draws and shuffles; `headrace.kernels.reference` documents each function."""

    def __init__(self, library: Library) -> None:
        self._philox = library.both("headrace_philox", [c_uint64, c_void_p, c_int64, c_uint32, c_uint32, c_void_p])
        self._fisher_yates = library.both("headrace_fisher_yates", [c_uint64, c_int64, c_void_p])
        self._feistel = library.both("headrace_feistel", [c_uint64, c_uint64, c_uint64, c_uint64, c_void_p])

    def philox(self, key: int, indices: NDArray[np.int64], stream: int, block: int = 0) -> NDArray[np.uint32]:
        """Return four random 32-bit words for each index."""
        check_indices(indices)
        indices = np.ascontiguousarray(indices)
        out = np.empty((len(indices), 4), dtype=np.uint32)
        philox = self._philox[out.nbytes > LITTLE]
        philox(as_int(key), address(indices), len(indices), as_int(stream), as_int(block), address(out))
        return out

    def fisher_yates(self, key: int, length: int) -> NDArray[np.int64]:
        """Return a random permutation of range(length)."""
        length = as_int(length)
        check_shuffle_length(length)
        out = np.empty(length, dtype=np.int64)
        self._fisher_yates[out.nbytes > LITTLE](as_int(key), length, address(out))
        return out

    def feistel(self, key: int, length: int, start: int, stop: int) -> NDArray[np.int64]:
        """Return positions [start, stop) of a pseudo-random permutation of range(length)."""
        length, start, stop = as_int(length), as_int(start), as_int(stop)
        check_feistel(length, start, stop)
        out = np.empty(stop - start, dtype=np.int64)
        self._feistel[out.nbytes > LITTLE](as_int(key), length, start, stop, address(out))
        return out
