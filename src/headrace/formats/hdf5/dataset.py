"""Rows of the arrays in HDF5 files, read by h5py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import CorruptDataError
from headrace.formats.chunked_arrays import ChunkedDataset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from headrace.datasets.base import Dataset

__all__ = ["HDF5Dataset", "open_files"]

_AT_ONCE = 1 << 20  # bytes of an array that has no chunks


class HDF5Dataset(ChunkedDataset):
    """The rows of arrays in HDF5 files, in any order. Needs h5py: `pip install 'headrace[hdf5]'`.

    Rows are read by chunks, each of which is decoded once for a batch and kept for the next ones, so
    `shuffle="block"`, which keeps to some chunks at a time, suits them best. Each process opens the files anew.

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

    >>> import h5py  # doctest: +SKIP
    >>> with h5py.File("train.h5", "w") as file:  # doctest: +SKIP
    ...     file["image"], file["label"] = np.zeros((100, 28, 28), np.uint8), np.arange(100)
    >>> HDF5Dataset("train.h5")[7]["label"]  # doctest: +SKIP
    np.int64(7)
    """

    def _open_file(self, path: str) -> dict[str, _H5Array]:
        try:
            import h5py
        except ImportError as error:
            raise ImportError("HDF5 files need h5py: pip install 'headrace[hdf5]'") from error
        try:
            file = h5py.File(path, "r")
            return {name: _H5Array(each, path) for name, each in _arrays(h5py, file, "")}
        except FileNotFoundError:
            raise
        except OSError as error:
            raise CorruptDataError(f"{path} cannot be read as HDF5: {error}; get the file anew") from error


def _arrays(h5py: Any, group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield the arrays of a group and of those in it, by name; links to other files are not followed."""
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            continue
        each = group[name]
        if isinstance(each, h5py.Group):
            yield from _arrays(h5py, each, f"{prefix}{name}/")
        elif each.shape is not None:
            yield f"{prefix}{name}", each


class _H5Array:
    """One array of a file.

    Args:
        array: h5py's.
        path: of its file, for the texts of errors.
    """

    def __init__(self, array: Any, path: str) -> None:
        import h5py

        self._path = path
        self._texts = h5py.check_string_dtype(array.dtype) is not None
        self._array = array
        self.shape: tuple[int, ...] = array.shape
        self.dtype: np.dtype[Any] = np.dtype(object) if self._texts else array.dtype
        row_bytes = max(1, int(np.prod(self.shape[1:])) * array.dtype.itemsize)
        self.chunk: int = array.chunks[0] if array.chunks else max(1, _AT_ONCE // row_bytes)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return consecutive rows; texts as str."""
        try:
            rows: NDArray[Any] = (self._array.asstr() if self._texts else self._array)[start:stop]
        except OSError as error:
            raise CorruptDataError(
                f"{self._path}, rows {start} to {stop - 1} of {self._array.name} cannot be read: {error}; get it anew"
            ) from error
        return rows


def open_files(paths: list[str], *, fields: bool = True) -> Dataset[Any]:  # noqa: ARG001 - arrays need no parsing
    """Return the dataset of some files."""
    return HDF5Dataset(paths)
