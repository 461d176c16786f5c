"""Tar archives in WebDataset's convention: files that follow each other and have one basename are a sample.

The formats: ustar and pax, POSIX.1-2017; GNU's, the manual of GNU tar, "Basic Tar Format". The convention:
https://github.com/webdataset/webdataset
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace import kernels
from headrace.errors import CorruptDataError, HeadraceWarning, StorageError
from headrace.formats.index import IndexFormat, are_bounds
from headrace.io.file_view import records_at_once, views
from headrace.kernels.scans import RECORD, TarMembers, TarScan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from headrace.io.file_view import FileView
    from headrace.io.source import ByteSource

__all__ = ["TAR", "TAR_UP_TO_DAMAGE", "TarPart", "scan"]

_AT_ONCE = 1 << 16  # members
_KEY_ROOM = 1 << 22
_DONE, _FULL, _CUT, _WRONG_SUM = range(4)
_BLOCK = 512
_ZEROS_AT_ONCE = 1 << 24
_PROBLEMS = {
    3: "has a header with a wrong sum: the file is no tar, or compressed, or damaged there; get it anew",
    4: "has a size that is no number: the file is damaged there; get it anew",
    5: "has an extended header that cannot be read: the file is damaged there; get it anew",
    6: "is a sparse file, which cannot be read in place; pack it anew without --sparse",
    7: "has a name that ends as that of another file of its sample; give each file of a sample an ending of its own",
    8: "has the 4097th ending of a name; what follows the first dot of a name says which field it is, so put no dots "
    "in the names before that",
}


class TarPart(NamedTuple):
    """The members that a scan found in a part of an archive.

    Attributes:
        view: the part of the file that holds it.
        members: the members; their offsets count from the view's start.
        endings: the endings that were met so far, by the number of the field.
    """

    view: FileView
    members: TarMembers
    endings: list[bytes]


def scan(path: str, steps: Iterator[FileView]) -> Iterator[TarPart]:
    """Go through an archive, from its begin to its end, and through others that were appended to it.

    Args:
        path: of the archive, for the texts of errors.
        steps: the view on it, again and again.

    Raises:
        CorruptDataError: it is no tar, or a damaged one.
        StorageError: a file in it cannot be read in place, or its name fits no sample.
    """
    state, count, end = TarScan(_AT_ONCE, _KEY_ROOM), 0, -1
    for view in steps:
        state.position = view.position
        state.capacity = records_at_once(_AT_ONCE, count, view.start + view.position)
        ended = kernels.active().scan_tar(view.data, state)
        view.move_to(state.position)
        members = state.take()
        count += len(members.records)
        yield TarPart(view, members, state.endings())
        if ended == _DONE:
            if not _skip_zeros(view):
                return
            state.begin_archive()
            end = view.start + view.position
            continue
        if ended == _WRONG_SUM and view.start + view.position == end:
            _note_rest(path, end)
            return
        if ended in _PROBLEMS:
            raise _error(path, view, _PROBLEMS[ended])
        if ended == _FULL and not len(members.records):
            raise _error(path, view, f"has a name of more than {_KEY_ROOM} bytes; give it a shorter one")
        if ended == _CUT and view.is_full:
            raise StorageError(
                f"{path}: the member at byte {view.start} has more bytes than a file of a compressed archive may "
                "have; where that is right, allow more with max_file_bytes=..., or unpack the archive and read it with "
                "headrace.TarDataset"
            )
        if ended == _CUT and not view.ended and not view.more():
            raise _error(path, view, "is cut short; get the file anew")
    _note_end(path, state)


def _error(path: str, view: FileView, problem: str) -> StorageError:
    sort = StorageError if problem in (_PROBLEMS[6], _PROBLEMS[7], _PROBLEMS[8]) else CorruptDataError
    return sort(f"{path}: the member at byte {view.start + view.position} {problem}")


def _skip_zeros(view: FileView) -> bool:
    """Go on behind the zeros that end an archive, and say whether anything follows."""
    while True:
        blocks = view.data[view.position : view.position + _ZEROS_AT_ONCE]
        blocks = blocks[: len(blocks) // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
        used = np.flatnonzero(blocks.any(axis=1))
        view.move_to(view.position + _BLOCK * int(used[0] if len(used) else len(blocks)))
        if len(used):
            return True
        if not len(blocks) and not view.more():
            return False


def _note_rest(path: str, end: int) -> None:
    warnings.warn(
        f"{path} goes on behind the end of the archive, from byte {end} on, with something that is no tar and is not "
        "read",
        HeadraceWarning,
        stacklevel=2,
    )


def _note_end(path: str, state: TarScan) -> None:
    """Say that there was no mark at the end, which a file may lack that is whole, or cut between two members."""
    if state.sample < 0 and not state.skipped:
        raise CorruptDataError(f"{path} is empty, but a tar has two blocks of zeros at least; get it anew")
    warnings.warn(
        f"{path} ends without the blocks of zeros that end a tar: it may have been cut behind sample {state.sample}",
        HeadraceWarning,
        stacklevel=2,
    )


def build(source: ByteSource, advance: Callable[[int], None], *, up_to_damage: bool = False) -> dict[str, NDArray[Any]]:
    """Build the tables of an archive: its members with their CRC32C, the members of each sample, and its key.

    A zero follows each key, which no name of a tar has in it. Where all keys are of one length, their room is theirs
    and the zero's.

    Args:
        source: the archive.
        advance: called with the number of bytes that are done.
        up_to_damage: whether to take the samples before a file that is damaged, in place of an error.
    """
    records, firsts = [np.empty(0, RECORD)], [np.empty(0, np.int64)]
    keys, lengths = [np.empty(0, np.uint8)], [np.zeros(1, np.int64)]
    endings: list[bytes] = []
    count = 0  # of members
    parts = _UpToDamage(scan(source.path, views(source)), stops=up_to_damage)
    for view, members, endings in parts:  # noqa: B007 - the last ones are all
        found = members.records
        found["crc"] = kernels.active().crc32c(view.data, found["offset"], found["length"])
        found["offset"] += view.start
        records.append(found)
        firsts.append(members.firsts + count)
        keys.append(np.insert(members.keys, np.cumsum(members.key_lengths), 0))
        lengths.append(members.key_lengths + 1)
        count += len(found)
        advance(view.start + view.position)
    table, samples, rooms = np.concatenate(records), np.append(np.concatenate(firsts), count), np.concatenate(lengths)
    if parts.stopped and len(samples) > 1 and not _ends_whole(table["field"], samples):
        samples, rooms = samples[:-1], rooms[:-1]
        table = table[: samples[-1] if len(samples) else 0]
    text = np.concatenate(keys)[: rooms.sum()]
    return {
        "records": table,
        "samples": samples,
        "pattern": _pattern(table["field"], samples),
        "keys": text,
        "key_bounds": np.cumsum(rooms),
        "key_room": rooms[1:2] if (rooms[1:] == rooms[1:2]).all() else rooms[:0],
        "endings": np.frombuffer(b"".join(endings), np.uint8),
        "ending_bounds": np.cumsum([0, *map(len, endings)], dtype=np.int64),
    }


class _UpToDamage:
    """The parts of a scan; damage ends them quietly, if that is wanted."""

    def __init__(self, parts: Iterator[TarPart], *, stops: bool) -> None:
        self._parts = parts
        self._stops = stops
        self.stopped = False

    def __iter__(self) -> Iterator[TarPart]:
        try:
            yield from self._parts
        except CorruptDataError:
            if not self._stops:
                raise
            self.stopped = True


def _ends_whole(fields: NDArray[np.uint32], samples: NDArray[np.int64]) -> bool:
    """Return whether the last sample before the damage has the fields of the one before it, so that none is cut off."""
    if len(samples) < 3:
        return False
    before, last, end = samples[-3:].tolist()
    return np.array_equal(fields[before:last], fields[last:end])


def _pattern(fields: NDArray[np.uint32], samples: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the fields of each sample, if all have the same in the same order; else none."""
    count = len(samples) - 1
    if count < 1:
        return np.empty(0, np.int64)
    width = len(fields) // count
    rows = fields[: count * width].reshape(count, width)
    is_regular = np.array_equal(samples, width * np.arange(count + 1)) and (rows == rows[:1]).all()
    return rows[0].astype(np.int64) if is_regular else np.empty(0, np.int64)


