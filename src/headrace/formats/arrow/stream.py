"""Streams of Arrow's IPC format that lie in files: whether they are whole.

The format: https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.errors import CorruptDataError, StorageError

if TYPE_CHECKING:
    from headrace.io.source import ByteSource

__all__ = ["check_rest", "check_stream"]

_CONTINUES = b"\xff\xff\xff\xff"  # before each message
_END = _CONTINUES + bytes(4)
_REMEDY = "get it anew, or read what is there with ArrowDataset(pyarrow.ipc.open_stream(path).read_all())"


def check_stream(source: ByteSource) -> None:
    """Refuse a file that begins or ends as no whole stream does; pyarrow takes a cut between messages for the end.

    Raises:
        CorruptDataError: it is cut.
        StorageError: it is of a format of another name.
    """
    size = source.identity.size
    begin = source.read(0, min(size, 4)).tobytes()
    if begin == b"FEA1":
        raise StorageError(
            f"{source.path} is Feather of version 1, which is no Arrow file and is not read; write it anew with "
            "pyarrow.feather.write_feather(pyarrow.feather.read_table(path), path)"
        )
    if begin == _CONTINUES and source.read(max(size - 8, 0), min(size, 8)).tobytes() != _END:
        raise CorruptDataError(
            f"{source.path} has no mark at its end, as a stream of Arrow has that was closed: it is cut, or its writer "
            f"was stopped; {_REMEDY}"
        )


def check_rest(source: ByteSource, position: int) -> None:
    """Refuse a file that goes on behind its stream.

    Raises:
        CorruptDataError: the stream ends at a position that is not the end of the file.
    """
    if position < source.identity.size:
        raise CorruptDataError(
            f"{source.path} goes on behind the end of its stream, at byte {position} of {source.identity.size}: there "
            f"may be two in one file, of which only the first would be read; {_REMEDY}"
        )
