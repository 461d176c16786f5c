"""The kernels of sequences in NumPy: packed into rows, and put in their places."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.kernels.sequence_checks import check_pack, padded_width, padding_error, piece_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.kernels.checks import Empty

__all__ = ["pack", "pad", "pad_arrays", "place_pieces", "stack_tensors"]


def pack(
    lengths: NDArray[np.int64], capacity: int, window: int, most: int, *, first_fit: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pack sequences into rows.

    Sequences of one window go to rows of their own. The longest come first, each to the row with the least room that
    it fits in (of several the one that has had this room longest), or to a new row; or, with `first_fit`, each in its
    turn to the first row that it fits in.

    Args:
        lengths: int64 of shape (n,), each from 1 to the capacity.
        capacity: items a row, below 2**24.
        window: how many consecutive sequences are packed among each other.
        most: how many sequences a row has at most.
        first_fit: which rule holds.

    Returns:
        The sequences row by row, int64 of shape (n,), and where each row ends among them, int64 of shape (rows,).

    Raises:
        ArgumentError: a length or another argument is out of range.

    Johnson, "Near-optimal bin packing algorithms", MIT 1973: first fit, and best fit of decreasing sizes.

    >>> members, ends = pack(np.array([3, 6, 5, 2, 4]), 8, 5, 5, first_fit=False)
    >>> [part.tolist() for part in np.split(members, ends[:-1])]
    [[1, 3], [2, 0], [4]]
    """
    check_pack(lengths, capacity, window, most)
    members: list[int] = []
    ends: list[int] = []
    for start in range(0, len(lengths), window):
        sizes = lengths[start : start + window].tolist()
        for row in (_first_fit if first_fit else _best_fit)(sizes, capacity, most):
            members += [start + item for item in row]
            ends.append(len(members))
    return np.array(members, np.int64), np.array(ends, np.int64)


def _best_fit(lengths: Sequence[int], capacity: int, most: int) -> list[list[int]]:
    rows: list[list[int]] = []
    rooms: list[int] = []  # those that some row has, in rising order
    queues: dict[int, deque[tuple[int, list[int]]]] = defaultdict(deque)
    for item in sorted(range(len(lengths)), key=lambda item: -lengths[item]):
        at = bisect_left(rooms, lengths[item])
        if at < len(rooms):
            room = rooms[at]
            _, row = queues[room].popleft()
            if not queues[room]:
                rooms.pop(at)
        else:
            room, row = capacity, []
            rows.append(row)
        row.append(item)
        room -= lengths[item]
        if room and len(row) < most:
            if not queues[room]:
                insort(rooms, room)
            queues[room].append((item, row))
    return rows


def _first_fit(lengths: Sequence[int], capacity: int, most: int) -> list[list[int]]:
    rows: list[list[int]] = []
    rooms: list[int] = []
    for item, length in enumerate(lengths):
        number = next((number for number, room in enumerate(rooms) if room >= length), len(rows))
        if number == len(rows):
            rows.append([])
            rooms.append(capacity)
        rows[number].append(item)
        rooms[number] = rooms[number] - length if len(rows[number]) < most else 0
    return rows


def pad(
    values: NDArray[Any], lengths: NDArray[np.int64], fill: NDArray[Any], out: NDArray[Any], *, most: int, before: bool
) -> None:
    """Copy sequences that lie end to end to rows of their own, and pad these.

    Args:
        values: C-contiguous array of shape (m, ...).
        lengths: how many items of the values each sequence has, int64 of shape (n,).
        fill: the padding, of the shape and dtype of one item.
        out: C-contiguous array of shape (n, width, ...) and the dtype of `values`.
        most: how many items of a sequence are kept, from its first one on.
        before: whether the padding stands before the sequence.

    Raises:
        ArgumentError: a sequence lies outside of the values, or what is kept of it has no room in its row.

    >>> out = np.empty((2, 3), np.int64)
    >>> pad(np.arange(4), np.array([1, 3]), np.array(-1), out, most=9, before=True)
    >>> out
    array([[-1, -1,  0],
           [ 1,  2,  3]])
    """
    ends = np.cumsum(lengths)
    width, kept = out.shape[1], np.minimum(lengths, most)
    wrong = (lengths < 0) | (ends > len(values)) | (kept > width)
    if wrong.any():
        raise padding_error(values, lengths, out, int(wrong.argmax()))
    out[...] = fill
    for row, end, length, size in zip(out, ends.tolist(), lengths.tolist(), kept.tolist(), strict=True):
        first = width - size if before else 0
        row[first : first + size] = values[end - length : end - length + size]


