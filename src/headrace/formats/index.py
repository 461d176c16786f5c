"""The index of a file: what was found out by reading it once, kept beside it.

An index is a file of .npy arrays, one behind the other: first a text in JSON that says what the index belongs
to, then tables. `numpy.load` reads them in turn from an open file. It is kept as `.NAME.headrace-index.npy` in the
folder of the file NAME, or where nothing can be written there, in `headrace/index` below $XDG_CACHE_HOME (by default
`~/.cache`).
"""

from __future__ import annotations

import json
import os
import warnings
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import kernels
from headrace.errors import CorruptDataError, HeadraceError, HeadraceWarning, StorageError
from headrace.io.disk import open_files
from headrace.io.names import cache_folder, file_name, short_digest
from headrace.io.new_file import DRAFT, new_file
from headrace.io.progress import Progress
from headrace.io.safe_open import check_owner, is_planted, make_folder, open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from headrace.io.source import ByteSource

__all__ = [
    "Index",
    "IndexFormat",
    "are_bounds",
    "find_index",
    "index_paths",
    "is_index",
    "keep_index",
    "open_index",
    "open_indexes",
]

_VERSION = 1  # of the file, whatever its tables hold
_ALIGNMENT = 64
_LONGEST_TEXT = 1 << 16
_ENDING = ".headrace-index.npy"
_SMALL = 1 << 20  # an index of fewer bytes is read: a mapping would take a descriptor
_MOST, _AT_LEAST = 16, 1 << 16  # bytes of an index for each of its file, and those that it may have in any case

# What reading an index may raise that is damaged, or of another kind.
_UNUSABLE = (OSError, HeadraceError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)

Tables = dict[str, "NDArray[Any]"]


@dataclass(frozen=True)
class IndexFormat:
    """The tables of an index of one format of files, and how they are built and checked.

    Args:
        name: of the format.
        version: of the tables; another one is built anew.
        dtypes: of each table; all have one dimension.
        build: makes the tables of a source; it calls what it is given with the number of bytes that
            it has read, now and then. None for tables that are made elsewhere, for `keep_index`.
        check: says whether tables that were read fit together, as those do that `build` makes. That records lie in
            the file is seen to without it.
        kind: comes behind the name of the file, where another index may be kept of it.
        most_bytes: that a file of tables can have; None for what the size of its source allows.
        what: the tables are called in a warning.
    """

    name: str
    version: int
    dtypes: dict[str, np.dtype[Any]]
    build: Callable[[ByteSource, Callable[[int], None]], Tables] | None = None
    check: Callable[[Tables], bool] | None = None
    kind: str = ""
    most_bytes: int | None = None
    what: str = "index"


@dataclass(frozen=True)
class Index:
    """The tables of a file.

    Attributes:
        tables: by name; they may be read-only.
        path: where they are kept; None where they could be kept nowhere.
    """

    tables: Tables = field(repr=False)
    path: str | None


def open_index(source: ByteSource, index_format: IndexFormat) -> Index:
    """Return the index of one file, built if there is none that belongs to it."""
    return open_indexes([source], index_format)[0]


def open_indexes(
    sources: Sequence[ByteSource], index_format: IndexFormat, *, progress: bool | None = None
) -> list[Index]:
    """Return the indexes of files. Those that are not there, stale or damaged are built, several at the same time.

    Args:
        sources: the files.
        index_format: of all of them.
        progress: whether to show how far it is; by default after two seconds, where stderr is a terminal.

    Raises:
        CorruptDataError: a file is not of this format.
        FileChangedError: a file changed meanwhile.
    """
    found = [find_index(source, index_format) for source in sources]
    missing = [number for number, index in enumerate(found) if index is None]
    if missing:
        built = _build_all([sources[number] for number in missing], index_format, progress=progress)
        for number, index in zip(missing, built, strict=True):
            found[number] = index
    return [index for index in found if index is not None]


def index_paths(path: str, kind: str = "") -> list[Path]:
    """Return the paths at which an index of a file may be kept, the better one first."""
    is_far = "://" in path
    name = (path.rpartition("/")[2] if is_far else Path(path).name) or "data"
    places = [cache_folder("index") / file_name(name, short_digest(path + kind), ".npy")]
    if not is_far:
        places.insert(0, Path(path).with_name(f".{name}{kind}{_ENDING}"))
    return places


