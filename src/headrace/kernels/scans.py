"""What the scans of files share: a record, and how far the scan of a tar is."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentError
from headrace.kernels.checks import check_indices

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RECORD", "TarScan", "check_crc32c", "check_data"]

# One record of a file: where its bytes are, their CRC32C, and in a tar the number of its field.
RECORD = np.dtype([("offset", "<i8"), ("length", "<i8"), ("crc", "<u4"), ("field", "<u4")])

_FIELDS = 4096  # more endings of names than this are no fields
_FIELD_ROOM = 1 << 17


@dataclass
class TarScan:
    """How far the scan of a tar is, and what it found.

    Args:
        capacity: how many members, and how many samples, there is room for.
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
        self.firsts = np.empty(self.capacity, np.int64)
        self.key_text = np.empty(self.key_room, np.uint8)
        self.key_bounds = np.zeros(self.capacity + 1, np.int64)

    def keys(self) -> list[bytes]:
        """The keys of the samples found."""
        return _pieces(self.key_text, self.key_bounds[: self.samples + 1])

    def endings(self) -> list[bytes]:
        """The endings found."""
        return _pieces(self.field_text, self.field_bounds[: self.fields + 1])


def _pieces(text: NDArray[np.uint8], bounds: NDArray[np.int64]) -> list[bytes]:
    numbers = bounds.tolist()
    return [text[start:stop].tobytes() for start, stop in pairwise(numbers)]


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
