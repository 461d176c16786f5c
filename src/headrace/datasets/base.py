"""The two kinds of dataset: samples by index, and samples in a stream."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from headrace.datasets.stats import CacheStats
    from headrace.pipeline.reading import Indexable

__all__ = ["BatchedDataset", "Dataset", "IterableDataset", "StoredDataset", "describe_dataset", "made_by"]

C = TypeVar("C", bound="Callable[..., Any]")

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
    place = next((name for name in ("root", "path") if isinstance(attributes.get(name), str | PurePath)), None)
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
    torch, and `get_batch(indices) -> batch`, given an int64 array of shape (n,). Three more tell the
    loader what it may use: `will_need(indices)` hears early what will be read, `blocks()` says which
    samples lie together, and `counters()` what has been counted, for `loader.stats()`.

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


_CLASSES: dict[str, Callable[..., Any]] = {}


def made_by(method: str) -> Callable[[C], C]:
    """Register a class of datasets as what a method of `Dataset` makes: "map", "subset", "cache" or "concat"."""

    def register(kind: C) -> C:
        _CLASSES[method] = kind
        return kind

    return register


def _make(method: str, *arguments: Any) -> Any:
    return _CLASSES[method](*arguments)


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
