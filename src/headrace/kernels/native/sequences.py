"""The kernels of mixtures and sequences, in C."""

from __future__ import annotations

from ctypes import Structure, byref, c_char_p, c_int64, c_void_p, cast, py_object, pythonapi
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.kernels.native.calls import LITTLE, address
from headrace.kernels.sequence_checks import check_pack, padded_width, padding_error, piece_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.kernels.checks import Empty
    from headrace.kernels.native.calls import Library

__all__ = ["SequenceKernels"]


class _PackingStruct(Structure):
    """The headrace_packing of the header file."""

    _fields_ = [(name, c_int64) for name in ("capacity", "window", "most", "first_fit")]


class _PiecesStruct(Structure):
    """The headrace_pieces of the header file."""

    _fields_ = [
        ("values", c_void_p),
        ("size", c_int64),
        ("item_bytes", c_int64),
        *((name, c_void_p) for name in ("starts", "lengths", "places")),
        ("count", c_int64),
    ]


class _PaddingStruct(Structure):
    """The headrace_padding of the header file."""

    _fields_ = [
        ("values", c_void_p),
        ("starts", c_void_p),
        ("size", c_int64),
        ("item_bytes", c_int64),
        ("lengths", c_void_p),
        *((name, c_int64) for name in ("count", "width", "most", "before")),
    ]


class _BuffersStruct(Structure):
    """The headrace_buffers of the header file."""

    _fields_ = [(name, c_void_p) for name in ("item", "open", "close", "clear")]


