"""Calls of the kernels in C through ctypes, with the GIL or without it."""

from __future__ import annotations

import ctypes
import os
from ctypes import addressof, c_char
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["LITTLE", "Library", "address", "range_arrays"]

# Bytes that a kernel makes in the time that it takes to hand the GIL over and back.
LITTLE = 1 << 14

# Typed Any because NumPy's stubs know of an array as a buffer only from Python 3.12 on.
_no_bytes_of: Any = (c_char * 0).from_buffer


class Library:
    """A loaded library of kernels.

    Args:
        path: where it lies; an OSError says why it cannot be loaded.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._long, self._brief = ctypes.CDLL(os.fspath(path)), ctypes.PyDLL(os.fspath(path))

    def long(self, name: str, arguments: list[Any], result: Any = None) -> Any:
        """Return a function that leaves the GIL to other threads; an AttributeError says that it is not there."""
        return _declare(getattr(self._long, name), arguments, result)

    def brief(self, name: str, arguments: list[Any], result: Any = None) -> Any:
        """Return a function that keeps the GIL: to get it back takes longer than little work does."""
        return _declare(getattr(self._brief, name), arguments, result)

    def both(self, name: str, arguments: list[Any], result: Any = None) -> tuple[Any, Any]:
        """Return the brief and the long version of a function."""
        return self.brief(name, arguments, result), self.long(name, arguments, result)


def _declare(function: Any, arguments: list[Any], result: Any = None) -> Any:
    """Fix the types of a C function, so that no call has to guess them."""
    function.argtypes = arguments
    function.restype = result
    return function


def address(array: NDArray[Any]) -> int:
    """Return where the first element lies; an array without elements may give any address.

    The array interface serves every array, but takes as long as a small kernel; a buffer takes a third.
    """
    if array.flags.writeable:
        try:
            return addressof(_no_bytes_of(array))
        except (TypeError, ValueError):  # its rows lie apart, or its dtype has no buffer
            pass
    if array.dtype.names:  # whose description would be written out, which takes long
        array = array.view((np.void, array.itemsize))
    start: int = array.__array_interface__["data"][0]
    return start


def range_arrays(
    sources: Sequence[NDArray[np.uint8]],
    which: NDArray[np.int64],
    offsets: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> list[NDArray[Any]]:
    """Return ranges of sources as C reads them: where each source lies and how large it is, then the ranges."""
    addresses = np.array([address(source) for source in sources], np.uint64)
    sizes = np.array([len(source) for source in sources], np.int64)
    return [addresses, sizes, *map(np.ascontiguousarray, (which, offsets, lengths))]
