"""Tar archives by WebDataset's convention: the files of one basename are a sample.

A field is a file, and the ending of its name says how it is encoded: bytes are as they are, text is
`.txt`, an integer `.cls`, any other number `.json`, an array `.npy`. A field named `image` or
`label`, and a sample that is one value, have nothing but the ending for a name: `000000007.jpg`,
`000000007.cls`. A field `__key__` gives the basename.
"""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentError
from headrace.storage.writers.base import FileWriter, Records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from headrace.storage.writers.base import Columns, State

__all__ = ["TarFormat"]

_BLOCK = 512
_RECORD = 20 * _BLOCK  # archives are a multiple of it long, as tar and tarfile write them

_IMAGES = ("jpg", "jpeg", "png", "gif", "bmp", "tif", "tiff", "webp", "ppm", "pgm", "pbm", "pnm")
_INTEGERS = ("cls", "cls2", "class", "count", "index", "inx", "id")
_TEXTS = ("txt", "text", "transcript", "json", "jsn", "csv", "xml", "html")
# Names that say already how their bytes are encoded.
_ENCODED = {*_IMAGES, *_INTEGERS, *_TEXTS, "npy", "npz", "bin", "pth", "pyd", "pkl", "ten", "tb", "mp", "msg"}
_ENCODED |= {"mp3", "mp4", "wav", "flac", "ogg", "m4a", "avi", "mov", "mkv", "webm", "pdf", "gz", "cbor"}

_BEGINNINGS = {
    b"\xff\xd8\xff": "jpg",
    b"\x89PNG\r\n\x1a\n": "png",
    b"GIF87a": "gif",
    b"GIF89a": "gif",
    b"BM": "bmp",
    b"II*\0": "tif",
    b"MM\0*": "tif",
    b"P6": "ppm",
    b"P5": "pgm",
}
# Fields whose ending alone says what they are.
_UNNAMED = ("", "image", "label")


class TarFormat:
    """Samples as the files of a tar archive."""

    name = "tar"
    ending = ".tar"
    is_folder = False
    marks_any_time = True

    def encode(self, columns: Columns, first: int) -> Records:
        """The samples' headers and contents, in blocks of 512 bytes."""
        names = [name for name in columns if name not in ("__key__", "__url__")]
        keys = columns.get("__key__")
        rows = zip(*(columns[name] for name in names), strict=True)
        return Records.of(
            first,
            [b"".join(_members(_key(keys, row, first), names, values, first + row)) for row, values in enumerate(rows)],
        )

    def open(self, path: Path, state: State | None) -> FileWriter:
        """Begin an archive, or continue one."""
        return FileWriter(path, state, _end)


def _end(size: int) -> bytes:
    """Two empty blocks, and as many more as make the archive a whole number of records."""
    return bytes(2 * _BLOCK + -(size + 2 * _BLOCK) % _RECORD)


def _key(keys: Any, row: int, first: int) -> str:
    return f"{first + row:09d}" if keys is None else str(keys[row])


def _members(key: str, names: list[str], values: tuple[Any, ...], number: int) -> Iterator[bytes]:
    """The files of a sample: of each its header, its content and what fills the last block."""
    taken: set[str] = set()
    for name, value in zip(names, values, strict=True):
        if value is None:
            continue
        ending, content = _file(name, value)
        if ending in taken:
            ending = f"{name}.{ending}"
        if ending in taken:
            raise ArgumentError(
                f"sample {number} has two fields that would be files {key}.{ending}; rename one of them"
            )
        taken.add(ending)
        yield _header(f"{key}.{ending}", len(content))
        yield content
        yield bytes(-len(content) % _BLOCK)


def _file(name: str, value: Any) -> tuple[str, bytes]:
    """What follows the basename, and the content, of a field."""
    if isinstance(value, bytes):
        return _named(name, _kind(value), _ENCODED), value
    if isinstance(value, str):
        return _named(name, "txt", _TEXTS), value.encode()
    if isinstance(value, np.ndarray) and value.ndim:
        return _named(name, "npy", ("npy",)), _npy(value)
    if isinstance(value, np.str_):
        return _named(name, "txt", _TEXTS), str(value).encode()
    number = value.item() if isinstance(value, np.generic | np.ndarray) else value
    if isinstance(number, int) and not isinstance(number, bool) and (name == "label" or _last(name) in _INTEGERS):
        return _named(name, "cls", _INTEGERS), str(number).encode()
    try:
        return _named(name, "json", ("json",)), json.dumps(number).encode()
    except TypeError:
        return _named(name, "npy", ("npy",)), _npy(np.asarray(value))


def _named(name: str, kind: str, endings: Any) -> str:
    if name in _UNNAMED:
        return kind
    return name if _last(name) in endings else f"{name}.{kind}"


def _last(name: str) -> str:
    return name.rpartition(".")[2].lower()


def _kind(content: bytes) -> str:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    return next((kind for beginning, kind in _BEGINNINGS.items() if content.startswith(beginning)), "bin")


def _npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


# A header as POSIX.1-1988 (ustar) has it, but for name, size and checksum; of user and time 0.
_HEAD = b"0000644\0" + b"0000000\0" * 2
_TAIL = b"00000000000\0"
_REST = b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2 + bytes(155 + 12)
_LARGEST = 8**11 - 1
_SUM = sum(_HEAD) + sum(_TAIL) + sum(b" " * 8) + sum(_REST)


def _header(name: str, size: int) -> bytes:
    """The block before a file's content; several for a long name, or one that is not ASCII."""
    if len(name) > 100 or not name.isascii() or size > _LARGEST:
        return _long_header(name, size)
    letters, length = name.encode(), b"%011o\0" % size
    check = b"%06o\0 " % (_SUM + sum(letters) + sum(length))
    return b"".join((letters.ljust(100, b"\0"), _HEAD, length, _TAIL, check, _REST))


def _long_header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.PAX_FORMAT)
