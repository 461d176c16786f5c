"""Compressed files, which can only be read from their begin on."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from headrace.errors import CorruptDataError, StorageError
from headrace.storage.window import Window

if TYPE_CHECKING:
    from types import TracebackType
    from typing import BinaryIO

    from numpy.typing import NDArray

__all__ = ["Unpacked", "compression"]

_KINDS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_READERS = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}


def compression(path: str) -> str | None:
    """How a file is compressed, by its first bytes; None if it is not.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "text")
    ...     _ = path.write_bytes(gzip.compress(b"headrace"))
    ...     compression(str(path))
    'gzip'
    """
    with Path(path).open("rb") as file:
        begin = file.read(8)
    return next((kind for magic, kind in _KINDS.items() if begin.startswith(magic)), None)


class Unpacked:
    """The content of a file that may be compressed, from its begin on.

    Args:
        path: of the file.

    Raises:
        FileNotFoundError: it is not there.
        StorageError: it is compressed in a way that cannot be read here.
    """

    def __init__(self, path: str) -> None:
        kind = compression(path)
        if kind is not None and kind not in _READERS:
            raise StorageError(f"{path} is compressed with {kind}, but only gzip, bzip2 and xz can be read; unpack it")
        self.path = path
        opens: Any = open if kind is None else _READERS[kind]
        self._file: BinaryIO = opens(path, "rb")
        self._start = 0  # of what is kept
        self._kept = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def window(self) -> Window:
        """What goes through it."""
        return Window(self._read)

    def _read(self, start: int, length: int) -> NDArray[np.uint8]:
        """The bytes at an offset that is not before the last one."""
        try:
            if start > self._start + len(self._kept):
                self._file.read(start - self._start - len(self._kept))
            self._kept = self._kept[start - self._start :]
            self._kept += self._file.read(length - len(self._kept))
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise CorruptDataError(
                f"{self.path}: its compressed data are damaged or cut short behind byte {self._file.tell()} of what "
                f"they hold ({error}); get the file anew"
            ) from error
        self._start = start
        return np.frombuffer(self._kept, np.uint8)