def pad_arrays(
    arrays: list[Any],
    fill: NDArray[Any],
    empty: Empty,
    *,
    most: int | None,
    multiple: int,
    before: bool,
    exchange: object = None,
) -> tuple[NDArray[Any], NDArray[np.int64]] | None:
    """Copy arrays of one dimension to rows of their own, and pad these.

    Args:
        arrays: one at least, of the dtype of `fill`.
        fill: the padding, of shape ().
        empty: gives the memory for rows.
        most: how many items of an array are kept, from its first one on; None for all.
        multiple: what the items of a row are a multiple of.
        before: whether the padding stands before the items.
        exchange: of tensors, `__dlpack_c_exchange_api__` of their class; None for arrays of NumPy.

    Returns:
        The rows, of shape (n, width), and how many items each array has, int64 of shape (n,); None where an array has
        another number of dimensions or is not contiguous, for objects, and for tensors, which the one in C sees.

    >>> arrays = [np.array([1, 2, 3]), np.array([4])]
    >>> pad_arrays(arrays, np.array(0), np.empty, most=None, multiple=1, before=False)
    (array([[1, 2, 3],
           [4, 0, 0]]), array([3, 1]))
    """
    if (
        exchange is not None
        or fill.dtype.hasobject
        or not all(array.ndim == 1 and array.flags.c_contiguous for array in arrays)
    ):
        return None
    lengths = np.array(list(map(len, arrays)), np.int64)
    width, kept = padded_width(int(lengths.max()), most, multiple)
    out = empty((len(arrays), width), fill.dtype)
    pad(np.concatenate(arrays), lengths, fill, out, most=kept, before=before)
    return out, lengths


def stack_tensors(
    tensors: list[Any],  # noqa: ARG001 - a kernel's face
    out: NDArray[Any],  # noqa: ARG001
    exchange: object,  # noqa: ARG001
) -> bool:
    """Copy tensors of one dtype and shape to the rows of `out`.

    Args:
        tensors: one at least, all of one class.
        out: C-contiguous array of shape (n, ...), of the tensors' dtype and as large as all of them.
        exchange: `__dlpack_c_exchange_api__` of their class.

    Returns:
        Whether that is done; not where they differ in dtype or shape, do not lie in the memory of the host or have gaps
        there, nor here, as only the one in C sees tensors.
    """
    return False


def place_pieces(
    values: NDArray[Any],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    places: NDArray[np.int64],
    fill: Any,
    out: NDArray[Any],
) -> None:
    """Copy pieces of values to their places, and fill what is between them.

    Args:
        values: C-contiguous array of shape (m, ...).
        starts: where the pieces begin, int64 of shape (n,).
        lengths: how many rows of values each has, int64 of shape (n,).
        places: the rows of `out` where they go, int64 of shape (n,), in rising order and none over another.
        fill: what stands everywhere else, of the dtype of `out`.
        out: C-contiguous array of shape (k, ...) and the dtype of `values`.

    Raises:
        ArgumentError: a piece lies outside of the values, or its place outside of `out`.

    >>> out = np.empty(6, np.int64)
    >>> place_pieces(np.arange(5), np.array([0, 3]), np.array([3, 2]), np.array([0, 4]), -1, out)
    >>> out
    array([ 0,  1,  2, -1,  3,  4])
    """
    _check_pieces(values, starts, lengths, places, out)
    out[...] = fill
    for start, length, at in zip(starts.tolist(), lengths.tolist(), places.tolist(), strict=True):
        out[at : at + length] = values[start : start + length]


def _check_pieces(
    values: NDArray[Any],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    places: NDArray[np.int64],
    out: NDArray[Any],
) -> None:
    reached = np.append(0, (places + lengths)[:-1])[: len(places)]
    wrong = (starts < 0) | (lengths < 0) | (starts > len(values) - lengths)
    wrong |= (places < reached) | (places > len(out) - lengths)
    if wrong.any():
        raise piece_error(values, starts, lengths, places, out, int(wrong.argmax()))
