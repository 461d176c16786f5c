"""Samples of several files each, in tar archives: which files make a sample, and the fields that they are."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace.batch.rows import gather_rows
from headrace.errors import StorageError
from headrace.formats.record_files import RecordFiles
from headrace.formats.shard_bounds import Located
from headrace.formats.tar.archive import TAR
from headrace.io.source import read_ranges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.formats.index import IndexFormat
    from headrace.io.ranges import FileRanges

__all__ = ["KEY", "TarFiles"]

KEY = "__key__"


class _Members(NamedTuple):
    """The records of some samples, those of a sample one after the other.

    Attributes:
        located: in which files they are.
        records: where in them, RECORD of shape (m,).
        samples: the place of each record's sample among those that were asked for, shape (m,), int64.
        fields: which field each is, shape (m,), int64.
    """

    located: Located
    records: NDArray[Any]
    samples: NDArray[np.int64]
    fields: NDArray[np.int64]

    def take(self, chosen: NDArray[np.int64]) -> _Members:
        """Return some of the records."""
        shards, which, rows = self.located
        located = Located(shards, which[chosen], rows[chosen])
        return _Members(located, self.records[chosen], self.samples[chosen], self.fields[chosen])


class TarFiles:
    """Tar archives and their indexes.

    Args:
        paths: of the archives.
        progress: whether to show how far it is while indexes are built.
        index_format: of the archives.

    Attributes:
        files: the archives; their rows are samples.
        fields: the names of all fields.

    Raises:
        FileNotFoundError: an archive is not there.
        CorruptDataError: one is no tar, or damaged.
    """

    def __init__(self, paths: Sequence[str], *, progress: bool | None = None, index_format: IndexFormat = TAR) -> None:
        self.files = RecordFiles(paths, index_format, counted="key_bounds", fewer=1, progress=progress)
        endings = [self._endings(number) for number in range(len(paths))]
        self.fields = list(dict.fromkeys(ending for found in endings for ending in found))
        self._numbers = np.zeros((len(paths), max(map(len, endings), default=0)), np.int64)
        places = {name: number for number, name in enumerate(self.fields)}
        for row, found in zip(self._numbers, endings, strict=True):
            row[: len(found)] = [places[name] for name in found]
        self._key_rooms = [int(self.files.table(number, "key_room").sum()) for number in range(len(paths))]
        patterns = [self.files.table(number, "pattern").tolist() for number in range(len(paths))]
        self._patterns = [[found[field] for field in each] for found, each in zip(endings, patterns, strict=True)]

    def __len__(self) -> int:
        return len(self.files.bounds)

    def read(self, indices: NDArray[np.int64], fields: Sequence[str] | None, *, verify: bool) -> dict[str, list[Any]]:
        """Return the fields of samples, each as a list of bytes; of `KEY` as a list of strings.

        Args:
            indices: of the samples, shape (n,), int64, each in [0, len).
            fields: their names, in this order; None for `KEY` and all that the samples have.
            verify: whether to hold the files against their CRC32C.

        Raises:
            StorageError: a sample has other fields than these, or than the first one.
            CorruptDataError: a file is not what it was when the index was built.
        """
        located = self.files.bounds.locate(indices)
        pattern = self._patterns[located.shards[0]]
        is_regular = bool(pattern) and all(self._patterns[shard] == pattern for shard in located.shards)
        if is_regular and {*(fields or ())} <= {KEY, *pattern}:
            columns = self._read_regular(located, pattern, fields or pattern, indices, verify=verify)
        else:
            columns = self._read_any(located, fields, indices, verify=verify)
        return {name: self._keys(located) if name == KEY else columns[name] for name in fields or [KEY, *columns]}

    def where(self, index: int) -> str:
        """Describe a sample for the texts of errors: its index, its archive and its key."""
        shard, _ = self.files.bounds.find(index)
        key = self._keys(self.files.bounds.locate(np.array([index])))[0]
        return f"sample {index}: {self.files.sources[shard].path}, key {key!r}"

    def byte_ranges(self, indices: NDArray[np.int64], fields: Sequence[str] | None) -> list[FileRanges]:
        """Return where the fields of samples lie.

        Args:
            indices: of the samples, shape (n,), int64.
            fields: the names of those that are read; None for all.
        """
        members = self._members(self.files.bounds.locate(indices))
        if fields is not None:
            wanted = [self.fields.index(name) for name in fields if name != KEY]
            members = members.take(np.flatnonzero(np.isin(members.fields, wanted)))
        return self.files.byte_ranges(members.located, members.records)

    def _read_regular(
        self, located: Located, pattern: list[str], fields: Sequence[str], indices: NDArray[np.int64], *, verify: bool
    ) -> dict[str, list[bytes]]:
        """Read samples that all have the same fields in the same order, so that it is known which record is which."""
        places = sorted(pattern.index(name) for name in fields if name != KEY)
        width = len(places)
        if len(pattern) > 1 or not places:  # else each sample is the record of its number
            rows = (located.rows[:, np.newaxis] * len(pattern) + places).ravel().astype(np.int64, copy=False)
            located, indices = Located(located.shards, np.repeat(located.which, width), rows), np.repeat(indices, width)
        values = self.files.read_each(located, indices, verify=verify)
        return {pattern[place]: values[first::width] for first, place in enumerate(places)}

    def _read_any(
        self, located: Located, fields: Sequence[str] | None, indices: NDArray[np.int64], *, verify: bool
    ) -> dict[str, list[bytes]]:
        members = self._members(located)
        first = [self.fields[number] for number in members.fields[members.samples == 0]]
        names = first if fields is None else [name for name in fields if name != KEY]
        chosen = [np.flatnonzero(members.fields == self.fields.index(name)) for name in names]
        complete = all(np.array_equal(members.samples[places], np.arange(len(indices))) for places in chosen)
        if not complete or (fields is None and len(members.fields) > len(names) * len(indices)):
            raise self._differ(members, {*names}, indices, exactly=fields is None)
        order = np.sort(np.concatenate([np.empty(0, np.int64), *chosen]))  # files of a sample lie side by side
        members = members.take(order)
        values = self.files.read_each(members.located, indices[members.samples], verify=verify)
        return {
            name: list(map(values.__getitem__, np.searchsorted(order, places).tolist()))
            for name, places in zip(names, chosen, strict=True)
        }

    def _members(self, located: Located) -> _Members:
        shards, which, rows = located
        firsts, counts = self._spans("samples", located)
        samples = np.repeat(np.arange(len(rows)), counts)
        before = np.cumsum(counts) - counts
        inner = Located(shards, which[samples], np.arange(len(samples)) + (firsts - before)[samples])
        records = self.files.rows("records", inner)
        return _Members(inner, records, samples, self._numbers[np.array(shards)[inner.which], records["field"]])

    def _keys(self, located: Located) -> list[str]:
        """Return the keys of samples."""
        texts = [self.files.table(shard, "keys") for shard in located.shards]
        rooms = {self._key_rooms[shard] for shard in located.shards}
        room = rooms.pop()
        if room and not rooms:
            buffer = gather_rows([text.reshape(-1, room) for text in texts], located.which, located.rows)
        else:
            buffer = read_ranges(texts, located.which, *self._spans("key_bounds", located)).buffer
        *keys, _ = str(buffer.data, "utf-8", "surrogateescape").split("\0")
        return keys

    def _spans(self, name: str, located: Located) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the starts and the lengths of the samples, from a table of bounds."""
        starts = self.files.rows(name, located)
        return starts, self.files.rows(name, located._replace(rows=located.rows + 1)) - starts

    def _differ(self, members: _Members, names: set[str], indices: NDArray[np.int64], *, exactly: bool) -> StorageError:
        """Return the error for samples of which one has other fields than these."""
        found: set[str] = set()
        for place, index in enumerate(indices.tolist()):  # noqa: B007 - told below
            found = {self.fields[number] for number in members.fields[members.samples == place]}
            if names - found or (exactly and found != names):
                break
        return StorageError(
            f"{self.where(index)}, has the fields {sorted(found)}, but {sorted(names)} are needed for the batch; "
            f"choose with `fields` what all samples have, or read them with batch_size=None"
        )

    def _endings(self, number: int) -> list[str]:
        text = self.files.table(number, "endings").tobytes()
        lengths = np.diff(self.files.table(number, "ending_bounds")).tolist()
        return [ending.decode("utf-8", "surrogateescape") for ending in map(io.BytesIO(text).read, lengths)]
