"""IDX files, the format of MNIST: a magic number, the sizes, and then the array."""

from __future__ import annotations

import math
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentError
from headrace.io.safe_open import open_regular

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator
    from os import PathLike

    from numpy.typing import NDArray

__all__ = ["read_idx", "unpacked"]

_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CHUNK = 1 << 20


def read_idx(path: str | PathLike[str]) -> NDArray[Any]:
    """Return the array of an IDX file, the format of MNIST.

    Args:
        path: the file, packed by gzip or not; what it is shows in its bytes, whatever its name.

    Returns:
        An array in native byte order that may be written to.

    Raises:
        OSError: the file cannot be read.
        ArgumentError: it is no IDX file, is damaged, or ends too early or too late (also a
            ValueError).

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "labels-idx1-ubyte")
    ...     _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     read_idx(file)
    array([7, 2, 1], dtype=uint8)
    """
    path = Path(path)
    with unpacked(path) as file:
        dtype, shape = _idx_header(file, path)
        expected = math.prod(shape) * dtype.itemsize
        content, found = _take(file, expected)
    if found != expected:
        raise ArgumentError(
            f"{path}: expected {expected} bytes of {dtype.name} of shape {shape}, found {found}: "
            f"{'it ends too early' if found < expected else 'there is more after the array'}; get the file anew"
        )
    try:
        array = np.ndarray(shape, dtype, content)
    except ValueError as error:  # more dimensions than NumPy has, or no elements along vast other ones
        raise ArgumentError(f"{path}: its shape {shape} cannot be that of an array ({error})") from error
    return array.astype(dtype.newbyteorder("="), copy=False)


def _idx_header(file: io.BufferedIOBase, path: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_TYPES:
        raise ArgumentError(
            f"{path}: expected the magic number of an IDX file, 0000TTNN in hexadecimal digits with a type TT of "
            f"{', '.join(f'{code:02x}' for code in _IDX_TYPES)}, found {magic.hex() or 'an empty file'}"
        )
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise ArgumentError(
            f"{path}: expected {magic[3]} sizes of 4 bytes each after the magic number, found {len(sizes)} bytes: "
            "it ends too early; get the file anew"
        )
    return np.dtype(_IDX_TYPES[magic[2]]), tuple(np.frombuffer(sizes, ">u4").tolist())


def _take(file: io.BufferedIOBase, expected: int) -> tuple[bytearray, int]:
    """Return the expected number of bytes, and how many there are up to the end, where gzip checks its sum."""
    content, found = bytearray(), 0
    while chunk := file.read(_CHUNK):
        content += chunk[: max(expected - found, 0)]
        found += len(chunk)
    return content, found


@contextmanager
def unpacked(path: Path) -> Iterator[io.BufferedIOBase]:
    """Yield the file, read through gzip if its first bytes say so.

    Raises:
        ArgumentError: it is damaged.
    """
    with open(open_regular(path), "rb") as file:  # noqa: PTH123 - a descriptor
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not packed:
            yield file
            return
        import gzip  # with zlib a tenth of what importing headrace takes, and seldom needed
        import zlib

        try:
            with gzip.GzipFile(fileobj=file) as inner:
                yield inner
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ArgumentError(f"{path}: what gzip packed there is damaged ({error}); get the file anew") from error
