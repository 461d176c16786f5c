"""Whole files, many at a time: the system hears of all before the first one is waited for."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["read_files"]

_AT_ONCE = 64  # files that are open at the same time
_READ_ONLY = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def read_files(paths: Sequence[str]) -> list[bytes]:
    """The content of each of the files.

    Raises:
        OSError: one of them cannot be read; a note names it.

    >>> from tempfile import NamedTemporaryFile
    >>> with NamedTemporaryFile() as file:
    ...     _ = file.write(b"abc"), file.flush()
    ...     read_files([file.name])
    [b'abc']
    """
    return [content for start in range(0, len(paths), _AT_ONCE) for content in _read(paths[start : start + _AT_ONCE])]


def _read(paths: Sequence[str]) -> list[bytes]:
    with ExitStack() as opened:
        files = []
        for path in paths:
            try:
                files.append(os.open(path, _READ_ONLY))
            except OSError as error:
                error.add_note(f"while reading the file {path!r}")
                raise
            opened.callback(os.close, files[-1])
            if len(paths) > 1 and hasattr(os, "posix_fadvise"):
                os.posix_fadvise(files[-1], 0, 0, os.POSIX_FADV_WILLNEED)
        return [_content(file, path) for file, path in zip(files, paths, strict=True)]


def _content(file: int, path: str) -> bytes:
    """All bytes of a file, which are known in number but for pipes and the like, and files that are written to."""
    try:
        first = os.read(file, os.fstat(file).st_size + 1)
        parts = [first]
        while parts[-1]:
            parts.append(os.read(file, 1 << 20))
    except OSError as error:
        error.filename = path
        error.add_note(f"while reading the file {path!r}")
        raise
    return first if len(parts) == 2 else b"".join(parts)
