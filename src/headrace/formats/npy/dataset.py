"""Arrays in .npy files, which need not fit into memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.ragged import sequence_field
from headrace.errors import ArgumentError
from headrace.formats.npy.mapped import MappedRows
from headrace.formats.npy.reader import NpyFile, gather
from headrace.formats.prepared import LastPrepared
from headrace.formats.shard_bounds import ShardBounds
from headrace.formats.sharded import ShardedDataset
from headrace.images.layout import find_layout
from headrace.io.counts import ReadCounts
from headrace.io.disk import DiskWaits
from headrace.io.paths import find_paths
from headrace.io.ranges import announce
from headrace.io.source import count_requests
from headrace.pipeline.read_plan import Rows
from headrace.pipeline.reading import check_indices

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from headrace.formats.shard_bounds import Located
    from headrace.io.ranges import FileRanges

__all__ = ["NpyDataset", "open_files"]


class NpyDataset(ShardedDataset["_NpyShard"]):
    """The rows of arrays in .npy files. The files are mapped, so they need not fit into memory.

    Args:
        path: a .npy file, whose rows are the samples; or a folder of .npy files, one for each field, whose samples
            are dicts with the names of the files as keys, in alphabetical order. Or a pattern or list of such
            files, or folders, which are shards: they hold the same fields and follow one another.

    Attributes:
        fields: the keys of a sample; empty where a sample is a row.

    Raises:
        FileNotFoundError: there is no such file, or no .npy file in the folder.
        ArgumentError: files of one folder differ in length, or shards in fields, dtype or shape.
        CorruptDataError: a file is no .npy file, or not as long as its header says.
        StorageError: a file holds Python objects.
        FileChangedError: when samples are asked for of a file that has changed meanwhile.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     np.save(Path(folder, "image.npy"), np.zeros((100, 28, 28), np.uint8))
    ...     np.save(Path(folder, "label.npy"), np.arange(100))
    ...     sample = NpyDataset(folder)[7]
    >>> sample["image"].shape, sample["label"]
    ((28, 28), np.int64(7))
    """

    def __init__(self, path: str | bytes | os.PathLike[Any] | Iterable[str | bytes | os.PathLike[Any]]) -> None:
        self._counts = ReadCounts()
        self._shards = [_NpyShard(each, self._counts) for each in find_paths(path)]
        for shard in self._shards:
            _check_alike(shard, self._shards[0])
        self.fields = [field for field in self._shards[0].files if field]
        super().__init__(ShardBounds(map(len, self._shards)))
        first = self._shards[0].files
        self._mapped = MappedRows({field: [shard.files[field] for shard in self._shards] for field in first})
        self._is_local = all(shard.is_local for shard in self._shards)
        self._waits = DiskWaits()

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """Return the batch of the samples at the indices, shape (n,), int64."""
        batch = self._mapped.gather(indices)
        if batch is None:
            batch = super().get_batch(indices)
        self._waits.note_read()
        self._count(indices)
        return batch

    def field_lengths(self, field: int | str | None = None) -> NDArray[np.int64] | None:
        """Return how many items the rows of a file have, by its shape; None where they are no sequences.

        Args:
            field: the name of the files; None for "input_ids", "tokens", or the only one.
        """
        name = sequence_field(self.fields or [""], field)
        shape = () if name is None else self._shards[0].files[str(name)].header.shape
        return np.full(len(self), shape[1]) if len(shape) > 1 else None

    def reads_together(self) -> bool:
        """Return whether several batches may be read as one: those of files that are mapped."""
        return self._is_local

    def open_rows(self, indices: NDArray[np.int64], field: int | str | None) -> Rows | None:
        """Return the rows of a field ungathered, for a function that can read them in place.

        Args:
            indices: shape (n,), int64.
            field: the key, or None where a sample is a row.

        Returns:
            The rows; those of several shards are gathered first. None if there is no such field.
        """
        if field is None if self.fields else field is not None or field in self.fields:
            return None
        indices = check_indices(indices, len(self))
        name = str(field or "")
        array = self._shards[0].files[name].view() if len(self._shards) == 1 else None
        rows = indices
        if array is None:
            array, rows = self._gather(indices, [name])[name], np.arange(len(indices))
            if not isinstance(array, np.ndarray):
                return None

        def complete(value: Any) -> Any:
            others = [other for other in self._shards[0].files if other != name]
            self._count(indices)
            return _sample({**self._gather(indices, others), name: value}, self._shards[0])

        return Rows(array, rows, _same, complete)

    def image_layout(self, field: int | str | None) -> str | None:
        """Return where the channels of a field's rows are, if they are images and their shape leaves no doubt."""
        file = self._shards[0].files.get(str(field or ""))
        layout = None if file is None else find_layout(file.header.shape[1:])
        return layout if layout != "HW" else None

    def where(self, index: int) -> str:
        """Return the file, or the folder of files, of a row, and its place there."""
        shard, row = self._bounds.find(index)
        return f"{self._shards[shard].path}, row {row}"

    def reads_ahead(self) -> bool:
        """Return whether it is of use to say early what will be read: where files are far away, or not in memory."""
        return self._waits.lately or not self._is_local

    def will_need(self, indices: NDArray[np.int64]) -> None:
        """Begin to read the rows at the indices, shape (n,), int64."""
        announce(self.byte_ranges(indices))

    def byte_ranges(self, indices: NDArray[np.int64]) -> list[FileRanges]:
        """Return where the rows at the indices lie, shape (n,), int64."""
        located, found = self._bounds.locate(indices), []
        for place, shard in enumerate(self._open(located.shards)):
            rows = located.rows[located.which == place]
            found += [file.byte_ranges(rows) for file in shard.files.values()]
        return found

    def counters(self) -> dict[str, int]:
        """Return how many bytes were read, and of files far away with how many requests."""
        return self._counts.totals()

    def _count(self, indices: NDArray[np.int64]) -> None:
        row = self._shards[0].row_bytes
        self._counts.add(sum(each.nbytes for each in self.byte_ranges(indices)) if row is None else len(indices) * row)

    def _gather(self, indices: NDArray[np.int64], fields: Iterable[str]) -> dict[str, Any]:
        located = self._bounds.locate(indices)
        return _columns(self._open(located.shards), located, fields)

    def _open(self, numbers: list[int]) -> list[_NpyShard]:
        return [self._shards[number] for number in numbers]


