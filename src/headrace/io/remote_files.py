"""Files that are written to addresses through fsspec: each is there when all of it is."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from headrace.errors import ArgumentError, StorageError
from headrace.io.remote_connection import connect
from headrace.io.remote_options import RemoteOptions
from headrace.io.retry import retry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["RemoteFiles"]


class RemoteFiles:
    """The files of one file system of fsspec, as somebody who writes them needs them.

    Args:
        address: one of them, which tells the file system.
        options: those of the context by default.

    Raises:
        ArgumentError: files at such addresses can be read only.

    >>> import tempfile
    >>> from pathlib import Path
    >>> files = RemoteFiles("memory://uploads")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "text").write_bytes(b"all of it")
    ...     files.put(Path(folder, "text"), "memory://uploads/draft")
    >>> files.move("memory://uploads/draft", "memory://uploads/text")
    >>> files.find("memory://uploads")
    ['memory://uploads/text']
    >>> files.remove("memory://uploads/text")
    """

    def __init__(self, address: str, options: RemoteOptions | None = None) -> None:
        self._scheme = address.partition("://")[0]
        self._options = RemoteOptions.current() if options is None else options
        if self._scheme in ("http", "https"):
            raise ArgumentError(
                f"{address} can be read, but not written; write to a local path, or an address of a store"
            )

    @property
    def _system(self) -> Any:
        return connect(self._options, self._scheme, os.getpid()).system

    def put(self, path: Path, address: str) -> None:
        """Upload a file, large ones in parts where the store has these. A store shows it when it is whole.

        Raises:
            StorageError: it did not succeed, several times.
        """
        size = path.stat().st_size

        def upload() -> None:
            self._system.put_file(os.fspath(path), address)
            self._system.invalidate_cache()
            found = self._system.info(address)["size"]
            if found != size:
                raise StorageError(f"{found} bytes are there of the {size} that were sent")

        self._again(upload, f"{address} could not be written")

    def move(self, address: str, target: str) -> None:
        """Give a file another address, in place of a file that has it; nothing if it has been done before."""

        def move() -> None:
            if self._system.exists(address):
                self._system.makedirs(target.rpartition("/")[0], exist_ok=True)
                self._system.mv(address, target)

        self._again(move, f"{address} could not be moved to {target}")

    def find(self, address: str) -> list[str]:
        """Return the addresses of the files below one, or that of the file at it, in order."""

        def find() -> list[str]:
            self._system.invalidate_cache()
            base = len(self._system._strip_protocol(address))  # noqa: SLF001 - fsspec's own face for file systems
            return sorted(address + path[base:] for path in self._system.find(address))

        found: list[str] = self._again(find, f"{address} could not be listed")
        return found

    def remove(self, address: str) -> None:
        """Remove a file, if it is there."""

        def remove() -> None:
            if self._system.exists(address):
                self._system.rm_file(address)

        self._again(remove, f"{address} could not be removed")

    def _again(self, attempt: Callable[[], Any], what: str) -> Any:
        def failed(error: Exception, attempts: int) -> StorageError:
            return StorageError(f"{what}: {str(error) or type(error).__name__} ({attempts} attempts)")

        return retry(lambda _: attempt(), self._options, math.inf, failed)
