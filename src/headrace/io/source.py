"""Bytes at a path that stay as they are: the ground that every format here stands on."""

from __future__ import annotations

import io
import mmap
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.arena import empty
from headrace.errors import ArgumentTypeError, FileChangedError, StorageError
from headrace.io.disk import open_files
from headrace.io.ranges import ByteSource, Identity, Packed, read_ranges, split
from headrace.io.safe_open import check_regular, open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from headrace.io.counts import ReadCounts
    from headrace.io.remote_options import RemoteOptions

__all__ = [
    "ByteSource",
    "Identity",
    "LocalSource",
    "Packed",
    "count_requests",
    "open_source",
    "options_for",
    "read_ranges",
    "split",
]


def open_source(path: str | bytes | os.PathLike[Any], options: RemoteOptions | None = None) -> ByteSource:
    """Return the bytes at a path.

    Args:
        path: of a local file, or an address such as `s3://bucket/name`.
        options: how an address is read; by default as `RemoteOptions` say that are open.

    Raises:
        FileNotFoundError: there is nothing.
        StorageError: it is no file, or cannot be reached.
    """
    if isinstance(path, str) and "://" in path:
        from headrace.io.remote import RemoteSource  # for these alone

        return RemoteSource(path, options)
    return LocalSource(path)


def options_for(*, needed: bool) -> RemoteOptions | None:
    """Return the options that are open, for a dataset that opens files far away later; None if it needs none."""
    if not needed:
        return None
    from headrace.io.remote_options import RemoteOptions  # for these alone

    return RemoteOptions.current()


def count_requests(source: ByteSource, counts: ReadCounts) -> None:
    """Count from here on what is asked of a source, where that takes requests: reading a file of this machine doesn't.

    Args:
        source: the source, whose header or index has been read.
        counts: takes in the requests.
    """
    if hasattr(source, "counts"):
        source.counts = counts