class _NpyShard:
    """A file, or a folder of them, as one shard of the dataset.

    Attributes:
        files: by field; the field of a lone file is "".
        prepared: by field, for batches of which this is the first shard.
        row_bytes: the size of a sample; None where a whole file is read for it.
    """

    def __init__(self, path: str, counts: ReadCounts) -> None:
        self.path = path
        self._counts = counts
        self.files = {field: NpyFile(each) for field, each in _find_fields(path).items()}
        self.prepared = {field: LastPrepared("prepare_gather_shards") for field in self.files}
        lengths = {field: _length(file) for field, file in self.files.items()}
        if len(set(lengths.values())) > 1:
            raise ArgumentError(f"the files of {path} must have as many rows each, but have {lengths}")
        self._length = next(iter(lengths.values()))
        scattered = any(file.is_scattered and not file.is_local for file in self.files.values())
        self.row_bytes = None if scattered else sum(file.row_bytes for file in self.files.values())
        for file in self.files.values():
            count_requests(file.source, counts)

    def __len__(self) -> int:
        return self._length

    @property
    def is_local(self) -> bool:
        """Whether its files are on this machine."""
        return all(file.is_local for file in self.files.values())

    def row(self, row: int) -> Any:
        """Return the sample in a row: views of the files, unless too many are in use."""
        sample = _sample({field: file.row(row) for field, file in self.files.items()}, self)
        self._counts.add(self.bytes_of(np.array([row])) if self.row_bytes is None else self.row_bytes)
        return sample

    def bytes_of(self, rows: NDArray[np.int64]) -> int:
        """Return how many bytes are read for rows."""
        return sum(file.byte_ranges(rows).nbytes for file in self.files.values())

    @classmethod
    def gather(cls, shards: Sequence[_NpyShard], located: Located, _: NDArray[np.int64]) -> Any:
        """Return the batch of some rows."""
        return _sample(_columns(shards, located, shards[0].files), shards[0])


def _columns(shards: Sequence[_NpyShard], located: Located, fields: Iterable[str]) -> dict[str, Any]:
    """Return the batch of some rows, by field."""
    which, rows, prepared = located.which, located.rows, shards[0].prepared
    return {field: gather([shard.files[field] for shard in shards], which, rows, prepared[field]) for field in fields}


def _sample(columns: dict[str, Any], shard: _NpyShard) -> Any:
    """Return the sample or batch of a shard: a lone column, or all of them in their order."""
    return columns[""] if "" in columns else {field: columns[field] for field in shard.files}


def _same(array: NDArray[Any]) -> NDArray[Any]:
    return array


def _find_fields(path: str) -> dict[str, str]:
    """Return the files of the fields."""
    if "://" in path:
        return _find_remote_fields(path)
    if not Path(path).is_dir():
        return {"": path}
    files = {each.stem: str(each) for each in sorted(Path(path).glob("*.npy")) if not each.name.startswith(".")}
    if not files:
        raise FileNotFoundError(f"there are no .npy files in the folder {path}; for shards give a list or a pattern")
    return files


def _find_remote_fields(path: str) -> dict[str, str]:
    from headrace.io.remote import find_remote, is_remote_folder  # for these alone

    if path.partition("?")[0].endswith(".npy") or not is_remote_folder(path):
        return {"": path}
    files = find_remote(f"{path.rstrip('/')}/*.npy")
    return {Path(each).stem: each for each in files if not Path(each).name.startswith(".")}


def _length(file: NpyFile) -> int:
    if not file.header.shape:
        raise ArgumentError(
            f"{file.source.path} holds a single value, of shape (), and so no rows to take samples from"
        )
    return file.header.shape[0]


def _check_alike(shard: _NpyShard, first: _NpyShard) -> None:
    if list(shard.files) != list(first.files):
        raise ArgumentError(
            f"shards must have the same fields, but {first.path} has {list(first.files)} and {shard.path} has "
            f"{list(shard.files)}"
        )
    for field, file in shard.files.items():
        kinds = [(each.header.dtype, each.header.shape[1:]) for each in (first.files[field], file)]
        if kinds[0] != kinds[1]:
            shown = [f"rows of {dtype} {shape}" for dtype, shape in kinds]
            paths = [each.source.path for each in (first.files[field], file)]
            raise ArgumentError(
                f"shards must have rows of one kind, but {paths[0]} has {shown[0]} and {paths[1]} has {shown[1]}"
            )


def open_files(paths: list[str], *, fields: bool = True) -> NpyDataset:  # noqa: ARG001 - there is nothing to parse
    """Return the dataset of some files or folders of them."""
    return NpyDataset(paths)
