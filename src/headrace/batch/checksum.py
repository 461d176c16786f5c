"""Checksums of samples: cheap, and equal for equal samples in every process."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from headrace import frameworks

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["checksum"]

# What is looked at of each: bytes and array elements at both ends, items of a container, and levels of these.
_MOST_BYTES = 512
_MOST_ELEMENTS = 64
_MOST_ITEMS = 64
_MOST_LEVELS = 8


def checksum(sample: object, before: int = 0) -> int:
    """Return a number below 2**32 that tells the sample, and those before it, from others.

    Numbers, texts, bytes, arrays, and containers of them are told apart by what is in them, other objects by their
    class alone. Of what is large the ends are looked at.

    Args:
        sample: any object; looking at it never fails.
        before: the checksum of the samples before it.

    >>> checksum({"key": "a", "x": np.ones(3)}) == checksum({"key": "a", "x": np.ones(3)})
    True
    >>> checksum("b", checksum("a")) == checksum("a", checksum("b"))
    False
    """
    try:
        return _checksum(sample, before, _MOST_LEVELS)
    except Exception:  # a container that cannot be gone through, say
        return crc32(type(sample).__qualname__.encode(), before)


def _checksum(value: Any, before: int, levels: int) -> int:
    before = crc32(type(value).__qualname__.encode("utf-8", "surrogatepass"), before)
    if isinstance(value, str):
        return _of_bytes(value.encode("utf-8", "surrogatepass"), before)
    if isinstance(value, bytes | bytearray):
        return _of_bytes(value, before)
    if type(value) in (bool, int, float, complex):
        return crc32(repr(value).encode(), before)
    if isinstance(value, dict):
        return _of_items((part for item in value.items() for part in item), len(value), before, levels)
    if isinstance(value, list | tuple):
        return _of_items(value, len(value), before, levels)
    array = _array(value)
    return before if array is None else _of_array(array, before)


def _of_bytes(content: bytes | bytearray, before: int) -> int:
    before = crc32(content[:_MOST_BYTES], before)
    if len(content) <= _MOST_BYTES:
        return before
    return crc32(b"%d" % len(content), crc32(content[-_MOST_BYTES:], before))


def _of_items(items: Iterable[Any], length: int, before: int, levels: int) -> int:
    before = crc32(b"%d" % length, before)
    for item in islice(items, _MOST_ITEMS) if levels else ():
        before = _checksum(item, before, levels - 1)
    return before


def _array(value: Any) -> np.ndarray[Any, Any] | None:
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    adapter = frameworks.find(value)
    return None if adapter is None else adapter.to_numpy(value)


def _of_array(array: np.ndarray[Any, Any], before: int) -> int:
    before = crc32(f"{array.dtype} {array.shape}".encode(), before)
    if array.dtype.hasobject:
        return before
    flat = array.flat
    before = crc32(flat[:_MOST_ELEMENTS].tobytes(), before)
    return before if array.size <= _MOST_ELEMENTS else crc32(flat[-_MOST_ELEMENTS:].tobytes(), before)
