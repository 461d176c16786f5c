"""The places of the lines of a file.

JSON lines: https://jsonlines.org. A line ends with a line feed, or a carriage return and a line feed, or with the file.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from headrace import kernels
from headrace.formats.index import IndexFormat
from headrace.io.file_view import views
from headrace.kernels.scans import RECORD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from headrace.io.file_view import FileView
    from headrace.io.source import ByteSource

__all__ = ["ALL_LINES", "JSON_LINES", "cut_lines", "find_lines", "line_number"]

_AT_ONCE = 1 << 24  # bytes
_LINE_FEED, _RETURN, _SPACES = 10, 13, b" \t"
_MARK = b"\xef\xbb\xbf"  # of UTF-8, which some programs put first


def build(source: ByteSource, advance: Callable[[int], None], *, blank: bool) -> dict[str, NDArray[np.void]]:
    """Build the table of the lines of a file, with their sums.

    Args:
        source: the file.
        advance: called with the number of bytes that are done.
        blank: whether lines count in which nothing is but spaces.
    """
    found = [np.empty(0, RECORD)]
    for view, starts, lengths in find_lines(views(source), blank=blank):
        lines = np.zeros(len(starts), RECORD)
        lines["offset"], lines["length"] = starts + view.start, lengths
        lines["crc"] = kernels.active().crc32c(view.data, starts, lengths)
        found.append(lines)
        advance(view.start + min(view.position, len(view.data)))
    return {"records": np.concatenate(found)}


def find_lines(
    parts: Iterator[FileView], *, blank: bool, first: int = 0
) -> Iterator[tuple[FileView, NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the lines in each part of a file: where they begin in the view, and how long they are.

    Args:
        parts: a view of the file, again and again.
        blank: whether lines count in which nothing is but spaces.
        first: where the first line is that counts, in bytes.
    """
    for view in parts:
        ends = _line_ends(view)
        if ends is None:
            continue
        starts = np.append(view.position, ends[:-1] + 1)
        view.move_to(int(ends[-1]) + 1)
        lengths = ends - starts
        lengths -= (lengths > 0) & (view.data[np.maximum(ends - 1, 0)] == _RETURN)
        if view.start + starts[0] == first == 0 and view.data[starts[0] : starts[0] + 3].tobytes() == _MARK:
            starts[0] += len(_MARK)
            lengths[0] -= len(_MARK)
        if not blank:
            kept = _holds_something(view.data, starts, lengths)
            starts, lengths = starts[kept], lengths[kept]
        yield view, starts, lengths


def _line_ends(view: FileView) -> NDArray[np.int64] | None:
    """Return where lines end that begin in sight; None where the view has to grow first, which it does."""
    size = _AT_ONCE
    while True:
        seen = view.data[view.position : view.position + size]
        ends = np.flatnonzero(seen == _LINE_FEED)
        if len(ends):
            return ends + view.position
        if view.position + size < len(view.data):
            size *= 2
        elif view.more():
            return None
        else:
            return np.array([len(view.data)])  # the last line, which ends with the file


def _holds_something(
    data: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.bool_]:
    kept = lengths > 0
    for number in np.flatnonzero(kept & np.isin(data[np.minimum(starts, len(data) - 1)], [*_SPACES])).tolist():
        line = data[starts[number] : starts[number] + lengths[number]].tobytes()
        kept[number] = bool(line.strip())
    return kept


def cut_lines(view: FileView, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> list[bytes]:
    """Return the bytes of lines of a view."""
    return [
        view.data[start : start + length].tobytes()
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
    ]


def line_number(source: ByteSource, offset: int) -> int:
    """Return the number of the line that begins at an offset, counted from 1, blank ones too."""
    count = 1
    for start in range(0, offset, _AT_ONCE):
        count += int(np.count_nonzero(source.read(start, min(_AT_ONCE, offset - start)) == _LINE_FEED))
    return count


ALL_LINES = IndexFormat("lines", 1, {"records": RECORD}, partial(build, blank=True))
JSON_LINES = IndexFormat("JSON lines", 1, {"records": RECORD}, partial(build, blank=False))
