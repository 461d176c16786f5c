"""TFRecord files of tf.train.Example, or of the samples themselves where these are bytes.

An Example holds bytes, 64-bit integers and 32-bit floats, each a list. Arrays of uint8 are bytes, as
`tf.io.decode_raw` takes them; others are lists of numbers. Where that leaves open what the shape was,
a feature `NAME/shape` tells it.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import kernels
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.storage.example import encode
from headrace.storage.writers.base import FileWriter, Records

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from headrace.storage.writers.base import Columns, State

__all__ = ["TFRecordFormat"]


class TFRecordFormat:
    """A TFRecord file, not compressed."""

    name = "tfrecord"
    ending = ".tfrecord"
    is_folder = False
    marks_any_time = True

    def encode(self, columns: Columns, first: int) -> Records:
        """The samples' records, each with its length and their sums."""
        rows = zip(*columns.values(), strict=True)
        if list(columns) == [""] and all(isinstance(value, bytes) for value in columns[""]):
            return _framed(first, columns[""])
        names = [name or "data" for name in columns]
        return _framed(first, [_example(names, values, first + place) for place, values in enumerate(rows)])

    def open(self, path: Path, state: State | None) -> FileWriter:
        """Begin a file, or continue one."""
        return FileWriter(path, state)


def _example(names: list[str], values: tuple[Any, ...], number: int) -> bytes:
    features: dict[str, Any] = {}
    for name, value in zip(names, values, strict=True):
        if isinstance(value, np.ndarray) and value.ndim:
            features[name] = value.tobytes() if value.dtype == np.uint8 else value
            if value.dtype == np.uint8 or value.shape == (1,) or value.ndim > 1:
                features[f"{name}/shape"] = np.array(value.shape)
        elif value is not None:
            features[name] = value
    try:
        return encode(features)
    except (ArgumentTypeError, OverflowError) as error:
        raise ArgumentError(
            f"sample {number} cannot be a tf.train.Example: {error}; convert it with map(...)"
        ) from error


def _framed(first: int, records: Sequence[bytes]) -> Records:
    """The records as they stand in a file: each between its length and the sums of both."""
    lengths = np.fromiter(map(len, records), np.int64, len(records))
    words = lengths.astype("<u8").view(np.uint8)
    heads = np.empty((len(records), 12), np.uint8)
    heads[:, :8] = words.reshape(-1, 8)
    heads[:, 8:] = _masked_sums(words, np.arange(len(records)) * 8, np.full(len(records), 8))
    data = np.frombuffer(b"".join(records), np.uint8)
    tails = _masked_sums(data, np.cumsum(lengths) - lengths, lengths)
    parts = zip(heads.view("V12").ravel().tolist(), records, tails.view("V4").ravel().tolist(), strict=True)
    return Records(first, lengths + 16, np.frombuffer(b"".join(chain.from_iterable(parts)), np.uint8))


def _masked_sums(data: NDArray[np.uint8], offsets: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The CRC32C of each range, masked as the format has it, shape (n, 4)."""
    sums = kernels.active().crc32c(data, offsets, lengths).astype(np.uint32)
    masked = (sums >> 15 | sums << 17) + np.uint32(0xA282EAD8)
    return masked.astype("<u4").view(np.uint8).reshape(-1, 4)
