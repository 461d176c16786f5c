"""Records of TFRecord files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.data.records import RecordDataset, split
from headrace.storage.paths import find_paths
from headrace.storage.record_files import RecordFiles
from headrace.storage.tfrecord import TFRECORD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from os import PathLike

    from numpy.typing import NDArray

__all__ = ["TFRecordDataset"]


class TFRecordDataset(RecordDataset):
    """Records of TFRecord files, in any order.

    An index of each file is built when it is first used, and kept beside it. It says where each record
    is; the file's own sums say whether it is whole.

    Args:
        paths: a file, a pattern such as `"train-*.tfrecord"`, or several of them. Records are in the
            order of the files; those of a pattern are sorted by name.
        decode: takes the bytes of a record and returns the sample; None for the bytes themselves.
        verify: whether to hold each record against its CRC32C when it is read.
        progress: whether to show on stderr how far it is while indexes are built; by default after two
            seconds, where that is a terminal.

    Raises:
        FileNotFoundError: a file is not there.
        CorruptDataError: a file is no TFRecord file, is cut short or damaged; or when it is read, a
            record is not what its CRC32C says. The text names the file, the offset and the sample.
        FileChangedError: a file has changed since it was opened.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from headrace.storage.tfrecord import frame
    >>> with TemporaryDirectory() as folder:
    ...     for shard in range(2):
    ...         _ = Path(folder, f"{shard}.tfrecord").write_bytes(frame(b"a") + frame(b"b%d" % shard))
    ...     TFRecordDataset(f"{folder}/*.tfrecord")[3]
    b'b1'
    """

    def __init__(
        self,
        paths: str | PathLike[str] | Iterable[str | PathLike[str]],
        decode: Callable[[bytes], Any] | None = None,
        *,
        verify: bool = True,
        progress: bool | None = None,
    ) -> None:
        super().__init__(decode)
        self.paths = find_paths(paths)
        self.verify = verify
        self._files = RecordFiles(self.paths, TFRECORD, progress=progress)

    def __len__(self) -> int:
        return len(self._files.parts)

    def read_records(self, indices: NDArray[np.int64]) -> list[bytes]:
        """The records at the indices, shape (n,), int64, each in [0, len(self))."""
        located = self._files.parts.locate(indices)
        records = self._files.rows("records", located)
        return split(self._files.read(located, records, indices, verify=self.verify))

    def where(self, index: int) -> str:
        """In which file a record lies, and where in it."""
        part, row = self._files.parts.find(index)
        return self._files.where(part, self._files.table(part, "records")[row])

    def blocks(self) -> NDArray[np.int64]:
        """Where the samples of each file begin, and the last ones end."""
        return np.unique(np.cumsum([0, *self._files.parts.lengths]))

    def will_need(self, indices: NDArray[np.int64]) -> None:
        """Begin to read the records at the indices, shape (n,), int64."""
        located = self._files.parts.locate(indices)
        self._files.will_need(located, self._files.rows("records", located))

    def close(self) -> None:
        """Give up the files that are open; reading opens them again."""
        self._files.close()
