"""The two kinds of dataset: samples by index, and samples in a stream."""

from __future__ import annotations

import importlib
import os
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from headrace.datasets.stats import CacheStats
    from headrace.pipeline.reading import Indexable

__all__ = ["BatchedDataset", "Dataset", "IterableDataset", "StoredDataset", "describe_dataset"]

if TYPE_CHECKING:  # a dataset is one of Any samples unless it says more
    from typing_extensions import TypeVar as DefaultingTypeVar

    T_co = DefaultingTypeVar("T_co", covariant=True, default=Any)
else:
    T_co = TypeVar("T_co", covariant=True)


def describe_dataset(dataset: Any) -> str:
    """Return what a dataset is in one line: its class, length, place and number of classes, as far as it has them.

    >>> describe_dataset(range(1000))
    'range(1,000 samples)'
    """
    parts = []
    with suppress(Exception):  # a length that cannot be had is no reason not to be shown
        length = len(dataset)
        parts.append(f"{length:,} sample{'' if length == 1 else 's'}")
    attributes = getattr(dataset, "__dict__", {})
    place = next((name for name in ("root", "path") if isinstance(attributes.get(name), str | os.PathLike)), None)
    if place is not None:
        parts.append(f"{place}={os.fspath(attributes[place])!r}")
    elif isinstance(attributes.get("paths"), list | tuple) and attributes["paths"]:
        paths = attributes["paths"]
        parts.append(f"path={os.fspath(paths[0])!r}" if len(paths) == 1 else f"{len(paths):,} files")
    if isinstance(attributes.get("classes"), list | tuple):
        parts.append(f"{len(attributes['classes']):,} classes")
    return f"{type(dataset).__name__}({', '.join(parts)})"


class Dataset(ABC, Generic[T_co]):
    """Samples by index: derive from it and write `__len__` and `__getitem__`.

    Any object with these two methods is a dataset for headrace; deriving adds `map`, `subset` and
    `+`. Two optional methods make reading faster: `__getitems__(indices) -> list of samples`, as in
    torch, and `get_batch(indices) -> batch`, given an int64 array of shape (n,). Four more tell the
    loader what it may use: `will_need(indices)` hears early what will be read, `blocks()` says which
    samples lie together, `lengths()` how many items the sequence of each has, and `counters()` what has
    been counted, for `loader.stats()`.

    >>> class Squares(Dataset):
    ...     def __len__(self):
    ...         return 10
    ...     def __getitem__(self, index):
    ...         return index**2
    >>> Squares()[3]
    9
    """

    def __repr__(self) -> str:
        return describe_dataset(self)

    def __getstate__(self) -> object:
        """Return the attributes; worker processes get large plain lists in shared memory."""
        from headrace.datasets.sent_list import share_lists  # what few datasets need
        from headrace.workers.pickling.sending import replacements

        state, known = super().__getstate__(), replacements()
        return state if known is None else share_lists(state, known)

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def __getitem__(self, index: int, /) -> T_co:
        """Return the sample at an index."""

    # The classes that the methods below make derive from this one, so they are registered here when they are defined.

    def map(self, fn: Callable[[Any], Any], field: int | str | Mapping[str, Any] | None = None) -> BatchedDataset[Any]:
        """Return the dataset of the same samples with `fn` applied.

        Args:
            fn: takes a sample, or one of its fields, and returns what replaces it.
            field: a tuple position, a dict key or the name of a dataclass or namedtuple field;
                None for the whole sample; a dict for several that are moved together, see MapDataset.

        >>> import numpy as np
        >>> from headrace import TensorDataset
        >>> TensorDataset(np.arange(3), np.arange(3)).map(lambda x: -x, field=0)[2]
        (np.int64(-2), np.int64(2))
        """
        made: BatchedDataset[Any] = _make("map", self, fn, field)
        return made

    def subset(self, indices: ArrayLike) -> BatchedDataset[T_co]:
        """Return the dataset of the samples at the indices.

        Args:
            indices: integers, shape (n,); negative ones count from the end.

        Raises:
            OutOfRangeError: an index lies outside the dataset.

        >>> import numpy as np
        >>> from headrace import TensorDataset
        >>> len(TensorDataset(np.arange(10)).subset([1, 3, 5]))
        3
        """
        made: BatchedDataset[T_co] = _make("subset", self, indices)
        return made

    def cache(
        self, where: str | os.PathLike[str] = "ram", *, limit: int | None = None, key: str | None = None
    ) -> StoredDataset[T_co]:
        """Return the dataset of the same samples, each read once and then kept.

        Put it behind what is costly and always the same, as decoding and resizing, and before what is random.

        Args:
            where: "ram" keeps them in memory that all workers share; else the folder that keeps them.
            limit: how much space they may take, in bytes; by default half of the memory, and no limit on disk.
            key: a text that says which samples these are, for a folder, in place of a hash of what
                the dataset is made of.

        Raises:
            CacheError: part of the dataset is random, or the folder keeps other samples.

        >>> import numpy as np
        >>> from headrace import TensorDataset
        >>> cached = TensorDataset(np.arange(10)).map(lambda x: x**2, field=0).cache()
        >>> cached[3], cached[3], cached.stats().hits
        ((np.int64(9),), (np.int64(9),), 1)
        """
        made: StoredDataset[T_co] = _make("cache", self, where, limit, key)
        return made

    def pack_sequences(
        self,
        length: int,
        *,
        strategy: str = "best_fit",
        style: str = "hf",
        window: int = 4096,
        max_sequences: int | None = None,
        overflow: str = "truncate",
        bos: int | None = None,
        padding_value: int = 0,
        field: int | str | None = None,
        lengths: ArrayLike | None = None,
    ) -> BatchedDataset[Any]:
        """Return the dataset of rows of one length that the sequences of this one share.

        Which sequences make up which row follows from their lengths alone, so any row can be read at any time.

        Args:
            length: items a row.
            strategy: "best_fit" packs the longest sequences first, each into the fullest row that has room;
                "first_fit" in their order, each into the first row with room; "best_fit_split" is best fit with
                sequences longer than a row cut into several; "wrapped" cuts all sequences end to end into rows.
            style: the fields of a row, as these trainers know them: "hf" (transformers), "torchtitan", "megatron",
                "grain", "maxtext" or "torchtune".
            window: how many consecutive sequences are packed among each other. `shuffle="block"` shuffles windows.
            max_sequences: how many sequences a row has at most; not for "wrapped".
            overflow: what becomes of sequences longer than a row: "truncate", "split", "drop" or "error".
            bos: a token to put before each sequence.
            padding_value: the token that fills rows up.
            field: the field of a sample that has its tokens; by default "input_ids", "tokens", or the only one.
                Other fields of a dict, such as masks, are packed along.
            lengths: the lengths of the sequences; by default what the dataset's `lengths()` says, or else all
                samples are read once.

        Raises:
            ArgumentError: a value is not allowed, or a sequence too long.

        >>> import numpy as np
        >>> from headrace import ColumnDataset
        >>> texts = ColumnDataset({"input_ids": [[1, 2, 3], [4, 5, 6, 7], [8, 9]]})
        >>> texts.pack_sequences(6)[0]["input_ids"]
        array([4, 5, 6, 7, 8, 9])
        """
        given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        made: BatchedDataset[Any] = _make("pack", self, **given)
        return made

    def __add__(self, other: Indexable[Any]) -> BatchedDataset[Any]:
        made: BatchedDataset[Any] = _make("concat", [self, other])
        return made


