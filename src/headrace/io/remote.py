"""Files far away, read in ranges through fsspec."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import FileChangedError, StorageError
from headrace.io.braces import expand_braces
from headrace.io.chunks import CHUNK, ChunkCache, chunks_between
from headrace.io.memory import total_memory
from headrace.io.ranges import Identity, Packed, read_ranges
from headrace.io.remote_connection import connect
from headrace.io.remote_options import RemoteOptions
from headrace.io.retry import retry
from headrace.io.spans import AHEAD, SpansAhead, join_ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from headrace.io.counts import ReadCounts
    from headrace.io.remote_connection import Connection

__all__ = ["RemoteSource", "find_remote", "is_remote", "is_remote_folder", "list_remote", "open_remote", "read_remote"]

_STRIPES = 64  # locks of a file's chunks
_LOOK = 30.0  # how often to see whether a file is still the same, in seconds
_TIMES = ("mtime", "LastModified", "last_modified", "Last-Modified", "updated", "modified", "created")
_TAGS = ("ETag", "etag", "md5Hash", "Content-MD5", "Digest", "checksum", "sha256")


def is_remote(path: object) -> bool:
    """Return whether a path is an address of another machine, or of fsspec's."""
    return isinstance(path, str) and "://" in path


def find_remote(path: str) -> list[str]:
    """Return the addresses that a pattern matches, in order; what is no pattern, or is there as it is, is its own.

    Raises:
        FileNotFoundError: it matches nothing.
    """
    if not any(mark in path for mark in "*[{"):  # a question mark begins the query of an address
        return [path]
    system = _system(path)
    if system.exists(path):
        return [path]
    found = []
    for name in expand_braces(path):
        matching = (
            sorted(map(system.unstrip_protocol, system.glob(name))) if any(mark in name for mark in "*[") else [name]
        )
        if not matching:
            raise FileNotFoundError(f"no file matches {name}")
        found += matching
    return found


def is_remote_folder(path: str) -> bool:
    """Return whether there are files below an address, as there are in a folder. One of HTTP ends in a slash then."""
    if path.startswith(("http://", "https://")) and not path.endswith("/"):
        return False  # to find that out, all of the file would be read
    return bool(_system(path).isdir(path))


def list_remote(path: str) -> list[str]:
    """Return the addresses of all files below one, at any depth, in order."""
    system = _system(path)
    return sorted(map(system.unstrip_protocol, system.find(path)))


def read_remote(paths: Sequence[str], options: RemoteOptions | None, counts: ReadCounts | None = None) -> list[bytes]:
    """Return the content of whole files, several of which are read at the same time.

    Args:
        paths: their addresses.
        options: how they are read; by default those of the context.
        counts: takes in the requests; None where nobody counts.

    Raises:
        FileNotFoundError: one of them is not there.
        StorageError: one of them cannot be read.
    """

    def read(path: str) -> bytes:
        try:
            source = RemoteSource(path, options)
            source.counts = counts
            return source.read(0, source.identity.size).tobytes()
        except Exception as error:
            error.add_note(f"while reading the file {path!r}")
            raise

    with ThreadPoolExecutor((options or RemoteOptions.current()).concurrency) as pool:
        return list(pool.map(read, paths))


def open_remote(paths: Sequence[str], options: RemoteOptions | None) -> list[RemoteSource]:
    """Return the files at addresses, several of which are looked at at the same time."""
    with ThreadPoolExecutor((options or RemoteOptions.current()).concurrency) as pool:
        return list(pool.map(lambda path: RemoteSource(path, options), paths))


def _system(path: str) -> Any:
    """Return the file system of an address."""
    return connect(RemoteOptions.current(), path.partition("://")[0], os.getpid()).system


