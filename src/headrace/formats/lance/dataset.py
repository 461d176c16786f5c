"""Rows of Lance datasets, read by the library lance."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.batch.ragged import sequence_field
from headrace.datasets.base import Dataset
from headrace.datasets.compose import ConcatDataset
from headrace.errors import CorruptDataError
from headrace.formats.shard_bounds import Located
from headrace.io.paths import find_paths
from headrace.pipeline.reading import check_index, check_indices

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["LanceDataset", "open_files"]

_BLOCK_ROWS = 1 << 10


class LanceDataset(Dataset[dict[str, Any]]):
    """The rows of a Lance dataset, in any order. Needs lance: `pip install 'headrace[lance]'`.

    A batch is one `take` of the library, so any order suits it. Samples and batches are as those of `ParquetDataset`.
    The version of the dataset that is there when it is opened is read throughout.

    Args:
        path: the folder of the dataset, or an address that lance reads.
        columns: the names of the columns that are read; by default all of them.

    Attributes:
        path: of the dataset.
        version: the number of its version.

    Raises:
        ImportError: lance is not installed.
        FileNotFoundError: there is no such dataset.
        ArgumentError: it has not the columns.
        CorruptDataError: it is no Lance dataset, or damaged.

    >>> import lance, pyarrow
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = lance.write_dataset(pyarrow.table({"label": [1, 2, 3]}), f"{folder}/train.lance")
    ...     LanceDataset(f"{folder}/train.lance")[1]
    {'label': np.int64(2)}
    """

    def __init__(self, path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> None:
        self.path = os.fspath(path) if "://" in os.fspath(path) else find_paths(path)[0]
        self._wanted = columns
        self.version: int | None = None
        self._opened: tuple[int, Any, Any] | None = None
        library, _ = self._open()
        self.version = library.version
        self._length = int(library.count_rows())

    def __len__(self) -> int:
        return self._length

    def __getstate__(self) -> dict[str, Any]:
        """Return what tells the dataset; it is opened anew where this goes."""
        return vars(self) | {"_opened": None}

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        found: dict[str, Any] = self._take(np.array([check_index(index, len(self))])).row(0)
        return found

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """Return the batch of the samples at the indices, shape (n,), int64."""
        indices = check_indices(indices, len(self))
        batch = self._take(indices)
        located = Located([0], np.zeros(len(indices), np.int64), np.arange(len(indices)))
        return type(batch).gather([batch], located, indices)

    def blocks(self) -> NDArray[np.int64]:
        """Return where blocks of neighbours begin, each within a fragment, and where the last one ends."""
        library, _ = self._open()
        bounds, start = [np.empty(0, np.int64)], 0
        for fragment in library.get_fragments():
            stop = start + int(fragment.count_rows())
            bounds.append(np.arange(start, stop, _BLOCK_ROWS))
            start = stop
        return np.append(np.concatenate(bounds), start)

    def where(self, index: int) -> str:
        """Return the dataset of a row, its version, and the row."""
        return f"{self.path}, version {self.version}, row {index}"

    def read_lengths(self, field: int | str | None = None) -> Iterator[NDArray[np.int64] | None] | None:
        """Yield how many items the lists of samples have, of which no other column is read; None for no list.

        Args:
            field: the column; None for "input_ids", "tokens", or the only one.
        """
        library, choice = self._open()
        name = sequence_field(choice.names, field)
        if name is None:
            return None
        batches = library.to_batches(columns=[choice.top_of(name)])
        return (choice.decode_column(batch, name).row_lengths() for batch in batches)

    def close(self) -> None:
        """Give up what is open; reading opens it again."""
        self._opened = None

    def _take(self, indices: NDArray[np.int64]) -> Any:
        library, choice = self._open()
        try:
            return choice.decode(library.take(indices.tolist(), columns=choice.tops))
        except (OSError, ValueError, RuntimeError) as error:
            raise CorruptDataError(f"{self.path} cannot be read: {error}; get the dataset anew") from error

    def _open(self) -> tuple[Any, Any]:
        """Return the library's dataset, and the choice of columns. A fork opens it anew, since it has threads."""
        if self._opened is None or self._opened[0] != os.getpid():
            try:
                import lance

                from headrace.formats.arrow.choice import ColumnChoice
            except ImportError as error:
                raise ImportError("Lance datasets need lance: pip install 'headrace[lance]'") from error
            try:
                found = lance.dataset(self.path, version=self.version)
            except (OSError, ValueError) as error:
                raise CorruptDataError(f"{self.path} cannot be read as Lance: {error}; get it anew") from error
            self._opened = os.getpid(), found, ColumnChoice(found.schema, self._wanted, self.path)
        return self._opened[1:]


def open_files(paths: list[str], *, fields: bool = True) -> Dataset[Any]:  # noqa: ARG001 - columns need no parsing
    """Return the dataset of one folder, or of several."""
    parts: list[Dataset[Any]] = [LanceDataset(path) for path in paths]
    return parts[0] if len(parts) == 1 else ConcatDataset(parts)
