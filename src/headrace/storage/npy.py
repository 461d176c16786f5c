"""Files of NumPy's .npy format, mapped into memory.

The format: https://numpy.org/neps/nep-0001-npy-format.html. Its header is read here and not by NumPy, which maps
what the header says without a look at the size of the file, and unpickles arrays of objects.
"""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace.errors import CorruptDataError, FileChangedError, StorageError

if TYPE_CHECKING:
    from typing import BinaryIO

    from numpy.typing import NDArray

__all__ = ["Header", "NpyFile", "read_header"]

_MAGIC = b"\x93NUMPY"
_WORDS = {1: 2, 2: 4, 3: 4}  # bytes that say how long the header is, by the version of the format
_LONGEST = 1 << 20  # a header of a million bytes would be of a dtype with thousands of fields
_ENTRIES = {"descr", "fortran_order", "shape"}


class Header(NamedTuple):
    """What a .npy file says of its array.

    Attributes:
        dtype: of the array.
        shape: of the array.
        order: "C", or "F" where the first index runs fastest.
        offset: where the array begins, in bytes.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: str
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
        path: of the file.
        header: what it says of its array.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptDataError: it is no .npy file, or not as long as it says.
        StorageError: it holds Python objects.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        with self.path.open("rb") as file:
            self.header = read_header(file, path)
        self._identity = self._identify()
        self._array: NDArray[Any] | None = None
        self._check_size(self._identity[0])

    @property
    def array(self) -> NDArray[Any]:
        """The array, read-only, which takes no memory but what the system keeps of the file.

        Raises:
            FileChangedError: the file is not what it was when it was opened first. To read on could kill
                the process, where it is shorter now.
        """
        if self._identify() != self._identity:
            raise FileChangedError(
                f"{self.path} has changed since it was opened; open the dataset anew, and write new data to a new file "
                "that is renamed when it is whole"
            )
        if self._array is None:
            self._array = self._map()
        return self._array

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_array": None}

    def _map(self) -> NDArray[Any]:
        dtype, shape, order, offset = self.header
        if not self.header.nbytes:
            return np.empty(shape, dtype)
        memory = np.memmap(self.path, np.uint8, "r", offset, (self.header.nbytes,))
        return np.ndarray(shape, dtype, memory, order="F" if order == "F" else "C")

    def _identify(self) -> tuple[int, int]:
        try:
            status = self.path.stat()
        except FileNotFoundError as error:
            raise FileChangedError(f"{self.path} is gone since it was opened; put it back") from error
        return status.st_size, status.st_mtime_ns

    def _check_size(self, size: int) -> None:
        wanted = self.header.offset + self.header.nbytes
        if size != wanted:
            what = "is cut short" if size < wanted else "has more in it than one array"
            raise CorruptDataError(
                f"{self.path} {what}: its header tells of shape {self.header.shape} and dtype {self.header.dtype}, "
                f"which are {wanted} bytes with the header, but the file has {size}; write it anew"
            )


def read_header(file: BinaryIO, name: str) -> Header:
    """Read the header of a .npy file.

    Args:
        file: at its begin.
        name: of the file, for the texts of errors.

    Raises:
        CorruptDataError: there is no such header.
        StorageError: the file holds Python objects.

    >>> import io
    >>> file = io.BytesIO()
    >>> np.save(file, np.zeros((2, 3), np.float32))
    >>> _ = file.seek(0)
    >>> read_header(file, "zeros.npy")
    Header(dtype=dtype('float32'), shape=(2, 3), order='C', offset=128)
    """
    begin = file.read(8)
    if begin[:6] != _MAGIC or len(begin) < 8 or begin[6] not in _WORDS:
        raise CorruptDataError(f"{name} is no .npy file of a known version: it begins with {begin!r}")
    word = file.read(_WORDS[begin[6]])
    length = int.from_bytes(word, "little")
    if length > _LONGEST:
        raise CorruptDataError(f"{name}: its header is {length} bytes long, it says, of {_LONGEST} allowed")
    text = file.read(length)
    if len(text) < length or len(word) < _WORDS[begin[6]]:
        raise CorruptDataError(f"{name} is cut short in its header, at byte {8 + len(word) + len(text)}")
    return _parse(text, "utf-8" if begin[6] == 3 else "latin-1", 8 + len(word) + length, name)


def _parse(text: bytes, encoding: str, offset: int, name: str) -> Header:
    try:
        entries = ast.literal_eval(text.decode(encoding).strip())
        shape = entries["shape"]
        well_formed = set(entries) == _ENTRIES and isinstance(entries["fortran_order"], bool)
        if not well_formed or not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError("it has other entries than it should")  # noqa: TRY301 - told with the others
        dtype = np.lib.format.descr_to_dtype(entries["descr"])
    except Exception as error:  # a damaged text can raise nearly anything here
        raise CorruptDataError(f"{name}: its header is damaged ({error}): {text[:80]!r}") from error
    if dtype.hasobject:
        raise StorageError(
            f"{name} holds Python objects ({dtype}), which only unpickling would read, and that runs what code "
            "the file asks for; save numbers or strings, or load a file that you trust with "
            "numpy.load(allow_pickle=True)"
        )
    return Header(dtype, shape, "F" if entries["fortran_order"] else "C", offset)
