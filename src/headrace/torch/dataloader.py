"""The DataLoader for programs written for PyTorch: torch's own interface, with headrace's core behind it."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch.utils import data as torch_data
from torch.utils.data._utils.collate import default_collate
from torch.utils.data.dataloader import _DatasetKind

from headrace.errors import ArgumentError
from headrace.loader.config import check_count
from headrace.pipeline.compile import compile_dataset
from headrace.sampling.ranks import Shares
from headrace.torch.accelerated import AcceleratedIterator, is_kept
from headrace.torch.collate import TorchCollation, collates_as_torch
from headrace.torch.core import CoreLoader
from headrace.torch.iterator import LoaderIterator
from headrace.torch.sampler import EpochSampler, EvenSampler, RankBatches, RankSampler
from headrace.torch.streams import as_torch_dataset, inner_dataset
from headrace.torch.work import makes_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from headrace.batch.arena import Arena
    from headrace.loader.bad_samples import BadSample
    from headrace.loader.config import OnError, OnWorkerDeath, Shuffle
    from headrace.loader.stats import LoaderStats
    from headrace.sampling.ranks import Uneven

__all__ = ["DataLoader"]

if TYPE_CHECKING:  # a loader is one of Any batches unless it says more
    from typing_extensions import TypeVar as DefaultingTypeVar

    B_co = DefaultingTypeVar("B_co", covariant=True, default=Any)
else:
    B_co = TypeVar("B_co", covariant=True)

# Attributes that the core loader is made of, beside the order of the samples: as torch names them, and as it does.
_OF_WORKERS = ("prefetch_factor", "persistent_workers", "multiprocessing_context", "timeout")
_OF_CORE = (
    "num_workers",
    "worker_init_fn",
    "in_order",
    "seed",
    "on_error",
    "on_worker_death",
    "prefetch_bytes",
    "shard",
    "max_errors",
)
_WATCHED = (
    "dataset",
    "batch_sampler",
    "sampler",
    "collate_fn",
    "pin_memory",
    "generator",
    "backend",
    *_OF_CORE,
    *_OF_WORKERS,
)


class DataLoader(torch_data.DataLoader, Generic[B_co]):
    """Batches of a dataset: `torch.utils.data.DataLoader` with another import.

    It is a subclass of torch's, takes its arguments in its order, and gives the same batches: the same
    `torch.manual_seed` gives the same order, and the workers the same seeds; samples are collated by torch's rules.
    With a `seed` of headrace's own each batch is a pure function of (dataset, seed, epoch, step) instead, whatever the
    workers: any order of 10 billion samples costs no memory, `state_dict` is a few integers, `batch(step, epoch)` gives
    any batch.

    Args:
        dataset: as torch takes it, or a dataset or stream of headrace's.
        batch_size: samples a batch; None hands out single samples.
        shuffle: a new random order in each epoch; with a `seed` also "block".
        sampler: decides the order instead.
        batch_sampler: decides the batches instead.
        num_workers: workers that load ahead; 0 loads in this process.
        collate_fn: makes a batch of a list of samples; default `default_collate`.
        pin_memory: put tensors into page-locked memory, if there is an accelerator.
        drop_last: leave out the last samples of an epoch if they do not fill a batch.
        timeout: seconds to wait for a batch of a worker; 0 waits for ever.
        worker_init_fn: called in each worker with its number, before it loads anything.
        multiprocessing_context: how worker processes are started: "fork", "forkserver", "spawn" or a context.
        generator: the torch.Generator that seeds and orders are drawn from; None for torch's global one.
        prefetch_factor: batches that are loaded ahead for each worker; default 2.
        persistent_workers: keep the workers, and their copies of the dataset, between epochs.
        pin_memory_device: accepted and ignored, as torch does by now.
        in_order: hand out batches in the order of their steps, else as they come.
        seed: a non-negative integer from which all epochs follow, in place of torch's generators.
        backend: what workers are: "thread", "process", or "auto", which takes threads only where no code of the
            user's could tell.
        rank: which of `world_size` ranks this loader feeds.
        world_size: how many ranks share the dataset. Without a `seed` they have the order of a DistributedSampler.
        uneven: how they share a last step that is smaller than the others: "even_split", "drop", "repeat" as a
            DistributedSampler does, or with a `seed` "pad"; see `headrace.DataLoader`.
        on_error: what happens if a sample cannot be read: "raise", "skip" or "replace".
        on_worker_death: what happens when a worker process dies: "raise" or "restart".
        prefetch_bytes: how large the batches loaded ahead may be together, in bytes.
        shard: deal the batches of a stream out to the workers; otherwise each has the whole stream, as in torch.
        block_size: samples a block for shuffle="block".
        window: how many blocks are shuffled among each other for shuffle="block".
        max_errors: how many bad samples are passed over.

    Raises:
        ValueError: a value is not allowed, or two exclude each other; with torch's text where torch refuses it.
        TypeError: a value is of the wrong kind.

    >>> import torch
    >>> from headrace.torch import DataLoader, TensorDataset
    >>> dataset = TensorDataset(torch.arange(10.0), torch.arange(10))
    >>> for x, y in DataLoader(dataset, batch_size=4):
    ...     print(x.shape, y)
    torch.Size([4]) tensor([0, 1, 2, 3])
    torch.Size([4]) tensor([4, 5, 6, 7])
    torch.Size([2]) tensor([8, 9])
    """

    use_stateful_dataloader = True  # accelerate saves its state
    _prepared = False
    _memory: tuple[str, Callable[[], Arena]] | None = None  # of the iterator being made, where it is not the usual one

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: Shuffle | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Sequence[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], B_co] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        seed: int | None = None,
        backend: str = "auto",
        rank: int | None = None,
        world_size: int | None = None,
        uneven: Uneven = "even_split",
        on_error: OnError = "raise",
        on_worker_death: OnWorkerDeath = "raise",
        prefetch_bytes: int | None = None,
        shard: bool = False,
        block_size: int | None = None,
        window: int | None = None,
        max_errors: int | None = None,
    ) -> None:
        super().__init__(
            as_torch_dataset(dataset),
            batch_size,
            shuffle,
            sampler,
            batch_sampler,
            num_workers,
            collate_fn,
            pin_memory,
            drop_last,
            timeout,
            worker_init_fn,
            multiprocessing_context,
            generator,
            prefetch_factor=prefetch_factor,
            persistent_workers=persistent_workers,
            pin_memory_device=pin_memory_device,
            in_order=in_order,
        )
        self.seed, self.backend, self.rank, self.world_size, self.uneven = seed, backend, rank, world_size, uneven
        self.on_error, self.on_worker_death, self.prefetch_bytes = on_error, on_worker_death, prefetch_bytes
        self.shard, self.block_size, self.window, self.max_errors = shard, block_size, window, max_errors
        self._shuffle = shuffle
        self._own_sampler: EpochSampler | None = None
        self._own_batches: torch_data.BatchSampler | None = None
        self._core: CoreLoader | None = None
        self._core_made_of: list[Any] = []
        if sampler is None and batch_sampler is None:
            self._give_order()
        else:
            self._check_divided()
        self._core_loader()

    # ------------------------------------------------------------------ order

    def _streams(self) -> bool:
        return bool(self._dataset_kind == _DatasetKind.Iterable)

    def _give_order(self) -> None:
        """Put the samplers of headrace's order, or of a rank of torch's, in the place of torch's own."""
        if self.seed is None and isinstance(self._shuffle, str):
            raise ArgumentError(
                f"shuffle={self._shuffle!r} is an order of headrace's own and needs a seed; give one, or shuffle=True"
            )
        if self._streams():
            return
        if self.seed is not None:
            self._core = self._make_core(self.dataset, self._core_arguments(own=True))
            kind = EpochSampler if self._core.world_size == 1 else RankSampler
            self._own_sampler = kind(self._core.order, self.seed)
            self._own_sampler.steer(self)
            self._own_batches = self._show(self._own_sampler)
            self._core_made_of = self._made_of()
        elif self.world_size is not None and self.world_size > 1:
            self._show(self._torchs_ranks(self.world_size))

    def _torchs_ranks(self, world_size: int) -> torch_data.Sampler:
        """Return the rank's share of torch's order, which is filled up from its start where that is asked for."""
        if self.uneven == "pad":
            raise ArgumentError("uneven='pad' fills up batches of headrace's own order and needs a seed; give one")
        shuffle, batch_size = bool(self._shuffle), self.batch_size
        if self.uneven == "repeat" or self.drop_last or batch_size is None:
            return torch_data.DistributedSampler(
                self.dataset, world_size, self.rank, shuffle=shuffle, drop_last=self.drop_last
            )
        shares = Shares(len(self.dataset), batch_size, self.rank or 0, world_size, self.uneven)
        return EvenSampler(self.dataset, shares, shuffle=shuffle)

    def _show(self, sampler: torch_data.Sampler) -> torch_data.BatchSampler | None:
        """Let this be the loader's sampler, and return the batches that it makes."""
        batches = None
        if self.batch_size is not None:
            kind = RankBatches if isinstance(sampler, RankSampler | EvenSampler) else torch_data.BatchSampler
            batches = kind(sampler, self.batch_size, self.drop_last)
        self.__dict__.update(sampler=sampler, batch_sampler=batches)  # torch lets nobody set them
        return batches

    def _check_divided(self) -> None:
        """Refuse to let a rank have all that a sampler gives."""
        if (self.world_size or 1) == 1 or any(
            isinstance(each, torch_data.DistributedSampler) for each in self._chain()
        ):
            return
        raise ArgumentError(
            "world_size cannot divide a sampler of your own; let the sampler pick the rank's samples, as a "
            "DistributedSampler does"
        )

    def _chain(self) -> tuple[Any, ...]:
        """Return the samplers, one in the other."""
        return self.batch_sampler, self.sampler, getattr(self.batch_sampler, "sampler", None)

    def _is_steered(self) -> bool:
        """Return whether a sampler may be told an epoch after `iter()`, so that none of it may be asked earlier."""
        return any(hasattr(each, "set_epoch") for each in self._chain())

    def _is_own_order(self) -> bool:
        """Return whether the order is headrace's, and nobody has put another sampler in its place."""
        own = self._own_sampler is not None and self.sampler is self._own_sampler
        return own and self.batch_sampler is self._own_batches

    # ------------------------------------------------------------------ the core

    def _get_iterator(self) -> LoaderIterator:
        """Return an iterator over the next epoch: what torch's `__iter__`, and those who derive from it, call."""
        self.check_worker_number_rationality()
        kind = AcceleratedIterator if self._prepared else LoaderIterator
        return kind(self, self._core_loader())

    @property
    def _is_accelerate_prepared(self) -> bool:
        """Whether accelerate is to keep this loader; it sets that when it does."""
        return self._prepared or is_kept(self)

    @_is_accelerate_prepared.setter
    def _is_accelerate_prepared(self, prepared: bool) -> None:
        self._prepared = prepared

    def _iterate_in(self, name: str, make: Callable[[], Arena]) -> Iterator[B_co]:
        """Return an iterator over the next epoch whose batches lie in an arena of another kind."""
        self._memory = name, make
        try:
            batches: Iterator[B_co] = iter(self)
        finally:
            self._memory = None
        return batches

    def _made_of(self) -> list[Any]:
        return [getattr(self, name) for name in _WATCHED]

    def _core_loader(self) -> CoreLoader:
        """Return the core loader for the present attributes, of which torch lets some be set at any time."""
        made_of, before = self._made_of(), self._core
        same = before is not None and all(map(operator.is_, made_of, self._core_made_of))
        if same and before is not None:
            return before
        arguments = self._core_arguments(own=self._is_own_order())
        core = self._make_core(inner_dataset(self.dataset), arguments)
        if before is not None:
            core.go_on_from(before)
        self._core, self._core_made_of = core, made_of
        return core

    def _make_core(self, dataset: Any, arguments: dict[str, Any]) -> CoreLoader:
        return CoreLoader(dataset, streams=self._streams(), arguments=arguments)

    def _core_arguments(self, *, own: bool) -> dict[str, Any]:
        """Return the arguments of the core loader.

        Args:
            own: whether the order is headrace's own.
        """
        arguments = {name: getattr(self, name) for name in _OF_CORE}
        of_workers = {name: getattr(self, name) for name in _OF_WORKERS} if self.num_workers else {}
        arguments |= {**of_workers, "timeout": self.timeout, "block_size": self.block_size, "window": self.window}
        arguments["collate_fn"] = TorchCollation() if self.collate_fn is default_collate else self.collate_fn
        arguments["pin_memory"] = bool(self.pin_memory) and torch.accelerator.is_available()
        arguments["generator"] = self.generator
        arguments["backend"] = self._choose_backend(arguments["collate_fn"])
        if own:
            ranks = {"rank": self.rank, "world_size": self.world_size, "uneven": self.uneven}
            return {
                **arguments,
                **ranks,
                "batch_size": self.batch_size,
                "shuffle": self._shuffle,
                "drop_last": self.drop_last,
            }
        if self._streams():
            ranks = {"rank": self.rank, "world_size": self.world_size, "uneven": self.uneven}
            return {**arguments, **ranks, "batch_size": self.batch_size, "drop_last": self.drop_last}
        if self.batch_sampler is None:
            return {**arguments, "batch_size": None, "sampler": self.sampler}
        return {**arguments, "batch_sampler": self.batch_sampler}

    def _choose_backend(self, collate_fn: object) -> str:
        """Return what workers are: threads where they are faster and no code but headrace's runs in them."""
        if self.backend != "auto" or not self.num_workers or self._streams():
            return self.backend
        if self.worker_init_fn is not None or self.multiprocessing_context is not None or self.batch_sampler is None:
            return "auto"
        alone = collates_as_torch(collate_fn) and makes_batches(self.dataset)
        return "thread" if alone and compile_dataset(self.dataset).releases_gil else "auto"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_iterator": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._own_sampler is not None:
            self._own_sampler.steer(self)

    # ------------------------------------------------------------------ what torch's loader has not

    def set_epoch(self, epoch: int) -> None:
        """Let the next epoch be that of a number; a sampler with a `set_epoch` of its own is told.

        Args:
            epoch: a non-negative integer.
        """
        epoch = check_count("epoch", epoch)
        if self._is_own_order() and self._own_sampler is not None:
            self._own_sampler.set_epoch(epoch)
        else:
            self._core_loader().set_epoch(epoch)

    def go_to_epoch(self, epoch: int) -> None:
        """Let the next epoch be that of a number, as the loader's own sampler was told."""
        self._core_loader().epochs.go_to(check_count("epoch", epoch))

    def skip(self, batches: int) -> None:
        """Let the next iterator leave out so many batches of those that come next.

        None of their samples is read. With a `seed` that takes no time, however many they are.

        Args:
            batches: a non-negative integer.
        """
        self._core_loader().pass_over(check_count("batches", batches))

    def batch(self, step: int, epoch: int | None = None) -> B_co:
        """Return the batch at a step of an epoch, without loading any other; see `headrace.DataLoader.batch`."""
        found: B_co = self._core_loader().batch(step, epoch)
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader stands, as a dict that `json.dumps` takes; see `headrace.DataLoader.state_dict`."""
        return self._core_loader().state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iterator go on where the state was taken; an empty one changes nothing.

        Raises:
            StateError: it is not the state of a loader with this dataset length, seed and batch size.
        """
        if not state:
            return
        self._core_loader().load_state_dict(state)
        if self._own_sampler is not None:
            self._own_sampler.epoch = int(state["epoch"])

    def stats(self) -> LoaderStats:
        """Return a snapshot of what the loader has handed out so far; see `headrace.DataLoader.stats`."""
        return self._core_loader().stats()

    @property
    def bad_samples(self) -> tuple[BadSample, ...]:
        """The samples that could not be read and were left out or replaced."""
        return self._core_loader().bad_samples

    def close(self) -> None:
        """End the workers and give up the loader's memory; no more can be loaded."""
        self._core_loader().close()

    def __enter__(self) -> DataLoader[B_co]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