class LocalSource:
    """A file of this machine, mapped into memory, or read where too many are mapped.

    Each read begins with a look at the file, so that one which was changed, cut or replaced is an
    error. Only if that happens during the read itself may the process get a SIGBUS, as with any mapping.

    Args:
        path: of the file.
        identity: what it must be; by default what it is now.

    Raises:
        FileNotFoundError: there is nothing, and no identity that would say what was.
        StorageError: it is no file.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "text")
    ...     _ = path.write_bytes(b"headrace")
    ...     LocalSource(path).read(4, 4).tobytes()
    b'race'
    """

    def __init__(self, path: str | bytes | os.PathLike[Any], identity: Identity | None = None) -> None:
        self.path = _absolute(path)
        self.identity = _look_at(self.path) if identity is None else identity
        # Forked processes go on with their parent's mapping, which is as good as their own.
        self._mapping: tuple[mmap.mmap | None, NDArray[np.uint8]] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return LocalSource, (self.path, self.identity)

    def __repr__(self) -> str:
        return f"<LocalSource {self.path!r}: {self.identity}>"

    def check(self) -> None:
        """Raise unless the file is still what it was.

        Raises:
            FileChangedError: it is gone, or has another size or time.
        """
        try:
            found = os.stat(self.path)  # noqa: PTH116 - a Path would take as long as a small batch
        except OSError as error:
            raise FileChangedError(f"{self.path} is gone or out of reach: {error.strerror}; open it again") from error
        if found.st_size != self.identity.size or found.st_mtime_ns != self.identity.mtime_ns:
            now = Identity(found.st_size, found.st_mtime_ns)
            raise FileChangedError(f"{self.path} has changed: it was {self.identity}, and is {now}; open it again")

    def view(self) -> NDArray[np.uint8] | None:
        """Return all bytes of the file, read-only; None where too many files are in use to map one more."""
        self.check()
        mapped = self._mapping
        if mapped is None:
            mapped = self._mapped()
        else:
            open_files.use(self)
        return None if mapped is None else mapped[1]

    def read(self, offset: int, length: int) -> NDArray[np.uint8]:
        """Return the bytes of a range, read-only: a view of the file where it is mapped."""
        if offset < 0 or length < 0 or offset + length > self.identity.size:
            raise StorageError(
                f"{self.path}: {length} bytes at {offset} were asked for, but it has {self.identity.size}"
            )
        view = self.view()
        if view is not None:
            return view[offset : offset + length]
        return self._read(np.array([offset]), np.array([length])).buffer

    def read_many(self, offsets: NDArray[np.int64], lengths: NDArray[np.int64]) -> Packed:
        """Return the bytes of many ranges, in new memory."""
        view = self.view()
        if view is None:
            return self._read(offsets, lengths)
        return read_ranges([view], np.zeros(len(offsets), np.int64), offsets, lengths)

    def will_need(self, offsets: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        """Ask the system to read ranges into its cache."""
        mapping, _ = self._mapped() or (None, None)
        if mapping is None or not hasattr(mmap, "MADV_WILLNEED"):
            return
        starts = offsets - offsets % mmap.PAGESIZE
        for start, length in zip(starts.tolist(), (offsets + lengths - starts).tolist(), strict=True):
            if length:
                with suppress(OSError):  # advice that is not taken does no harm
                    mapping.madvise(mmap.MADV_WILLNEED, start, length)

    def close(self) -> None:
        """Give up the mapping; it ends with the last view of it."""
        self._mapping = None

    def _mapped(self) -> tuple[mmap.mmap | None, NDArray[np.uint8]] | None:
        """Return the mapping, which an empty file has none of, and its bytes; None where there can be none."""
        mapping = self._mapping
        if mapping is None:
            mapping = self._mapping = self._map()
        if mapping is not None:
            open_files.use(self)
        return mapping

    def _map(self) -> tuple[mmap.mmap | None, NDArray[np.uint8]] | None:
        if not self.identity.size:
            return None, np.empty(0, np.uint8)
        with self._opened() as file:
            mapping = open_files.map(file.fileno(), self.identity.size)
        return None if mapping is None else (mapping, np.frombuffer(mapping, np.uint8))

    def _read(self, offsets: NDArray[np.int64], lengths: NDArray[np.int64]) -> Packed:
        """Return the bytes of many ranges, without a mapping."""
        bounds = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=bounds[1:])
        buffer = empty((int(bounds[-1]),), np.uint8)
        with self._opened() as file:
            for offset, start, stop in zip(offsets.tolist(), bounds.tolist(), bounds[1:].tolist(), strict=False):
                file.seek(offset)
                _fill(buffer.data[start:stop], file)
        return Packed(buffer, bounds)

    @contextmanager
    def _opened(self) -> Iterator[io.FileIO]:
        """Yield the file, closed afterwards; what fails meanwhile is told as what it means here."""
        try:
            with io.FileIO(open_files.opening(lambda: open_regular(self.path))) as file:
                yield file
        except (OSError, ValueError) as error:  # ValueError: the file is smaller by now
            self.check()
            raise StorageError(f"{self.path} cannot be read: {error}") from error


def _fill(memory: memoryview, file: io.FileIO) -> None:
    """Fill memory with the next bytes of a file.

    Raises:
        OSError: the file ends before.
    """
    while memory:
        count = file.readinto(memory)
        if not count:
            raise OSError(f"it ends at byte {file.tell()}")
        memory = memory[count:]


def _absolute(path: Any) -> str:
    try:
        return os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - no link is to be resolved
    except TypeError:
        raise ArgumentTypeError(f"a path is a string, bytes or a path object, but got {path!r}") from None


def _look_at(path: str) -> Identity:
    found = os.stat(path)  # noqa: PTH116 - a Path takes three times as long
    check_regular(path, found.st_mode)
    return Identity(found.st_size, found.st_mtime_ns)
