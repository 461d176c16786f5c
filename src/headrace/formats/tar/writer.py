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
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import kernels
from headrace.errors import ArgumentError
from headrace.formats.tar.fields import INTEGERS, TEXTS
from headrace.formats.writer import FileWriter, Records, check_dtype
from headrace.images.codecs.registry import find_codec
from headrace.kernels.scans import TarScan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from headrace.formats.writer import Columns, State

__all__ = ["TarFormat"]

_BLOCK = 512
_RECORD = 20 * _BLOCK  # archives are a multiple of it long, as tar and tarfile write them

_IMAGES = ("jpg", "jpeg", "png", "gif", "bmp", "tif", "tiff", "webp", "avif", "jp2", "ppm", "pgm", "pbm", "pnm")
# Names that say already how their bytes are encoded.
_ENCODED = {*_IMAGES, *INTEGERS, *TEXTS, "json", "jsn", "csv", "xml", "html", "npy", "npz", "bin", "pth", "pyd", "pkl"}
_ENCODED |= {
    "ten",
    "tb",
    "mp",
    "msg",
    "mp3",
    "mp4",
    "wav",
    "flac",
    "ogg",
    "m4a",
    "avi",
    "mov",
    "mkv",
    "webm",
    "pdf",
    "gz",
    "cbor",
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
        """Return the samples' headers and contents, in blocks of 512 bytes."""
        names = [name for name in columns if name not in ("__key__", "__url__")]
        for name in names:
            _check_name(name)
        numbers = range(first, first + len(next(iter(columns.values()))))
        keys = columns.get("__key__") or [f"{number:09d}" for number in numbers]
        rows = zip(*(columns[name] for name in names), strict=True) if names else [()] * len(numbers)
        return Records.of(
            first,
            [
                b"".join(_members(_checked_key(key, number), names, values, number))
                for key, values, number in zip(keys, rows, numbers, strict=True)
            ],
        )

    def open(self, path: Path, state: State | None) -> _ArchiveWriter:
        """Begin an archive, or continue one."""
        return _ArchiveWriter(path, state)


def _check_name(name: str) -> None:
    """Refuse a field that a reader would not find as one."""
    if "/" in name or "\0" in name:
        raise ArgumentError(
            f"field {name!r} has a slash or a zero in its name, which in a tar would be a folder or an end; rename it "
            "with dataset.map(...), or take another format"
        )


def _checked_key(key: Any, number: int) -> str:
    """Return the key of a sample, if it is one that a reader would find again."""
    if not isinstance(key, str):
        raise ArgumentError(f"sample {number} has the __key__ {key!r}, but a key is a str; convert it with map(...)")
    *folders, base = key.split("/")
    if not base or "." in base or "\0" in key:
        raise ArgumentError(
            f"sample {number} has the __key__ {key!r}, but the key of a sample ends in a name that is not empty and "
            "has no dots, since in a tar all that follows the first dot is the name of a field; change it with map(...)"
        )
    if (folders and not folders[0]) or ".." in folders:
        raise ArgumentError(
            f"sample {number} has the __key__ {key!r}, which would lie outside of the folder that the tar is unpacked "
            "to; begin it with no slash, and leave out '..'"
        )
    return key


def _members(key: str, names: list[str], values: tuple[Any, ...], number: int) -> Iterator[bytes]:
    """Yield the files of a sample: of each its header, its content and what fills the last block."""
    files = [(name, *_file(name, value)) for name, value in zip(names, values, strict=True) if value is not None]
    if not files:
        raise ArgumentError(
            f"sample {number} has no value that would be a file of the tar; leave it out, or give it one with map(...)"
        )
    endings = _distinct([(name, ending) for name, ending, _ in files], key, number)
    for ending, (_, _, content) in zip(endings, files, strict=True):
        yield _header(f"{key}.{ending}", len(content), number)
        yield content
        yield bytes(-len(content) % _BLOCK)


def _distinct(named: list[tuple[str, str]], key: str, number: int) -> list[str]:
    """Return the endings of a sample's files, where those that say nothing of a field's name give way to others."""
    taken = Counter(_lower(ending) for name, ending in named if name not in _UNNAMED)
    endings = []
    for name, short in named:
        ending = short
        if name in _UNNAMED:
            ending = f"{name}.{short}" if name and taken[short] else short
            taken[_lower(ending)] += 1
        if taken[_lower(ending)] > 1:
            raise ArgumentError(
                f"sample {number} has two fields that would be files {key}.{_lower(ending)}, since names in a tar are "
                "read in lower case; rename one of them with dataset.map(...)"
            )
        endings.append(ending)
    return endings


def _file(name: str, value: Any) -> tuple[str, bytes]:
    """Return the ending that follows the basename of a field's file, and its content."""
    if isinstance(value, bytes):
        return _named(name, _kind(value), _ENCODED), value
    if isinstance(value, str):
        return _named(name, "txt", TEXTS), value.encode()
    if isinstance(value, np.ndarray) and value.ndim:
        return _named(name, "npy", ("npy",)), _npy(name, value)
    number = value.item() if isinstance(value, np.generic) and value.dtype.kind in "biuf" else value
    if type(number) is int and (name == "label" or _last(name) in INTEGERS):
        return _named(name, "cls", INTEGERS), str(number).encode()
    if isinstance(number, bool | int | float) and not isinstance(number, np.generic):
        return _named(name, "json", ("json",)), json.dumps(number).encode()
    return _named(name, "npy", ("npy",)), _npy(name, np.asarray(value))


def _named(name: str, kind: str, endings: Any) -> str:
    if name in _UNNAMED:
        return kind
    return name if _last(name) in endings else f"{name}.{kind}"


def _last(name: str) -> str:
    return _lower(name.rpartition(".")[2])


def _lower(text: str) -> str:
    """Return the text as readers compare it, which lower-case letters of ASCII only."""
    return (
        text if text.islower() else text.encode("utf-8", "surrogateescape").lower().decode("utf-8", "surrogateescape")
    )


def _kind(content: bytes) -> str:
    codec = find_codec(content)
    if codec is None:
        return "bin"
    if codec.name == "BMP":  # two letters may be chance
        return "bmp" if int.from_bytes(content[2:6], "little") == len(content) else "bin"
    if codec.name == "PPM":
        return {b"5": "pgm", b"6": "ppm"}.get(content[1:2], "bin")
    return codec.extension


def _npy(name: str, array: Any) -> bytes:
    check_dtype(name, array.dtype)
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


# A header as POSIX.1-1988 (ustar) has it, but for name, size and checksum; of user and time 0.
_HEAD = b"0000644\0" + b"0000000\0" * 2
_TAIL = b"00000000000\0"
_REST = b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2 + bytes(155 + 12)
_LARGEST = 8**11 - 1
_SUM = sum(_HEAD) + sum(_TAIL) + sum(b" " * 8) + sum(_REST)


def _header(name: str, size: int, number: int) -> bytes:
    """Return the block before a file's content; several for a long name, or one that is not ASCII."""
    if len(name) > 100 or not name.isascii() or size > _LARGEST:
        try:
            return _long_header(name, size)
        except UnicodeEncodeError as error:
            raise ArgumentError(
                f"sample {number} would be a file {name!r}, whose name is no Unicode; rename it with map(...)"
            ) from error
    letters, length = name.encode(), b"%011o\0" % size
    check = b"%06o\0 " % (_SUM + sum(letters) + sum(length))
    return b"".join((letters.ljust(100, b"\0"), _HEAD, length, _TAIL, check, _REST))


def _long_header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.PAX_FORMAT)


