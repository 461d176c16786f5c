"""The kernels that records are read with, in NumPy; `headrace.kernels.reference` offers them with the others."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.kernels.checks import check_ranges, check_room, check_widen, check_windows, range_error
from headrace.kernels.scans import (
    RECORD,
    check_crc32c,
    check_data,
    check_files,
    check_places,
    check_rows,
    record_error,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.kernels.scans import SliceRecords

__all__ = [
    "crc32c",
    "crc32c_ranges",
    "gather_ranges",
    "prepare_slices",
    "scan_tfrecord",
    "slice_ranges",
    "widen_ranges",
    "widen_windows",
]

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, the bits reflected
_LANES = 1 << 9


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
    check_ranges(sources, which, offsets, lengths)
    check_room(lengths, out)
    end = 0
    for values in _ranges(sources, which, offsets, lengths):
        start, end = end, end + len(values)
        out[start:end] = values


def widen_ranges(
    sources: Sequence[NDArray[np.uint8]],
    which: NDArray[np.int64],
    offsets: NDArray[np.int64],
    lengths: NDArray[np.int64],
    dtype: np.dtype[Any],
    out: NDArray[np.int64],
) -> None:
    """Copy ranges of integers of several sources into `out`, end to end, as int64.

    Args:
        sources: Contiguous arrays of one dimension, uint8.
        which: int64 of shape (n,): the place of each range's source.
        offsets: int64 of shape (n,): where in its source it starts, in bytes; it need not be aligned.
        lengths: int64 of shape (n,): its integers.
        dtype: of the integers, little-endian; any but uint64.
        out: Contiguous int64 of shape (sum of lengths,), not overlapping the sources.

    Raises:
        ArgumentTypeError: A dtype does not match.
        ArgumentError: A shape does not match, or a range lies outside of its source; nothing is written then.
        OutOfRangeError: There is no such source.

    >>> out = np.empty(2, np.int64)
    >>> tokens = np.arange(5, dtype=np.uint16).view(np.uint8)
    >>> widen_ranges([tokens], np.array([0]), np.array([4]), np.array([2]), np.dtype(np.uint16), out)
    >>> out
    array([2, 3])
    """
    check_ranges(sources, which, offsets, lengths)
    check_widen(lengths, dtype, out)
    end = 0
    for values in _ranges(sources, which, offsets, lengths * dtype.itemsize):
        start, end = end, end + len(values) // dtype.itemsize
        out[start:end] = np.frombuffer(values, dtype)


def widen_windows(
    sources: Sequence[NDArray[np.uint8]],
    which: NDArray[np.int64],
    offsets: NDArray[np.int64],
    dtype: np.dtype[Any],
    out: NDArray[np.int64],
) -> None:
    """Copy windows of integers of several sources, once or shifted, as int64.

    Args:
        sources: Contiguous arrays of one dimension, uint8.
        which: int64 of shape (n,): the place of each window's source.
        offsets: int64 of shape (n,): where in its source it starts, in bytes; it need not be aligned.
        dtype: of the integers, little-endian; any but uint64.
        out: Contiguous int64 of shape (shifts, n, length), not overlapping the sources: out[0] are the windows,
            out[1] the windows that start one integer later, and so on.

    Raises:
        ArgumentTypeError: A dtype does not match.
        ArgumentError: A shape does not match, or a window lies outside of its source; nothing is written then.
        OutOfRangeError: There is no such source.

    >>> out = np.empty((2, 1, 3), np.int64)
    >>> tokens = np.arange(5, dtype=np.uint16).view(np.uint8)
    >>> widen_windows([tokens], np.array([0]), np.array([2]), np.dtype(np.uint16), out)
    >>> out.tolist()
    [[[1, 2, 3]], [[2, 3, 4]]]
    """
    check_windows(sources, which, offsets, dtype, out)
    check_ranges(sources, which, offsets, offsets)
    items = out.shape[2] + len(out) - 1
    lengths = np.full(len(which), items * dtype.itemsize)
    for window, values in enumerate(_ranges(sources, which, offsets, lengths)):
        tokens = np.frombuffer(values, dtype)
        for shift, rows in enumerate(out):
            rows[window] = tokens[shift : shift + out.shape[2]]


def slice_ranges(
    sources: Sequence[NDArray[np.uint8]],
    which: NDArray[np.int64],
    offsets: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> list[bytes]:
    """Return ranges of bytes of several sources, each as an object of its own.

    Args:
        sources: Contiguous arrays of one dimension, uint8.
        which: int64 of shape (n,): the place of each range's source.
        offsets: int64 of shape (n,): where in its source it starts.
        lengths: int64 of shape (n,): its bytes.

    Raises:
        ArgumentTypeError: A dtype does not match.
        ArgumentError: A shape does not match, or a range lies outside of its source.
        OutOfRangeError: There is no such source.

    >>> text = np.frombuffer(b"headrace", np.uint8)
    >>> slice_ranges([text], np.zeros(2, np.int64), np.array([4, 0]), np.array([4, 1]))
    [b'race', b'h']
    """
    check_ranges(sources, which, offsets, lengths)
    return [values.tobytes() for values in _ranges(sources, which, offsets, lengths)]


def prepare_slices(sources: Sequence[NDArray[np.uint8]], tables: Sequence[NDArray[Any]]) -> SliceRecords:
    """Return a function that returns records of files, each as an object of its own.

    What a kernel needs to know of the files is found here, so that many small batches cost little.

    Args:
        sources: The files' bytes, each uint8 of shape (n,).
        tables: Where in them their records are, each RECORD of shape (m,).

    Returns:
        The function, which says what it takes and returns. It cannot be pickled.

    Raises:
        ArgumentError: A dtype or a shape does not match.

    >>> text, table = np.frombuffer(b"headrace", np.uint8), np.zeros(2, RECORD)
    >>> table["offset"], table["length"] = [0, 4], 4
    >>> prepare_slices([text], [table])(np.array([0]), np.array([1]))
    ([b'race'], 4, 0, 30110021)
    """
    check_files(sources, tables)

    def slice_records(
        which: NDArray[np.int64], rows: NDArray[np.int64], *, verify: bool = True
    ) -> tuple[list[bytes], int, int, int]:
        check_places(which, rows)
        check_rows(tables, which, rows)
        records = np.empty(len(rows), RECORD)
        for number, table in enumerate(tables):
            here = which == number
            records[here] = table[rows[here]]
        offsets, lengths = records["offset"].copy(), records["length"].copy()
        sizes = np.array([len(source) for source in sources], np.int64)[which]
        outside = (offsets < 0) | (lengths < 0) | (lengths > sizes) | (offsets > sizes - lengths)
        if outside.any():
            raise record_error(sources, tables, which, rows, int(outside.argmax()))
        found = slice_ranges(sources, which, offsets, lengths)
        if verify:
            sums = crc32c_ranges(sources, which, offsets, lengths)
            wrong = sums != records["crc"]
            if wrong.any():
                return found, int(lengths.sum()), int(wrong.argmax()), int(sums[wrong.argmax()])
        return found, int(lengths.sum()), -1, 0

    return slice_records


def _ranges(
    sources: Sequence[NDArray[np.uint8]],
    which: NDArray[np.int64],
    offsets: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> list[NDArray[np.uint8]]:
    sizes = np.array([len(source) for source in sources], np.int64)[which]
    outside = (offsets < 0) | (lengths < 0) | (lengths > sizes) | (offsets > sizes - lengths)
    if outside.any():
        raise range_error(sources, which, offsets, lengths, int(outside.argmax()))
    places = zip(which.tolist(), offsets.tolist(), lengths.tolist(), strict=True)
    return [sources[number][offset : offset + length] for number, offset, length in places]


def crc32c(data: NDArray[np.uint8], offsets: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Return the CRC32C of ranges of bytes.

    Args:
        data: The bytes, uint8 of shape (n,).
        offsets: int64 of shape (m,): where each range starts.
        lengths: int64 of shape (m,): its bytes.

    Returns:
        uint32 of shape (m,).

    Raises:
        ArgumentTypeError: A dtype does not match.
        ArgumentError: A shape does not match, or a range lies outside of the data.

    Castagnoli's polynomial, RFC 3720, B.4.

    >>> hex(crc32c(np.frombuffer(b"123456789", np.uint8), np.array([0]), np.array([9]))[0])
    '0xe3069283'
    """
    check_crc32c(data, offsets, lengths)
    return crc32c_ranges([data], np.zeros(len(offsets), np.int64), offsets, lengths)


