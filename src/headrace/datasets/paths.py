"""Many paths in little memory, and those of a folder."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.pipeline.reading import check_index

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["PackedPaths", "check_endings", "pack_paths", "walk"]


class PackedPaths(Sequence[str]):
    """Paths as one buffer of bytes, from which each string is made when it is asked for.

    A list of a million paths of 60 characters takes 120 MB, in a million objects whose reference
    counts every worker process writes to; this takes 68 MB in two arrays, which workers share.

    Args:
        paths: strings, bytes or path objects; read once, and kept as UTF-8. Names that are no
            Unicode on disk come out as they went in.

    Raises:
        ArgumentTypeError: one of them is no path, or all are one string.

    >>> paths = PackedPaths(["cat/1.jpg", "dog/2.jpg"])
    >>> len(paths), paths[-1]
    (2, 'dog/2.jpg')
    """

    def __init__(self, paths: Iterable[str | bytes | os.PathLike[Any]]) -> None:
        if isinstance(paths, str | bytes | os.PathLike):
            raise ArgumentTypeError(f"paths are several, but got only {paths!r}; put it in a list, or see ImageFolder")
        text, ends = bytearray(), array("q", [0])
        for path in paths:
            text += _encoded(path)
            ends.append(len(text))
        self._text = np.array(text, np.uint8)
        self._offsets = np.array(ends, np.int64)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @property
    def has_addresses(self) -> bool:
        """Whether some of them lead to other machines."""
        return b"://" in self._text.tobytes()

    @overload
    def __getitem__(self, index: int, /) -> str: ...
    @overload
    def __getitem__(self, index: slice, /) -> Sequence[str]: ...
    def __getitem__(self, index: Any, /) -> Any:
        if isinstance(index, slice):
            return [self[position] for position in range(len(self))[index]]
        position = check_index(index, len(self))
        start, stop = self._offsets[position : position + 2].tolist()
        return _decoded(self._text[start:stop])

    def __iter__(self) -> Iterator[str]:
        start = 0
        for stop in self._offsets[1:]:
            yield _decoded(self._text[start:stop])
            start = stop

    def __repr__(self) -> str:
        ends = ", ".join(repr(self[index]) for index in range(min(len(self), 2)))
        return f"<PackedPaths: {len(self)} paths{': ' if ends else ''}{ends}{', ...' if len(self) > 2 else ''}>"


def pack_paths(paths: Iterable[str | bytes | os.PathLike[Any]]) -> PackedPaths:
    """Pack paths that mean the same when the process has gone to another folder: absolute ones, or addresses.

    Raises:
        ArgumentTypeError: one of them is no path, or all are one string.
    """
    is_done = isinstance(paths, str | bytes | os.PathLike | PackedPaths)
    return PackedPaths(paths if is_done else map(_absolute, paths))


def _absolute(path: Any) -> str:
    text = _encoded(path).decode("utf-8", "surrogateescape")
    return text if "://" in text or os.path.isabs(text) else os.path.abspath(text)  # noqa: PTH100, PTH117 - of millions


def check_endings(extensions: str | Sequence[str]) -> tuple[str, ...]:
    """Check the endings of names, and return them in small letters.

    Raises:
        ArgumentError: there are none, or one of them is empty.
    """
    endings = (extensions,) if isinstance(extensions, str) else tuple(extensions)
    if not endings or not all(ending and isinstance(ending, str) for ending in endings):
        raise ArgumentError(f"extensions must be endings of names such as '.jpg', but got {extensions!r}")
    return tuple(ending.lower() for ending in endings)


def walk(top: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder under `top`, itself among them, with the paths of its files, in no order.

    As os.walk with followlinks, but a link back to a folder above it is not followed round and round.
    """
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [(top, frozenset())]
    while waiting:
        folder, above = waiting.pop()
        status = Path(folder).stat()
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            continue
        files = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    waiting.append((entry.path, above | {identity}))
                else:
                    files.append(entry.path)
        yield folder, files


def _encoded(path: Any) -> bytes:
    try:
        return os.fsdecode(path).encode("utf-8", "surrogateescape")
    except TypeError:
        raise ArgumentTypeError(f"a path is a string, bytes or a path object, but got {path!r}") from None


def _decoded(text: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    return text.tobytes().decode("utf-8", "surrogateescape")