class BatchedDataset(Dataset[T_co]):
    """A dataset that reads whole batches: all that are made by the methods of `Dataset`."""

    @abstractmethod
    def get_batch(self, indices: NDArray[np.int64]) -> Any:
        """Return the batch of the samples at the indices, shape (n,), int64."""


class StoredDataset(BatchedDataset[T_co]):
    """A dataset that keeps its samples, and counts how often it had them."""

    @abstractmethod
    def stats(self) -> CacheStats:
        """Return how often samples were found, and what is kept, as a snapshot."""


# The classes that methods of `Dataset` make, which derive from it, and are imported for those alone who make one.
_MADE = {
    "cache": "headrace.cache.dataset:CachedDataset",
    "concat": "headrace.datasets.compose:ConcatDataset",
    "map": "headrace.datasets.map:MapDataset",
    "pack": "headrace.datasets.packed:PackedDataset",
    "subset": "headrace.datasets.compose:Subset",
}


def _make(method: str, *arguments: Any, **named: Any) -> Any:
    module, _, name = _MADE[method].partition(":")
    return getattr(importlib.import_module(module), name)(*arguments, **named)


class IterableDataset(ABC, Generic[T_co]):
    """Samples in a stream, endless if need be: derive from it and write `__iter__`.

    The loader takes samples as it needs them. Each epoch asks for a new iterator; a dataset with a
    `set_epoch` method is told the epoch before. Where the number of samples is known, `__len__`
    gives the loader its length.

    >>> class Naturals(IterableDataset):
    ...     def __iter__(self):
    ...         n = 0
    ...         while True:
    ...             yield n
    ...             n += 1
    >>> from headrace import DataLoader
    >>> next(iter(DataLoader(Naturals(), batch_size=4)))
    array([0, 1, 2, 3])
    """

    def __repr__(self) -> str:
        return describe_dataset(self)

    @abstractmethod
    def __iter__(self) -> Iterator[T_co]:
        """Return a new iterator over the samples."""
