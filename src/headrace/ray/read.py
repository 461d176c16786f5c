"""A dataset of Ray Data whose blocks are shards of a headrace dataset."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
import ray.data
from ray.data.block import BlockAccessor, BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from headrace.convert.chunks import ColumnReader
from headrace.convert.fields import Fields
from headrace.convert.undecoded import field_names
from headrace.datasets.tables import as_dataset
from headrace.errors import ArgumentError
from headrace.formats.writer import call_lone_values_data, payload
from headrace.pipeline.hints import blocks
from headrace.workers.pickling.messages import load
from headrace.workers.ray.work import SentWork
from headrace.workers.shared_file import create_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from headrace.pipeline.reading import Indexable

__all__ = ["read"]

_BLOCK_BYTES = 64 << 20  # of a block at most, if that is not one sample: half of what Ray Data allows
_LOOKED_AT = 8  # samples that are read to guess at the size of all


def read(
    dataset: Indexable[Any], *, fields: Sequence[str] | None = None, override_num_blocks: int | None = None
) -> ray.data.Dataset:
    """Return a dataset of Ray Data that reads a headrace dataset.

    Its rows are the samples, its columns the fields. Each task of Ray Data reads some consecutive samples as batches:
    whole shards and row groups, where the dataset says what lies together. Blocks come as they are ready, unless Ray
    Data is told to keep their order (`preserve_order`). Random transforms draw
    as in the first epoch of a loader of seed 0, so that a task that is done again gives the same rows.

    Args:
        dataset: any object with `__len__` and `__getitem__`, of samples as `write_dataset` takes them. It is sent to
            the cluster once; files that it reads must be at the same paths on all nodes.
        fields: the names of the positions of samples that are tuples; by default "image" and "label" for datasets of
            images, else "0", "1" and so on.
        override_num_blocks: how many tasks read it, as in Ray Data; by default that follows from its size, and from
            the cores of the cluster.

    Raises:
        ArgumentError: the dataset is empty, or the number of blocks is not a positive integer.
        ArgumentTypeError: it has no length or items, or samples of kinds that have no columns.
        NotPicklableError: it cannot be sent to other processes.

    >>> import ray.data  # doctest: +SKIP
    >>> import headrace.ray
    >>> table = headrace.ray.read(TensorDataset(images, labels), fields=["image", "label"])  # doctest: +SKIP
    >>> table.map_batches(decode).write_parquet("s3://bucket/decoded")  # doctest: +SKIP
    """
    dataset = as_dataset(dataset)
    if len(dataset) == 0:
        raise ArgumentError("there is nothing to read: the dataset has no samples")
    _check_blocks(override_num_blocks)
    names = field_names(dataset) if fields is None else list(fields)
    return ray.data.read_datasource(_RayDatasource(dataset, names), override_num_blocks=override_num_blocks)


def _check_blocks(count: Any) -> None:
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
        raise ArgumentError(f"override_num_blocks must be a positive integer or None, but got {count!r}")


class _RayDatasource(Datasource):
    """The tasks that read a dataset.

    Args:
        dataset: what is read.
        names: those of the positions of its samples.
    """

    def __init__(self, dataset: Indexable[Any], names: Sequence[str] | None) -> None:
        super().__init__()
        self._length = len(dataset)
        self._blocks = blocks(dataset)
        reader = ColumnReader(dataset, Fields(names, dataset[0]))
        self._row_bytes = _bytes_of_a_row(reader, self._length)
        self._work = SentWork(partial(_reading, reader.read))
        self._stored = self._work.stored()

    def get_name(self) -> str:
        """Return what Ray Data's plans and progress bars call it."""
        return "Headrace"

    def estimate_inmemory_data_size(self) -> int:
        """Return about how many bytes all rows take."""
        return self._row_bytes * self._length

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: object = None,  # noqa: ARG002 - Ray's signature
    ) -> list[ReadTask]:
        """Return a task for each part of the dataset, about as many as asked for."""
        bounds = _divide(self._length, parallelism, self._blocks).tolist()
        most = max(1, _BLOCK_BYTES // max(1, self._row_bytes))
        tasks = []
        for start, stop in pairwise(bounds):
            about = BlockMetadata(stop - start, self._row_bytes * (stop - start), None)
            tasks.append(
                ReadTask(partial(_read, *self._stored, start, stop, most), about, per_task_row_limit=per_task_row_limit)
            )
        return tasks


def _divide(length: int, parts: int, together: int | NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Return the bounds of about so many parts, which are bounds of blocks where there are as many of them.

    >>> _divide(10, 3, None).tolist(), _divide(10, 3, np.array([0, 2, 4, 9, 10])).tolist(), _divide(10, 2, 4).tolist()
    ([0, 3, 6, 10], [0, 4, 9, 10], [0, 8, 10])
    """
    even = np.linspace(0, length, min(parts, length) + 1).astype(np.int64)
    bounds = np.append(np.arange(0, length, together), length) if isinstance(together, int) else together
    if bounds is None or len(bounds) < len(even):
        return even
    return np.unique(bounds[np.searchsorted(bounds, even)])


def _bytes_of_a_row(reader: ColumnReader, length: int) -> int:
    """Return about how many bytes a row takes, from a few that are read."""
    indices = np.unique(np.linspace(0, length - 1, _LOOKED_AT).astype(np.int64))
    return int(payload(reader.read(indices)).mean())


def _reading(read_columns: Any, worker: int) -> Any:  # noqa: ARG001 - as the work of all workers is made
    """Return what reads, in the process that does."""
    return read_columns


def _read(stored: Any, files: list[int], start: int, stop: int, most: int) -> Iterator[Any]:
    """Yield the blocks of a task: the samples from start to before stop, at most so many in each."""
    pickle, *buffers = (part.data for part in ray.get(stored))
    read_columns = load(pickle, buffers, [create_file(size) for size in files])(0)
    for first in range(start, stop, most):
        columns = call_lone_values_data(read_columns(np.arange(first, min(first + most, stop))))
        yield BlockAccessor.batch_to_block(columns)
