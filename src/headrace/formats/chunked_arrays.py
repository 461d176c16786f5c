"""Datasets over arrays that lie in files in chunks of rows, decoded by the library of the format."""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from headrace.batch.arena import empty
from headrace.batch.collate import default_collate
from headrace.batch.ragged import sequence_field
from headrace.batch.rows import rows_differ
from headrace.datasets.base import Dataset
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.formats.shard_bounds import ShardBounds
from headrace.io.lru import DecodedPieces, Recent
from headrace.io.paths import find_paths
from headrace.io.source import LocalSource
from headrace.pipeline.reading import check_index, check_indices

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from headrace.formats.shard_bounds import Located

__all__ = ["ArrayInFile", "ChunkedDataset"]

_CACHE = 1 << 28  # bytes


class ArrayInFile(Protocol):
    """An array in a file, whose rows are read.

    Attributes:
        shape: of the array.
        dtype: of its values; objects for texts of any length.
        chunk: how many rows are decoded together.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk: int

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return consecutive rows."""

    def read_rows(self, rows: NDArray[np.int64]) -> NDArray[Any] | None:
        """Return rows in any order, shape (n,), int64; None where they are decoded by chunks."""


class ChunkedDataset(Dataset[Any]):
    """Rows of arrays: derive from it and write `_open_file`.

    Args:
        path: a file, a pattern or several: shards, which hold the same fields.
        fields: the names of the arrays that are read; one name alone for samples that are its rows. None for all.
        cache_bytes: how much memory decoded chunks may take, in each process.

    Attributes:
        paths: of the files.
        fields: the keys of a sample; empty where a sample is a row.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        fields: str | Sequence[str] | None = None,
        *,
        cache_bytes: int = _CACHE,
    ) -> None:
        _check_size(cache_bytes)
        self.paths = find_paths(path)
        self._sources = [self._source(each) for each in self.paths]
        self._single = isinstance(fields, str)
        self._wanted = [fields] if isinstance(fields, str) else None if fields is None else list(fields)
        self._recent: Recent[NDArray[Any]] = Recent(cache_bytes)
        self._opened: dict[int, Mapping[str, ArrayInFile]] = {}
        self._process = os.getpid()
        first = self._file(0)
        self._names = list(first)
        self._single = self._single or self._names == [""]
        self.fields = [] if self._single else self._names
        self._bounds = ShardBounds(self._count(number) for number in range(len(self.paths)))

    def __len__(self) -> int:
        return len(self._bounds)

    def __getstate__(self) -> dict[str, Any]:
        """Return what tells the files; they are opened anew where this goes."""
        return vars(self) | {"_opened": {}}

    def __getitem__(self, index: int, /) -> Any:
        shard, row = self._bounds.find(check_index(index, len(self)))
        self._check(shard)
        return self._sample({name: self._row(name, shard, row) for name in self._names})

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """Return the batch of the samples at the indices, shape (n,), int64; each chunk is decoded once."""
        indices = check_indices(indices, len(self))
        located = self._bounds.locate(indices)
        for shard in located.shards:
            self._check(shard)
        return self._sample({name: _batch(self._gather(name, located), indices) for name in self._names})

    def blocks(self) -> NDArray[np.int64]:
        """Return where chunks begin, and where the last one ends, shape (chunks + 1,), int64."""
        bounds, start = [], 0
        for number, length in enumerate(self._bounds.lengths.tolist()):
            chunk = max(array.chunk for array in self._file(number).values())
            bounds.append(np.arange(start, start + length, chunk))
            start += length
        return np.append(np.concatenate(bounds), start)

    def where(self, index: int) -> str:
        """Return the file of a row, and its place there."""
        shard, row = self._bounds.find(index)
        return f"{self.paths[shard]}, row {row}"

    def field_lengths(self, field: int | str | None = None) -> NDArray[np.int64] | None:
        """Return how many items the rows of an array have, by its shape; None where they are no sequences.

        Args:
            field: the array; None for "input_ids", "tokens", or the only one.
        """
        name = sequence_field(self.fields or [""], field)
        shape = () if name is None else self._file(0)[str(name) or self._names[0]].shape
        return np.full(len(self), shape[1]) if len(shape) > 1 else None

    def pieces(self, indices: NDArray[np.int64]) -> DecodedPieces:
        """Return the chunks that are decoded for the samples at the indices, shape (n,), int64."""
        located, sizes = self._bounds.locate(indices), []
        for name, (place, shard) in product(self._names, enumerate(located.shards)):
            array, rows = self._file(shard)[name], located.rows[located.which == place]
            if array.read_rows(rows[:0]) is None:
                sizes += [((shard, name, number), _chunk_bytes(array, number)) for number in _chunks(rows, array.chunk)]
        estimated = any(array.dtype.hasobject for array in self._file(0).values())
        return DecodedPieces("chunks_decoded", self._recent.limit, sizes, estimated)

    def counters(self) -> dict[str, int]:
        """Return how many chunks were decoded."""
        return {"chunks_decoded": self._recent.made}

    def close(self) -> None:
        """Give up the files that are open; reading opens them again."""
        self._opened = {}

    def _source(self, path: str) -> LocalSource | None:
        """Return what is looked at to see whether a file has changed; None of files far away."""
        return None if "://" in path else LocalSource(path)

    def _check(self, shard: int) -> None:
        source = self._sources[shard]
        if source is not None:
            source.check()

    @abstractmethod
    def _open_file(self, path: str) -> Mapping[str, ArrayInFile]:
        """Return the arrays of a file by name; "" for one that is all of it."""

    def _file(self, number: int) -> Mapping[str, ArrayInFile]:
        """Return the arrays of a file that are read. A fork opens it anew: libraries do not stand being forked."""
        if self._process != os.getpid():
            self._opened, self._process = {}, os.getpid()
        if number not in self._opened:
            self._opened[number] = self._chosen(self._open_file(self.paths[number]), self.paths[number])
        return self._opened[number]

    def _chosen(self, arrays: Mapping[str, ArrayInFile], path: str) -> dict[str, ArrayInFile]:
        for name in self._wanted or ():
            if not isinstance(name, str):
                raise ArgumentTypeError(f"fields must be a name or a list of names, but got {self._wanted!r}")
            if name not in arrays:
                raise ArgumentError(f"{path} has no array {name!r}; it has {', '.join(map(repr, arrays)) or 'none'}")
        found = {name: arrays[name] for name in (arrays if self._wanted is None else self._wanted)}
        if not found:
            raise ArgumentError(f"{path} has no arrays; give the names of those of a group as 'group/name'")
        for name, array in found.items():
            if not array.shape:
                raise ArgumentError(f"{path}, {name!r} is a single value, but rows are read; leave it out of fields")
        return found

    def _count(self, number: int) -> int:
        arrays, first = self._file(number), self._file(0)
        lengths = {name: array.shape[0] for name, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            raise ArgumentError(f"the arrays of {self.paths[number]} must have as many rows each, but have {lengths}")
        for name in first:
            kinds = [(each[name].dtype, each[name].shape[1:]) if name in each else None for each in (first, arrays)]
            if kinds[0] != kinds[1] or len(first) != len(arrays):
                raise ArgumentError(
                    f"shards must hold the same fields, but {self.paths[number]} differs from {self.paths[0]}: {name!r}"
                )
        return next(iter(lengths.values()))

    def _row(self, name: str, shard: int, row: int) -> Any:
        """Return a row of an array: a copy, which does not keep its chunk."""
        array = self._file(shard)[name]
        alone = array.read_rows(np.array([row]))
        value = self._chunk(shard, name, row)[row % array.chunk] if alone is None else alone[0]
        return value.copy() if isinstance(value, np.ndarray) else value

    def _gather(self, name: str, located: Located) -> NDArray[Any]:
        """Return rows of an array."""
        first = self._file(located.shards[0])[name]
        if len(located.shards) == 1:
            whole = first.read_rows(located.rows)
            if whole is not None:
                return whole
        out = empty((len(located.rows), *first.shape[1:]), first.dtype)
        for place, shard in enumerate(located.shards):
            self._fill(out, np.flatnonzero(located.which == place), shard, name, located.rows)
        return out

    def _fill(self, out: NDArray[Any], here: NDArray[np.int64], shard: int, name: str, rows: NDArray[np.int64]) -> None:
        """Write the rows of one file to their places, chunk by chunk."""
        array, rows = self._file(shard)[name], rows[here]
        whole = array.read_rows(rows)
        if whole is not None:
            out[here] = whole
            return
        order = np.argsort(rows, kind="stable")
        rows, here = rows[order], here[order]
        bounds = np.flatnonzero(np.diff(rows // array.chunk)) + 1
        for some, places in zip(np.split(rows, bounds), np.split(here, bounds), strict=True):
            if len(some):
                chunk = self._chunk(shard, name, int(some[0]))
                out[places] = chunk[some % array.chunk]

    def _chunk(self, shard: int, name: str, row: int) -> NDArray[Any]:
        """Return the chunk of a row, decoded, or as it was."""
        array = self._file(shard)[name]
        number = row // array.chunk

        def make() -> tuple[NDArray[Any], int]:
            rows = array.read(number * array.chunk, min((number + 1) * array.chunk, array.shape[0]))
            return rows, rows.nbytes

        return self._recent.get((shard, name, number), make)

    def _sample(self, columns: dict[str, Any]) -> Any:
        return columns[self._names[0]] if self._single else columns


def _batch(rows: NDArray[Any], indices: NDArray[np.int64]) -> Any:
    """Return rows as the batch that collating them one by one would make."""
    apart = rows.dtype.kind == "O" or (rows.ndim == 1 and rows_differ(rows.dtype))
    return default_collate(list(rows), indices) if apart else rows


def _chunks(rows: NDArray[np.int64], size: int) -> list[int]:
    """Return the numbers of the chunks that have rows, in order."""
    numbers: list[int] = np.unique(rows // size).tolist()
    return numbers


def _chunk_bytes(array: ArrayInFile, number: int) -> int:
    """Return how large a chunk is when it is decoded."""
    rows = min(array.chunk, array.shape[0] - number * array.chunk)
    return rows * math.prod(array.shape[1:]) * array.dtype.itemsize


def _check_size(cache_bytes: Any) -> None:
    if isinstance(cache_bytes, bool) or not isinstance(cache_bytes, int) or cache_bytes < 0:
        raise ArgumentError(f"cache_bytes must be a number of bytes, 0 or more, but got {cache_bytes!r}")
