"""Rows of mapped .npy files, gathered by calls of a kernel that know the files already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.batch.arena import empty
from headrace.batch.rows import rows_differ
from headrace.errors import FileChangedError
from headrace.formats.prepared import LastPrepared

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from headrace.formats.npy.reader import NpyFile
    from headrace.kernels.checks import Gather, GatherJoined

__all__ = ["MappedRows"]

# Rows for each shard, from which on a batch has some of nearly all: then none needs to be told which those are.
_ROWS_OF_ALL = 8


class MappedRows:
    """All rows of some shards end to end, as long as their files are mapped and hold plain bytes.

    Args:
        columns: the files of each field, those of the shards in their order.
    """

    def __init__(self, columns: dict[str, Sequence[NpyFile]]) -> None:
        self._columns = columns
        self._shards = len(next(iter(columns.values())))
        self._is_plain = not any(rows_differ(files[0].header.dtype) for files in columns.values())
        self._all = LastPrepared("prepare_gather", empty)  # fields of one shard
        self._each = {field: LastPrepared("prepare_gather_joined", empty) for field in columns}

    def gather(self, indices: NDArray[np.int64]) -> Any:
        """Return the batch of some rows; None where it is to be had otherwise, or what is wrong to be told.

        Args:
            indices: shape (n,), int64.
        """
        try:
            if not self._is_plain or (self._shards > 1 and _ROWS_OF_ALL * self._shards > len(indices)):
                return None
            found = self._gather(indices)
        except (AttributeError, IndexError, TypeError, ValueError, FileChangedError):
            return None
        return found.get("", found)

    def _gather(self, indices: NDArray[np.int64]) -> dict[str, Any]:
        if self._shards == 1:
            gather: Gather = self._all.find([_view(files[0]) for files in self._columns.values()])
            return dict(zip(self._columns, gather(indices), strict=True))
        found = {}
        for field, files in self._columns.items():
            gather_joined: GatherJoined = self._each[field].find(list(map(_view, files)))
            found[field] = gather_joined(indices)
        return found


def _view(file: NpyFile) -> NDArray[Any]:
    """Return the array of a file.

    Raises:
        ValueError: it is not mapped.
    """
    view = file.view()
    if view is None:
        raise ValueError("too many files are in use to map one more")
    return view