def _fit(tables: dict[str, NDArray[Any]]) -> bool:
    """Return whether tables of an index are such as `build` makes."""
    records, samples, keys, bounds = (tables[name] for name in ("records", "samples", "keys", "key_bounds"))
    endings, pattern, room = tables["ending_bounds"], tables["pattern"], tables["key_room"]
    count, fields = len(samples) - 1, len(endings) - 1
    if not (are_bounds(samples, len(records)) and are_bounds(endings, len(tables["endings"]))):
        return False
    if not (are_bounds(bounds, len(keys)) and len(bounds) == count + 1 and (bounds[1:] > bounds[:-1]).all()):
        return False
    ends_of_keys = np.array_equal(np.flatnonzero(keys == 0), bounds[1:] - 1)
    same_room = not len(room) or (len(room) == 1 and np.array_equal(bounds, np.arange(count + 1) * room[0]))
    return (
        ends_of_keys
        and same_room
        and not (records["field"] >= fields).any()
        and (not len(pattern) or np.array_equal(pattern, _pattern(records["field"], samples)))
    )


TAR = IndexFormat(
    "tar",
    5,
    {
        "records": RECORD,
        "samples": np.dtype(np.int64),
        "pattern": np.dtype(np.int64),
        "keys": np.dtype(np.uint8),
        "key_bounds": np.dtype(np.int64),
        "key_room": np.dtype(np.int64),
        "endings": np.dtype(np.uint8),
        "ending_bounds": np.dtype(np.int64),
    },
    build,
    _fit,
)
TAR_UP_TO_DAMAGE = replace(TAR, name="tar, damaged", build=partial(build, up_to_damage=True))
