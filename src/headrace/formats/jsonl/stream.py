"""Lines of JSON as they come: what compressed files can give without being unpacked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from headrace.datasets.base import IterableDataset
from headrace.errors import StorageError
from headrace.formats.jsonl.dataset import invalid_json
from headrace.formats.jsonl.lines import cut_lines, find_lines
from headrace.io.compression import Unpacked, check_bytes
from headrace.io.file_view import read_through
from headrace.io.paths import find_paths
from headrace.io.source import open_source, options_for
from headrace.workers.info import get_worker_info

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike

    from headrace.io.file_view import FileView

__all__ = ["JsonlStream"]


class JsonlStream(IterableDataset[Any]):
    r"""Lines of JSON one after the other, for files that are compressed.

    The order is that of the files, a resumed run reads again what it passes over, and a worker process reads whole
    files: each takes its share of them.

    Args:
        paths: a file, plain or compressed with gzip, bzip2, xz or, where the package zstandard is installed, zstd, of
            any number of frames; a pattern; or several of them. Also addresses.
        max_line_bytes: how long a line of a compressed file may be: a small file can be made that holds more than there
            is memory for.

    Raises:
        FileNotFoundError: a file is not there.
        StorageError: while reading, a line of a compressed file is longer.
        CorruptDataError: while reading, a line is no JSON, or a file is damaged or cut short.

    >>> import gzip
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n\n{"a": 2}\n'))
    ...     list(JsonlStream(Path(folder, "a.jsonl.gz")))
    [{'a': 1}, {'a': 2}]
    """

    def __init__(
        self, paths: str | PathLike[str] | Iterable[str | PathLike[str]], *, max_line_bytes: int = 1 << 28
    ) -> None:
        self.max_line_bytes = check_bytes("max_line_bytes", max_line_bytes)
        self.paths = find_paths(paths)
        self._options = options_for(needed=any("://" in path for path in self.paths))

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        for path in self.paths if worker is None else self.paths[worker.id :: worker.num_workers]:
            with Unpacked(open_source(path, self._options)) as content:
                view = content.view(None if content.kind is None else self.max_line_bytes)
                yield from self._read(path, view)

    def _read(self, path: str, view: FileView) -> Iterator[Any]:
        number = 1
        for _, starts, lengths in find_lines(self._bounded(path, view), blank=True):
            for line in cut_lines(view, starts, lengths):
                if line.strip():
                    try:
                        sample = json.loads(line)
                    except (ValueError, RecursionError) as error:
                        raise invalid_json(f"{path}, line {number:,}", error) from error
                    yield sample
                number += 1

    def _bounded(self, path: str, view: FileView) -> Iterator[FileView]:
        for each in read_through(view):
            if each.is_full and not (each.data == ord("\n")).any():
                raise StorageError(
                    f"{path} has a line of more than {self.max_line_bytes:,} bytes; where that is right, allow more "
                    "with max_line_bytes="
                )
            yield each