def find_index(source: ByteSource, index_format: IndexFormat) -> Index | None:
    """Return the index that is kept of a file, if it belongs to the file as it is now."""
    for path in index_paths(source.path, index_format.kind):
        # Whatever is wrong with it, it is made anew.
        with suppress(*_UNUSABLE):
            return Index(_read(path, source, index_format), str(path))
    return None


def keep_index(tables: Tables, source: ByteSource, index_format: IndexFormat) -> Index:
    """Keep tables as the index of a file; a warning says where that is not possible."""
    content = _encode(tables, source, index_format)
    reasons = []
    for path in index_paths(source.path, index_format.kind):
        try:
            _write(path, content, source.path)
        except OSError as error:
            reasons.append(f"{path}: {error.strerror or error}")
        else:
            return Index(tables, str(path))
    warnings.warn(
        f"the {index_format.what} of {source.path} cannot be kept, so all is read again each time "
        f"({'; '.join(reasons)}); make one of these folders writable, or set XDG_CACHE_HOME",
        HeadraceWarning,
        stacklevel=2,
    )
    return Index(tables, None)


def is_index(name: str) -> bool:
    """Return whether a file of that name is an index, or one that is being written, and no data of a user.

    >>> is_index(".train.tar.headrace-index.npy"), is_index("train.tar")
    (True, False)
    """
    return name.startswith(".") and (name.endswith(_ENDING) or (name.startswith(DRAFT) and name.endswith(".tmp")))


def are_bounds(bounds: NDArray[np.int64], length: int) -> bool:
    """Return whether these are the bounds of parts that follow each other, from 0 up to a length.

    >>> are_bounds(np.array([0, 2, 5]), 5), are_bounds(np.array([0, 5, 2]), 5)
    (True, False)
    """
    return len(bounds) > 0 and bool(bounds[0] == 0 and bounds[-1] == length and (bounds[1:] >= bounds[:-1]).all())


# -- building


class _Stopped(Exception):  # noqa: N818 - it ends threads and goes no further
    """Another file failed, or the user stopped it."""


def _build_all(sources: list[ByteSource], index_format: IndexFormat, *, progress: bool | None) -> list[Index]:
    total = sum(source.identity.size for source in sources)
    done = [0] * len(sources)
    stopped = Event()

    def advance(number: int, read: int) -> None:
        done[number] = read
        if stopped.is_set():
            raise _Stopped

    def text() -> str:
        return f"{sum(done) / 1e6:,.0f} of {total / 1e6:,.0f} MB of {index_format.name} indexed"

    with Progress(text, wanted=progress) as show, ThreadPoolExecutor(_threads(len(sources))) as pool:
        tasks = [
            pool.submit(_build, source, index_format, partial(advance, number)) for number, source in enumerate(sources)
        ]
        try:
            waiting = set(tasks)
            while waiting:
                finished, waiting = wait(waiting, 0.1, "FIRST_COMPLETED")
                for task in finished:
                    task.result()
                show()
        finally:
            stopped.set()  # the rest is not waited for, if anything failed
            pool.shutdown(cancel_futures=True)
    return [task.result() for task in tasks]


