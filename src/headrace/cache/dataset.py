"""A dataset that keeps its samples, in memory or on disk, once they have been read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace.batch.collate import default_collate
from headrace.batch.scatter import merge
from headrace.batch.tree import get_field
from headrace.cache.randomness import check_not_random
from headrace.cache.samples import CachedSamples
from headrace.cache.store import FIRST, SampleStore
from headrace.datasets.base import StoredDataset
from headrace.datasets.stats import CacheStats
from headrace.datasets.tables import as_dataset
from headrace.errors import ArgumentError, NotYetError
from headrace.io.memory import total_memory
from headrace.pipeline.compile import ReadPlan, compile_dataset
from headrace.pipeline.describe import describe
from headrace.pipeline.hints import will_need
from headrace.pipeline.nodes import Cached, Node
from headrace.pipeline.reading import check_index, check_indices
from headrace.rng.context import no_draws
from headrace.workers.shared_file import SharedCounts, SharedFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from headrace.pipeline.read_plan import ReadCall, Rows
    from headrace.pipeline.reading import Indexable

__all__ = ["CachedDataset"]


class CachedDataset(StoredDataset[Any]):
    """A dataset whose samples are read once, and come from memory or disk from then on.

    Keep what is costly to make and the same in each epoch: decoded and resized images, parsed records. What is
    random comes behind it: `dataset.cache().map(augment)`. Batches are gathered straight from where the samples
    lie, and image transforms mapped over it read them there.

    In memory, samples are held once for this process and all of its workers, processes or threads, and until the
    dataset and its loaders are gone. A copy of the dataset, pickled or not, that does not go to a worker of a
    loader has a cache of its own, empty at first. On disk they stay, for all processes that use the folder.

    Args:
        dataset: any object with `__len__` and `__getitem__`; its samples must not change.
        where: "ram", or a folder.
        limit: how much space samples may take, in bytes; those for which there is none are read each time. By
            default half of the machine's memory, or of what its container may use; and no limit on disk.
        key: a text that says which samples these are, for a folder. By default that is a hash of all
            that the dataset is made of. A folder with other samples is refused.

    Raises:
        CacheError: a transform of the dataset is random, by its own account or when it draws while a sample is
            cached; or the folder holds samples of another dataset.
        ArgumentError: limit is negative, or key is given without a folder.

    >>> from headrace import Dataset
    >>> class Slow(Dataset):
    ...     def __len__(self):
    ...         return 4
    ...     def __getitem__(self, index):
    ...         print("reading", index)
    ...         return index**2
    >>> squares = CachedDataset(Slow())
    >>> squares[3], squares[3]
    reading 3
    (9, 9)
    >>> squares.stats().hits, squares.stats().misses
    (1, 1)
    """

    _compiled: ReadPlan | None = None

    keeps_slots = keeps_stage = True

    def __init__(
        self,
        dataset: Indexable[Any],
        where: str | os.PathLike[str] = "ram",
        limit: int | None = None,
        key: str | None = None,
    ) -> None:
        dataset = as_dataset(dataset)
        check_not_random(dataset)
        limit = _checked_limit(limit)
        self.dataset = dataset
        self._length = len(dataset)
        self._counts = SharedCounts(3)  # hits, misses and bytes
        self._cached = self._open(os.fspath(where), limit, key)
        self._batches_serve = True  # as long as no batch has been met that samples do not come of

    def _open(self, where: str, limit: int | None, key: str | None) -> CachedSamples:
        if where != "ram":
            return self._open_folder(where, limit, key)
        if key is not None:
            raise ArgumentError("key tells folders apart; a cache in ram is this dataset's alone, so leave it out")
        if os.name != "posix":
            raise NotYetError("a cache in ram needs a system such as Linux or macOS in this release")
        table, data = SharedFile(FIRST + 8 * self._length), SharedFile(FIRST)
        limit = total_memory() // 2 if limit is None else limit
        return CachedSamples(SampleStore(table, data, self._counts, limit), pickles=True)

    def _open_folder(self, where: str, limit: int | None, key: str | None) -> CachedSamples:
        if "://" in where:
            raise ArgumentError(f"where must be 'ram' or a folder of this machine, but got where={where!r}")
        from headrace.cache.fingerprint import fingerprint  # for this alone
        from headrace.cache.folder import open_folder

        name = f"{type(self.dataset).__module__}.{type(self.dataset).__qualname__}"
        identity = fingerprint(self.dataset) if key is None else None
        about = {"version": 1, "dataset": name, "length": self._length, "key": key, "fingerprint": identity}
        table, data, lock = open_folder(os.path.abspath(where), self._length, about)  # noqa: PTH100 - as LocalSource
        store = SampleStore(table, data, lock, limit, SharedFile(max(1, self._length)))
        cached = CachedSamples(store, pickles=False)
        cached.check()
        return cached

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int, /) -> Any:
        indices = np.array([check_index(index, self._length)])
        entries, read = self._find(indices)
        return read[0] if read else self._cached.read(int(entries[0]))

    def node(self) -> Node:
        """Return the description of the dataset."""
        return Cached(self, describe(self.dataset))

    def releases_gil(self) -> bool:
        """Return whether the dataset can be read in several threads at the same time."""
        return self._source().releases_gil

    def stats(self) -> CacheStats:
        """Return a snapshot of how often samples were found, and of what is cached, over all processes."""
        hits, misses, _ = self._counts.sums()
        store = self._cached.store
        return CacheStats(hits, misses, store.count(), store.nbytes, store.limit)

    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """Return the batch of the samples at the indices, shape (n,), int64."""
        indices = check_indices(indices, self._length)
        entries, read = self._find(indices)
        in_rows = np.flatnonzero(entries > 0)
        if len(in_rows) == len(indices) > 0:
            return self._cached.batch(indices, entries)
        others = np.flatnonzero(entries <= 0)
        samples = [
            read[place] if place in read else self._cached.read(int(entries[place])) for place in others.tolist()
        ]
        batch = default_collate(samples, indices[others])
        if not len(in_rows):
            return batch
        return merge([self._cached.batch(indices[in_rows], entries[in_rows]), batch], [in_rows, others])

    def open_rows(self, indices: NDArray[np.int64], field: int | str | None) -> Rows | None:
        """Return the rows of a field, if it is an array, and all of the samples are cached or there is room for them.

        Args:
            indices: shape (n,), int64.
            field: a position or a key in the sample; None for all of it.
        """
        indices = check_indices(indices, self._length)
        entries = self._cached.store.entries(indices)
        absent = int(np.count_nonzero(entries == 0))
        if (
            not len(entries)
            or entries.min() < 0
            or not self._cached.has_array(field)
            or not self._cached.has_room(absent)
        ):
            return None
        read = self._read_at_once(indices) if absent == len(indices) else None
        entries = self._find(indices)[0] if read is None else read.entries
        rows = self._cached.rows(indices, entries, field) if entries.min() > 0 else None
        return rows if rows is None or read is None else _as_read(rows, read, field)

    def will_need(self, indices: NDArray[np.int64]) -> None:
        """Tell the dataset which samples that are not cached will be read soon."""
        will_need(self.dataset, indices[self._cached.store.entries(indices) == 0])

    @property
    def is_kept(self) -> bool:
        """Whether samples are stored in a folder, for all processes that use it."""
        return self._cached.store.outlives_processes

    def stored(self) -> NDArray[np.bool_]:
        """Return which samples are stored, shape (n,)."""
        return self._cached.store.known()

    def calls(self, missing: NDArray[np.int64], *, first: bool) -> Iterator[ReadCall]:
        """Return the calls that read samples that are not stored, which read nothing yet.

        Args:
            missing: their indices, all different, in order, shape (n,), int64.
            first: whether none is stored by then, so that it is not known what samples are like.
        """
        source = self._source()
        if len(missing) == 1 or not self._batches_serve or not source.gets_batches:
            yield from source.calls(missing, at_once=False)
        else:
            yield from source.calls(missing[:first], at_once=False)
            yield from source.calls(missing[first:], at_once=True)

    def counters(self) -> dict[str, int]:
        """Return how many samples this process has found and not found, and how many bytes it has stored."""
        names = ("cache_hits", "cache_misses", "cache_bytes")
        return dict(zip(names, self._counts.own(), strict=True))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_compiled"}

    def _source(self) -> ReadPlan:
        """Return the plan by which what is not cached is read."""
        plan = self._compiled
        if plan is None or not plan.is_current():
            plan = self._compiled = compile_dataset(self.dataset)
        return plan

    def _find(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], dict[int, Any]]:
        """Return the samples' entries, and by their positions among the indices those that had to be read."""
        entries = self._cached.store.entries(indices)
        absent = np.flatnonzero(entries == 0)
        if not len(absent):
            self._counts.add(len(indices), 0, 0)
            return entries, {}
        missing, which = np.unique(indices[absent], return_inverse=True)
        samples = self._read(missing)
        stored, nbytes = self._cached.keep(missing, samples)
        self._counts.add(len(indices) - len(absent), len(absent), nbytes)
        entries[absent] = stored[which]
        return entries, {place: samples[number] for place, number in zip(absent.tolist(), which.tolist(), strict=True)}

    def _read_at_once(self, indices: NDArray[np.int64]) -> _Read | None:
        """Read and keep samples none of which is cached; None where they are to be read otherwise.

        Their batch serves what is done next: what has just been stored would come from cold memory.
        """
        if not (self._cached.knows_samples and self._batches_serve and self._source().gets_batches):
            return None
        missing, which = np.unique(indices, return_inverse=True)
        batch, samples = self._read_batch(missing)
        if samples is None:
            return None
        stored, nbytes = self._cached.keep(missing, samples)
        self._counts.add(0, len(indices), nbytes)
        return _Read(batch, which, stored[which])

    def _read(self, missing: NDArray[np.int64]) -> list[Any]:
        """Read the samples at the indices, which are all different, as batches where the dataset reads these."""
        if len(missing) == 1 or not self._batches_serve or not self._source().gets_batches:
            return self._read_samples(missing)
        first = [] if self._cached.knows_samples else self._read_samples(missing[:1])
        if first:
            self._cached.learn(first[0])
        others = missing[len(first) :]
        _, samples = self._read_batch(others)
        if samples is None:
            samples = self._read_samples(others)  # or the error of one of them, which is no fault of batches
            self._batches_serve = False
        return first + samples

    def _read_samples(self, indices: NDArray[np.int64]) -> list[Any]:
        with no_draws(indices):
            return self._source().samples(indices)

    def _read_batch(self, indices: NDArray[np.int64]) -> tuple[Any, list[Any] | None]:
        """Return a batch and its samples; None for these if there is none, or it does not become samples again."""
        try:
            with no_draws(indices):
                batch = self._source().batch(indices)
        except Exception:
            return None, None  # read one by one, they say which is at fault
        return batch, self._cached.unbatch(batch, len(indices))


class _Read(NamedTuple):
    """Samples that were read as a batch, and kept.

    Attributes:
        batch: what was read.
        which: the place in it of each sample, shape (n,), int64.
        entries: where they are kept, shape (n,), int64.
    """

    batch: Any
    which: NDArray[np.int64]
    entries: NDArray[np.int64]


def _as_read(rows: Rows, read: _Read, field: int | str | None) -> Rows:
    """Return rows of the store as those of the batch that they were stored from, if the field is an array there."""
    array = get_field(read.batch, field)
    if type(array) is not np.ndarray or (array.dtype, array.shape[1:]) != (rows.array.dtype, rows.array.shape[1:]):
        return rows
    return rows._replace(array=array, rows=read.which)


def _checked_limit(limit: Any) -> int | None:
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int | np.integer) or limit < 0:
        raise ArgumentError(f"limit must be a number of bytes, not negative, or None, but got limit={limit!r}")
    return int(limit)
