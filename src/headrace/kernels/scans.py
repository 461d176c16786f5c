"""The state that the scans of files share: records, and the position of the scan of a tar."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from headrace.errors import ArgumentError
from headrace.kernels.checks import check_indices, index_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["FeatureScan"]
__all__ += ["RECORD", "SliceRecords", "TarMembers", "TarScan"]
__all__ += ["VALUE_DTYPES", "check_bounds", "check_crc32c", "check_data", "check_files", "check_places", "check_rows"]
__all__ += ["check_spans", "record_error"]

# One record of a file: where its bytes are, their CRC32C, and in a tar the number of its field.
RECORD = np.dtype([("offset", "<i8"), ("length", "<i8"), ("crc", "<u4"), ("field", "<u4")])

# What values of each kind of feature are; bytes are told by where they begin, and how many they are.
VALUE_DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype(np.int64), 2: np.dtype(np.float32), 3: np.dtype(np.int64)}

_FIELDS = 4096  # more endings of names than this are no fields
_FIELD_ROOM = 1 << 17


class SliceRecords(Protocol):
    """A function that returns records of some files."""

    def __call__(
        self, which: NDArray[np.int64], rows: NDArray[np.int64], *, verify: bool = True
    ) -> tuple[list[bytes], int, int, int]:
        """Return records, each as an object of its own.

        Args:
            which: int64 of shape (n,): the place of each record's file.
            rows: int64 of shape (n,): which record of its file it is.
            verify: whether to hold each against its CRC32C.

        Returns:
            The records; how many bytes they have together; the place of the first one that has another CRC32C, or -1;
            and what that is.

        Raises:
            ArgumentError: A record lies outside of its file, or a shape does not match.
            OutOfRangeError: There is no such file, or record.
        """


class TarMembers(NamedTuple):
    """The members that a part of the scan of a tar found.

    Attributes:
        records: the members, RECORD.
        firsts: the place among them of the first member of each sample that begins here, int64.
        keys: the keys of these samples, end to end, uint8.
        key_lengths: the bytes of each, int64.
    """

    records: NDArray[Any]
    firsts: NDArray[np.int64]
    keys: NDArray[np.uint8]
    key_lengths: NDArray[np.int64]

    def key_texts(self) -> list[str]:
        """Return the keys as strings."""
        read = io.BytesIO(self.keys.tobytes()).read
        return [read(length).decode("utf-8", "surrogateescape") for length in self.key_lengths.tolist()]


@dataclass
class TarScan:
    """The position of the scan of a tar, and the members that it found.

    Args:
        capacity: how many members there is room for.
        key_room: bytes that there are for the samples' keys.

    Attributes:
        out: the members that are files of a sample, RECORD; the first `members` of them count.
        firsts: of each sample its first member; the first `samples` count.
        key_text, key_bounds: the samples' keys, end to end, and where each begins.
        field_text, field_bounds: the endings of names, end to end in lower case, and where each begins.
        last_sample: the number of the last sample that each field was met in.
        position: where the scan goes on.
        members, samples, fields: how many there are.
        skipped: files whose name has no key or no ending.
        sample: the number of the last sample; -1 before the first.
    """

    capacity: int
    key_room: int
    position: int = 0
    members: int = 0
    samples: int = 0
    fields: int = 0
    skipped: int = 0
    sample: int = -1
    field_text: NDArray[np.uint8] = field(default_factory=lambda: np.empty(_FIELD_ROOM, np.uint8))
    field_bounds: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_FIELDS + 1, np.int64))
    last_sample: NDArray[np.int64] = field(default_factory=lambda: np.full(_FIELDS, -1, np.int64))

    def __post_init__(self) -> None:
        self.out: NDArray[Any] = np.empty(self.capacity, RECORD)
        self.firsts = np.empty(self.capacity + 1, np.int64)  # of one sample more, which goes on from the part before
        self.key_text = np.empty(self.key_room, np.uint8)
        self.key_bounds = np.zeros(self.capacity + 2, np.int64)
        self._carried = 0  # samples that began in an earlier part

    def take(self) -> TarMembers:
        """Return what was found since the last call. The scan keeps the last key, since its sample may go on."""
        bounds = self.key_bounds[self._carried : self.samples + 1]
        found = TarMembers(
            self.out[: self.members].copy(),
            self.firsts[self._carried : self.samples].copy(),
            self.key_text[bounds[0] : bounds[-1]].copy(),
            np.diff(bounds),
        )
        if self.samples:
            start, stop = self.key_bounds[self.samples - 1 : self.samples + 1]
            self.key_text[: stop - start] = self.key_text[start:stop].copy()
            self.key_bounds[1] = stop - start
            self.samples = self._carried = 1
        self.members = 0
        return found

    def begin_archive(self) -> None:
        """Let the next file begin a sample, whatever its key. Only what was taken before counts."""
        self.samples = self._carried = 0

    def endings(self) -> list[bytes]:
        """Return the endings found."""
        bounds = self.field_bounds[: self.fields + 1].tolist()
        return [self.field_text[start:stop].tobytes() for start, stop in pairwise(bounds)]


@dataclass
class FeatureScan:
    """The features that the records of a scan have that are tf.train.Example or SequenceExample.

    Args:
        capacity: how many features there is room for.
        room: bytes that there are for their names.

    Attributes:
        text, bounds: the names, end to end, and where each begins.
        table: a row each: 1 for a feature of the record or 2 for one of its steps; a bit for each kind that it has;
            in how many records it is; the fewest and the most values that it has where it is; the last such record.
        records, names: how many there are.
    """

    capacity: int = 1 << 12
    room: int = 1 << 18
    records: int = 0
    names: int = 0

    def __post_init__(self) -> None:
        self.text = np.empty(self.room, np.uint8)
        self.bounds = np.zeros(self.capacity + 1, np.int64)
        self.table = np.zeros((self.capacity, 6), np.int64)


def check_data(data: NDArray[np.uint8], position: int) -> None:
    """Raise unless `data` are bytes end to end, and `position` lies in them."""
    if data.dtype != np.uint8 or data.ndim != 1 or not data.flags.c_contiguous:
        raise ArgumentError(f"data is {data.dtype} of shape {data.shape}, but contiguous uint8 of shape (n,) is needed")
    if not 0 <= position <= len(data):
        raise ArgumentError(f"position is {position}, but data has {len(data)} bytes")


def check_crc32c(data: NDArray[np.uint8], offsets: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
    """Raise unless the ranges lie in `data`, which are bytes end to end."""
    check_data(data, 0)
    check_indices(offsets)
    check_indices(lengths)
    if len(offsets) != len(lengths):
        raise ArgumentError(
            f"there are {len(offsets)} offsets and {len(lengths)} lengths, but one each a range is needed"
        )
    outside = (offsets < 0) | (lengths < 0) | (lengths > len(data)) | (offsets > len(data) - lengths)
    if outside.any():
        bad = int(outside.argmax())
        raise ArgumentError(f"range {bad} is {lengths[bad]} bytes at {offsets[bad]}, but data has {len(data)} bytes")


def check_bounds(data: NDArray[np.uint8], bounds: NDArray[np.int64]) -> None:
    """Raise unless `bounds` rise, and lie in `data`, which are bytes end to end."""
    check_data(data, 0)
    check_indices(bounds)
    if not len(bounds) or bounds[0] < 0 or bounds[-1] > len(data) or (bounds[1:] < bounds[:-1]).any():
        raise ArgumentError(
            f"bounds must rise from 0 on to at most {len(data)}, the bytes of data, but got {bounds!r:.80}"
        )


def check_spans(data: NDArray[np.uint8], spans: NDArray[np.int64], kind: int) -> None:
    """Raise unless `spans` tell of values of one kind in `data`, which are bytes end to end."""
    check_data(data, 0)
    if spans.dtype != np.int64 or spans.ndim != 2 or spans.shape[1] != 4 or kind not in VALUE_DTYPES:
        raise ArgumentError(
            f"spans are {spans.dtype} of shape {spans.shape} of kind {kind}, but int64 (n, 4) are needed"
        )
    starts, lengths, kinds, counts = spans.T
    size = len(data)
    if ((starts < 0) | (lengths < 0) | (lengths > size) | (starts > size - lengths)).any():
        raise ArgumentError(f"a span lies outside of data, which has {size} bytes")
    if ((counts < 0) | (counts > lengths) | ((kinds != kind) & (counts > 0))).any():
        raise ArgumentError(f"a span has other values than those of kind {kind}, or more than there are bytes")


def check_files(sources: Sequence[NDArray[np.uint8]], tables: Sequence[NDArray[Any]]) -> None:
    """Raise unless these are files, and one or more tables of records, one for each."""
    if not tables or len(sources) != len(tables):
        raise ArgumentError(f"there are {len(sources)} sources and {len(tables)} tables, but one each a file is needed")
    for source, table in zip(sources, tables, strict=True):
        check_data(source, 0)
        if table.dtype != RECORD or table.ndim != 1:
            raise ArgumentError(f"a table is {table.dtype} of shape {table.shape}, but RECORD of shape (n,) is needed")


def check_places(which: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
    """Raise unless the arrays fit one another; what they say is not looked at."""
    check_indices(which)
    check_indices(rows)
    if len(which) != len(rows):
        raise ArgumentError(f"which and rows have {len(which)} and {len(rows)} items, but one each a record is needed")


def check_rows(tables: Sequence[NDArray[Any]], which: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
    """Raise unless each row is one of its table."""
    if not len(rows):
        return
    if which.min() < 0 or which.max() >= len(tables):
        raise index_error(int(which[((which < 0) | (which >= len(tables))).argmax()]), len(tables))
    lengths = np.array([len(table) for table in tables])[which] if len(tables) > 1 else len(tables[0])
    outside = (rows < 0) | (rows >= lengths)
    if outside.any():
        bad = int(outside.argmax())
        raise index_error(int(rows[bad]), len(tables[which[bad]]))


def record_error(
    sources: Sequence[NDArray[np.uint8]],
    tables: Sequence[NDArray[Any]],
    which: NDArray[np.int64],
    rows: NDArray[np.int64],
    bad: int,
) -> ArgumentError:
    """Return the error for a record outside of its file."""
    record, size = tables[which[bad]][rows[bad]], len(sources[which[bad]])
    return ArgumentError(
        f"record {bad} is {record['length']} bytes at {record['offset']}, but its file has {size} bytes"
    )
