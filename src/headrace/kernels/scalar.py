"""Philox4x32-10 for one counter, in plain Python integers.

One sample's draw needs four words: plain integers give them sooner than an array of length one would.
"""

from __future__ import annotations

__all__ = ["MULTIPLIER_0", "MULTIPLIER_1", "ROUNDS", "WEYL_0", "WEYL_1", "philox_one"]

MULTIPLIER_0 = 0xD2511F53
MULTIPLIER_1 = 0xCD9E8D57
WEYL_0 = 0x9E3779B9
WEYL_1 = 0xBB67AE85
ROUNDS = 10

_ROUND_RANGE = range(ROUNDS)


def philox_one(key: int, index: int, stream: int, block: int = 0) -> tuple[int, int, int, int]:
    """Return the four 32-bit words that `philox` gives for one index.

    Args:
        key: 64-bit key, taken modulo 2**64.
        index: 64-bit counter, taken modulo 2**64.
        stream: 32-bit number that keeps the uses of one key apart, taken modulo 2**32.
        block: 32-bit number of the block of four words, for uses that need more than four.

    Returns:
        Four integers in [0, 2**32).

    Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.

    >>> [hex(word) for word in philox_one(key=0, index=0, stream=0)]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    k0, k1 = key & 0xFFFFFFFF, (key >> 32) & 0xFFFFFFFF
    c0, c1 = index & 0xFFFFFFFF, (index >> 32) & 0xFFFFFFFF
    c2, c3 = stream & 0xFFFFFFFF, block & 0xFFFFFFFF
    for _ in _ROUND_RANGE:
        p0 = c0 * MULTIPLIER_0
        p1 = c2 * MULTIPLIER_1
        c0, c1 = (p1 >> 32) ^ c1 ^ k0, p1 & 0xFFFFFFFF
        c2, c3 = (p0 >> 32) ^ c3 ^ k1, p0 & 0xFFFFFFFF
        k0 = (k0 + WEYL_0) & 0xFFFFFFFF
        k1 = (k1 + WEYL_1) & 0xFFFFFFFF
    return c0, c1, c2, c3
