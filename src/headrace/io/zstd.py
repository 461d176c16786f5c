"""Files that are compressed with zstd: any number of frames, one behind the other.

The format: https://www.rfc-editor.org/rfc/rfc8878. Frames to be skipped, such as the table of the seekable format, hold
nothing.
"""

from __future__ import annotations

from typing import IO, Any

__all__ = ["ZstdReader"]

_AT_ONCE = 1 << 12  # bytes of the file; 4 of them can make 128 KB, so this is what bounds the memory


class ZstdReader:
    """The content of a file of zstd frames, from its begin on.

    Args:
        file: of the frames.

    Raises:
        ImportError: the package zstandard is not installed.
    """

    def __init__(self, file: IO[bytes]) -> None:
        import zstandard

        self._file = file
        self._library: Any = zstandard
        self._frame: Any = None  # the one that has begun
        self._packed = b""
        self._content = bytearray()

    def read(self, length: int) -> bytes:
        """Return the next bytes, as many as are asked for but at the end.

        Raises:
            OSError: a frame is damaged.
            EOFError: the last one is cut short.
        """
        while len(self._content) < length and self._read_more():
            pass
        found = bytes(self._content[:length])
        del self._content[:length]
        return found

    def close(self) -> None:
        """Give up what is kept."""
        self._content.clear()

    def _read_more(self) -> bool:
        """Unpack a little more; return whether there was anything."""
        self._packed = self._packed or self._file.read(_AT_ONCE)
        if not self._packed:
            if self._frame is not None:
                raise EOFError("the last frame is cut short")
            return False
        if self._frame is None:
            self._frame = self._library.ZstdDecompressor().decompressobj()
        part, self._packed = self._packed[:_AT_ONCE], self._packed[_AT_ONCE:]
        try:
            self._content += self._frame.decompress(part)
        except self._library.ZstdError as error:
            raise OSError(str(error)) from error
        if self._frame.eof:
            self._packed = self._frame.unused_data + self._packed
            self._frame = None
        return True
