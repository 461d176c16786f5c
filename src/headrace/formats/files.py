"""Files as samples."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.datasets.paths import check_endings, pack_paths, walk
from headrace.errors.notes import name_file
from headrace.formats.index import is_index
from headrace.formats.records import RecordDataset
from headrace.io.counts import ReadCounts
from headrace.io.files import read_files, whole_files
from headrace.io.paths import find_paths
from headrace.io.source import options_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from headrace.io.ranges import FileRanges

__all__ = ["FilesDataset"]


class FilesDataset(RecordDataset):
    """Files, each read when it is asked for: a sample is the bytes of one.

    Only the paths are in memory, packed. No file stays open. `StackDataset(files, files.paths)` has samples of bytes
    and path.

    Args:
        paths: a folder, whose files at any depth are taken, folder by folder and in each by name, but for the hidden
            indexes that headrace keeps beside other formats; or a pattern such as "raw/*.wav", or several paths, which
            are taken in their order and looked at only when they are read. All of them may be addresses.
        extensions: how the names of files end that are taken, in any case, such as ".wav"; by default all are.
        decode: takes the bytes of a file and returns the sample; None for the bytes themselves.

    Attributes:
        paths: of the files, a sequence of strings.

    Raises:
        FileNotFoundError: there is no such folder, or there are no such files.
        OSError: when a sample is asked for whose file cannot be read; a note names the file.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.txt").write_bytes(b"abc")
    ...     FilesDataset(folder)[0]
    b'abc'
    """

    def __init__(
        self,
        paths: str | bytes | os.PathLike[Any] | Iterable[str | bytes | os.PathLike[Any]],
        extensions: str | Sequence[str] | None = None,
        decode: Callable[[bytes], Any] | None = None,
    ) -> None:
        super().__init__(decode)
        endings = "" if extensions is None else check_endings(extensions)
        found = _files_of(paths) if isinstance(paths, str | bytes | os.PathLike) else map(os.fsdecode, paths)
        self.paths = pack_paths(path for path in found if path.lower().endswith(endings))
        self._options = options_for(needed=self.paths.has_addresses)
        self._counts = ReadCounts()
        if not len(self.paths) and isinstance(paths, str | bytes | os.PathLike):
            ending = f" whose names end in {', '.join(endings)}" if endings else ""
            raise FileNotFoundError(f"there are no files{ending} in {os.fsdecode(paths)}")

    def __len__(self) -> int:
        return len(self.paths)

    def read_records(self, indices: NDArray[np.int64]) -> list[bytes]:
        """Return the bytes of the files at the indices, shape (n,), int64, each in [0, len(self))."""
        return read_files([self.paths[index] for index in indices.tolist()], self._options, self._counts)

    def byte_ranges(self, indices: NDArray[np.int64]) -> list[FileRanges]:
        """Return all bytes of the files at the indices, shape (n,), int64."""
        return whole_files([self.paths[index] for index in indices.tolist()], self._options)

    def counters(self) -> dict[str, int]:
        """Return how many bytes were read, and of files far away with how many requests."""
        return self._counts.totals()

    def where(self, index: int) -> str:
        """Return the path of a file."""
        return self.paths[index]

    def annotate(self, error: Exception, index: int) -> None:
        """Let an error say of which file it is: in a note, and as `filename`."""
        super().annotate(error, index)
        name_file(error, self.paths[index])


def _files_of(path: str | bytes | os.PathLike[Any]) -> Iterator[str]:
    """Yield the files of a folder at any depth, or those that a pattern matches."""
    for found in find_paths(path):
        if "://" in found:
            yield from _remote_files_of(found, is_given=found == path)
        elif Path(found).is_dir():
            for _, files in sorted(walk(found)):
                yield from sorted(file for file in files if not is_index(os.path.basename(file)))  # noqa: PTH119 - of millions
        else:
            yield found


def _remote_files_of(path: str, *, is_given: bool) -> list[str]:
    """Return the files below an address that was given as it is, or the file that it is itself."""
    from headrace.io.remote import is_remote_folder, list_remote  # for these alone

    return list_remote(path) if is_given and is_remote_folder(path) else [path]