class RemoteSource:
    """A file at an address, read in ranges.

    Ranges near to each other are asked for together, several at the same time; a request that fails is made again.
    Answers of the wrong length count as failures, and a file that has become another one is an error.

    Args:
        path: its address.
        options: how it is read; by default those of the context.
        identity: what it must be, with its tag; by default what it is now.

    Attributes:
        path: its address.
        options: how it is read.
        counts: takes in the requests for ranges; None as long as nobody counts.

    Raises:
        FileNotFoundError: there is nothing.
        StorageError: it cannot be reached, or does not say how large it is.

    >>> import fsspec
    >>> fsspec.filesystem("memory").pipe_file("/example", b"headrace")
    >>> RemoteSource("memory://example").read(4, 4).tobytes()
    b'race'
    """

    def __init__(
        self, path: str, options: RemoteOptions | None = None, identity: tuple[Identity, str] | None = None
    ) -> None:
        self.path = path
        self.options = RemoteOptions.current() if options is None else options
        self.counts: ReadCounts | None = None
        self._ahead: SpansAhead[Future[bytes]] = SpansAhead()
        self._lock = Lock()
        self._chunk_locks = [Lock() for _ in range(_STRIPES)] if self.options.cache_dir else []
        self._looked = monotonic() if identity is None else 0.0
        self.identity, self._tag = self._look(monotonic() + self.options.timeout) if identity is None else identity

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteSource, (self.path, self.options, (self.identity, self._tag)), {"counts": self.counts}

    def __repr__(self) -> str:
        return f"<RemoteSource {self.path!r}: {self.identity}>"

    def read(self, offset: int, length: int) -> NDArray[np.uint8]:
        """Return the bytes of a range."""
        if offset < 0 or length < 0 or offset + length > self.identity.size:
            raise StorageError(
                f"{self.path}: {length} bytes at {offset} were asked for, but it has {self.identity.size}"
            )
        return self.read_many(np.array([offset]), np.array([length])).buffer

    def read_many(self, offsets: NDArray[np.int64], lengths: NDArray[np.int64]) -> Packed:
        """Return the bytes of many ranges, in new memory."""
        deadline = monotonic() + self.options.timeout
        self._check(deadline)
        spans = join_ranges(offsets, lengths)
        self._refuse_too_much(sum(stop - start for start, stop in spans))
        pieces = [self._ask(start, stop, deadline) for start, stop in spans]
        parts = [np.frombuffer(self._result(piece, deadline), np.uint8) for piece in pieces]
        if not spans:
            return Packed(np.empty(0, np.uint8), np.zeros(len(offsets) + 1, np.int64))
        starts = np.array([start for start, _ in spans], np.int64)
        whole = np.concatenate(parts)
        where = np.cumsum([0, *(len(part) for part in parts)])[:-1]
        which = np.maximum(np.searchsorted(starts, offsets, side="right") - 1, 0)
        places = np.where(lengths > 0, where[which] + offsets - starts[which], 0)
        return read_ranges([whole], np.zeros(len(offsets), np.int64), places, lengths)

    def view(self) -> None:
        """None: there is nothing without reading it."""

    def will_need(self, offsets: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        """Begin to fetch ranges that will be read soon."""
        deadline = monotonic() + self.options.timeout
        for start, stop in join_ranges(offsets, lengths):
            with self._lock:
                for future in self._ahead.add(start, stop, partial(self._submit, start, stop, deadline)):
                    future.cancel()

    def close(self) -> None:
        """Give up what was fetched early."""
        with self._lock:
            for future in self._ahead:
                future.cancel()
            self._ahead.clear()

    def _refuse_too_much(self, nbytes: int) -> None:
        """Raise StorageError for what cannot be held, if the size that the server told is true at all."""
        if nbytes > AHEAD and nbytes > total_memory():
            raise StorageError(
                f"{self.path}: {nbytes:,} bytes would be read at once, of the {self.identity.size:,} that it has, but "
                f"there is memory for {total_memory():,}; get the file first, or write it in smaller parts"
            )

    # ------------------------------------------------------------------ one span of bytes

    def _ask(self, start: int, stop: int, deadline: float) -> tuple[Future[bytes], int, int]:
        """Return a fetch that will hold the bytes of a span: one that is under way, or a new one."""
        with self._lock:
            found = self._ahead.find(start, stop)
        if found is not None and not found[0].cancelled():
            return *found, stop - start
        return self._submit(start, stop, deadline), 0, stop - start

    def _result(self, piece: tuple[Future[bytes], int, int], deadline: float) -> bytes:
        future, begin, length = piece
        try:
            content = future.result(max(0.0, deadline - monotonic()) + 1.0)  # it keeps to the time by itself
        except TimeoutError as error:
            raise self._failed(error) from error
        finally:
            if future.cancelled() or (future.done() and future.exception() is not None):
                with self._lock:
                    self._ahead.forget(future)
        return content[begin : begin + length]

    def _submit(self, start: int, stop: int, deadline: float) -> Future[bytes]:
        return self._connection.pool.submit(self._fetch_span, start, stop, deadline)

    def _fetch_span(self, start: int, stop: int, deadline: float) -> bytes:
        if self.options.cache_dir is None:
            return self._fetch(start, stop, deadline)
        cache, name = ChunkCache(self.options.cache_dir, self.options.cache_limit), self.chunk_name
        chunks = []
        for number, first, last in chunks_between(start, stop, self.identity.size):
            with self._chunk_locks[number % _STRIPES]:  # so that a chunk is fetched once for all who wait for it
                content = cache.read(name, number, last - first)
                self._count(**{"chunk_misses" if content is None else "chunk_hits": 1})
                if content is None:
                    content = self._fetch(first, last, deadline)
                    cache.write(name, number, content)
            chunks.append(content)
        begin = start % CHUNK
        return b"".join(chunks)[begin : begin + stop - start]

    @property
    def chunk_name(self) -> str:
        """The name under which its chunks are kept."""
        return hashlib.sha256(f"{self.path} {self.identity!r} {self._tag}".encode()).hexdigest()[:32]

    def _count(self, **counts: int) -> None:
        if self.counts is not None:
            self.counts.add(**counts)

    def _fetch(self, start: int, stop: int, deadline: float) -> bytes:
        def attempt(connection: Connection, left: float) -> bytes:
            self._count(remote_requests=1)
            content = connection.read(self.path, start, stop, self._tag, left)
            self._count(remote_bytes=len(content))
            if len(content) != stop - start:
                self._looked = 0.0
                raise StorageError(f"{len(content)} bytes came for the {stop - start} at {start}")
            return content

        content: bytes = self._again(attempt, deadline)
        return content

    # ------------------------------------------------------------------ trouble

    @property
    def _connection(self) -> Connection:
        return connect(self.options, self.path.partition("://")[0], os.getpid())

    def _again(self, attempt: Callable[[Connection, float], Any], deadline: float) -> Any:
        """Return the result of an attempt, which is made again while there is time and hope."""

        def once(left: float) -> Any:
            try:
                return attempt(self._connection, left)
            except Exception as error:
                self._refuse_change(error)
                raise

        return retry(once, self.options, deadline, self._failed)

    def _failed(self, error: BaseException, attempts: int = 1) -> StorageError:
        text = str(error) or type(error).__name__
        return StorageError(
            f"{self.path} could not be read: {text} ({attempts} attempts, of {self.options.retries + 1} in "
            f"{self.options.timeout:g} seconds at most)"
        )

    def _refuse_change(self, error: Exception) -> None:
        if getattr(error, "status", None) == 412:  # what was asked for has another tag by now
            raise FileChangedError(f"{self.path} has changed since it was opened; open it again") from error

    def _check(self, deadline: float) -> None:
        """See now and then that the file is still what it was."""
        if monotonic() - self._looked < _LOOK and self._looked:
            return
        try:
            now, tag = self._look(deadline)
        except FileNotFoundError as error:
            raise FileChangedError(f"{self.path} is gone; it was {self.identity}") from error
        if (now, tag) != (self.identity, self._tag):
            raise FileChangedError(f"{self.path} has changed: it was {self.identity}, and is {now}; open it again")
        self._looked = monotonic()

    def _look(self, deadline: float) -> tuple[Identity, str]:
        info = self._again(lambda connection, left: connection.info(self.path, left), deadline)
        size = info.get("size")
        if info.get("type") == "directory":
            raise StorageError(f"{self.path} is a folder, but a file is needed; give a pattern such as {self.path}/*")
        if info.get("type", "file") != "file" or size is None:
            raise StorageError(f"{self.path} is no file of a known size: {info}")
        tag = next((str(info[name]) for name in _TAGS if info.get(name)), "")
        return Identity(int(size), _time_of(info, tag)), tag


def _time_of(info: Mapping[str, Any], tag: str) -> int:
    """Return when a file was written, in nanoseconds; where that is unknown, a number that follows from its tag."""
    for name in _TIMES:
        value = info.get(name)
        with suppress(TypeError, ValueError, AttributeError):
            if isinstance(value, int | float):
                return int(value * 1e9)
            if isinstance(value, str):
                value = parsedate_to_datetime(value) if "," in value else datetime.fromisoformat(value)
            if isinstance(value, datetime):
                return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1e9)
    return int.from_bytes(hashlib.sha256(tag.encode()).digest()[:7], "little") if tag else 0
