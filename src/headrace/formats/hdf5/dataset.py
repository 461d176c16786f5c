"""Rows of the arrays in HDF5 files, read by h5py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import CorruptDataError
from headrace.formats.chunked_arrays import ArrayInFile, ChunkedDataset
from headrace.io.source import LocalSource

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.datasets.base import Dataset

__all__ = ["HDF5Dataset", "open_files"]

_AT_ONCE = 1 << 20  # bytes of an array that has no chunks


class HDF5Dataset(ChunkedDataset):
    """The rows of arrays in HDF5 files, in any order. Needs h5py: `pip install 'headrace[hdf5]'`.

    Rows are read by chunks, each of which is decoded once for a batch and kept for the next ones, so
    `shuffle="block"`, which keeps to some chunks at a time, suits them best. Of arrays that lie in one piece, any rows
    are read as those of .npy files are. Each process opens the files anew.

    Args:
        path: a file, a pattern or several: shards, which hold the same arrays.
        fields: the names of the arrays that are read, those of a group as "group/name"; a sample is a dict of their
            rows. One name alone has samples that are its rows. None for all arrays of the file.
        cache_bytes: how much memory decoded chunks may take, in each process.

    Attributes:
        paths: of the files.
        fields: the keys of a sample; empty where a sample is a row.

    Raises:
        ImportError: h5py is not installed.
        FileNotFoundError: a file is not there.
        CorruptDataError: a file is no HDF5 file, or damaged.
        ArgumentError: there is no such array, or arrays differ in length; shards in fields, dtype or shape.
        FileChangedError: when samples are asked for of a file that has changed meanwhile.

    >>> import h5py
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with h5py.File(f"{folder}/train.h5", "w") as file:
    ...         file["image"], file["label"] = np.zeros((100, 28, 28), np.uint8), np.arange(100)
    ...     HDF5Dataset(f"{folder}/train.h5")[7]["label"]
    np.int64(7)
    """

    def _open_file(self, path: str) -> dict[str, _H5Array]:
        try:
            import h5py
        except ImportError as error:
            raise ImportError("HDF5 files need h5py: pip install 'headrace[hdf5]'") from error
        try:
            file = h5py.File(path, "r")
            return {name: _H5Array(each, path) for name, each in _arrays(h5py, file).items()}
        except FileNotFoundError:
            raise
        except OSError as error:
            raise CorruptDataError(f"{path} cannot be read as HDF5: {error}; get the file anew") from error


def _arrays(h5py: Any, file: Any) -> dict[str, Any]:
    """Return the arrays of a file by name, but for those of references; links are not followed."""
    found: dict[str, Any] = {}

    def note(name: str, each: Any) -> None:
        if isinstance(each, h5py.Dataset) and each.shape is not None and h5py.check_ref_dtype(each.dtype) is None:
            found[name] = each

    file.visititems(note)
    return found


class _H5Array(ArrayInFile):
    """One array of a file.

    Args:
        array: h5py's.
        path: of its file, for the texts of errors.
    """

    def __init__(self, array: Any, path: str) -> None:
        import h5py

        self._path = path
        self._source = LocalSource(path)
        self._texts = array.dtype.hasobject and h5py.check_string_dtype(array.dtype) is not None
        self._array = array
        self.shape: tuple[int, ...] = array.shape
        self.dtype: np.dtype[Any] = np.dtype(object) if self._texts else array.dtype
        self._row_bytes = int(np.prod(self.shape[1:])) * array.dtype.itemsize
        self.chunk: int = array.chunks[0] if array.chunks else max(1, _AT_ONCE // max(1, self._row_bytes))
        self._offset = None if self._texts else self._find_offset(h5py)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return consecutive rows; texts as str."""
        try:
            rows: NDArray[Any] = (self._array.asstr() if self._texts else self._array)[start:stop]
        except (OSError, UnicodeDecodeError) as error:
            raise CorruptDataError(
                f"{self._path}, rows {start} to {stop - 1} of {self._array.name} cannot be read: {error}; get it anew"
            ) from error
        return rows

    def read_rows(self, rows: NDArray[np.int64]) -> NDArray[Any] | None:
        """Return rows in any order, shape (n,), int64; None of an array that does not lie in one piece."""
        if self._offset is None:
            return None
        sizes = np.full(len(rows), self._row_bytes)
        content = self._source.read_many(self._offset + rows * self._row_bytes, sizes).buffer
        return content.view(self.dtype).reshape(len(rows), *self.shape[1:])

    def _find_offset(self, h5py: Any) -> int | None:
        """Return the byte at which an array begins that lies in one piece in its file, as it is in memory."""
        array = self._array
        offset = None if array.chunks or array.is_virtual or array.external else array.id.get_offset()
        if not array.nbytes or array.dtype.hasobject or offset is None:
            return None
        if array.id.get_type() != h5py.h5t.py_create(array.dtype):
            return None
        if offset + array.nbytes > self._source.identity.size:
            raise CorruptDataError(
                f"{self._path}: {array.name} would end at byte {offset + array.nbytes}, but the file has "
                f"{self._source.identity.size}; it is cut short: get it anew"
            )
        return int(offset)


def open_files(paths: list[str], *, fields: bool = True) -> Dataset[Any]:  # noqa: ARG001 - arrays need no parsing
    """Return the dataset of some files."""
    return HDF5Dataset(paths)
