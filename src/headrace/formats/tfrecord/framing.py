"""TFRecord files: records with their length, and CRC32C of length and data.

The format: https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import kernels
from headrace.errors import CorruptDataError
from headrace.formats.index import IndexFormat
from headrace.formats.tfrecord.summary import SUMMARY, FeatureNotes, fit
from headrace.io.file_view import records_at_once, views
from headrace.kernels.scans import RECORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.io.source import ByteSource

__all__ = ["TFRECORD", "TFRECORD_UP_TO_DAMAGE", "frame"]

_AT_ONCE = 1 << 18  # records
_CUT, _WRONG_LENGTH_SUM = 1, 2


def build(source: ByteSource, advance: Callable[[int], None], *, up_to_damage: bool = False) -> dict[str, NDArray[Any]]:
    """Build the tables of a file: its records, their sums, and the features they have as tf.train.Example.

    Args:
        source: the file.
        advance: called with the number of bytes that are done.
        up_to_damage: whether to take the records before one that is damaged, in place of an error.

    Raises:
        CorruptDataError: it is no TFRecord file, or a damaged one.
    """
    found, count, features = [np.empty(0, RECORD)], 0, FeatureNotes()
    for view in views(source):
        most = records_at_once(_AT_ONCE, count, view.start + view.position)
        records, position, problem = kernels.active().scan_tfrecord(view.data, view.position, most)
        features.add(view.data, records["offset"], records["length"])
        records["offset"] += view.start
        found.append(records)
        count += len(records)
        view.move_to(position)
        advance(view.start + position)
        if problem == _WRONG_LENGTH_SUM or (problem == _CUT and not view.more()):
            if up_to_damage:
                break
            raise _error(source, problem, count, view.start + position)
    return {"records": np.concatenate(found), **features.tables()}


def frame(record: bytes) -> bytes:
    """Return a record as it stands in a file: between its length and their sums.

    >>> len(frame(b"headrace"))
    24
    """
    length = len(record).to_bytes(8, "little")
    return length + _masked_sum(length) + record + _masked_sum(record)


def _masked_sum(data: bytes) -> bytes:
    content = np.frombuffer(data, np.uint8)
    crc = int(kernels.active().crc32c(content, np.zeros(1, np.int64), np.array([len(data)]))[0])
    return (((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


def _error(source: ByteSource, problem: int, number: int, offset: int) -> CorruptDataError:
    where = f"{source.path}: record {number}, at byte {offset} of {source.identity.size},"
    if problem == _CUT:
        return CorruptDataError(f"{where} is cut short; get the file anew, or drop what comes before its end")
    if not number and _is_zlib(source):
        return CorruptDataError(
            f"{where} is compressed with zlib, as TFRecordOptions('ZLIB') does, which is not read; unpack it to "
            "another file: pathlib.Path(new).write_bytes(zlib.decompress(pathlib.Path(old).read_bytes()))"
        )
    what = "the file is no TFRecord file, or compressed" if not number else "the file is damaged there"
    return CorruptDataError(f"{where} has a length with a wrong CRC32C: {what}; get it anew")


def _is_zlib(source: ByteSource) -> bool:
    """Return whether the content unpacks, since the first bytes alone may as well be a length."""
    unpacker = zlib.decompressobj()
    with suppress(zlib.error):
        begin = source.read(0, min(source.identity.size, 1 << 10)).tobytes()
        return len(unpacker.decompress(begin, 1 << 10)) > 0
    return False


TFRECORD = IndexFormat("TFRecord", 2, {"records": RECORD, **SUMMARY}, build, fit)
TFRECORD_UP_TO_DAMAGE = replace(TFRECORD, name="TFRecord, damaged", build=partial(build, up_to_damage=True))
