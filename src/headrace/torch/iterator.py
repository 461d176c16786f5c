"""The iterator of the face: the core's batches, with what torch's own iterators have beside them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd import profiler
from torch.utils.data.dataloader import _BaseDataLoaderIter, _DatasetKind

from headrace.frameworks import draw_seed
from headrace.pipeline.hugging_face import gives_samples
from headrace.rng.keys import epoch_key
from headrace.torch.core import TorchEpochs
from headrace.torch.errors import as_told_by_torch
from headrace.torch.processes import worker_handles

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.utils.data import DataLoader

    from headrace.batch.arena import Arena
    from headrace.loader.cursor import Epochs
    from headrace.loader.iterator import BatchIterator
    from headrace.torch.core import CoreLoader

__all__ = ["LoaderIterator"]


class LoaderIterator(_BaseDataLoaderIter):
    """The batches of one epoch; of one epoch after the other where workers persist.

    Args:
        loader: the face, which is a subclass of torch's.
        core: the core loader behind it.
        batches: the core's batches to hand out; None for those of the next epoch.
    """

    _pin_memory_thread = None  # nothing is pinned in a thread

    def __init__(self, loader: DataLoader, core: CoreLoader, batches: BatchIterator[Any] | None = None) -> None:
        self._core, self._given = core, batches
        self._dataset, self._dataset_kind = loader.dataset, loader._dataset_kind
        self._auto_collation, self._collate_fn = loader._auto_collation, loader.collate_fn
        self._drop_last, self._timeout = loader.drop_last, loader.timeout
        self._num_workers, self._persistent_workers = loader.num_workers, loader.persistent_workers
        self._pin_memory = loader.pin_memory and torch.accelerator.is_available()
        self._profile_name = f"enumerate(DataLoader)#{type(self).__name__}.__next__"
        self._resets = 0
        _warn_of_pinning(loader)
        self._base_seed = _seed_of(core.epochs, loader.generator, core.seed)
        self._begin_epoch(loader)

    def _begin_epoch(self, loader: DataLoader) -> None:
        self._index_sampler = loader._index_sampler
        self._num_yielded = 0
        streams = loader._dataset_kind == _DatasetKind.Iterable
        self._IterableDataset_len_called = loader._IterableDataset_len_called if streams else None
        self._batches: BatchIterator[Any] | None = None
        self._memory: tuple[str, Callable[[], Arena]] | None = loader._memory
        at_once = self._num_workers and not loader._is_steered()  # workers load ahead from here on, as torch's do
        if at_once or (streams and self._core.is_torchs and not loader._finds_workers()):
            self._start().begin()

    def _reset(self, loader: DataLoader, first_iter: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - torch's
        """Begin the next epoch with the same workers."""
        self._shutdown_run()
        self._resets += 1
        self._begin_epoch(loader)

    def __len__(self) -> int:
        """Return the number of batches, also of those that have been handed out."""
        return len(self._index_sampler) if self._given is None else len(self._given)

    def state_later(self) -> Callable[[], dict[str, Any]]:
        """Return a function that gives the state of this moment, which costs next to nothing where it is not called."""
        return (self._start() if self._batches is None else self._batches).state_later()

    def note_copy(self, began: int) -> None:
        """Take note that the batch that was handed out last has been put on a device since a time, or is on its way."""
        (self._start() if self._batches is None else self._batches).note_copy(began)

    def is_at_end(self) -> bool:
        """Return whether the last batch of the epoch has been handed out; its length must be known."""
        batches = self._start() if self._batches is None else self._batches
        return batches.is_at_end()

    def _start(self) -> BatchIterator[Any]:
        epochs = self._core.epochs
        if isinstance(epochs, TorchEpochs):
            again = self._resets and epoch_key(self._base_seed, self._resets, "reset") >> 1
            epochs.base_seed = again or self._base_seed
            epochs.told = self._dataset.epoch if gives_samples(self._dataset) else None
        self._batches = batches = iter(self._core) if self._given is None else self._given
        if self._memory is not None:
            batches.lie_in(*self._memory)
        batches.begin()  # with this seed
        return batches

    def __next__(self) -> Any:
        """Return the next batch.

        Raises:
            StopIteration: the epoch is over.
            Exception: what the dataset raised, in a worker process with torch's text, and the original as its cause.
        """
        if profiler._is_profiler_enabled:
            with profiler.record_function(self._profile_name):
                return self._next_batch()
        return self._next_batch()

    def _next_batch(self) -> Any:
        try:
            batch = next(self._start() if self._batches is None else self._batches)
        except StopIteration:
            raise
        except Exception as error:
            told = as_told_by_torch(error, self._timeout)
            if told is error:
                raise
            try:
                raise told
            finally:
                del told  # it refers to this frame, which must not refer to it
        self._num_yielded += 1
        if self._IterableDataset_len_called is not None and self._num_yielded > self._IterableDataset_len_called:
            self._warn_of_length()
        return batch

    def _warn_of_length(self) -> None:
        text = (
            f"Length of IterableDataset {self._dataset} was reported to be {self._IterableDataset_len_called}"
            f"(when accessing len(dataloader)), but {self._num_yielded} samples have been fetched. "
        )
        if self._num_workers:
            text += (
                "For multiprocessing data-loading, this could be caused by not properly configuring the "
                "IterableDataset replica at each worker: let its __iter__ pick the worker's share, or use shard=True."
            )
        warnings.warn(text, stacklevel=4)

    # ------------------------------------------------------------------ workers

    @property
    def _workers(self) -> list[Any]:
        """The worker processes, or threads."""
        if not self._num_workers:
            raise AttributeError("_workers")
        return worker_handles(self._core.pool)

    def _shutdown_run(self) -> None:
        end = getattr(self._batches, "_end", None)
        if end is not None:
            end()

    def _shutdown_workers(self) -> None:
        """End the workers."""
        self._shutdown_run()
        if self._core.pool is not None:
            self._core.pool.close()

    def __del__(self) -> None:
        """Do nothing: what holds the workers ends them."""


def _seed_of(epochs: Epochs, generator: Any, own: int | None) -> int:
    """Return the seed of an iterator: headrace's own, that of a loaded state, or one drawn as torch draws it."""
    if own is not None or not isinstance(epochs, TorchEpochs):
        return own or 0
    loaded = epochs.loaded_seed
    return draw_seed(generator, of_torch=True) if loaded is None else loaded


def _warn_of_pinning(loader: DataLoader) -> None:
    """Give torch's warnings of `pin_memory`."""
    if loader.pin_memory and loader.pin_memory_device:
        warnings.warn(
            "pin_memory_device is deprecated, the current accelerator will be used as the device,"
            f"ignore pin_memory_device='{loader.pin_memory_device}'.",
            stacklevel=5,
        )
    if loader.pin_memory and not torch.accelerator.is_available():
        warnings.warn(
            "'pin_memory' argument is set as true but no accelerator is found, "
            "then device pinned memory won't be used.",
            stacklevel=5,
        )
