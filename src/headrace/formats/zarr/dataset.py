"""Rows of the arrays in Zarr stores, read by zarr."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import CorruptDataError
from headrace.formats.chunked_arrays import ArrayInFile, ChunkedDataset
from headrace.io.source import LocalSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from headrace.datasets.base import Dataset

__all__ = ["ZarrDataset", "open_files"]


class ZarrDataset(ChunkedDataset):
    """The rows of arrays in Zarr stores, in any order. Needs zarr: `pip install 'headrace[zarr]'`.

    Rows are read by chunks (shards, where a store has them), each of which is decoded once for a batch and kept for the
    next ones, so `shuffle="block"`, which keeps to some chunks at a time, suits them best.

    Args:
        path: a store, a pattern or several: shards, which hold the same arrays. Each is a folder, and an array or a
            group of arrays.
        fields: the names of the arrays that are read, those of a group as "group/name"; a sample is a dict of their
            rows. One name alone has samples that are its rows. None for all arrays of the store.
        cache_bytes: how much memory decoded chunks may take, in each process.

    Attributes:
        paths: of the stores.
        fields: the keys of a sample; empty where a sample is a row.

    Raises:
        ImportError: zarr is not installed.
        FileNotFoundError: a store is not there.
        CorruptDataError: it is no Zarr store, or damaged.
        ArgumentError: there is no such array, or arrays differ in length; shards in fields, dtype or shape.
        FileChangedError: when samples are asked for of a store that has been written anew meanwhile.

    >>> import zarr
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     zarr.save(f"{folder}/train.zarr", image=np.zeros((100, 28, 28), np.uint8), label=np.arange(100))
    ...     ZarrDataset(f"{folder}/train.zarr")[7]["label"]
    np.int64(7)
    """

    def _source(self, path: str) -> LocalSource | None:
        """Return the store's own description, which is written when it is."""
        known = (Path(path, name) for name in ("zarr.json", ".zgroup", ".zarray"))
        return next((LocalSource(each) for each in known if each.is_file()), None)

    def _open_file(self, path: str) -> dict[str, _ZarrArray]:
        try:
            import zarr
        except ImportError as error:
            raise ImportError("Zarr stores need zarr: pip install 'headrace[zarr]'") from error
        try:
            found = zarr.open(path, mode="r")
        except Exception as error:
            raise CorruptDataError(f"{path} cannot be read as Zarr: {error}; get the store anew") from error
        if isinstance(found, zarr.Array):
            return {"": _ZarrArray(found, path)}
        return dict(_arrays(zarr, found, path, ""))


def _arrays(zarr: Any, group: Any, path: str, prefix: str) -> Iterator[tuple[str, _ZarrArray]]:
    """Yield the arrays of a group and of those in it, by name."""
    for name in sorted(group):
        each = group[name]
        if isinstance(each, zarr.Array):
            yield f"{prefix}{name}", _ZarrArray(each, path)
        else:
            yield from _arrays(zarr, each, path, f"{prefix}{name}/")


class _ZarrArray(ArrayInFile):
    """One array of a store.

    Args:
        array: zarr's.
        path: of its store, for the texts of errors.
    """

    def __init__(self, array: Any, path: str) -> None:
        self._path = path
        self._array = array
        self.shape: tuple[int, ...] = array.shape
        is_text = array.dtype.kind in "TO"
        self.dtype: np.dtype[Any] = np.dtype(object) if is_text else array.dtype
        together = getattr(array, "shards", None) or array.chunks
        self.chunk: int = max(1, together[0]) if together else 1

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return consecutive rows; texts as str."""
        try:
            rows = np.asarray(self._array[start:stop])
        except Exception as error:
            raise CorruptDataError(
                f"{self._path}, rows {start} to {stop - 1} of {self._array.name!r} cannot be read: {error}; get it anew"
            ) from error
        return rows.astype(object) if self.dtype.kind == "O" else rows

    def read_rows(self, rows: NDArray[np.int64]) -> None:
        """Return nothing: the rows lie in chunks."""


def open_files(paths: list[str], *, fields: bool = True) -> Dataset[Any]:  # noqa: ARG001 - arrays need no parsing
    """Return the dataset of some stores."""
    return ZarrDataset(paths)
