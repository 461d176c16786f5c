"""Lines of files as samples: of text, or of JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from headrace.errors import CorruptDataError
from headrace.formats.indexed_records import IndexedRecords, unpacked_paths
from headrace.formats.jsonl.lines import ALL_LINES, JSON_LINES, line_number
from headrace.formats.record_files import RecordFiles

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from headrace.datasets.base import Dataset
    from headrace.formats.index import IndexFormat

__all__ = ["JsonlDataset", "TextLines", "open_files"]


class _Lines(IndexedRecords):
    """Lines of files, in any order. For the arguments see `JsonlDataset`."""

    _index_format: IndexFormat

    def __init__(
        self,
        paths: str | PathLike[str] | Iterable[str | PathLike[str]],
        *,
        verify: bool = True,
        progress: bool | None = None,
        max_unpacked_bytes: int | None = None,
    ) -> None:
        super().__init__(self._decode, verify=verify)
        self.paths, plain = unpacked_paths(paths, "text", progress=progress, max_unpacked_bytes=max_unpacked_bytes)
        self._files = RecordFiles(plain, self._index_format, progress=progress)

    @staticmethod
    def _decode(line: bytes) -> Any:
        raise NotImplementedError

    def releases_gil(self) -> bool:
        """Return whether samples are read without the GIL for most of the time: they are made in Python."""
        return False

    def where(self, index: int) -> str:
        """Return the file and the line of a sample."""
        shard, row = self._files.bounds.find(index)
        offset = int(self._files.table(shard, "records")[row]["offset"])
        return f"{self.paths[shard]}, line {line_number(self._files.sources[shard], offset):,}"


class TextLines(_Lines):
    r"""Lines of text files: a sample is a line as str, without its end.

    An index of each file is built when it is first used, and kept beside it.

    Args:
        paths: a file, a pattern such as "books/*.txt", or several of them, in UTF-8. Files that are compressed (gzip,
            bzip2, xz, and zstd where the package zstandard is installed) are unpacked first, to where indexes are kept
            that cannot lie beside their files; a warning says so.
        verify: whether to hold each line against its CRC32C, which is taken when the index is built.
        progress: whether to show on stderr how far it is while indexes are built; by default after two seconds, where
            that is a terminal.
        max_unpacked_bytes: how large a file may be that is unpacked; by default a hundred times its size, and a GiB.

    Raises:
        FileNotFoundError: a file is not there.
        CorruptDataError: when it is read, a line is not what it was.
        FileChangedError: a file has changed since it was opened.
        UnicodeDecodeError: when it is read, a line is not UTF-8; a note names file and line.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.txt").write_text("one\ntwo\n\nfour")
    ...     lines = TextLines(Path(folder, "a.txt"))
    ...     len(lines), lines[1], lines[2]
    (4, 'two', '')
    """

    _index_format = ALL_LINES

    @staticmethod
    def _decode(line: bytes) -> str:
        return line.decode()


class JsonlDataset(_Lines):
    r"""Lines of JSON: a sample is what a line says, such as a dict. Lines of spaces are passed over.

    An index of each file is built when it is first used, and kept beside it, so lines are read in any order. For one
    pass over files that are compressed there is `JsonlStream`.

    Args:
        paths: a file, a pattern such as "train-*.jsonl", or several of them. Files that are compressed (gzip, bzip2,
            xz, and zstd where the package zstandard is installed) are unpacked first, to where indexes are kept that
            cannot lie beside their files; a warning says so.
        verify: whether to hold each line against its CRC32C, which is taken when the index is built.
        progress: whether to show on stderr how far it is while indexes are built; by default after two seconds, where
            that is a terminal.
        max_unpacked_bytes: how large a file may be that is unpacked; by default a hundred times its size, and a GiB.

    Raises:
        FileNotFoundError: a file is not there.
        CorruptDataError: when it is read, a line is no JSON; the text names the file, the line and the column. Or it is
            not what it was when the index was built.
        FileChangedError: a file has changed since it was opened.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    ...     JsonlDataset(Path(folder, "a.jsonl"))[1]
    {'text': 'two'}
    """

    _index_format = JSON_LINES

    @staticmethod
    def _decode(line: bytes) -> Any:
        return json.loads(line)

    def _decoded(self, record: bytes, index: int) -> Any:
        try:
            return json.loads(record)
        except (ValueError, RecursionError) as error:
            raise invalid_json(self.where(index), error) from error


def invalid_json(where: str, error: Exception) -> CorruptDataError:
    """Return the error of a line that is no JSON.

    Args:
        where: its file and line.
        error: what the parser has raised.
    """
    column = f", column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
    reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    return CorruptDataError(f"{where}{column}: it is no JSON ({reason}); mend the line, or take it out")


def open_files(paths: list[str], *, fields: bool = True) -> Dataset[Any]:
    """Return the dataset of some files, or of their lines as text."""
    return JsonlDataset(paths) if fields else TextLines(paths)
