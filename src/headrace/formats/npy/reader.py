"""Files of NumPy's .npy format, mapped into memory.

The format: https://numpy.org/neps/nep-0001-npy-format.html. Its header is read here and not by NumPy, which maps
what the header says without a look at the size of the file, and unpickles arrays of objects.
"""

from __future__ import annotations

import ast
import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from headrace.batch.rows import gather_rows, rows_differ
from headrace.errors import CorruptDataError, StorageError
from headrace.io.ranges import FileRanges
from headrace.io.source import LocalSource, open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from headrace.formats.prepared import LastPrepared
    from headrace.io.source import ByteSource

__all__ = ["Header", "NpyFile", "gather", "parse_array", "read_header"]

_MAGIC = b"\x93NUMPY"
_WORDS = {1: 2, 2: 4, 3: 4}  # bytes that say how long the header is, by the version of the format
_LONGEST = 1 << 16  # bytes of a header, which would be of a dtype with thousands of fields
_ENTRIES = {"descr", "fortran_order", "shape"}


class Header(NamedTuple):
    """The header of a .npy file.

    Attributes:
        dtype: of the array.
        shape: of the array.
        order: "C", or "F" where the first index runs fastest.
        offset: where the array begins, in bytes.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    offset: int

    @property
    def nbytes(self) -> int:
        """The size of the array in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


