"""TFRecord files of tf.train.Example, or of the samples themselves where these are bytes.

Arrays of uint8 are bytes, as `tf.io.decode_raw` takes them; others are lists of numbers. What that leaves open is told
beside them, as `headrace.formats.tfrecord.fields` says.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import kernels
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.formats.tfrecord.example import encode
from headrace.formats.tfrecord.fields import check_names, kind_of, make_features
from headrace.formats.writer import FileWriter, Records, call_lone_values_data

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from headrace.formats.writer import Column, Columns, State

__all__ = ["TFRecordFormat"]


class TFRecordFormat:
    """A TFRecord file, not compressed."""

    name = "tfrecord"
    ending = ".tfrecord"
    is_folder = False
    marks_any_time = True

    def encode(self, columns: Columns, first: int) -> Records:
        """Return the samples' records, each with its length and their sums."""
        if list(columns) == [""] and set(map(type, columns[""])) == {bytes}:
            return _framed(first, columns[""])
        rows = zip(*columns.values(), strict=True)
        names = list(call_lone_values_data(columns))
        check_names(names)
        kinds = {kind: what for name in columns for kind, what in _kinds(name, columns[name], first)}
        return replace(
            _framed(first, [_example(names, values, first + place) for place, values in enumerate(rows)]), kinds=kinds
        )

    def open(self, path: Path, state: State | None) -> FileWriter:
        """Begin a file, or continue one."""
        return FileWriter(path, state)


def _kinds(name: str, column: Column, first: int) -> Iterator[tuple[str, str]]:
    """Yield the kinds of a field in the samples of a chunk."""
    if isinstance(column, np.ndarray):
        kinds, is_everywhere = {f"{'an array of' if column.ndim > 1 else 'a single'} {column.dtype}"}, True
    else:
        kinds = {kind_of(value) for value in column if value is not None}
        is_everywhere = not any(value is None for value in column)
    if len(kinds) > 1:
        raise ArgumentError(
            f"field {name!r} is {' and '.join(sorted(kinds))}, each in some of the samples from {first} on, but a "
            "TFRecord file holds one kind in a field; convert it with dataset.map(...)"
        )
    for kind in kinds:
        yield f"field {name!r}", kind
        if kind.startswith("an array"):
            yield f"field {name!r}, an array,", "there"
    if not is_everywhere:  # which of an array a record does not tell: it would be one without values
        if any(kind.startswith("an array") for kind in kinds):
            raise ArgumentError(
                f"field {name!r} is an array in some of the samples from {first} on and None in others, which a "
                "TFRecord file does not tell from an empty one; give it an empty array, or take another format"
            )
        yield f"field {name!r}, an array,", "None"


def _example(names: list[str], values: tuple[Any, ...], number: int) -> bytes:
    features: dict[str, Any] = {}
    try:
        for name, value in zip(names, values, strict=True):
            if value is not None:
                features |= make_features(name, value)
        if not features:
            raise ArgumentTypeError("all its values are None")  # noqa: TRY301 - told with the others
        return encode(features)
    except (ArgumentTypeError, OverflowError, UnicodeEncodeError) as error:
        raise ArgumentError(
            f"sample {number} cannot be a tf.train.Example: {error}; convert it with map(...)"
        ) from error


def _framed(first: int, records: Sequence[bytes]) -> Records:
    """Return the records as they stand in a file: each between its length and the sums of both."""
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
    """Return the CRC32C of each range, masked as the format has it, shape (n, 4)."""
    sums = kernels.active().crc32c(data, offsets, lengths).astype(np.uint32)
    masked = (sums >> 15 | sums << 17) + np.uint32(0xA282EAD8)
    return masked.astype("<u4").view(np.uint8).reshape(-1, 4)
