"""A source of bytes as a file object, for libraries that read files."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from headrace.io.source import ByteSource

__all__ = ["SourceFile"]


class SourceFile(io.RawIOBase):
    """A source as a file that is read in ranges.

    Args:
        source: the bytes.
        ahead: how many bytes to ask for early, behind each range that is read.
    """

    def __init__(self, source: ByteSource, ahead: int = 0) -> None:
        self._source = source
        self._ahead = ahead
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return where the next byte is read."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to a place, and return it."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._source.identity.size}[whence]
        self._position = start + offset
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes; all that are left where the size is negative."""
        left = max(0, self._source.identity.size - self._position)
        length = left if size < 0 else min(size, left)
        content = self._source.read(self._position, length).tobytes()
        self._position += length
        ahead = min(self._ahead, left - length)
        if ahead:
            self._source.will_need(np.array([self._position]), np.array([ahead]))
        return content

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Fill memory with the next bytes, and return how many there were."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)
