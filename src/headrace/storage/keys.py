"""Many keys in little memory, and where each of them is among others."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentTypeError
from headrace.storage.source import Packed, read_ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

__all__ = ["concatenate", "find_keys", "pack_keys"]


def pack_keys(keys: Iterable[bytes | str]) -> Packed:
    """Keys end to end; read once.

    Args:
        keys: bytes, or strings, of which the UTF-8 is taken.

    Raises:
        ArgumentTypeError: one of them is neither, or all are one.

    >>> pack_keys([b"a", "bc"]).bounds
    array([0, 1, 3])
    """
    if isinstance(keys, bytes | str):
        raise ArgumentTypeError(f"keys are several, but got only {keys!r}; put it in a list")
    text, ends = bytearray(), array("q", [0])
    for key in keys:
        if not isinstance(key, bytes | str):
            raise ArgumentTypeError(f"a key is bytes or a string, but got {key!r}")
        text += key.encode() if isinstance(key, str) else key
        ends.append(len(text))
    return Packed(np.frombuffer(text, np.uint8), np.frombuffer(ends, np.int64))


def concatenate(several: Sequence[Packed]) -> Packed:
    """The keys of all, one after the other."""
    if len(several) == 1:
        return several[0]
    lengths = [np.diff(packed.bounds) for packed in several]
    bounds = np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths]))
    return Packed(np.concatenate([packed.buffer for packed in several]), bounds)


def find_keys(keys: Packed, among: Packed) -> NDArray[np.int64]:
    """The place of each key among others, shape (n,), int64: the first one that is equal; -1 where none is.

    >>> find_keys(pack_keys(["b", "x"]), pack_keys(["a", "b"]))
    array([ 1, -1])
    """
    wanted, there = (np.diff(packed.bounds) for packed in (keys, among))
    if not len(wanted) or not len(there):
        return np.full(len(wanted), -1)
    longest = int(max(wanted.max(), there.max()))
    sought, sorted_keys = _comparable(keys, longest), _comparable(among, longest)
    order: NDArray[np.int64] | None = None
    if (sorted_keys[1:] < sorted_keys[:-1]).any():
        order = np.argsort(sorted_keys, kind="stable")
        sorted_keys = sorted_keys[order]
    places = np.minimum(np.searchsorted(sorted_keys, sought), len(sorted_keys) - 1)
    found = sorted_keys[places] == sought
    return np.where(found, places if order is None else order[places], -1)


def _comparable(keys: Packed, longest: int) -> NDArray[np.bytes_]:
    """Keys as NumPy compares them: of one length, filled with zeros, then how long each was."""
    lengths = np.diff(keys.bounds)
    zeros = np.zeros(longest, np.uint8)
    count = len(lengths)
    sizes = lengths.astype(">u4").view(np.uint8)
    # For each key three ranges: itself, what fills it up, and its length.
    which = np.tile(np.arange(3), count)
    offsets = np.stack([keys.bounds[:-1], np.zeros(count, np.int64), np.arange(count) * 4], axis=1).ravel()
    parts = np.stack([lengths, longest - lengths, np.full(count, 4)], axis=1).ravel()
    rows: Any = read_ranges([keys.buffer, zeros, sizes], which, offsets, parts).buffer
    return rows.view(f"S{longest + 4}")  # type: ignore[no-any-return]