class NpyFile:
    """One .npy file. It is mapped when its array is asked for, and again in another process.

    Args:
        path: of the file.

    Attributes:
        source: the bytes of the file.
        header: what it says of its array.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptDataError: it is no .npy file, or not as long as it says.
        StorageError: it holds Python objects.
    """

    def __init__(self, path: str) -> None:
        self.source = open_source(path)
        self.header = read_header(self.source)
        self.source.close()
        self._viewed: tuple[NDArray[np.uint8], NDArray[Any]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return all but the mapping, which another process makes anew."""
        return vars(self) | {"_viewed": None}

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return isinstance(self.source, LocalSource)

    @property
    def is_scattered(self) -> bool:
        """Whether the values of a row do not lie side by side."""
        return self.header.order == "F" and len(self.header.shape) > 1

    @property
    def row_bytes(self) -> int:
        """The size of a row in bytes."""
        return self.header.nbytes // max(1, self.header.shape[0])

    def view(self) -> NDArray[Any] | None:
        """Return the array, read-only, if it can be had without reading it: it takes no memory but the system's cache.

        Raises:
            FileChangedError: the file is not what it was when it was opened first.
        """
        content = self.source.view()
        if content is None:
            return None
        viewed = self._viewed
        if viewed is None or viewed[0] is not content:
            viewed = self._viewed = content, self._over(content)
        return viewed[1]

    def row(self, row: int) -> Any:
        """Return one row: a view of the file, if it can be had without reading it."""
        array = self.view()
        return self.read(np.array([row]))[0] if array is None else array[row]

    def read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return some rows, shape (n, ...), of which no others are read unless they lie scattered over the file."""
        if self.is_scattered:
            return self._over(self.source.read(0, self.source.identity.size))[rows]
        _, offsets, lengths = self.byte_ranges(rows)
        shape = len(rows), *self.header.shape[1:]
        return np.ndarray(shape, self.header.dtype, self.source.read_many(offsets, lengths).buffer)

    def byte_ranges(self, rows: NDArray[np.int64]) -> FileRanges:
        """Return where rows lie, shape (n,), int64; of those that lie scattered over a file far away, all of it."""
        if self.is_scattered and not self.is_local:
            return FileRanges(self.source, np.zeros(1, np.int64), np.array([self.source.identity.size]))
        return FileRanges(self.source, self.header.offset + rows * self.row_bytes, np.full(len(rows), self.row_bytes))

    def _over(self, content: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the array in the bytes of the file."""
        dtype, shape, order, offset = self.header
        return np.ndarray(shape, dtype, content, offset, order=order)


def gather(files: Sequence[NpyFile], which: NDArray[np.int64], rows: NDArray[np.int64], last: LastPrepared) -> Any:
    """Return the batch of some rows of several files.

    Args:
        files: of arrays of the same dtype, and of the same shape but for the first dimension.
        which: the place of each row's file, shape (n,), int64.
        rows: which of its rows, shape (n,), int64.
        last: of the kernel `prepare_gather_shards`.
    """
    arrays = []
    places = rows
    for place, file in enumerate(files):
        array = file.view()
        if array is None:
            here = np.flatnonzero(which == place)
            array = file.read(rows[here])
            places = rows.copy() if places is rows else places
            places[here] = np.arange(len(here))
        arrays.append(array)
    is_mapped = places is rows and not rows_differ(arrays[0].dtype)
    return gather_rows(arrays, which, places, last.find(arrays) if is_mapped else None)


def read_header(source: ByteSource) -> Header:
    """Read the header of a .npy file, and see that the file is as long as it says.

    Raises:
        CorruptDataError: there is no such header, or the file has another length.
        StorageError: it holds Python objects.
    """
    return _read_header(lambda start, length: source.read(start, length).tobytes(), source.identity.size, source.path)


def parse_array(content: bytes, name: str) -> NDArray[Any]:
    """Return the array that the content of a .npy file holds, as memory of its own.

    Args:
        content: all bytes of the file.
        name: of the file, for the texts of errors.

    Raises:
        CorruptDataError: it is no .npy file, or not as long as it says.
        StorageError: it holds Python objects.

    >>> import io
    >>> file = io.BytesIO()
    >>> np.save(file, np.arange(3))
    >>> parse_array(file.getvalue(), "a.npy")
    array([0, 1, 2])
    """
    header = _read_header(lambda start, length: content[start : start + length], len(content), name)
    return np.ndarray(header.shape, header.dtype, content, header.offset, order=header.order).copy(header.order)


def _read_header(read: Callable[[int, int], bytes], size: int, name: str) -> Header:
    begin = read(0, min(size, 12))
    if begin[:6] != _MAGIC or len(begin) < 12 or begin[6] not in _WORDS:
        raise CorruptDataError(f"{name} is no .npy file of a known version: it begins with {begin!r}")
    start = 8 + _WORDS[begin[6]]
    length = int.from_bytes(begin[8:start], "little")
    if length > min(size - start, _LONGEST):
        raise CorruptDataError(
            f"{name}: its header has {length} bytes, it says, but the file has {size}, and {_LONGEST} are allowed"
        )
    text = read(start, length)
    header = _parse(text, "utf-8" if begin[6] == 3 else "latin-1", start + length, name)
    _check_size(header, size, name)
    return header


def _check_size(header: Header, size: int, name: str) -> None:
    wanted = header.offset + header.nbytes
    if size != wanted:
        what = "is cut short" if size < wanted else "has more in it than one array"
        raise CorruptDataError(
            f"{name} {what}: its header tells of shape {header.shape} and dtype {header.dtype}, which are {wanted} "
            f"bytes with the header, but the file has {size}; write it anew"
        )


def _parse(text: bytes, encoding: str, offset: int, name: str) -> Header:
    try:
        entries = ast.literal_eval(text.decode(encoding).strip())
        shape = entries["shape"]
        well_formed = set(entries) == _ENTRIES and isinstance(entries["fortran_order"], bool)
        if not well_formed or not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError("it has other entries than it should")  # noqa: TRY301 - told with the others
        dtype = np.lib.format.descr_to_dtype(entries["descr"])
        np.broadcast_to(np.empty((), np.dtype((np.void, dtype.itemsize))), shape)  # fails where no array is so large
        if not dtype.itemsize and math.prod(shape):
            raise ValueError("it has elements, but none of them has a byte")  # noqa: TRY301
    except Exception as error:  # a damaged text can raise nearly anything here
        raise CorruptDataError(f"{name}: its header is damaged ({error}): {text[:80]!r}") from error
    if dtype.hasobject:
        raise StorageError(
            f"{name} holds Python objects ({dtype}), which only unpickling would read, and that runs what code "
            "the file asks for; save numbers or strings, or load a file that you trust with "
            "numpy.load(allow_pickle=True)"
        )
    return Header(dtype, shape, "F" if entries["fortran_order"] else "C", offset)
