"""The DataLoader for programs written for PyTorch: torch's own interface, with headrace's core behind it."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch.utils import data as torch_data
from torch.utils.data._utils.collate import default_collate
from torch.utils.data.dataloader import _DatasetKind

from headrace.errors import ArgumentError
from headrace.loader.order_arguments import CHOICE
from headrace.loader.ranks import resolve_ranks
from headrace.pipeline.compile import compile_dataset
from headrace.sampling.ranks import Shares
from headrace.torch.accelerated import AcceleratedIterator, is_kept
from headrace.torch.collate import TorchCollation, collates_as_torch
from headrace.torch.core import CoreLoader
from headrace.torch.iterator import LoaderIterator
from headrace.torch.position import ResumableLoader
from headrace.torch.sampler import EpochSampler, EvenSampler, OrderBatches, RankSampler, ranks_of_torch
from headrace.torch.streams import as_torch_dataset, inner_dataset
from headrace.torch.work import makes_batches

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Literal

    from numpy.typing import ArrayLike

    from headrace.batch.arena import Arena
    from headrace.loader.config import OnError, OnWorkerDeath, Shuffle
    from headrace.loader.order_arguments import BatchBy
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
    "worker_init_fn",
    "in_order",
    "seed",
    "on_error",
    "on_worker_death",
    "prefetch_bytes",
    "ram_budget",
    "shard",
    "max_errors",
    "ray_options",
)
_OF_FACE = ("dataset", "batch_sampler", "sampler", "collate_fn", "pin_memory", "generator", "backend")
_WATCHED = _OF_FACE + _OF_CORE + _OF_WORKERS
_OF_RANKS = ("rank", "world_size", "uneven")
_OF_BLOCKS = ("block_size", "window")
_FIXED = {"seed", *_OF_RANKS, *_OF_BLOCKS, *CHOICE}
# What torch has in place of an order of headrace's.
_INSTEAD = {"shuffle": "shuffle=True", "weights": "sampler=WeightedRandomSampler(...)"}
_INSTEAD["replacement"] = "sampler=RandomSampler(dataset, replacement=True)"


class DataLoader(ResumableLoader[B_co], torch_data.DataLoader, Generic[B_co]):
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
        num_workers: workers that load ahead; 0 loads in this process. "auto" finds the number while it runs, where it
            cannot show in the batches: with a `seed`, or where none of the user's code runs; see `headrace.DataLoader`.
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
        backend: what workers are: "thread", "process", "ray", or "auto", which takes threads only where no code of the
            user's could tell.
        rank: which of `world_size` ranks this loader feeds.
        world_size: how many ranks share the dataset. Without a `seed` they have the order of a DistributedSampler.
        ranks: "auto" finds rank and world size, of an initialised process group for one; see `headrace.DataLoader`.
        device_mesh: a DeviceMesh in which this process has its rank, in place of the two.
        replication: so many consecutive ranks get the same data, as parts of one model.
        uneven: how they share a last step that is smaller than the others: "even_split", "drop", "repeat" as a
            DistributedSampler does, or with a `seed` "pad"; see `headrace.DataLoader`.
        on_error: what happens if a sample cannot be read: "raise", "skip" or "replace".
        on_worker_death: what happens when a worker process dies: "raise" or "restart".
        prefetch_bytes: how large the batches loaded ahead may be together, in bytes.
        ram_budget: for num_workers="auto": the bytes that batches loaded ahead and worker processes may take together.
        shard: deal the batches of a stream out to the workers; otherwise each has the whole stream, as in torch.
        block_size: samples a block for shuffle="block".
        window: how many blocks are shuffled among each other for shuffle="block".
        max_errors: how many bad samples are passed over.
        ray_options: for backend="ray": the cluster's `address` and what each actor needs; see `headrace.DataLoader`.
        weights: with a `seed`: how much more often one sample is drawn than another, shape (n,).
        replacement: with a `seed`: whether a sample may be drawn again in an epoch.
        batch_by: with a `seed`: "tokens" bounds the tokens of a batch in place of its samples.
        max_tokens: tokens of such a batch, padding included.
        max_batch_size: samples of such a batch at most.
        boundaries: the lengths up to which the buckets go that these batches are made of.
        group_by_length: with a `seed`: sort the order by length in windows.
        sort_window: how many samples are sorted at once.
        trace: a file for a trace of the loader, whole once it is closed; see `headrace.DataLoader`.

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
    _iterator: LoaderIterator | None
    _prepared = False
    _memory: tuple[str, Callable[[], Arena]] | None = None  # of the iterator being made, where it is not the usual one

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: Shuffle | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Sequence[Any]] | None = None,
        num_workers: int | Literal["auto"] = 0,
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
        ranks: Literal["auto"] | None = None,
        device_mesh: Any = None,
        replication: int | None = None,
        uneven: Uneven = "even_split",
        on_error: OnError = "raise",
        on_worker_death: OnWorkerDeath = "raise",
        prefetch_bytes: int | None = None,
        ram_budget: int | None = None,
        shard: bool = False,
        block_size: int | None = None,
        window: int | None = None,
        max_errors: int | None = None,
        ray_options: dict[str, Any] | None = None,
        weights: ArrayLike | None = None,
        replacement: bool | None = None,
        batch_by: BatchBy = "samples",
        max_tokens: int | None = None,
        max_batch_size: int | None = None,
        boundaries: Sequence[int] | None = None,
        group_by_length: bool = False,
        sort_window: int | None = None,
        trace: str | os.PathLike[str] | None = None,
    ) -> None:
        given, auto = locals(), isinstance(num_workers, str) and num_workers == "auto"
        self.seed, self.backend, self.on_error, self.on_worker_death = seed, backend, on_error, on_worker_death
        self.prefetch_bytes, self.shard, self.max_errors = prefetch_bytes, shard, max_errors
        self.ram_budget, self.trace, self.ray_options = ram_budget, trace, ray_options
        self.__dict__.update({name: given[name] for name in (*_OF_RANKS, *_OF_BLOCKS, *CHOICE)})
        # What has found the rank is not kept: who makes the loader again of its attributes gives it `rank` itself.
        self.ranks = self.device_mesh = self.replication = None
        self.__dict__.update(resolve_ranks(given))
        super().__init__(
            as_torch_dataset(dataset),
            batch_size,
            shuffle,
            sampler,
            batch_sampler,
            1 if isinstance(num_workers, str) and auto else num_workers,
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
        if auto:
            self.num_workers, self.prefetch_factor = "auto", prefetch_factor
        self._shuffle = shuffle
        self._has_samplers = sampler is not None or batch_sampler is not None
        self._own_sampler: EpochSampler | None = None
        self._own_batches: torch_data.BatchSampler | None = None
        self._core: CoreLoader | None = None
        self._core_made_of: list[Any] = []
        self._check_seeded()
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
            size, shuffle = self.batch_size or 1, bool(self._shuffle)
            rank = self.rank or 0
            shares = Shares(len(self.dataset), size, rank, self.world_size, self.uneven, self.drop_last)
            self._show(ranks_of_torch(self.dataset, shares, shuffle=shuffle, single=self.batch_size is None))

    def _show(self, sampler: torch_data.Sampler) -> torch_data.BatchSampler | None:
        """Let this be the loader's sampler, and return the batches that it makes."""
        batches = None
        if self.batch_size is not None:
            itself = isinstance(sampler, EvenSampler) or (isinstance(sampler, EpochSampler) and sampler.makes_batches)
            kind = OrderBatches if itself else torch_data.BatchSampler
            batches = kind(sampler, self.batch_size, self.drop_last)
        self.__dict__.update(sampler=sampler, batch_sampler=batches)  # torch lets nobody set them
        return batches

    def _check_seeded(self) -> None:
        """Refuse orders of headrace's own where torch decides on the order."""
        if self.seed is not None:
            return
        if isinstance(self._shuffle, str):
            raise _needs_seed("shuffle", self._shuffle)
        for name in CHOICE:
            value = getattr(self, name)
            if not (value is None or value is False or (isinstance(value, str) and value == "samples")):
                raise _needs_seed(name, value)

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

    def __iter__(self) -> Any:
        """Return an iterator over the next epoch; where workers persist, the same for all epochs."""
        # If that depended on how many there are at present, so would what an iterator draws.
        if self._finds_workers() or not (self.persistent_workers and self.num_workers):
            return self._get_iterator()
        if self._iterator is None:
            self._iterator = self._get_iterator()
        else:
            self._iterator._reset(self)  # noqa: SLF001 - as torch's own does
        return self._iterator

    def _get_iterator(self) -> LoaderIterator:
        """Return an iterator over the next epoch: what torch's `__iter__`, and those who derive from it, call."""
        if not self._finds_workers():
            self.check_worker_number_rationality()
        kind = AcceleratedIterator if self._prepared else LoaderIterator
        return kind(self, self._core_loader(), self._given)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIXED and self._DataLoader__initialized:
            raise ArgumentError(f"{name} attribute should not be set after DataLoader is initialized; make a new one")
        super().__setattr__(name, value)

    @property
    def num_workers(self) -> int:
        """The workers that load ahead; where the loader finds their number itself, how many there are at present."""
        core: CoreLoader | None = self.__dict__.get("_core")
        number: int = 0 if self._finds_workers() else self.__dict__["num_workers"]
        return core.num_workers if core is not None and self._finds_workers() else number

    @num_workers.setter
    def num_workers(self, number: int | Literal["auto"]) -> None:
        self.__dict__["num_workers"] = number

    def _finds_workers(self) -> bool:
        """Return whether the loader finds the number of its workers itself."""
        return bool(self.__dict__["num_workers"] == "auto")

    @property
    def _is_accelerate_prepared(self) -> bool:
        """Whether accelerate is to keep this loader; it sets that when it does."""
        return self._prepared or is_kept(self)

    @_is_accelerate_prepared.setter
    def _is_accelerate_prepared(self, prepared: bool) -> None:
        self._prepared = prepared
        if prepared and self._is_own_order() and self.uneven == "even_split" and (self.world_size or 1) > 1:
            self._share_by_repeating()

    def _share_by_repeating(self) -> None:
        """Let all ranks have last batches of one size, as gathering takes them; what comes twice it leaves out."""
        core, sampler = self._core_loader(), self._own_sampler
        self.__dict__["uneven"] = "repeat"
        self._give_order()
        self._core_loader().go_on_from(core)
        if sampler is not None and self._own_sampler is not None:
            self._own_sampler.epoch = sampler.epoch

    def _iterate_in(self, name: str, make: Callable[[], Arena]) -> Iterator[B_co]:
        """Return an iterator over the next epoch whose batches lie in an arena of another kind."""
        self._memory = name, make
        try:
            batches: Iterator[B_co] = iter(self)
        finally:
            self._memory = None
        return batches

    def _made_of(self) -> list[Any]:
        return [self.__dict__["num_workers"], *(getattr(self, name) for name in _WATCHED)]

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

    def own_loader(self, seed: int | None = None) -> CoreLoader:
        """Return a fresh loader of headrace's own with the same work, which the commands look at.

        Args:
            seed: in place of the loader's own. Where there is neither, the order is torch's.
        """
        seed = self.seed if seed is None else seed
        own = seed is not None and not self._has_samplers
        arguments = self._core_arguments(own=own) | {"seed": seed, "trace": None}
        arguments["generator"] = self.generator if seed is None else None
        return self._make_core(inner_dataset(self.dataset), arguments)

    def _make_core(self, dataset: Any, arguments: dict[str, Any]) -> CoreLoader:
        return CoreLoader(dataset, streams=self._streams(), arguments=arguments)

    def _core_arguments(self, *, own: bool) -> dict[str, Any]:
        """Return the arguments of the core loader.

        Args:
            own: whether the order is headrace's own.
        """
        arguments = {name: getattr(self, name) for name in _OF_CORE}
        workers = arguments["num_workers"] = self.__dict__["num_workers"]
        of_workers = {name: getattr(self, name) for name in _OF_WORKERS} if workers else {}
        arguments |= {**of_workers, "timeout": self.timeout, "trace": None if self._core is not None else self.trace}
        arguments |= {name: getattr(self, name) for name in (*_OF_BLOCKS, *CHOICE)}
        arguments["collate_fn"] = TorchCollation() if self.collate_fn is default_collate else self.collate_fn
        arguments["pin_memory"] = bool(self.pin_memory) and torch.accelerator.is_available()
        arguments["generator"] = self.generator
        arguments["backend"] = self._choose_backend(arguments["collate_fn"])
        if own or self._streams():
            arguments |= {name: getattr(self, name) for name in (*_OF_RANKS, "batch_size", "drop_last")}
            return {**arguments, "shuffle": self._shuffle if own else None}
        if self.batch_sampler is None:
            return {**arguments, "batch_size": None, "sampler": self.sampler}
        return {**arguments, "batch_sampler": self.batch_sampler}

    def _choose_backend(self, collate_fn: object) -> str:
        """Return what workers are: threads where they are faster and no code but headrace's runs in them."""
        if self.backend != "auto" or not self.__dict__["num_workers"] or self._streams():
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


def _needs_seed(name: str, value: Any) -> ArgumentError:
    instead = f", or {_INSTEAD[name]}" if name in _INSTEAD else ""
    return ArgumentError(f"{name}={value!r:.60} is an order of headrace's own and needs a seed; give one{instead}")
