"""Chunks of remote files on a disk of this machine, for all of its processes."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headrace import kernels
from headrace.errors import StorageError
from headrace.io.new_file import new_file
from headrace.io.safe_open import make_folder, read_regular

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CHUNK", "ChunkCache", "chunks_between", "has_chunk"]

CHUNK = 1 << 20  # bytes of a file that are kept together
_CRC_BYTES = 4
_PARTS = 16  # of the limit; so much is written, on average, before all processes together look at it again


def chunks_between(start: int, stop: int, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield the chunks of a file of some size that hold a span, each as (number, first byte, byte after the last one).

    >>> list(chunks_between(CHUNK - 1, CHUNK + 1, CHUNK + 10))
    [(0, 0, 1048576), (1, 1048576, 1048586)]
    """
    for number in range(start // CHUNK, -(-stop // CHUNK)):
        yield number, number * CHUNK, min((number + 1) * CHUNK, size)


def has_chunk(folder: str, name: str, number: int, length: int) -> bool:
    """Return whether a folder has a chunk of some length, sound or not; nothing is read or made."""
    try:
        return _path(Path(folder), name, number).stat().st_size == length + _CRC_BYTES
    except OSError:
        return False


class ChunkCache:
    """A folder of chunks, each a file that ends with the CRC32C of what precedes it.

    A chunk is written under another name first, so that several processes may write it at once; one that is damaged
    is as good as not there.

    Args:
        folder: where they are.
        limit: how large they may be together, in bytes, or a sixteenth more for a while; those used least recently
            are deleted. None for no limit.

    Raises:
        StorageError: somebody else may have made the folder, or can write to it.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     cache = ChunkCache(folder, limit=None)
    ...     cache.write("name", 3, b"content")
    ...     cache.read("name", 3, 7), cache.read("name", 4, 7)
    (b'content', None)
    """

    def __init__(self, folder: str, limit: int | None) -> None:
        self._folder = Path(folder)
        self._limit = limit
        try:
            make_folder(self._folder)
        except StorageError:
            raise
        except OSError:  # reading and writing will find out
            pass

    def read(self, name: str, number: int, length: int) -> bytes | None:
        """Return the content of a chunk, if it is there and sound."""
        path = _path(self._folder, name, number)
        try:
            found = read_regular(path, CHUNK + _CRC_BYTES)
        except OSError:
            return None
        content, crc = found[:-_CRC_BYTES], found[-_CRC_BYTES:]
        if len(content) != length or _crc(content) != crc:
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            os.utime(path)  # used now
        return content

    def write(self, name: str, number: int, content: bytes) -> None:
        """Keep the content of a chunk, if the disk takes it."""
        path = _path(self._folder, name, number)
        with suppress(OSError):  # a cache that cannot be written is one that has nothing
            path.parent.mkdir(0o775, parents=True, exist_ok=True)
            with new_file(path) as file:
                file.write(content + _crc(content))
        if self._limit is not None and random.random() * self._limit < _PARTS * len(content):  # noqa: S311
            self._make_room(self._limit)

    def _make_room(self, limit: int) -> None:
        """Delete what was used least recently, down to somewhat below the limit."""
        chunks = []
        for path in self._folder.glob("*/*"):
            with suppress(OSError):  # another process was quicker
                status = path.stat()
                chunks.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in chunks)
        if total <= limit:
            return
        for _, size, path in sorted(chunks):
            with suppress(OSError):
                path.unlink()
            total -= size
            if total <= limit - limit // _PARTS:
                return


def _path(folder: Path, name: str, number: int) -> Path:
    return folder / name[:2] / f"{name}.{number}"


def _crc(content: bytes) -> bytes:
    data = np.frombuffer(content, np.uint8)
    crc = kernels.active().crc32c(data, np.zeros(1, np.int64), np.array([len(data)]))
    return int(crc[0]).to_bytes(_CRC_BYTES, "little")
