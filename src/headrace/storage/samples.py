"""Samples of several records, in several files: which records make a sample, and the fields that they are."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace.storage.parts import Located
from headrace.storage.record_files import RecordFiles
from headrace.storage.source import read_ranges
from headrace.storage.tar import TAR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.storage.source import Packed

__all__ = ["Members", "TarFiles"]


class Members(NamedTuple):
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

    def take(self, chosen: NDArray[np.int64]) -> Members:
        """Some of the records."""
        parts, which, rows = self.located
        located = Located(parts, which[chosen], rows[chosen])
        return Members(located, self.records[chosen], self.samples[chosen], self.fields[chosen])


class TarFiles:
    """Tar archives and their indexes.

    Args:
        paths: of the archives.
        progress: whether to show how far it is while indexes are built.

    Attributes:
        files: the archives; their rows are samples.
        fields: the names of all fields.

    Raises:
        FileNotFoundError: an archive is not there.
        CorruptDataError: one is no tar, or damaged.
    """

    def __init__(self, paths: Sequence[str], *, progress: bool | None = None) -> None:
        self.files = RecordFiles(paths, TAR, counted="key_bounds", fewer=1, progress=progress)
        endings = [self._endings(number) for number in range(len(paths))]
        self.fields = list(dict.fromkeys(ending for found in endings for ending in found))
        self._numbers = np.zeros((len(paths), max(map(len, endings), default=0)), np.int64)
        places = {name: number for number, name in enumerate(self.fields)}
        for row, found in zip(self._numbers, endings, strict=True):
            row[: len(found)] = [places[name] for name in found]

    def __len__(self) -> int:
        return len(self.files.parts)

    def members(self, indices: NDArray[np.int64]) -> Members:
        """The records of the samples at the indices, shape (n,), int64, each in [0, len)."""
        parts, which, rows = self.files.parts.locate(indices)
        firsts = self.files.rows("samples", Located(parts, which, rows))
        counts = self.files.rows("samples", Located(parts, which, rows + 1)) - firsts
        samples = np.repeat(np.arange(len(indices)), counts)
        before = np.cumsum(counts) - counts
        inner = Located(parts, which[samples], np.arange(len(samples)) + (firsts - before)[samples])
        records = self.files.rows("records", inner)
        return Members(inner, records, samples, self._numbers[np.array(parts)[inner.which], records["field"]])

    def read(self, members: Members, indices: NDArray[np.int64], *, verify: bool) -> Packed:
        """The bytes of records of the samples at the indices, end to end; see `RecordFiles.read`."""
        return self.files.read(members.located, members.records, indices[members.samples], verify=verify)

    def keys(self, indices: NDArray[np.int64]) -> list[str]:
        """The keys of the samples at the indices, shape (n,), int64."""
        located = self.files.parts.locate(indices)
        starts = self.files.rows("key_bounds", located)
        lengths = self.files.rows("key_bounds", located._replace(rows=located.rows + 1)) - starts
        texts = [self.files.table(part, "keys") for part in located.parts]
        buffer = read_ranges(texts, located.which, starts, lengths).buffer.tobytes()
        if buffer.isascii():
            return list(map(io.StringIO(buffer.decode(), newline="").read, lengths.tolist()))
        return [key.decode("utf-8", "surrogateescape") for key in map(io.BytesIO(buffer).read, lengths.tolist())]

    def _endings(self, number: int) -> list[str]:
        text = self.files.table(number, "endings").tobytes()
        lengths = np.diff(self.files.table(number, "ending_bounds")).tolist()
        return [ending.decode("utf-8", "surrogateescape") for ending in map(io.BytesIO(text).read, lengths)]