class SequenceKernels:
    """The order of mixtures, rows and padding of sequences; `headrace.kernels.reference` documents each function."""

    def __init__(self, library: Library) -> None:
        self._radical_count = library.both("headrace_radical_count", [c_void_p, c_void_p, c_int64, c_void_p])
        self._radical_find = library.both("headrace_radical_find", [c_void_p, c_void_p, c_void_p, c_int64, c_void_p])

        self._alias = library.long("headrace_alias", [c_void_p, c_int64, c_void_p, c_void_p])
        self._pack = library.long("headrace_pack", [c_void_p, c_void_p, c_int64, c_void_p, c_void_p], c_int64)
        python = (
            pythonapi.PyList_GetItem,
            pythonapi.PyObject_GetBuffer,
            pythonapi.PyBuffer_Release,
            pythonapi.PyErr_Clear,
        )
        self._buffers = _BuffersStruct(*[cast(function, c_void_p).value for function in python])
        found = [c_void_p, py_object, c_int64, c_int64, c_void_p, c_void_p]
        self._find_sequences = library.brief("headrace_find_sequences", found, c_int64)
        tensors = [c_void_p, c_void_p, *found[1:]]
        self._find_tensors = library.brief("headrace_find_tensors", tensors, c_int64)
        stacked = [c_void_p, c_void_p, py_object, c_int64, c_int64, c_void_p]
        self._stack_tensors = library.brief("headrace_stack_tensors", stacked, c_int64)
        self._exchanges: dict[int, tuple[Any, int]] = {}  # capsules that were met, and what they hold
        self._pad = library.both("headrace_pad", [c_void_p] * 3, c_int64)
        self._place_pieces = library.both("headrace_place_pieces", [c_void_p, c_void_p, c_int64, c_void_p], c_int64)

    def pack(
        self, lengths: NDArray[np.int64], capacity: int, window: int, most: int, *, first_fit: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pack sequences into rows."""
        check_pack(lengths, capacity, window, most)
        lengths = np.ascontiguousarray(lengths)
        members, ends = np.empty(len(lengths), np.int64), np.empty(len(lengths), np.int64)
        packing = _PackingStruct(capacity, min(window, max(1, len(lengths))), min(most, len(lengths)), first_fit)
        rows = self._pack(byref(packing), address(lengths), len(lengths), address(members), address(ends))
        if rows < 0:
            raise MemoryError("there is no memory to pack sequences")
        return members, ends[:rows].copy()

    def pad(
        self,
        values: NDArray[Any],
        lengths: NDArray[np.int64],
        fill: NDArray[Any],
        out: NDArray[Any],
        *,
        most: int,
        before: bool,
    ) -> None:
        """Copy sequences that lie end to end to rows of their own, and pad these."""
        if out.dtype.hasobject:
            from headrace.kernels import reference  # which few arrays need

            reference.pad(values, lengths, fill, out, most=most, before=before)
            return
        count, width = out.shape[:2]
        padding = _PaddingStruct(
            address(values), None, len(values), fill.nbytes, address(lengths), count, width, most, before
        )
        wrong = self._pad[out.nbytes > LITTLE](byref(padding), address(fill), address(out))
        if wrong >= 0:
            raise padding_error(values, lengths, out, wrong)

    def pad_arrays(
        self,
        arrays: list[Any],
        fill: NDArray[Any],
        empty: Empty,
        *,
        most: int | None,
        multiple: int,
        before: bool,
        exchange: object = None,
    ) -> tuple[NDArray[Any], NDArray[np.int64]] | None:
        """Copy arrays of one dimension to rows of their own, and pad these."""
        if fill.dtype.hasobject:
            return None
        count = len(arrays)
        told = np.empty((2, count), np.int64)  # where they begin, and their lengths
        begin = address(told)
        rest = arrays, count, fill.itemsize, begin, begin + told.strides[0]
        if exchange is None:
            longest = self._find_sequences(byref(self._buffers), *rest)
        else:
            longest = self._find_tensors(byref(self._buffers), self._address_of(exchange), *rest)
        if longest < 0:
            return None
        width, kept = padded_width(longest, most, multiple)
        out = empty((count, width), fill.dtype)
        padding = _PaddingStruct(None, begin, 0, fill.itemsize, begin + told.strides[0], count, width, kept, before)
        self._pad[out.nbytes > LITTLE](byref(padding), address(fill), address(out))
        return out, told[1]

    def stack_tensors(self, tensors: list[Any], out: NDArray[Any], exchange: object) -> bool:
        """Copy tensors of one dtype and shape to the rows of `out`."""
        buffers, api, count = byref(self._buffers), self._address_of(exchange), len(tensors)
        wrong: int = self._stack_tensors(buffers, api, tensors, count, out.nbytes // count, address(out))
        return wrong < 0

    def _address_of(self, exchange: object) -> int:
        """Return where the table of functions lies that a capsule holds."""
        found = self._exchanges.get(id(exchange))
        if found is None:
            get = pythonapi.PyCapsule_GetPointer
            get.argtypes, get.restype = [py_object, c_char_p], c_void_p
            found = self._exchanges[id(exchange)] = exchange, get(exchange, b"dlpack_exchange_api")
        return found[1]

    def place_pieces(
        self,
        values: NDArray[Any],
        starts: NDArray[np.int64],
        lengths: NDArray[np.int64],
        places: NDArray[np.int64],
        fill: Any,
        out: NDArray[Any],
    ) -> None:
        """Copy pieces of values to their places, and fill what is between them."""
        if out.dtype.hasobject:
            from headrace.kernels import reference  # which few arrays need

            reference.place_pieces(values, starts, lengths, places, fill, out)
            return
        item = np.full(out.shape[1:], fill, out.dtype)
        pieces = _PiecesStruct(
            address(values), len(values), item.nbytes, address(starts), address(lengths), address(places), len(starts)
        )
        wrong = self._place_pieces[out.nbytes > LITTLE](byref(pieces), address(item), len(out), address(out))
        if wrong >= 0:
            raise piece_error(values, starts, lengths, places, out, wrong)

    def alias(self, chances: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the tables of the alias method."""
        own, left, others = chances.copy(), np.empty(len(chances), np.int64), np.empty(len(chances), np.int64)
        self._alias(address(own), len(own), address(left), address(others))
        return own, others

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
