"""Connections to other machines: a file system of fsspec, and the threads that ask it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from headrace.errors import ArgumentError, StorageError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from headrace.io.remote_options import RemoteOptions

__all__ = ["Connection", "connect"]


class Connection:
    """A file system, and the threads that ask it."""

    def __init__(self, options: RemoteOptions, scheme: str) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise ImportError(f"{scheme}:// needs fsspec: pip install 'headrace[remote]'") from error
        try:
            self.system = fsspec.filesystem(scheme, **options.storage_options)
        except ValueError as error:
            raise ArgumentError(f"fsspec knows no {scheme}://: {error}") from error
        self.pool = ThreadPoolExecutor(options.concurrency, "headrace remote")
        self._is_http = scheme in ("http", "https")

    def read(self, path: str, start: int, stop: int, tag: str, timeout: float) -> bytes:
        """Return the bytes of a span."""
        if self._is_http:
            headers = {"If-Match": tag} if tag.startswith('"') else {}
            found: bytes = self._wait(self._read_http(path, start, stop, headers), timeout)
            return found
        content: bytes = self._call("cat_file", timeout, path, start=start, end=stop)
        return content

    async def _read_http(self, path: str, start: int, stop: int, headers: dict[str, str]) -> bytes:
        """Return the bytes of a span, of a server that may send more than it was asked for, or something else."""
        system = self.system
        given = {**system.kwargs, "headers": {**system.kwargs.get("headers", {}), **headers}}
        given["headers"] |= {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        session = await system.set_session()
        async with session.get(system.encode_url(path), **given) as answer:
            system._raise_not_found_for_status(answer, path)  # noqa: SLF001 - as fsspec tells what is not there
            encoding = answer.headers.get("Content-Encoding", "identity")
            if encoding != "identity":
                answer.close()
                raise StorageError(f"the server sent the bytes compressed ({encoding}), which nobody asked for")
            content = bytearray()
            async for part in answer.content.iter_any():
                content += part
                if len(content) > stop - start:
                    answer.close()  # there may be no end of it
                    raise StorageError(f"more bytes came than the {stop - start} at {start} that were asked for")
        return bytes(content)

    def info(self, path: str, timeout: float) -> dict[str, Any]:
        """Return what the file system says of a file."""
        self.system.invalidate_cache()
        found: dict[str, Any] = self._call("info", timeout, path)
        return found

    def _call(self, name: str, timeout: float, path: str, **arguments: Any) -> Any:
        if not getattr(self.system, "async_impl", False):
            return getattr(self.system, name)(path, **arguments)
        stripped = self.system._strip_protocol(path)  # noqa: SLF001 - fsspec's own face for file systems
        return self._wait(getattr(self.system, f"_{name}")(stripped, **arguments), timeout)

    def _wait(self, work: Coroutine[Any, Any, Any], timeout: float) -> Any:
        """Run a coroutine in the file system's own thread and return its result."""
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, timeout), self.system.loop).result()


@lru_cache(16)
def connect(options: RemoteOptions, scheme: str, process: int) -> Connection:  # noqa: ARG001 - a fork needs its own
    """Return the connection of a process to what a scheme such as "s3" stands for."""
    return Connection(options, scheme)