def _threads(files: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(files, cores, 16)


def _build(source: ByteSource, index_format: IndexFormat, advance: Callable[[int], None]) -> Index:
    if index_format.build is None:
        raise ValueError(f"nothing builds the index of {index_format.name}")
    return keep_index(index_format.build(source, advance), source, index_format)


def _encode(tables: Tables, source: ByteSource, index_format: IndexFormat) -> list[Any]:
    """Return the parts of the index file, bytes and arrays of them: the text, then the tables."""
    parts: list[Any] = []
    places, position = {}, 0
    for name, table in tables.items():
        header, content = _npy_header(table, position), _bytes(table)
        start = position + len(header)
        position = start + len(content)
        places[name] = [start, len(table), _sum(content)]
        parts += [header, content]
    about = _about(source, index_format) | {"tables": places}
    text = json.dumps(about).encode()
    text += b" " * (-(len(text) + 1) % _ALIGNMENT) + b"\n"  # places count from its end on
    return [_npy_header(np.frombuffer(text, np.uint8), 0), text, *parts]


def _about(source: ByteSource, index_format: IndexFormat) -> dict[str, Any]:
    """Return the header by which an index that fits the file is told from others."""
    return {
        "headrace-index": _VERSION,
        "format": index_format.name,
        "version": index_format.version,
        "size": source.identity.size,
        "mtime_ns": source.identity.mtime_ns,
    }


def _npy_header(array: NDArray[Any], position: int) -> bytes:
    """Return the header of an array that starts at a position, so long that the array itself is aligned."""
    entries = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
    text = repr(entries).encode()
    text += b" " * (-(position + 10 + len(text) + 1) % _ALIGNMENT) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def _write(path: Path, content: list[Any], source: str) -> None:
    """Write to a name of its own, which becomes the right one when all is there: several may do so at once."""
    if path.parent == cache_folder("index"):
        make_folder(path.parent)
    mode = Path(source).stat().st_mode & 0o666 if "://" not in source else 0o644
    with new_file(path, mode) as file:
        for part in content:
            file.write(part)


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    return array.reshape(-1).view(np.uint8)


def _sum(content: NDArray[np.uint8]) -> int:
    return int(kernels.active().crc32c(content, np.zeros(1, np.int64), np.array([len(content)]))[0])


# -- finding


def _read(path: Path, source: ByteSource, index_format: IndexFormat) -> Tables:
    """Return the tables of an index file; whatever it raises, they cannot be used."""
    _check_place(path, source.path)
    most = index_format.most_bytes
    content = _content(path, _MOST * source.identity.size + _AT_LEAST if most is None else most)
    begin = content[:_LONGEST_TEXT].tobytes()
    start = 10 + int.from_bytes(begin[8:10], "little")
    stop = begin.index(b"\n", start) + 1
    about = json.loads(begin[start:stop])
    places = about.pop("tables")
    if about != _about(source, index_format) or places.keys() != index_format.dtypes.keys():
        raise CorruptDataError(f"{path} is the index of another file, or of another version")
    tables = {}
    for name, (offset, length, crc) in places.items():
        dtype = index_format.dtypes[name]
        if (stop + offset) % _ALIGNMENT:  # the kernels read its numbers where they lie
            raise CorruptDataError(f"{path} has its table {name!r} at a place where none was written")
        part = content[stop + offset : stop + offset + length * dtype.itemsize]
        if _sum(part) != crc:
            raise CorruptDataError(f"{path} is damaged in its table {name!r}")
        tables[name] = np.ndarray((length,), dtype, part)
    check = index_format.check
    if not _lie_within(tables.get("records"), source.identity.size) or (check is not None and not check(tables)):
        raise CorruptDataError(f"{path} tells of something that its file cannot have in it")
    return tables


def _check_place(path: Path, source: str) -> None:
    """Refuse an index that may have been put there by another user than the owner of the file."""
    if path.parent == cache_folder("index"):
        check_owner(path.parent)
    elif is_planted(path, path.parent, Path(source).stat().st_uid):
        raise StorageError(f"{path} belongs to another user than its file")


def _lie_within(records: NDArray[Any] | None, size: int) -> bool:
    """Return whether records, if there are any, are bytes of a file of that size."""
    if records is None or not len(records):
        return True
    offsets, lengths = records["offset"], records["length"]
    return bool(offsets.min() >= 0 and lengths.min() >= 0 and (offsets <= size - lengths).all())


def _content(path: Path, most: int) -> NDArray[np.uint8]:
    with open(open_files.opening(lambda: open_regular(path, links=False)), "rb") as file:  # noqa: PTH123 - a descriptor
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise StorageError(f"{path} has {size} bytes, which is more than its file can need")
        if size < _SMALL:
            return np.frombuffer(file.read(size), np.uint8)
        mapping = open_files.map(file.fileno(), size)
        return np.frombuffer(file.read(size) if mapping is None else mapping, np.uint8)
