"""Keys of epochs: the numbers that all of an epoch's randomness follows from."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from headrace.errors import ArgumentError

try:
    from _blake2 import blake2b  # hashlib has it from there, and takes much longer to be imported
except ImportError:  # another Python than CPython
    from hashlib import blake2b

__all__ = ["check_seed", "epoch_key"]


def check_seed(seed: object) -> int:
    """Return the seed as a Python integer.

    Raises:
        ArgumentError: it is no integer, or negative.
    """
    if isinstance(seed, bool | np.bool_) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ArgumentError(f"seed must be a non-negative integer or None, but got seed={seed!r}")
    return int(seed)


@lru_cache(8)  # it is asked for with every batch of an epoch
def epoch_key(seed: int, epoch: int, purpose: str) -> int:
    """Return the 64-bit key of one epoch, independent between seeds, epochs and purposes.

    Args:
        seed: the seed of the run, any non-negative integer.
        epoch: the number of the epoch.
        purpose: what the key is for ("order", "draws", ...).

    Returns:
        An integer below 2**64: BLAKE2b (RFC 7693) of the three.

    >>> epoch_key(0, 0, "order") == epoch_key(0, 0, "order")
    True
    >>> epoch_key(0, 0, "order") == epoch_key(0, 1, "order")
    False
    """
    text = f"headrace:{purpose}:{seed}:{epoch}".encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")