def crc32c_ranges(
    sources: Sequence[NDArray[np.uint8]],
    which: NDArray[np.int64],
    offsets: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> NDArray[np.uint32]:
    """Return the CRC32C of ranges of bytes of several sources.

    Args:
        sources: Contiguous arrays of one dimension, uint8.
        which: int64 of shape (n,): the place of each range's source.
        offsets: int64 of shape (n,): where in its source it starts.
        lengths: int64 of shape (n,): its bytes.

    Returns:
        uint32 of shape (n,).

    Raises:
        ArgumentTypeError: A dtype does not match.
        ArgumentError: A shape does not match, or a range lies outside of its source.
        OutOfRangeError: There is no such source.

    >>> text = np.frombuffer(b"123456789", np.uint8)
    >>> hex(crc32c_ranges([text[:1], text], np.array([1]), np.array([0]), np.array([9]))[0])
    '0xe3069283'
    """
    check_ranges(sources, which, offsets, lengths)
    return np.array([_crc32c(values) for values in _ranges(sources, which, offsets, lengths)], np.uint32)


def _crc32c(data: NDArray[np.uint8]) -> int:
    """Compute the CRC32C. Long data are cut into lanes of one length, which are summed side by side and then joined."""
    table, rows = _table(), len(data) // _LANES
    crc = 0xFFFFFFFF
    if rows > 8:
        lanes = np.zeros(_LANES, np.uint32)
        lanes[0] = crc
        for column in data[: rows * _LANES].reshape(_LANES, rows).T:
            lanes = (lanes >> np.uint32(8)) ^ table[(lanes ^ column) & np.uint32(0xFF)]
        crc = 0
        for lane in lanes.tolist():
            crc = _after_zeros(crc, rows) ^ lane
        data = data[rows * _LANES :]
    numbers = table.tolist() if len(data) > 64 else table
    for byte in data.tolist():
        crc = (crc >> 8) ^ int(numbers[(crc ^ byte) & 0xFF])
    return crc ^ 0xFFFFFFFF


@cache
def _table() -> NDArray[np.uint32]:
    """Return the table of the checksum: the effect of each byte on it."""
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = (values >> np.uint32(1)) ^ np.where(values & np.uint32(1), np.uint32(_POLYNOMIAL), np.uint32(0))
    return values


def _after_zeros(crc: int, count: int) -> int:
    """Return the sum after `count` more bytes of zero: its product with x to the power of 8 * count."""
    factor, square = 1 << 31, 1 << 23  # 1 and x**8: the highest bit is the lowest power
    while count:
        if count & 1:
            factor = _product(factor, square)
        square, count = _product(square, square), count >> 1
    return _product(crc, factor)


def _product(a: int, b: int) -> int:
    """Return the product of two polynomials, modulo that of the sum."""
    result = 0
    while a:
        if a & (1 << 31):
            result ^= b
        a = (a << 1) & 0xFFFFFFFF
        b = (b >> 1) ^ (_POLYNOMIAL if b & 1 else 0)
    return result


def scan_tfrecord(data: NDArray[np.uint8], position: int, capacity: int) -> tuple[NDArray[Any], int, int]:
    """List the records of a TFRecord file.

    Args:
        data: The file, or a part of it, uint8 of shape (n,).
        position: Where a record starts.
        capacity: How many records to list at most.

    Returns:
        The records, RECORD, with the sums that the file has of them; where the next one starts; and what is
        wrong there: 0 nothing, 1 the data end within the record, 2 its length has another sum.

    Raises:
        ArgumentError: `data` is something else, or ends before `position`.

    The format: https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
    """
    check_data(data, position)
    rows: list[tuple[int, int, int, int]] = []
    while len(rows) < capacity and position < len(data):
        head = data[position : position + 12].tobytes()
        if len(head) < 12:
            return np.array(rows, RECORD), position, 1
        if _crc32c(data[position : position + 8]) != _unmasked(head[8:]):
            return np.array(rows, RECORD), position, 2
        length = int.from_bytes(head[:8], "little")
        if length > len(data) - position - 16:
            return np.array(rows, RECORD), position, 1
        end = position + 12 + length
        rows.append((position + 12, length, _unmasked(data[end : end + 4].tobytes()), 0))
        position = end + 4
    return np.array(rows, RECORD), position, 0


def _unmasked(stored: bytes) -> int:
    rotated = (int.from_bytes(stored, "little") - 0xA282EAD8) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF
