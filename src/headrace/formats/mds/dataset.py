"""Samples of MDS shards."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.arena import empty
from headrace.batch.ragged import sequence_field
from headrace.datasets.compose import ConcatDataset
from headrace.errors import ArgumentError, CorruptDataError
from headrace.formats.item_shards import COUNTED, INDEX_NAME, ItemDataset, ItemShard, join, read_index
from headrace.formats.mds.columns import find_counter, find_decoder, fixed_kind
from headrace.io.compression import unpack
from headrace.io.progress import Progress
from headrace.io.source import open_source
from headrace.pipeline.reading import check_indices

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from headrace.datasets.base import Dataset
    from headrace.formats.item_shards import Counter

__all__ = ["MDSDataset", "open_files"]


class MDSDataset(ItemDataset):
    """Samples of MDS, the format of Mosaic's StreamingDataset: dicts of their columns, in any order.

    Args:
        path: the folder with the index.json, or its address; or a single shard that is not compressed.
        columns: the names of those to read; by default all.
        pickled: the names of columns that are pickled and may be read: that runs what code they hold.

    Attributes:
        paths: of the shards.
        columns: the names of those that are read.

    Raises:
        FileNotFoundError: there is no index, or a shard is not there.
        ArgumentError: there is no such column, or one is pickled.
        StorageError: a column has an encoding that is not known, or a shard is compressed in a way that is not read.
        CorruptDataError: the index is damaged; or while reading, a shard is not what it says.
        FileChangedError: a shard has changed since it was opened.

    Columns have the values of their encodings: numbers, text, bytes, what JSON says, arrays, `decimal.Decimal`; images
    that are encoded stay bytes. Compressed shards are unpacked first, to where indexes are kept that cannot lie beside
    their files; a warning says so.

    >>> import tempfile
    >>> columns = {"column_names": ["x"], "column_encodings": ["uint8"], "column_sizes": [1]}
    >>> about = json.dumps({**columns, "format": "mds", "version": 2}).encode()
    >>> begin = 16 + len(about)  # of two samples, behind their number, their places and the columns
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     words = np.array([2, begin, begin + 1, begin + 2], "<u4")
    ...     _ = Path(folder, "a.mds").write_bytes(words.tobytes() + about + bytes([7, 8]))
    ...     MDSDataset(f"{folder}/a.mds")[1]
    {'x': np.uint8(8)}
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        columns: Sequence[str] | None = None,
        *,
        pickled: Sequence[str] = (),
    ) -> None:
        self.path = os.fspath(path)
        shards = [_read_config(self.path)] if self.path.endswith(".mds") else read_index(self.path, "shards")["shards"]
        folder = os.path.dirname(self.path) if self.path.endswith(".mds") else self.path  # noqa: PTH120 - or an address
        self._shards = [_check_shard(folder or ".", shard) for shard in shards]
        super().__init__([path for path, _ in self._shards], [shard["samples"] for _, shard in self._shards])
        self.columns = list(self._check_columns(columns))
        first = self._shards[0][1] if self._shards else {"column_names": [], "column_encodings": [], "column_sizes": []}
        self._names, self._sizes = first["column_names"], first["column_sizes"]
        encodings = dict(zip(self._names, first["column_encodings"], strict=True))
        self._encodings = {name: encodings[name] for name in self.columns}
        sizes = dict(zip(self._names, self._sizes, strict=True))
        self._kinds = {name: fixed_kind(encoding, sizes[name]) for name, encoding in self._encodings.items()}
        self._pickled = list(pickled)
        self._find_decoders()

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """Return the batch of the samples at the indices, shape (n,), int64; columns of one size without a loop."""
        columns = self._read_columns(check_indices(indices, len(self))) if None not in self._kinds.values() else None
        return super().get_batch(indices) if columns is None else columns

    def read_lengths(self, field: int | str | None = None) -> Iterator[NDArray[np.int64] | None] | None:
        """Yield how many items the arrays or bytes of samples have, by their headers; None where these do not tell.

        Args:
            field: the column; None for "input_ids", "tokens", or the only one.
        """
        name = sequence_field(self.columns, field)
        count = None if name is None else find_counter(self._encodings[str(name)])
        return None if count is None else self._counted(str(name), count)

    def _counted(self, name: str, count: Counter) -> Iterator[NDArray[np.int64] | None]:
        for number, length in enumerate(self._lengths):
            shard = self._shard(number)
            for start in range(0, length, COUNTED):
                rows = np.arange(start, min(start + COUNTED, length))
                places = self._column_places(shard, rows)
                yield None if places is None else count(shard.read_many, *places[name])

    def _read_columns(self, indices: NDArray[np.int64]) -> dict[str, Any] | None:
        """Return columns of values of one size.

        None is returned where a sample is not what it should be, which decoding tells, and of shards far away, of which
        an item is asked for as a whole.
        """
        located = self._bounds.locate(indices)
        if not all(self._shard(number).is_local for number in located.shards):
            return None
        nbytes = len(indices) * 4 * self._sizes.count(None)
        kinds = {name: kind for name, kind in self._kinds.items() if kind is not None}
        out = {name: empty((len(indices), *shape), dtype) for name, (dtype, shape) in kinds.items()}
        for place, number in enumerate(located.shards):
            here = np.flatnonzero(located.which == place)
            shard: ItemShard = self._shard(number)
            places = self._column_places(shard, located.rows[here])
            if places is None:
                return None
            for name, (dtype, shape) in kinds.items():
                size = self._sizes[self._names.index(name)]
                out[name][here] = shard.read_many(places[name][0], size).view(dtype).reshape(-1, *shape)
            nbytes += sum(int(sizes.sum()) for _, sizes in places.values())
        self._counts.add(nbytes)
        return out

    def _column_places(
        self, shard: ItemShard, rows: NDArray[np.int64]
    ) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] | None:
        """Return the bytes at which columns begin, and how many they have; None where they do not fill the items."""
        starts, lengths = shard.spans(rows)
        varying = self._sizes.count(None)
        if (lengths < 4 * varying).any():
            return None
        told = shard.read_many(starts, 4 * varying).view("<u4").reshape(len(rows), varying).astype(np.int64)
        places, found, seen = starts + 4 * varying, {}, 0
        for name, size in zip(self._names, self._sizes, strict=True):
            sizes = told[:, seen] if size is None else np.full(len(rows), size)
            found[name] = places, sizes
            places = places + sizes
            seen += size is None
        return found if np.array_equal(places, starts + lengths) else None

    def __getstate__(self) -> dict[str, Any]:
        """Return all but the functions, which are found anew."""
        return {name: value for name, value in super().__getstate__().items() if name != "_decoders"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._find_decoders()

    def _find_decoders(self) -> None:
        self._decoders = {
            name: find_decoder(name, encoding, pickled=name in self._pickled)
            for name, encoding in self._encodings.items()
        }

    def _check_columns(self, columns: Sequence[str] | None) -> Iterator[str]:
        known = self._shards[0][1]["column_names"] if self._shards else []
        for path, shard in self._shards:
            for key in ("column_names", "column_encodings", "column_sizes"):
                if shard[key] != self._shards[0][1][key]:
                    raise CorruptDataError(f"{path} has other {key} than {self.paths[0]}; read them as two datasets")
        for name in known if columns is None else columns:
            if name not in known:
                raise ArgumentError(f"columns must be some of {known}, but got {name!r}")
            yield name

    def _open(self, number: int) -> ItemShard:
        path, shard = self._shards[number]
        if shard["compression"]:
            with Progress(lambda: "unpacking MDS shards") as show:
                path = unpack(path, show, known=True)
        source = open_source(path)
        wanted = shard["raw_data"].get("bytes", source.identity.size)
        if source.identity.size != wanted:
            raise CorruptDataError(
                f"{path} has {source.identity.size} bytes, but its index tells of {wanted}; get the file anew"
            )
        return ItemShard(source, shard["samples"], self._counts)

    def _decode(self, item: bytes) -> dict[str, Any]:
        """Return the columns of a sample: the sizes of those that vary come first, then all of them."""
        varying = self._sizes.count(None)
        told = iter(np.frombuffer(item, "<u4", varying).tolist())
        place, sample = 4 * varying, {}
        for name, size in zip(self._names, self._sizes, strict=True):
            stop = place + (next(told) if size is None else size)
            if name in self._decoders and stop <= len(item):
                sample[name] = self._decoders[name](item[place:stop])
            place = stop
        if place != len(item):
            raise CorruptDataError(f"its columns take {place} bytes, but it has {len(item)}")
        return {name: sample[name] for name in self.columns}


def _read_config(path: str) -> dict[str, Any]:
    """Return what a shard says of itself."""
    source = open_source(path)
    try:
        count = int(source.read(0, 4).view("<u4")[0])
        begin = 4 * (count + 2)
        end = int(source.read(4, 4).view("<u4")[0])
        config = json.loads(source.read(begin, end - begin).tobytes())
    except Exception as error:
        raise CorruptDataError(f"{path} is no MDS shard ({error}); get the file anew") from error
    if not isinstance(config, dict):
        raise CorruptDataError(f"{path} is no MDS shard: it has no description of its columns; get the file anew")
    basename = os.path.basename(path)  # noqa: PTH119 - or an address
    return {**config, "samples": count, "raw_data": {"basename": basename}, "compression": None}


def _check_shard(folder: str, shard: Any) -> tuple[str, dict[str, Any]]:
    """Return the path of a shard, and what the index says of it, checked."""
    try:
        _check_entries(folder, shard)
        packed = bool(shard.get("compression"))
        path = join(folder, shard["raw_data"]["basename"])
        if packed and ("://" in path or not Path(path).exists()):
            return join(folder, shard["zip_data"]["basename"]), shard
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptDataError(f"{folder}/{INDEX_NAME} is damaged: {error}; get the file anew") from error
    return path, {**shard, "compression": None}


def _check_entries(folder: str, shard: Any) -> None:
    """Raise unless the entries of a shard fit each other.

    Raises:
        CorruptDataError: it is of another format.
        ValueError: they do not fit.
    """
    if shard.get("format") != "mds" or shard.get("version") != 2:
        raise CorruptDataError(
            f"{folder}/{INDEX_NAME} has shards of format {shard.get('format')!r}, version {shard.get('version')!r}; "
            "those of 'mds', version 2, are read"
        )
    columns = [shard[key] for key in ("column_names", "column_encodings", "column_sizes")]
    fits = len({len(column) for column in columns}) == 1 and all(isinstance(name, str) for name in columns[0])
    sizes = all(size is None or (isinstance(size, int) and size >= 0) for size in columns[2])
    if not (fits and sizes and isinstance(shard["samples"], int) and 0 <= shard["samples"] < 2**32):
        raise ValueError("the columns of a shard do not fit each other")


def open_files(paths: list[str], *, fields: bool = True) -> Dataset[Any]:  # noqa: ARG001 - columns are always parsed
    """Return the dataset of a folder, or of several shards."""
    parts: list[Dataset[Any]] = [MDSDataset(path) for path in paths]
    return parts[0] if len(parts) == 1 else ConcatDataset(parts)
