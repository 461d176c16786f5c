"""Compressed files, which can only be read from their begin on."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import warnings
import zlib
from glob import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from headrace.errors import ArgumentError, CorruptDataError, HeadraceWarning, StorageError
from headrace.io.file_view import FileView
from headrace.io.names import cache_folder, file_name, short_digest
from headrace.io.new_file import new_file, remove_leftovers
from headrace.io.safe_open import make_folder
from headrace.io.source import open_source
from headrace.io.source_file import SourceFile
from headrace.io.zstd import ZstdReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from numpy.typing import NDArray

    from headrace.io.source import ByteSource

__all__ = ["Unpacked", "check_bytes", "check_readable", "compression", "is_packed_name", "most_unpacked", "unpack"]

_AT_ONCE = 1 << 22
_LONGEST_MARK = 8
# The bytes that a file may hold for each of its own, unless the user says how many, and those that any may hold.
# Data are seldom compressed to a tenth, but a file can be made that holds a thousand times as many bytes.
_RATIO, _AT_LEAST = 100, 1 << 30

_KINDS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_KINDS |= {b"\x04\x22\x4d\x18": "lz4", b"\x1f\x9d": "compress", b"LZIP": "lzip", b"PK\x03\x04": "zip"}
_UNPACKERS = {"lz4": "unlz4", "compress": "gzip -d", "lzip": "lzip -d", "zip": "unzip"}
_READERS: dict[str, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open, "zstd": ZstdReader}
_ENDINGS = (".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".lz4", ".z", ".lz", ".zip")


def compression(path: str) -> str | None:
    """Return how a file is compressed, by its first bytes; None if it is not.

    Raises:
        StorageError: it is a folder.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "text")
    ...     _ = path.write_bytes(gzip.compress(b"headrace"))
    ...     compression(str(path))
    'gzip'
    """
    return _compression(open_source(path))


def _compression(source: ByteSource) -> str | None:
    begin = source.read(0, min(_LONGEST_MARK, source.identity.size)).tobytes()
    return next((kind for magic, kind in _KINDS.items() if begin.startswith(magic)), None)


def check_readable(path: str, kind: str | None) -> None:
    """Refuse a kind of compression for which there is no reader.

    Raises:
        StorageError: with the program that unpacks it, or the package that reads it.
    """
    if kind == "zstd" and find_spec("zstandard") is None:
        raise StorageError(f"{path} is compressed with zstd, which needs zstandard: pip install 'headrace[zstd]'")
    if kind is not None and kind not in _READERS:
        raise StorageError(
            f"{path} is compressed with {kind}, but only gzip, bzip2, xz and zstd can be read; unpack it first, as "
            f"{_UNPACKERS[kind]} does"
        )


class Unpacked:
    """The content of a file that may be compressed, from its begin on.

    Args:
        source: the file.
        most: how many bytes it may hold; None for any number.

    Attributes:
        kind: how it is compressed; None if it is not.

    Raises:
        StorageError: it is compressed in a way that cannot be read here.
    """

    def __init__(self, source: ByteSource, most: int | None = None) -> None:
        self.kind = _compression(source)
        check_readable(source.path, self.kind)
        self._path = source.path
        self._most = most
        self._packed = io.BufferedReader(SourceFile(source, _AT_ONCE), _AT_ONCE)
        self._file: Any = self._packed if self.kind is None else _READERS[self.kind](self._packed)
        self._count = 0  # bytes that were read
        self._start = 0  # of what is kept
        self._kept = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._packed.close()

    def read(self, length: int) -> bytes:
        """Return the next bytes, as many as are asked for but at the end.

        Raises:
            CorruptDataError: the compressed data are damaged, or cut short.
            StorageError: there are more than there may be.
        """
        try:
            content: bytes = self._file.read(length)
        except StorageError:
            raise
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise CorruptDataError(
                f"{self._path}: its compressed data are damaged or cut short behind byte {self._count} of what they "
                f"hold ({error}); get the file anew"
            ) from error
        self._count += len(content)
        if self._most is not None and self._count > self._most:
            raise StorageError(
                f"{self._path} holds more than {self._most:,} bytes in compressed form; where that is right, allow "
                "more with max_unpacked_bytes=..., or unpack it yourself"
            )
        return content

    def view(self, most: int | None = None) -> FileView:
        """Return a view that goes through the file.

        Args:
            most: how large the view may become, in bytes; None for any size.
        """
        return FileView(self._read_at, most=most)

    def _read_at(self, start: int, length: int) -> NDArray[np.uint8]:
        """Return the bytes at an offset that is not before the last one."""
        passed = start - self._start - len(self._kept)
        while passed > 0:
            part = self.read(min(passed, _AT_ONCE))
            if not part:
                break
            passed -= len(part)
        self._kept = self._kept[start - self._start :]
        self._kept += self.read(length - len(self._kept))
        self._start = start
        return np.frombuffer(self._kept, np.uint8)


def unpack(path: str, show: Callable[[], None], most: int | None = None, *, known: bool = False) -> str:
    """Unpack a file so that it can be read in any order, and return its path.

    Args:
        path: of the file, or its address.
        show: called now and then, if it has to be unpacked.
        most: how many bytes it may hold; by default a hundred times as many as the file has, and a GiB.
        known: whether it is known to be compressed. Else one at an address is looked at only if its name says so.

    Returns:
        The path itself if it is not compressed. Else that of a copy in the folder for what can be made anew,
        which is made if there is none of the file as it is now; older ones of the same file are removed.

    Raises:
        CorruptDataError: the compressed data are damaged, or cut short.
        StorageError: there is no room for the copy, or it would be larger than it may be.
    """
    if "://" in path and not known and not is_packed_name(path):
        return path
    if compression(path) is None:
        return path
    source = open_source(path)
    folder = cache_folder("unpacked")
    name = file_name(Path(path.partition("?")[0]).name, short_digest(source.path))
    target = folder / f"{name}.{source.identity.size}-{source.identity.mtime_ns}"
    is_there = target.exists()
    if not is_there:
        warnings.warn(
            f"{path} is compressed, so its records are in reach only one after the other: it is unpacked to {target}, "
            "and read from there. To do without this copy, keep the file unpacked itself",
            HeadraceWarning,
            stacklevel=2,
        )
    _prepare(folder, path)
    if not is_there:
        _unpack_to(target, source, show, most_unpacked(source) if most is None else most)
        for old in folder.glob(f"{escape(name)}.*"):
            if old != target:
                old.unlink(missing_ok=True)
    return str(target)


def most_unpacked(source: ByteSource) -> int:
    """Return how many bytes a compressed file may hold, unless the user says it."""
    return _RATIO * source.identity.size + _AT_LEAST


def is_packed_name(path: str) -> bool:
    """Return whether a name says that its file is compressed: what lies far away is looked into only then."""
    return path.partition("?")[0].lower().endswith(_ENDINGS)


def check_bytes(name: str, value: Any) -> int:
    """Return a number of bytes that a user gave.

    Raises:
        ArgumentError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ArgumentError(f"{name} must be a number of bytes, 1 or more, but got {name}={value!r}")
    return int(value)


def _prepare(folder: Path, path: str) -> None:
    try:
        make_folder(folder)
    except StorageError:
        raise
    except OSError as error:
        raise _no_room(path, folder, error) from error


def _unpack_to(target: Path, source: ByteSource, show: Callable[[], None], most: int) -> None:
    remove_leftovers(target.parent)
    try:
        with new_file(target) as file, Unpacked(source, most) as content:
            while part := content.read(_AT_ONCE):
                file.write(part)
                show()
    except StorageError:
        raise
    except OSError as error:
        raise _no_room(source.path, target, error) from error


def _no_room(path: str, target: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path} cannot be unpacked to {target}: {error.strerror or error}; make room, set XDG_CACHE_HOME to another "
        "folder, or unpack it yourself"
    )