# -- writing

_CUT, _FULL = 2, 1
_SAME_FIELD, _MANY_FIELDS = 7, 8


class _ArchiveWriter(FileWriter):
    """An archive, of which every part is read before it is written: as many samples must be in it as were given."""

    def __init__(self, path: Path, state: State | None) -> None:
        super().__init__(path, state, _end)
        self._scan = TarScan(1 << 12, 1 << 22)
        if self._size:
            self._count(np.memmap(path, np.uint8, "r", shape=(self._size,)))

    def write(self, chunk: Records) -> None:
        """Append the samples of a chunk."""
        found, ended = self._count(chunk.data)
        if ended != _CUT or found != len(chunk.sizes):
            raise ArgumentError(self._complaint(chunk, ended))
        super().write(chunk)

    def _count(self, data: NDArray[np.uint8]) -> tuple[int, int]:
        """Count the samples that begin in some bytes of the archive; return also why the scan ended."""
        self._scan.position, found = 0, 0
        while True:
            ended = kernels.active().scan_tar(data, self._scan)
            members = self._scan.take()
            found += len(members.firsts)
            if ended != _FULL or not len(members.records):
                return found, ended

    def _complaint(self, chunk: Records, ended: int) -> str:
        if ended == _MANY_FIELDS:
            return (
                f"the samples up to {chunk.first + len(chunk.sizes) - 1} have more fields, of different names, than a "
                "reader tells apart in one tar; give the samples the same fields, or write smaller shards"
            )
        if ended not in (_CUT, _SAME_FIELD):
            return f"among the samples from {chunk.first} on is a key longer than a reader has room for; shorten it"
        return (
            f"sample {_repeated(chunk)} has the same __key__ as the one before it, and a tar would join them; give "
            "each sample a key of its own with map(...)"
        )


def _repeated(chunk: Records) -> int:
    """Return the number of the sample whose key is that of the one before it."""
    before: list[str] = []
    for place in range(len(chunk.sizes)):
        scan = TarScan(1, 1 << 22)
        kernels.active().scan_tar(chunk.cut(place, place + 1).data, scan)
        key = scan.take().key_texts()
        if key == before:
            return chunk.first + place
        before = key
    return chunk.first


def _end(size: int) -> bytes:
    """Return two empty blocks, and as many more as make the archive a whole number of records."""
    return bytes(2 * _BLOCK + -(size + 2 * _BLOCK) % _RECORD)
