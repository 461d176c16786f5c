"""Whole files, many at a time: the system hears of all before the first one is waited for."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from headrace.io.disk import open_files
from headrace.io.ranges import FileRanges
from headrace.io.safe_open import open_regular
from headrace.io.source import LocalSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.io.counts import ReadCounts
    from headrace.io.ranges import ByteSource
    from headrace.io.remote_options import RemoteOptions

__all__ = ["read_files", "whole_files"]

_AT_ONCE = 64  # files that are open at the same time, where there are descriptors for so many


def read_files(
    paths: Sequence[str], options: RemoteOptions | None = None, counts: ReadCounts | None = None
) -> list[bytes]:
    """Return the content of each of the files: as much as it had when it was opened.

    Args:
        paths: of files of this machine; or with options, addresses too.
        options: how what lies far away is read; None if nothing does.
        counts: takes in what is read; None where nobody counts.

    Raises:
        OSError: one of them cannot be read, or is no regular file; a note names it.

    >>> from tempfile import NamedTemporaryFile
    >>> with NamedTemporaryFile() as file:
    ...     _ = file.write(b"abc"), file.flush()
    ...     read_files([file.name])
    [b'abc']
    """
    found = _read_local(paths) if options is None else _read_with_remote(paths, options, counts)
    if counts is not None:
        counts.add(sum(map(len, found)))
    return found


def whole_files(paths: Sequence[str], options: RemoteOptions | None = None) -> list[FileRanges]:
    """Return all bytes of files as ranges; the sizes of those far away are asked for, several at the same time.

    Args:
        paths: of files of this machine; or with options, addresses too.
        options: how what lies far away is read; None if nothing does.
    """
    far: list[str] = [] if options is None else [path for path in paths if "://" in path]
    opened: dict[str, ByteSource] = {}
    if far:
        from headrace.io.remote import open_remote  # for these alone

        opened = dict(zip(far, open_remote(far, options), strict=True))
    sources = [opened[path] if path in opened else LocalSource(path) for path in paths]
    start = np.zeros(1, np.int64)
    return [FileRanges(source, start, np.array([source.identity.size])) for source in sources]


def _read_local(paths: Sequence[str]) -> list[bytes]:
    count = min(_AT_ONCE, open_files.limit)
    return [content for start in range(0, len(paths), count) for content in _read(paths[start : start + count])]


def _read_with_remote(paths: Sequence[str], options: RemoteOptions, counts: ReadCounts | None) -> list[bytes]:
    from headrace.io.remote import read_remote  # for these alone

    far = [path for path in paths if "://" in path]
    near = _read_local([path for path in paths if "://" not in path])
    contents = iter(read_remote(far, options, counts)), iter(near)
    return [next(contents["://" not in path]) for path in paths]


def _read(paths: Sequence[str]) -> list[bytes]:
    with ExitStack() as opened:
        files = []
        for path in paths:
            try:
                files.append(open_files.opening(partial(open_regular, path)))
            except OSError as error:
                error.add_note(f"while reading the file {path!r}")
                raise
            opened.callback(os.close, files[-1])
            if len(paths) > 1 and hasattr(os, "posix_fadvise"):
                os.posix_fadvise(files[-1], 0, 0, os.POSIX_FADV_WILLNEED)
        return [_content(file, path) for file, path in zip(files, paths, strict=True)]


def _content(file: int, path: str) -> bytes:
    """Return all bytes of a file, but not those that are written to it meanwhile, of which there may be no end."""
    try:
        size = os.fstat(file).st_size
        parts = [os.read(file, size)]
        while parts[-1] and (left := size - sum(map(len, parts))):
            parts.append(os.read(file, left))
    except OSError as error:
        error.filename = path
        error.add_note(f"while reading the file {path!r}")
        raise
    return parts[0] if len(parts) == 1 else b"".join(parts)
