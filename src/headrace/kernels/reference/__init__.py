"""The kernels in NumPy: what the native ones are held to, and what serves where no compiler was."""

from __future__ import annotations

from operator import index as as_int
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.kernels.checks import (
    check_columns,
    check_cut,
    check_cut_values,
    check_feistel,
    check_gather,
    check_gather_shards,
    check_indices,
    check_shards,
    check_shuffle_length,
    index_error,
    shard_error,
)
from headrace.kernels.moves import Kind, check_move
from headrace.kernels.reference.alias import alias
from headrace.kernels.reference.example import find_features, note_features, read_features
from headrace.kernels.reference.images import decode, decodes, has_libjpeg, jpeg_headers, scale, show
from headrace.kernels.reference.radical import radical_count, radical_find
from headrace.kernels.reference.records import (
    crc32c,
    crc32c_ranges,
    gather_ranges,
    prepare_slices,
    scan_tfrecord,
    slice_ranges,
    widen_ranges,
    widen_windows,
)
from headrace.kernels.reference.sequences import pack, pad, pad_arrays, place_pieces
from headrace.kernels.reference.tar import scan_tar
from headrace.kernels.reference.warp import warp
from headrace.kernels.scalar import MULTIPLIER_0, MULTIPLIER_1, ROUNDS, WEYL_0, WEYL_1, philox_one

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.kernels.checks import Empty, Gather, GatherJoined, GatherShards

__all__ = [
    "FEISTEL_ROUNDS",
    "FEISTEL_STREAM",
    "FISHER_YATES_STREAM",
    "alias",
    "crc32c",
    "crc32c_ranges",
    "cut",
    "decode",
    "decodes",
    "feistel",
    "find_features",
    "fisher_yates",
    "gather",
    "gather_ranges",
    "has_libjpeg",
    "jpeg_headers",
    "move",
    "name",
    "note_features",
    "pack",
    "pad",
    "pad_arrays",
    "philox",
    "place_pieces",
    "prepare_gather",
    "prepare_gather_joined",
    "prepare_gather_shards",
    "prepare_slices",
    "radical_count",
    "radical_find",
    "read_features",
    "scale",
    "scan_tar",
    "scan_tfrecord",
    "slice_ranges",
    "warp",
    "widen_ranges",
    "widen_windows",
]

name = "reference"

FISHER_YATES_STREAM = 0x48520001
FEISTEL_STREAM = 0x48520002
FEISTEL_ROUNDS = 8

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox(key: int, indices: NDArray[np.int64], stream: int, block: int = 0) -> NDArray[np.uint32]:
    """Return four random 32-bit words for each index: Philox4x32-10.

    The words depend on (key, index, stream, block) alone, so any sample's randomness can be had at any time.

    Args:
        key: 64-bit key, taken modulo 2**64; its low word is the first key word.
        indices: Counters, int64 of shape (n,), each read as a 64-bit pattern: counter words 0 (low) and 1.
        stream: Counter word 2, which keeps the uses of one key apart, taken modulo 2**32.
        block: Counter word 3, for uses that need more than four words, taken modulo 2**32.

    Returns:
        uint32 of shape (n, 4).

    Raises:
        ArgumentTypeError: `indices` is not int64.
        ArgumentError: `indices` has not one dimension.

    Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.

    >>> philox(0, np.array([0]), stream=0)
    array([[1713891541, 3781805453, 3159862348, 2600524760]], dtype=uint32)
    """
    check_indices(indices)
    if len(indices) == 1:  # one sample alone is common, and plain integers are ten times as fast
        return np.array([philox_one(as_int(key), int(indices[0]), as_int(stream), as_int(block))], np.uint32)
    counter = indices.view(np.uint64)
    c0, c1 = counter & _LOW, counter >> _HALF
    c2 = np.full_like(c0, as_int(stream) & 0xFFFFFFFF)
    c3 = np.full_like(c0, as_int(block) & 0xFFFFFFFF)
    k0, k1 = as_int(key) & 0xFFFFFFFF, (as_int(key) >> 32) & 0xFFFFFFFF
    for _ in range(ROUNDS):
        p0, p1 = c0 * np.uint64(MULTIPLIER_0), c2 * np.uint64(MULTIPLIER_1)
        c0, c1 = (p1 >> _HALF) ^ c1 ^ np.uint64(k0), p1 & _LOW
        c2, c3 = (p0 >> _HALF) ^ c3 ^ np.uint64(k1), p0 & _LOW
        k0, k1 = (k0 + WEYL_0) & 0xFFFFFFFF, (k1 + WEYL_1) & 0xFFFFFFFF
    return np.stack((c0, c1, c2, c3), axis=1).astype(np.uint32)


