"""Many keys in little memory, and where each of them is among others."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np

from headrace.errors import ArgumentTypeError
from headrace.io.source import Packed, read_ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

__all__ = ["concatenate", "find_keys", "pack_keys"]


def pack_keys(keys: Iterable[bytes | str]) -> Packed:
    """Pack keys end to end; they are read once.

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
    """Return the keys of all, one after the other."""
    if len(several) == 1:
        return several[0]
    lengths = [np.diff(packed.bounds) for packed in several]
    bounds = np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths]))
    return Packed(np.concatenate([packed.buffer for packed in several]), bounds)


def find_keys(keys: Packed, among: Packed) -> NDArray[np.int64]:
    """Return the place of each key among others, shape (n,), int64: the first one that is equal; -1 where none is.

    >>> find_keys(pack_keys(["b", "x"]), pack_keys(["a", "b"]))
    array([ 1, -1])
    """
    longest = max(int(np.diff(packed.bounds).max(initial=0)) for packed in (keys, among))
    sought, rows = _words(keys, longest), _words(among, longest)
    hashes = _hashes(rows)
    order = np.argsort(hashes, kind="stable")
    hashes, wanted = np.append(hashes[order], 0), _hashes(sought)
    found = np.full(len(sought), -1)
    # Each key is held against those of its hash, one after the other; there is hardly ever a second one.
    open_keys, places = np.arange(len(sought)), np.searchsorted(hashes[:-1], wanted)
    while len(open_keys):
        there = (places < len(order)) & (hashes[places] == wanted[open_keys])
        open_keys, places = open_keys[there], places[there]
        same = (rows[order[places]] == sought[open_keys]).all(axis=1)
        found[open_keys[same]] = order[places[same]]
        open_keys, places = open_keys[~same], places[~same] + 1
    return found


def _words(keys: Packed, longest: int) -> NDArray[np.uint64]:
    """Return keys as numbers, a row for each: of one length, filled with zeros, after how long each was."""
    lengths = np.diff(keys.bounds)
    count = len(lengths)
    width = 4 + longest + -(4 + longest) % 8
    zeros, sizes = np.zeros(width, np.uint8), lengths.astype("<u4").view(np.uint8)
    # For each key three ranges: its length, itself, and what fills it up.
    which = np.tile(np.arange(3), count)
    offsets = np.stack([np.arange(count) * 4, keys.bounds[:-1], np.zeros(count, np.int64)], axis=1).ravel()
    parts = np.stack([np.full(count, 4), lengths, width - 4 - lengths], axis=1).ravel()
    content = read_ranges([sizes, keys.buffer, zeros], which, offsets, parts).buffer
    return content.view(np.uint64).reshape(count, width // 8)


def _hashes(rows: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a number for each row, by multiplication and shifts as in SplitMix64."""
    hashes = np.zeros(len(rows), np.uint64)
    for column in rows.T:
        hashes = (hashes ^ column) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(32)
    return hashes
