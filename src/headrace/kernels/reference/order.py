"""The kernels that order samples, in NumPy; `headrace.kernels.reference` offers them with the others."""

from __future__ import annotations

from operator import index as as_int
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.checks import check_feistel, check_indices, check_shuffle_length
from headrace.kernels.scalar import MULTIPLIER_0, MULTIPLIER_1, ROUNDS, WEYL_0, WEYL_1, philox_one

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FEISTEL_ROUNDS", "FEISTEL_STREAM", "FISHER_YATES_STREAM", "feistel", "fisher_yates", "philox"]

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
