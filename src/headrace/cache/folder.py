"""A folder that keeps samples: two .npy files, and a text that says whose they are."""

from __future__ import annotations

import errno
import json
import mmap
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

from headrace.cache.store import FIRST
from headrace.errors import CacheError, StorageError
from headrace.io.safe_open import make_folder, open_own, read_regular

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

__all__ = ["FolderLock", "NpyMemory", "open_folder"]

_ABOUT = "about.json"
_LARGEST_WRITE = 1 << 24
_LONGEST_ABOUT = 1 << 20


def open_folder(path: str, length: int, about: dict[str, Any]) -> tuple[NpyMemory, NpyMemory, FolderLock]:
    """Return the table, the data and the lock of a folder, made if it is not there.

    Args:
        path: of the folder.
        length: how many samples there are.
        about: what tells them from others, as JSON has it.

    Raises:
        CacheError: the folder keeps other samples, is damaged, or is no such folder; or somebody else may have made it,
            or can write to it.
        OSError: it cannot be made.
    """
    try:
        return _open_folder(make_folder(path), length, about)
    except StorageError as error:
        raise CacheError(f"the cache in {path} cannot be trusted: {error}") from error


def _open_folder(folder: Path, length: int, about: dict[str, Any]) -> tuple[NpyMemory, NpyMemory, FolderLock]:
    table, data = (NpyMemory(str(folder / name), code) for name, code in (("table.npy", "<i8"), ("samples.npy", "|u1")))
    lock = FolderLock(str(folder / "lock"))
    with lock:
        if not os.path.lexists(folder / _ABOUT):
            _make(folder, table, data, length, about)
    _check(folder, about)
    if table.nbytes != FIRST + 8 * length or data.nbytes < FIRST:
        raise CacheError(f"the cache in {folder} is damaged: its files have other sizes than they should; delete it")
    return table, data, lock


def _make(folder: Path, table: NpyMemory, data: NpyMemory, length: int, about: dict[str, Any]) -> None:
    strangers = {entry.name for entry in folder.iterdir()} - {"lock", "table.npy", "samples.npy", f"{_ABOUT}.new"}
    if strangers:
        raise CacheError(f"{folder} holds other files ({min(strangers)}); give an empty or a new folder for a cache")
    table.begin(FIRST + 8 * length)
    data.begin(FIRST)
    new = folder / f"{_ABOUT}.new"
    new.unlink(missing_ok=True)  # of one that was killed, or a link that leads elsewhere
    with open(open_own(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(about, file)
    new.replace(folder / _ABOUT)  # the last: where it is, all is there


def _check(folder: Path, about: dict[str, Any]) -> None:
    try:
        found = json.loads(read_regular(folder / _ABOUT, _LONGEST_ABOUT))
    except (ValueError, RecursionError) as error:
        raise CacheError(f"the cache in {folder} is damaged: {_ABOUT} is no JSON; delete the folder") from error
    if found != about:
        differing = [name for name in about if not isinstance(found, dict) or found.get(name) != about[name]]
        raise CacheError(
            f"the cache in {folder} keeps samples of another dataset: {found} was found, {about} was expected "
            f"(differing: {', '.join(differing)}); give another folder, or delete that one"
        )


class NpyMemory:
    """A file of one array of one dimension, which grows.

    Args:
        path: of the file.
        code: the dtype of the array, as the format writes it.
    """

    def __init__(self, path: str, code: str) -> None:
        self.path = path
        self._code = code
        self._descriptor: int | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return NpyMemory, (self.path, self._code)

    @property
    def descriptor(self) -> int:
        """Its descriptor in this process."""
        if self._descriptor is None:
            self._descriptor = _open(self, self.path)
        return self._descriptor

    @property
    def nbytes(self) -> int:
        """Its size at present, in bytes."""
        return os.fstat(self.descriptor).st_size

    def begin(self, nbytes: int) -> None:
        """Fill it with zeros, behind its header. All is written, so that no later write finds the disk full."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, self._header(nbytes), 0)
        for start in range(FIRST, nbytes, _LARGEST_WRITE):
            os.pwrite(self.descriptor, bytes(min(_LARGEST_WRITE, nbytes - start)), start)
        if self.nbytes != nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)

    def grow(self, nbytes: int) -> None:
        """Make it larger; what is new are zeros, for which the disk has room."""
        before = self.nbytes
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self.descriptor, before, nbytes - before)
            os.ftruncate(self.descriptor, nbytes)
        except OSError:
            os.ftruncate(self.descriptor, before)  # the rest of the room, which would count as used
            raise
        os.pwrite(self.descriptor, self._header(nbytes), 0)

    def map(self) -> mmap.mmap:
        """Return all of it as it is now, as memory."""
        return mmap.mmap(self.descriptor, 0)

    def _header(self, nbytes: int) -> bytes:
        """Return the header of NumPy's format: https://numpy.org/neps/nep-0001-npy-format.html."""
        count = (nbytes - FIRST) // int(self._code[2])
        text = f"{{'descr': '{self._code}', 'fortran_order': False, 'shape': ({count},), }}"
        length = FIRST - 10
        return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + text.ljust(length - 1).encode() + b"\n"


class FolderLock:
    """Keeps other threads and processes out, those too that have opened the same folder by themselves.

    Args:
        path: of a file that only this is for.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._forget()

    def _forget(self) -> None:
        self._process = os.getpid()
        self._threads = threading.Lock()
        self._descriptor: int | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return FolderLock, (self._path,)

    def __enter__(self) -> None:
        import fcntl  # not everywhere

        if self._process != os.getpid():  # a fork has its parent's lock, and needs one of its own
            self._forget()
        self._threads.acquire()
        try:
            if self._descriptor is None:
                self._descriptor = _open(self, self._path)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except BaseException:
            self._threads.release()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import fcntl

        assert self._descriptor is not None  # noqa: S101 - entered
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._threads.release()


def _open(owner: object, path: str) -> int:
    """Return a descriptor that is closed with its owner."""
    descriptor = open_own(path, os.O_RDWR | os.O_CREAT)
    weakref.finalize(owner, os.close, descriptor)
    return descriptor
