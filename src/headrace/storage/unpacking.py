"""Compressed files, which can only be read from their begin on."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tempfile
import warnings
import zlib
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from headrace.errors import CorruptDataError, HeadraceWarning, StorageError
from headrace.storage.index import cache_folder, file_name, short_digest
from headrace.storage.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import BinaryIO

    from numpy.typing import NDArray

__all__ = ["Unpacked", "check_readable", "compression", "unpack"]

_AT_ONCE = 1 << 22

_KINDS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_KINDS |= {b"\x04\x22\x4d\x18": "lz4", b"\x1f\x9d": "compress", b"LZIP": "lzip", b"PK\x03\x04": "zip"}
_UNPACKERS = {"zstd": "unzstd", "lz4": "unlz4", "compress": "gzip -d", "lzip": "lzip -d", "zip": "unzip"}
_READERS = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}


def compression(path: str) -> str | None:
    """How a file is compressed, by its first bytes; None if it is not.

    Raises:
        StorageError: it is a folder.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "text")
    ...     _ = path.write_bytes(gzip.compress(b"headrace"))
    ...     compression(str(path))
    'gzip'
    """
    if Path(path).is_dir():
        raise StorageError(
            f"{path} is a folder, but a file is needed; give a pattern such as {Path(path, '*')}, or let "
            "headrace.open_dataset tell what is in it"
        )
    with Path(path).open("rb") as file:
        begin = file.read(8)
    return next((kind for magic, kind in _KINDS.items() if begin.startswith(magic)), None)


def check_readable(path: str, kind: str | None) -> None:
    """Refuse a kind of compression for which Python has no reader.

    Raises:
        StorageError: with the program that unpacks it.
    """
    if kind is not None and kind not in _READERS:
        raise StorageError(
            f"{path} is compressed with {kind}, but only gzip, bzip2 and xz can be read; unpack it first, as "
            f"{_UNPACKERS[kind]} does"
        )


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
        check_readable(path, kind)
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

    def read(self, length: int) -> bytes:
        """The next bytes, as many as are asked for but at the end.

        Raises:
            CorruptDataError: the compressed data are damaged, or cut short.
        """
        try:
            return self._file.read(length)
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise CorruptDataError(
                f"{self.path}: its compressed data are damaged or cut short behind byte {self._file.tell()} of what "
                f"they hold ({error}); get the file anew"
            ) from error

    def window(self) -> Window:
        """What goes through it."""
        return Window(self._read_at)

    def _read_at(self, start: int, length: int) -> NDArray[np.uint8]:
        """The bytes at an offset that is not before the last one."""
        if start > self._start + len(self._kept):
            self.read(start - self._start - len(self._kept))
        self._kept = self._kept[start - self._start :]
        self._kept += self.read(length - len(self._kept))
        self._start = start
        return np.frombuffer(self._kept, np.uint8)


def unpack(path: str, show: Callable[[], None]) -> str:
    """Where a file lies unpacked, so that it can be read in any order.

    Args:
        path: of the file.
        show: called now and then, if it has to be unpacked.

    Returns:
        The path itself if it is not compressed. Else that of a copy in the folder for what can be made anew,
        which is made if there is none of the file as it is now; older ones of the same file are removed.

    Raises:
        CorruptDataError: the compressed data are damaged, or cut short.
        StorageError: there is no room for the copy.
    """
    if "://" in path or compression(path) is None:
        return path
    folder = cache_folder("unpacked")
    status = Path(path).stat()
    name = file_name(Path(path).name, short_digest(str(Path(path).absolute())))
    target = folder / f"{name}.{status.st_size}-{status.st_mtime_ns}"
    if not target.exists():
        warnings.warn(
            f"{path} is compressed, so its records are in reach only one after the other: it is unpacked to {target}, "
            "and read from there. To do without this copy, keep the file unpacked itself",
            HeadraceWarning,
            stacklevel=2,
        )
        _unpack_to(target, path, show)
        for old in folder.glob(f"{escape(name)}.*"):
            if old != target:
                old.unlink(missing_ok=True)
    return str(target)


def _unpack_to(target: Path, path: str, show: Callable[[], None]) -> None:
    """Under a name of its own, which becomes the right one when all is there."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".", delete=False) as file:
            try:
                with Unpacked(path) as content:
                    while part := content.read(_AT_ONCE):
                        file.write(part)
                        show()
                file.close()
                Path(file.name).replace(target)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"{path} cannot be unpacked to {target}: {error.strerror or error}; make room, set XDG_CACHE_HOME to "
            "another folder, or unpack it yourself"
        ) from error