def fisher_yates(key: int, length: int) -> NDArray[np.int64]:
    """Return a random permutation of range(length), every one of them equally likely.

    For position i from length - 1 down to 1, a 64-bit draw d gives j = d * (i + 1) >> 64, and elements i and
    j are swapped. The draw of position i is half i & 1 of the four Philox words of index i >> 1, stream
    `FISHER_YATES_STREAM`, low word first.

    Args:
        key: 64-bit key, taken modulo 2**64.
        length: Number of elements, 0 to 2**32; time and memory grow with it.

    Returns:
        int64 of shape (length,).

    Raises:
        ArgumentError: `length` is outside 0 to 2**32.

    Durstenfeld, "Algorithm 235: Random permutation", CACM 1964; Lemire, "Fast Random Integer Generation in an
    Interval", ACM TOMACS 2019, without its rejection: with 64-bit draws the bias is below length / 2**64.

    >>> fisher_yates(key=7, length=5)
    array([2, 3, 1, 4, 0])
    """
    length = as_int(length)
    check_shuffle_length(length)
    words = philox(key, np.arange((length + 1) // 2), FISHER_YATES_STREAM).astype(np.uint64)
    low, high = words[:, 0::2].ravel()[:length], words[:, 1::2].ravel()[:length]
    sizes = np.arange(1, length + 1, dtype=np.uint64)
    targets = ((high * sizes + (low * sizes >> _HALF)) >> _HALF).tolist()
    order = list(range(length))
    for i in range(length - 1, 0, -1):
        j = targets[i]
        order[i], order[j] = order[j], order[i]
    return np.array(order, dtype=np.int64)


def feistel(key: int, length: int, start: int, stop: int) -> NDArray[np.int64]:
    """Return positions [start, stop) of a pseudo-random permutation of range(length), without the rest.

    A position is split into two halves of bits that are mixed with each other in turn, which permutes the
    next power of two; values outside the range are encrypted again until they fall inside (cycle walking).
    Below about 4096 elements too few bits take part for a fair result: use `fisher_yates` there.

    Args:
        key: 64-bit key, taken modulo 2**64.
        length: Number of elements in the permutation, 2 to 2**63.
        start: First position.
        stop: One past the last position.

    Returns:
        int64 of shape (stop - start,), distinct values in [0, length).

    Raises:
        ArgumentError: `length` is outside 2 to 2**63, or 0 <= start <= stop <= length does not hold.

    Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002; round function after Philox.

    >>> sorted(feistel(key=7, length=10, start=0, stop=10).tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    length, start, stop = as_int(length), as_int(start), as_int(stop)
    check_feistel(length, start, stop)
    words = philox(key, np.arange((FEISTEL_ROUNDS + 3) // 4), FEISTEL_STREAM)
    keys = words.ravel()[:FEISTEL_ROUNDS].astype(np.uint64)
    bits = max(2, (length - 1).bit_length())
    values = _encrypt(np.arange(stop - start, dtype=np.uint64) + np.uint64(start), bits, keys)
    outside = np.flatnonzero(values >= length)
    while outside.size:
        walked = _encrypt(values[outside], bits, keys)
        values[outside] = walked
        outside = outside[walked >= length]
    return values.view(np.int64)


def _encrypt(values: NDArray[np.uint64], bits: int, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Permute [0, 2**bits) by one unbalanced Feistel cipher, a round for each key."""
    low_bits = np.uint64(bits // 2)
    low_mask = np.uint64((1 << (bits // 2)) - 1)
    high_mask = np.uint64((1 << (bits - bits // 2)) - 1)
    low, high = values & low_mask, values >> low_bits
    for even_key, odd_key in keys.reshape(-1, 2):
        high = high ^ (_mix(low, even_key) & high_mask)
        low = low ^ (_mix(high, odd_key) & low_mask)
    return (high << low_bits) | low


def _mix(values: NDArray[np.uint64], key: np.uint64) -> NDArray[np.uint64]:
    """Multiply 32-bit values by Philox's constant and fold the 64-bit product; only the low 32 bits count."""
    product = (values ^ key) * np.uint64(MULTIPLIER_0)
    return (product >> _HALF) ^ product


def gather(source: NDArray[Any], indices: NDArray[np.int64], out: NDArray[Any]) -> None:
    """Copy the rows of `source` at `indices` into `out`: out[i] = source[indices[i]].

    Args:
        source: Array of shape (n, ...), any dtype.
        indices: int64 of shape (m,), each in [0, n).
        out: C-contiguous array of shape (m, ...) and the dtype of `source`, not overlapping it.

    Raises:
        OutOfRangeError: An index is outside [0, n), negative ones included; nothing is written then.
        ArgumentTypeError: A dtype does not match.
        ArgumentError: A shape or layout does not match.

    >>> out = np.empty((2, 3), dtype=np.int64)
    >>> gather(np.arange(12).reshape(4, 3), np.array([3, 0]), out)
    >>> out.tolist()
    [[9, 10, 11], [0, 1, 2]]
    """
    check_gather(source, indices, out)
    length = len(source)
    outside = (indices < 0) | (indices >= length)
    if outside.any():
        raise index_error(int(indices[outside.argmax()]), length)
    if source.flags.c_contiguous and source.flags.aligned:
        source.take(indices, 0, out, "clip")  # "raise" would fill a second array first
    else:
        out[...] = source[indices]  # take would copy the whole source to make it contiguous


def prepare_gather(sources: Sequence[NDArray[Any]], empty: Empty) -> Gather:
    """Return a function that gathers the rows at indices of all arrays at once.

    What a kernel needs to know of the arrays is found here, so that many small batches cost little.

    Args:
        sources: Arrays of shape (n, ...), any dtypes, one at least. They may not be resized.
        empty: Makes the arrays that the function returns, of a shape and dtype, such as `numpy.empty`.

    Returns:
        A function of indices, int64 of shape (m,), each in [0, n). It returns a list of arrays of shape (m, ...), one
        for each of the sources, and raises what `gather` does. It cannot be pickled.

    Raises:
        ArgumentError: There are no arrays, or they have not as many rows.

    >>> gather_all = prepare_gather([np.arange(12).reshape(4, 3), np.arange(4) / 2], np.empty)
    >>> gather_all(np.array([3, 0]))
    [array([[ 9, 10, 11],
           [ 0,  1,  2]]), array([1.5, 0. ])]
    """
    check_columns(sources)

    def gather_all(indices: NDArray[np.int64]) -> list[NDArray[Any]]:
        check_indices(indices)
        found = [empty((len(indices), *source.shape[1:]), source.dtype) for source in sources]
        for source, out in zip(sources, found, strict=True):
            gather(source, indices, out)
        return found

    return gather_all


def prepare_gather_joined(sources: Sequence[NDArray[Any]], empty: Empty) -> GatherJoined:
    """Return a function that gathers the rows at indices of arrays end to end.

    Args:
        sources: Arrays of shape (n, ...), one at least, whose rows are of one dtype and shape.
        empty: Makes the array that the function returns, as for `prepare_gather`.

    Returns:
        A function of indices, int64 of shape (m,), each in [0, sum of all n). It returns an array of shape (m, ...),
        raises what `gather` does, and cannot be pickled.

    Raises:
        ArgumentError: There are no arrays, or their rows are not alike.

    >>> prepare_gather_joined([np.arange(5), np.array([70])], np.empty)(np.array([4, 5, 0]))
    array([ 4, 70,  0])
    """
    gather_shards = prepare_gather_shards(sources)
    stops = np.cumsum([len(source) for source in sources])

    def gather_joined(indices: NDArray[np.int64]) -> NDArray[Any]:
        check_indices(indices)
        outside = (indices < 0) | (indices >= stops[-1])
        if outside.any():
            raise index_error(int(indices[outside.argmax()]), int(stops[-1]))
        out = empty((len(indices), *sources[0].shape[1:]), sources[0].dtype)
        which = np.searchsorted(stops, indices, side="right")
        gather_shards(which, indices - np.append(0, stops)[which], out)
        return out

    return gather_joined


def prepare_gather_shards(sources: Sequence[NDArray[Any]]) -> GatherShards:
    """Return a function that gathers rows, each of one of the arrays.

    Args:
        sources: Arrays of shape (n, ...), one at least, whose rows are of one dtype and shape.

    Returns:
        A function of `which`, `rows` and `out`: out[i] = sources[which[i]][rows[i]]. It raises what `gather` does, and
        cannot be pickled.

    Raises:
        ArgumentError: There are no arrays, or their rows are not alike.

    >>> out = np.empty(3, np.int64)
    >>> prepare_gather_shards([np.arange(5), np.array([70])])(np.array([0, 1, 0]), np.array([4, 0, 2]), out)
    >>> out
    array([ 4, 70,  2])
    """
    check_shards(sources)

    def gather_shards(which: NDArray[np.int64], rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        check_gather_shards(sources[0], which, rows, out)
        places = zip(which.tolist(), rows.tolist(), strict=True)
        for bad, (number, row) in enumerate(places):
            if not (0 <= number < len(sources) and 0 <= row < len(sources[number])):
                raise shard_error(sources, which, rows, bad)
        for number, source in enumerate(sources):
            here = np.flatnonzero(which == number)
            out[here] = source[rows[here]]

    return gather_shards


def cut(
    source: NDArray[np.uint8],
    indices: NDArray[np.int64],
    places: NDArray[np.int32],
    table: NDArray[Any],
    fill: NDArray[Any],
    out: NDArray[Any],
    terms: NDArray[np.float32] | None = None,  # noqa: ARG001 - for kernels that compute quicker than they look up
    lines: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None,
    threads: int = 1,  # noqa: ARG001 - for kernels that have some
) -> None:
    """Cut crop boxes out of images, mirror them, and look each value up in a table.

    Output pixel (y, x) of image i shows source pixel (y0 + down * y, x0 + right * x) of image indices[i],
    where that lies in [top, bottom) x [left, end), else the fill.

    Args:
        source: The images, shape (n, H, W, C), uint8, in any layout of memory.
        indices: int64 of shape (m,), each in [0, n).
        places: int32 of shape (m, 8): y0, x0, down, right, top, bottom, left, end for each image; down and
            right are 1 or -1, and the part that is seen lies inside the source.
        table: What becomes of each value, shape (C, 256), any dtype of 1, 2 or 4 bytes.
        fill: What is around the part that is seen, shape (C,), of the table's dtype.
        out: Array of shape (m, h, w, C) and the table's dtype, in any layout of memory.
        terms: Three rows d, m, s of C float32 from which the table may have been made: (v / d - m) / s.
        lines: Which rows and which columns of the image stand for those that places speak of, each int32;
            None for themselves.
        threads: How many threads may share the images.

    Raises:
        OutOfRangeError: An index is outside [0, n); nothing is written then.
        ArgumentTypeError: A dtype does not match.
        ArgumentError: A shape, a place or a line does not match.

    >>> out = np.empty((1, 2, 3, 1), np.uint8)
    >>> place = np.array([[0, 1, 1, -1, 0, 2, 0, 2]], np.int32)  # mirrored
    >>> image = np.array([[[[1], [2]], [[3], [4]]]], np.uint8)
    >>> cut(image, np.array([0]), place, np.arange(256, dtype=np.uint8)[np.newaxis], np.zeros(1, np.uint8), out)
    >>> out[0, ..., 0].tolist()
    [[2, 1, 0], [4, 3, 0]]
    """
    check_cut(source, indices, places, table, fill, out, lines)
    check_cut_values(source, indices, places, lines)
    for place, index, image in zip(places.tolist(), indices.tolist(), out, strict=True):
        show(source[index], place, table, fill, image, lines)


def move(
    indices: NDArray[np.int64], sizes: NDArray[np.int64], moves: NDArray[np.int64], places: NDArray[np.int32]
) -> None:
    """Find where images come from once they are moved.

    Args:
        indices: To which draws belong, int64 of shape (m,).
        sizes: The height and width of each image before the first move, int64 of shape (m, 2).
        moves: The rows of `headrace.kernels.moves.Move`, shape (k, 8), one after the other.
        places: As for `cut`, shape (m, 8); the moves begin from them, and change them.

    Raises:
        ArgumentTypeError: A dtype does not match.
        ArgumentError: A shape does not match.

    >>> from headrace.kernels.moves import Move
    >>> moves = [Move(Kind.WHOLE), Move(Kind.BOX, numbers=(1, 2, 5, 4)), Move(Kind.MIRROR, numbers=(1, 2**32, 0, 0))]
    >>> places = np.empty((1, 8), np.int32)
    >>> move(np.array([0]), np.array([[9, 9]]), np.array([each.row() for each in moves]), places)
    >>> places[0].tolist()
    [1, 5, 1, -1, 0, 9, 0, 9]
    """
    check_move(indices, sizes, moves, places)
    size = sizes.astype(np.int32)
    for kind, key, stream, block, *numbers in moves.tolist():
        four = np.array(numbers, np.int64)
        if kind == Kind.WHOLE:
            places[...] = (0, 0, 1, 1, 0, 0, 0, 0)
            places[:, 5::2] = size
        elif kind in (Kind.BOX, Kind.PAD):
            places[:, :2] += places[:, 2:4] * (four[:2] if kind == Kind.BOX else -four[:2])
            size[...] = four[2:] if kind == Kind.BOX else size + four[2:]
        elif kind == Kind.CROP:
            words = philox(key, indices, stream, block)[:, :2]
            places[:, :2] += places[:, 2:4] * (words * (size - four[:2] + 1) >> 32)
            size[...] = four[:2]
        elif kind == Kind.MIRROR:
            _mirror(places, size, numbers[0], philox(key, indices, stream, block)[:, 0] < four[1])
        elif kind == Kind.HIDE:
            _hide(places, size)
        else:
            places[:, :2] += four[:2].astype(np.int32)
            places[:, 4:] = (0, numbers[2], 0, numbers[3])


def _mirror(places: NDArray[np.int32], size: NDArray[np.int32], axis: int, mirrored: NDArray[np.bool_]) -> None:
    start, step = places[:, axis], places[:, 2 + axis]
    start += step * (size[:, axis] - 1) * mirrored
    np.negative(step, out=step, where=mirrored)


def _hide(places: NDArray[np.int32], size: NDArray[np.int32]) -> None:
    first = places[:, :2]
    last = first + places[:, 2:4] * (size - 1)
    begins, ends = places[:, 4::2].copy(), places[:, 5::2].copy()
    places[:, 4::2] = np.clip(np.minimum(first, last), begins, ends)
    places[:, 5::2] = np.clip(np.maximum(first, last) + 1, begins, ends)
