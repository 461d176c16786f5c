"""The DataLoader: walks the function (dataset, seed, epoch, step) -> batch quickly."""

from __future__ import annotations

import copy
import warnings
import weakref
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from headrace import frameworks
from headrace.batch.arena import Arena
from headrace.batch.coalesce import LARGE, SMALL
from headrace.batch.collate import default_collate
from headrace.batch.tree import map_fields
from headrace.cache.randomness import is_of_torch, runs_foreign_code
from headrace.datasets.base import describe_dataset
from headrace.errors import (
    ArgumentError,
    ArgumentTypeError,
    HeadraceError,
    HeadraceWarning,
    OutOfRangeError,
)
from headrace.insight.loader_clock import LoaderClock
from headrace.kernels.cores import available_cores
from headrace.loader import position
from headrace.loader.bad_samples import BadSample, BadSamples
from headrace.loader.config import check_arguments, check_count, check_divides, check_kind, is_stream, rows_of_table
from headrace.loader.context import loading_batch
from headrace.loader.cursor import Cursor, Epoch, Epochs
from headrace.loader.epoch import SampledBatches, StreamedBatches
from headrace.loader.iterator import BatchIterator, one_after_the_other
from headrace.loader.order import SampleOrder
from headrace.loader.pools import PoolKeeper, choose_backend, make_pool
from headrace.loader.ranks import resolve_ranks
from headrace.loader.replay import Replay
from headrace.loader.snapshots import ReaderStates, RestoredStates, dataset_part, is_stateful
from headrace.loader.stream_checks import StreamHistory
from headrace.loader.stream_shares import StreamShares
from headrace.loader.tasks import Loaded, naming_step, seed_globals
from headrace.loader.validity import with_validity
from headrace.loader.work import WorkMaker
from headrace.pipeline.blocks import add_counters
from headrace.pipeline.compile import compile_dataset
from headrace.pipeline.hints import counters, reads_ahead
from headrace.pipeline.hugging_face import gives_samples
from headrace.sampling.samplers import PlanSampling, Sampling, Selection
from headrace.workers.settings import ProgramSettings

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Literal, Unpack

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from headrace.insight.explanation import BatchExplanation
    from headrace.insight.stats import LoaderStats, Settings, SourceStats
    from headrace.loader.auto_pool import AutoPool
    from headrace.loader.auto_workers import AutoWorkers
    from headrace.loader.batch_types import A, B, LoaderOptions, Number, Samples, T, Untyped
    from headrace.loader.checkpoint import LoaderState
    from headrace.loader.config import OnError, OnWorkerDeath, Shuffle
    from headrace.loader.cursor import StartPoint
    from headrace.loader.epoch import Following
    from headrace.loader.order_arguments import BatchBy
    from headrace.sampling.ranks import Shares, Uneven
    from headrace.sampling.samplers import GivenSampling
    from headrace.workers import Pool

__all__ = ["DataLoader"]

if TYPE_CHECKING:  # a loader is one of Any batches unless it says more
    from typing_extensions import TypeVar as DefaultingTypeVar

    B_co = DefaultingTypeVar("B_co", covariant=True, default=Any)
else:
    B_co = TypeVar("B_co", covariant=True)

# Never changed, as in torch.
_FIXED = {"dataset", "batch_size", "sampler", "batch_sampler", "drop_last", "persistent_workers"}
# What the batches depend on, and the workers: fixed by the first iterator.
_FIXED_LATER = {"shuffle", "collate_fn", "generator", "seed", "rank", "world_size", "num_workers", "backend", "shard"}
_FIXED_LATER |= {"ranks", "device_mesh", "replication"}
_FIXED_LATER |= {"on_error", "max_errors", "block_size", "window", "uneven"}
# How often samples come, and which are in one batch.
_CHOICE = (
    "weights",
    "replacement",
    "batch_by",
    "max_tokens",
    "max_batch_size",
    "boundaries",
    "group_by_length",
    "sort_window",
)
_FIXED_LATER |= set(_CHOICE)
# The order of the samples follows from these.
_ORDER = (
    "batch_size",
    "shuffle",
    "drop_last",
    "rank",
    "world_size",
    "uneven",
    "block_size",
    "window",
    "sampler",
    "batch_sampler",
    "seed",
    *_CHOICE,
)
_WINDOW = 8  # blocks, where the user does not say


class DataLoader(Generic[B_co]):
    """Batches of a dataset, each a pure function of (dataset, seed, epoch, step).

    Iterating gives the batches of an epoch, the next epoch with each `iter()`. What goes in comes
    out: ndarrays become ndarrays, torch tensors torch tensors, JAX arrays JAX arrays, and dicts,
    tuples and dataclasses keep their type.

    Args:
        dataset: any object with `__len__` and `__getitem__`, an IterableDataset, or a table: a dict of arrays, or a
            DataFrame, whose rows are the samples.
        batch_size: samples a batch; None hands out single samples, not batched.
        shuffle: a new random order in each epoch; "block" shuffles blocks of consecutive samples, and
            the samples of a few blocks among each other; default False.
        sampler: an iterable of indices that decides the order instead.
        batch_sampler: an iterable of lists of indices that decides the batches instead.
        num_workers: workers that load ahead; 0 loads in the consumer's own thread. The batches are the
            same for any number. "auto" finds the number, and how far ahead they load, from what it measures of loading
            and of the consumer, and changes both while it runs: it begins without workers, which is where small data in
            memory stays. The attribute tells the number in use. Not for an IterableDataset, nor with `worker_init_fn`,
            `multiprocessing_context="fork"` or actors of Ray.
        collate_fn: makes a batch of a list of samples, in place of `default_collate`.
        pin_memory: put torch tensors into page-locked memory, if there is a GPU.
        drop_last: leave out the last samples of an epoch if they do not fill a batch.
        timeout: seconds to wait for a batch of a worker; 0 waits for ever.
        worker_init_fn: called in each worker with its number, before it loads anything. They then load
            in turns, so a generator that it makes for a worker gives the same batches in each run.
        multiprocessing_context: how worker processes are started: "fork", "forkserver", "spawn" or a
            context of `multiprocessing`. By default they are as clean as new interpreters, need no
            `if __name__ == "__main__"` and take lambdas and classes of a script or notebook.
        generator: where the seeds of epochs come from: a NumPy Generator, a random.Random or a
            torch.Generator. By default they come from Python's `random`.
        prefetch_factor: batches that are loaded ahead for each worker; default 2. Small batches of rows in memory
            go together, up to 4 MB, and count as one.
        persistent_workers: keep the workers, and their copies of the dataset, between epochs.
        pin_memory_device: accepted as torch accepts it; page-locked memory serves every device.
        in_order: hand out batches in the order of their steps, else as they come.
        seed: a non-negative integer from which all epochs follow, in place of a generator.
        backend: what workers are: "thread", "process", "ray" (actors of a cluster), or "auto", which takes threads
            where all of the dataset says that it releases the GIL, else processes.
        rank: which of `world_size` ranks this loader feeds. A step is then batch_size * world_size
            samples, of which each rank gets its share. Of an IterableDataset every rank reads all and keeps its share,
            so it has to be the same on all ranks.
        world_size: how many ranks share the dataset.
        ranks: "auto" finds rank and world size: of an initialised torch process group or `jax.distributed`, of a worker
            of Ray Train, or in the variables of torchrun, SLURM or Open MPI. What disagrees is an error; where nothing
            says so, there is one rank.
        device_mesh: a torch DeviceMesh in which this process has its rank, in place of the two: along the dimensions
            whose names begin with "dp" or are "data" or "batch", or along the only one. Others hold parts of a model,
            whose ranks get the same data.
        replication: so many consecutive ranks get the same data, as parts of one model.
        uneven: how the ranks share a last step that is smaller than the others. "even_split" divides it as evenly as
            it goes; fewer samples than ranks join the step before. "drop" leaves out what cannot be shared equally;
            "repeat" fills the shares up from the start of the epoch, as torch's DistributedSampler does; "pad" fills
            them up to `batch_size`, also of one rank, and each batch has one more field, which tells the samples
            from the filling: the last of a tuple, "valid" of a dict. A stream has no start to go back to: "repeat"
            fills up with the samples of the step itself, and "pad" is refused.
        on_error: what happens if a sample cannot be read: "raise" its error, "skip" the sample, or
            "replace" it with another one, drawn from the same key; `bad_samples` lists what was passed over.
        on_worker_death: what happens when a worker process dies: "raise" a WorkerDiedError, or
            "restart": a new one loads what the dead one had not.
        prefetch_bytes: how large the batches loaded ahead may be together, in bytes; None for no bound
            but that of `prefetch_factor`.
        ram_budget: for num_workers="auto": the bytes that batches loaded ahead, and the memory that worker processes
            have for themselves, may take together; None for any.
        shard: deal the batches of an IterableDataset out to the workers, so that none is seen twice and
            they are those of a loader without workers. Otherwise each worker process has the whole stream, and
            `get_worker_info()` to read its share of it, as in torch; threads have one stream, which is dealt out.
        block_size: samples a block for shuffle="block"; by default what the dataset's `blocks()` says, or
            else 1024.
        window: how many blocks are shuffled among each other for shuffle="block"; default 8.
        max_errors: how many bad samples are passed over before a TooManyErrorsError; None for any number.
        weights: how much more often one sample is drawn than another, shape (n,); an epoch has as many draws as
            the dataset has samples.
        replacement: whether a sample may be drawn again in an epoch: by default with `weights` only. With
            weights and `replacement=False`, samples of more weight come sooner, and those without none.
        batch_by: "samples" has batches of `batch_size` samples, "tokens" batches of sequences of similar
            lengths whose tokens are bounded by `max_tokens`. The lengths are what the dataset's `lengths()` says, or
            else all samples are read once.
        max_tokens: tokens of a batch on each rank, padding included.
        max_batch_size: samples of such a batch at most.
        boundaries: the lengths up to which the buckets go that these batches are made of; by default 32
            buckets of about as many tokens.
        group_by_length: sort the order by length in windows, so that samples of a batch are of similar lengths.
        sort_window: how many samples are sorted at once, rounded up to whole steps; default 64 steps.
        ray_options: for backend="ray": the `address` of a cluster, and of each actor `num_cpus` (by default 1 if
            there are as many), `resources`, `label_selector`, `scheduling_strategy` and `runtime_env`, as Ray has them.
        trace: a file for a trace of the loader, whole once it is closed, which ui.perfetto.dev and chrome://tracing
            open: the consumer and each worker as rows, and batches as arrows between them.

    Raises:
        ArgumentError: a value is not allowed, or two exclude each other (also a ValueError).
        ArgumentTypeError: a value is of the wrong kind (also a TypeError).
        NotYetError: this release cannot do it yet (also a NotImplementedError).

    The order of arguments, and what each means, is that of torch.utils.data.DataLoader up to
    `in_order`.

    >>> import numpy as np
    >>> from headrace import TensorDataset
    >>> dataset = TensorDataset(np.arange(10.0), np.arange(10))
    >>> for x, y in DataLoader(dataset, batch_size=4):
    ...     print(x.shape, y)
    (4,) [0 1 2 3]
    (4,) [4 5 6 7]
    (2,) [8 9]
    """

    # The arguments as `_configure` takes them, and as they were given.
    _given: dict[str, Any]
    dataset: Any
    batch_size: int | None
    shuffle: Shuffle
    sampler: Iterable[Any] | None
    batch_sampler: Iterable[Sequence[Any]] | None
    collate_fn: Callable[[Any], B_co] | None
    pin_memory: bool
    drop_last: bool
    timeout: float
    worker_init_fn: Callable[[int], None] | None
    multiprocessing_context: Any
    generator: Any
    prefetch_factor: int | None
    persistent_workers: bool
    pin_memory_device: str
    in_order: bool
    seed: int | None
    backend: str
    rank: int
    world_size: int
    ranks: Literal["auto"] | None
    device_mesh: Any
    replication: int | None
    uneven: Uneven
    on_error: OnError
    on_worker_death: OnWorkerDeath
    prefetch_bytes: int | None
    ram_budget: int | None
    shard: bool
    block_size: int | None
    window: int | None
    max_errors: int | None
    weights: ArrayLike | None
    replacement: bool | None
    batch_by: BatchBy
    max_tokens: int | None
    max_batch_size: int | None
    boundaries: Sequence[int] | None
    group_by_length: bool
    sort_window: int | None
    ray_options: dict[str, Any] | None
    trace: str | os.PathLike[str] | None

    @overload
    def __init__(
        self: DataLoader[Any],
        dataset: Untyped,
        batch_size: int | None = ...,
        shuffle: Shuffle | None = ...,
        **options: Unpack[LoaderOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: DataLoader[B],
        dataset: Samples[T],
        batch_size: int = ...,
        shuffle: Shuffle | None = ...,
        *,
        collate_fn: Callable[[list[T]], B],
        **options: Unpack[LoaderOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: DataLoader[T],
        dataset: Samples[T],
        batch_size: None,
        shuffle: Shuffle | None = ...,
        *,
        collate_fn: None = ...,
        **options: Unpack[LoaderOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: DataLoader[A],
        dataset: Samples[A],
        batch_size: int = ...,
        shuffle: Shuffle | None = ...,
        *,
        collate_fn: None = ...,
        **options: Unpack[LoaderOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: DataLoader[tuple[A, NDArray[Any]]],
        dataset: Samples[tuple[A, Number]],
        batch_size: int = ...,
        shuffle: Shuffle | None = ...,
        *,
        collate_fn: None = ...,
        **options: Unpack[LoaderOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: DataLoader[NDArray[Any]],
        dataset: Samples[Number],
        batch_size: int = ...,
        shuffle: Shuffle | None = ...,
        *,
        collate_fn: None = ...,
        **options: Unpack[LoaderOptions],
    ) -> None: ...

    @overload
    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = ...,
        shuffle: Shuffle | None = ...,
        sampler: Iterable[Any] | None = ...,
        batch_sampler: Iterable[Sequence[Any]] | None = ...,
        num_workers: int | Literal["auto"] = ...,
        collate_fn: Callable[[Any], B_co] | None = ...,
        pin_memory: bool = ...,
        drop_last: bool = ...,
        timeout: float = ...,
        worker_init_fn: Callable[[int], None] | None = ...,
        multiprocessing_context: Any = ...,
        generator: Any = ...,
        *,
        prefetch_factor: int | None = ...,
        persistent_workers: bool = ...,
        pin_memory_device: str = ...,
        in_order: bool = ...,
        seed: int | None = ...,
        backend: str = ...,
        rank: int | None = ...,
        world_size: int | None = ...,
        ranks: Literal["auto"] | None = ...,
        device_mesh: Any = ...,
        replication: int | None = ...,
        uneven: Uneven = ...,
        on_error: OnError = ...,
        on_worker_death: OnWorkerDeath = ...,
        prefetch_bytes: int | None = ...,
        ram_budget: int | None = ...,
        shard: bool = ...,
        block_size: int | None = ...,
        window: int | None = ...,
        max_errors: int | None = ...,
        weights: ArrayLike | None = ...,
        replacement: bool | None = ...,
        batch_by: BatchBy = ...,
        max_tokens: int | None = ...,
        max_batch_size: int | None = ...,
        boundaries: Sequence[int] | None = ...,
        group_by_length: bool = ...,
        sort_window: int | None = ...,
        ray_options: dict[str, Any] | None = ...,
        trace: str | os.PathLike[str] | None = ...,
    ) -> None: ...

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: Shuffle | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Sequence[Any]] | None = None,
        num_workers: int | Literal["auto"] = 0,
        collate_fn: Callable[[Any], Any] | None = None,
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
        weights: ArrayLike | None = None,
        replacement: bool | None = None,
        batch_by: BatchBy = "samples",
        max_tokens: int | None = None,
        max_batch_size: int | None = None,
        boundaries: Sequence[int] | None = None,
        group_by_length: bool = False,
        sort_window: int | None = None,
        ray_options: dict[str, Any] | None = None,
        trace: str | os.PathLike[str] | None = None,
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in ("self", "dataset")}
        self.dataset = self._open(dataset, sampler, batch_sampler)
        self._iterated = False
        self._configure(given)
        self._epochs = self._make_epochs()
        self._make_resources()

    def _open(self, dataset: Any, *samplers: Iterable[Any] | None) -> Any:
        """Return the dataset whose samples are read, and take note whether it is a stream."""
        dataset = rows_of_table(dataset, *samplers)
        self._streams = is_stream(dataset)
        check_kind(dataset, streams=self._streams, needs_length=all(sampler is None for sampler in samplers))
        return dataset

    def _make_epochs(self) -> Epochs:
        return Epochs(self.seed, self.generator, of_torch=is_of_torch(self.dataset))

    def _configure(self, given: dict[str, Any]) -> None:
        """Check all arguments together and take them.

        Args:
            given: the constructor's arguments by name, as they were given.
        """
        shown = {name: given[name] for name in ("ranks", "device_mesh", "replication")}
        given = {**given, **dict.fromkeys(shown), **resolve_ranks(given)}
        check_arguments(given, stream=self._streams)
        batch_size = given["batch_size"]
        num_workers = 0 if given["num_workers"] == "auto" else int(given["num_workers"])  # until they are found
        check_divides(self.dataset, {**given, "num_workers": num_workers})
        shuffle, prefetch_factor, window = given["shuffle"], given["prefetch_factor"], given["window"]
        taken = dict(given)
        taken["batch_size"] = None if batch_size is None or given["batch_sampler"] is not None else int(batch_size)
        taken["shuffle"] = shuffle if isinstance(shuffle, str) else bool(shuffle)
        taken["num_workers"] = num_workers
        taken["prefetch_factor"] = 2 if prefetch_factor is None and num_workers else prefetch_factor
        taken["window"] = (_WINDOW if window is None else int(window)) if shuffle == "block" else None
        taken["rank"] = int(given["rank"] or 0)
        taken["world_size"] = int(given["world_size"] or 1)
        for name in ("pin_memory", "drop_last", "persistent_workers", "in_order", "shard"):
            taken[name] = bool(given[name])
        for name in ("seed", "max_errors"):
            taken[name] = None if given[name] is None else int(given[name])
        self.__dict__.update(taken, **shown, _given=given)
        self._order = SampleOrder(self.dataset, **{name: taken[name] for name in _ORDER})
        self._given_sampling = self._make_sampling()
        if not self._streams:
            self._order.check()

    def _make_sampling(self) -> GivenSampling | None:
        return self._order.given()

    def _make_resources(self) -> None:
        self._arena = Arena()
        self._other_arenas: dict[str, Arena] = {}
        self._clock = LoaderClock()
        self._auto: AutoWorkers | None = None  # where it finds the number of its workers itself
        self._end_of_trace = None if self.trace is None else self._begin_trace(self.trace)
        self._bad = BadSamples(self.on_error, self.max_errors)
        self._pools = PoolKeeper(persistent=self.persistent_workers)
        # What other ranks have of a stream is not counted here.
        self._stream_history = StreamHistory(self.dataset, trusts_length=self.world_size == 1)
        self._states = self._make_states()
        self._closed = False

    def _begin_trace(self, path: str | os.PathLike[str]) -> weakref.finalize[..., DataLoader[B_co]]:
        from headrace.insight.trace import record  # for who wants one

        return weakref.finalize(self, record(path, self._clock))

    def _make_states(self) -> ReaderStates:
        return ReaderStates(every=1)

    def __setattr__(self, name: str, value: object) -> None:
        if "_closed" not in self.__dict__ or not (name in self._given or name == "dataset"):
            super().__setattr__(name, value)
            return
        if name in _FIXED:
            raise ArgumentError(f"{name} cannot be changed after the DataLoader is made; make a new DataLoader")
        if name in _FIXED_LATER and self._iterated:
            raise ArgumentError(f"{name} cannot be changed after the first iteration; make a new DataLoader")
        self._configure({**self._given, name: value})
        if name in ("on_error", "max_errors"):
            self._bad = BadSamples(self.on_error, self.max_errors)
        if name in ("seed", "generator"):
            self._epochs.draw_from(self.seed, self.generator)

    def __getstate__(self) -> dict[str, Any]:
        left_out = (
            "_arena",
            "_other_arenas",
            "_clock",
            "_auto",
            "_end_of_trace",
            "_bad",
            "_pools",
            "_stream_history",
            "_states",
            "_closed",
        )
        state = {name: value for name, value in self.__dict__.items() if name not in left_out}
        return {**state, "_epochs": copy.copy(self._epochs)}  # a copy goes its own way, from the same place

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, trace=None)  # which is the first one's
        self._make_resources()

    @property
    def num_workers(self) -> int:
        """The workers that load ahead; where the loader finds their number itself, how many there are at present."""
        auto: AutoWorkers | None = self.__dict__.get("_auto")
        number: int = self.__dict__["num_workers"]
        return number if auto is None or not self._finds_workers() else auto.setting.workers

    @num_workers.setter
    def num_workers(self, number: int | Literal["auto"]) -> None:
        self.__dict__["num_workers"] = number

    def _finds_workers(self) -> bool:
        """Return whether the loader finds the number of its workers itself."""
        return bool(self._given["num_workers"] == "auto")

    def __repr__(self) -> str:
        workers = repr("auto") if self._finds_workers() else self.num_workers
        return (
            f"DataLoader({describe_dataset(self.dataset)}, batch_size={self.batch_size}, shuffle={self.shuffle!r}, "
            f"seed={self.seed}, num_workers={workers})"
        )

    # ------------------------------------------------------------------ batches

    def __len__(self) -> int:
        """Return the number of batches in an epoch.

        Raises:
            TypeError: the dataset is a stream, or the sampler an iterable, that has no length.
        """
        if not self._streams:
            return self._steps(self._length())
        try:
            length = len(self.dataset)
        except TypeError:
            raise TypeError(
                f"the loader has no length, because its dataset ({type(self.dataset).__name__}) has none"
            ) from None
        return self._stream_shares().steps(length)

    def __iter__(self) -> BatchIterator[B_co]:
        """Return an iterator over the next epoch, or over the rest of the one of a loaded state.

        The epoch begins with the iterator's first batch; until then nothing is drawn, started or moved.
        `next(iter(loader))` is a look at the data: it gives the first batch, and the next iterator begins the same
        epoch.
        """
        self._check_open()
        self._iterated = True
        if self.pin_memory and not frameworks.can_pin():
            warnings.warn("pin_memory=True has no effect: no GPU is found", HeadraceWarning, stacklevel=2)
        return BatchIterator(self)

    def batch(self, step: int, epoch: int | None = None) -> B_co:
        """Return the batch at a step of an epoch, without loading any other.

        This is how to look at the data: no epoch begins, and nothing that comes after is changed.

        Args:
            step: 0 ... len(loader) - 1.
            epoch: the number of the epoch; by default the one that the loader stands in, or else the next one.

        Raises:
            OutOfRangeError: there is no such step (also an IndexError).
            ArgumentError: the epoch's seed is not known, because each epoch draws its own.
            Exception: what a sample of it raised, or the last one, where all had to be passed over.

        >>> import numpy as np
        >>> from headrace import TensorDataset
        >>> loader = DataLoader(TensorDataset(np.arange(100)), batch_size=4, shuffle=True, seed=0)
        >>> batches = list(loader)
        >>> bool((loader.batch(7)[0] == batches[7][0]).all())
        True
        """
        known, step, selection, _ = self._find_batch(step, epoch)
        foreign = self._runs_foreign_code()
        globals_kept = frameworks.kept_globals() if foreign else nullcontext()
        with globals_kept, loading_batch(known, step, selection, self._arena):
            if foreign:
                seed_globals(known, step, devices=False)
            batch = self._alone(self._maker().reader()(selection, known.draws_key, step), known, step)
        if self.uneven == "pad":
            batch = with_validity(batch, self.valid(step, known.number))
        delivered: B_co = self._deliver(batch)
        return delivered

    def explain(self, step: int, epoch: int | None = None) -> BatchExplanation:
        """Return where each sample of a batch comes from, and what the transforms drew for it.

        Nothing of that is recorded while batches are loaded: a batch is a function of its step, so its samples are
        read again, one by one. What cannot be read is explained as well.

        Args:
            step: 0 ... len(loader) - 1.
            epoch: the number of the epoch; by default the one that the loader stands in, or else the next one.

        Returns:
            A sequence with an explanation of each sample, which prints as a table and shows pictures in a notebook.

        Raises:
            ArgumentTypeError: the dataset is a stream (also a TypeError).
            OutOfRangeError: there is no such step (also an IndexError).
            ArgumentError: the epoch's seed is not known, because each epoch draws its own.

        >>> import numpy as np
        >>> from headrace import RandomCrop, TensorDataset
        >>> images = TensorDataset(np.zeros((100, 8, 8, 3), np.uint8)).map(RandomCrop(8), field=0)
        >>> explained = DataLoader(images, batch_size=4, shuffle=True, seed=0).explain(step=2)
        >>> print(explained[0])
        row 0: sample 88, position 8 of the epoch
          TensorDataset[88]
          RandomCrop: top 4, left 1
        """
        from headrace.loader.explain import explain_batch  # when it is asked for

        known, step, selection, shares = self._find_batch(step, epoch)
        foreign = self._runs_foreign_code()
        return explain_batch(
            self._maker(), known, step, selection, shares, worker=self._workers_in_words(), foreign=foreign
        )

    def _find_batch(self, step: int, epoch: int | None) -> tuple[Epoch, int, Selection, Shares | None]:
        """Return the epoch and the step of a batch, its samples, and the positions of batches."""
        self._check_open()
        if self._streams:
            raise ArgumentTypeError("a stream has no batch to be asked for; batch(step) needs a dataset with indices")
        step = check_count("step", step)
        cursor = self._epochs.find(None if epoch is None else check_count("epoch", epoch), self._length())
        sampling = self._sampling(cursor.length, cursor.start.shift)
        if isinstance(sampling, PlanSampling) and step >= sampling.steps():
            raise OutOfRangeError(f"there is no step {step} in an epoch of {sampling.steps()} steps")
        with naming_step(cursor.epoch, step):
            return cursor.epoch, step, self._selection(sampling, cursor, step), sampling.shares

    def _workers_in_words(self) -> str:
        """Return which worker loads a batch, in words."""
        if not self.num_workers:
            return "the consumer itself"
        which = "whichever is free" if self.worker_init_fn is None else "in turns"
        return f"one of {self.num_workers} workers ({choose_backend(self, streams=False).name}), {which}"

    def valid(self, step: int, epoch: int | None = None) -> NDArray[np.bool_]:
        """Return which samples of the batch at a step are no filling, as `uneven` "pad" and "repeat" have it.

        Args:
            step: 0 ... len(loader) - 1.
            epoch: the number of the epoch; by default the one that the loader stands in, or else the next one.

        Returns:
            Shape (n,), bool, for the n samples of this rank's batch.

        Raises:
            ArgumentTypeError: the dataset is a stream, or a sampler decides (also a TypeError).
            OutOfRangeError: there is no such step (also an IndexError).

        >>> loader = DataLoader(range(10), batch_size=4, uneven="pad")
        >>> loader.valid(2)
        array([ True,  True, False, False])
        """
        shares, step = self._shares(epoch), check_count("step", step)
        if step >= shares.steps:
            raise OutOfRangeError(f"there is no step {step} in an epoch of {shares.steps} steps")
        return shares.valid(step)

    @property
    def remainder(self) -> int:
        """The samples that all ranks together have in the last step of an epoch, if it is not a full one; else 0.

        Filling is not counted: it is how many results of that step, gathered from all ranks, are to be kept.

        >>> DataLoader(range(10), batch_size=2, rank=0, world_size=2, uneven="pad").remainder
        2
        """
        return self._shares(None).remainder

    def _shares(self, epoch: int | None) -> Shares:
        """Return the positions of the batches of an epoch."""
        if self._streams:
            raise ArgumentTypeError("how many samples a stream gives is not known before; ask a dataset with indices")
        cursor = self._epochs.find(epoch, self._length())
        sampling = self._sampling(cursor.length, cursor.start.shift)
        if sampling.shares is None:
            raise ArgumentTypeError(f"how many samples the {sampling.name} gives is not known before")
        return sampling.shares

    def _stream_shares(self) -> StreamShares:
        """Return this rank's share of each step of a stream."""
        return StreamShares(self.batch_size or 1, self.rank, self.world_size, self.uneven, self.drop_last)

    def _runs_foreign_code(self) -> bool:
        """Return whether a batch is made by code that may draw from the global generators: any but headrace's own."""
        return runs_foreign_code(self.dataset) or runs_foreign_code(self.collate_fn)

    def _selection(self, sampling: Sampling, cursor: Cursor, step: int) -> Selection:
        """Return the samples of a batch, without moving on in a user's sampler."""
        key = cursor.epoch.order_key
        if isinstance(sampling, PlanSampling):
            return sampling.at(key, step)
        if sampling.varies and not self._epochs.is_current(cursor):
            raise ArgumentError(
                f"the samples of epoch {cursor.epoch.number} are not known: the loader's {sampling.name} has a state "
                "of its own, so only the epoch begun last and the next one can be looked at"
            )
        return sampling.at(key, step, cursor.sampler or cursor.start.sampler)

    def _collate_batch(self, samples: Sequence[Any]) -> Any:
        """Make one batch of the samples, as iterating does; `()` of none, as TinyTorch has it."""
        if len(samples) == 0:
            return ()
        return (self.collate_fn or default_collate)(samples)

    # ------------------------------------------------------------------ position

    def set_epoch(self, epoch: int) -> None:
        """Let the next iterator begin this epoch. A sampler with a `set_epoch` of its own is told.

        A state loaded in the midst of this same epoch stays where it is, so a training loop may say
        `set_epoch` before each of its epochs, the resumed one too.

        Args:
            epoch: a non-negative integer.
        """
        epoch = check_count("epoch", epoch)
        if self._epochs.place().number != epoch:
            self._states.loaded = None
        self._epochs.go_to(epoch)
        self._order.tell_sampler(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader stands, as a dict of a few integers that `json.dumps` takes.

        A stream with a state of its own adds that of each of its readers, after the batches handed out.

        That is where the iterator stands that was asked for a batch last; one that was asked for its
        first batch only does not count while another one goes through its epoch. The state may be
        taken at any time; the batches handed out so far are counted, nothing is loaded.
        Between epochs it is the start of the next one, whose seed is then drawn if there is none.
        Taken after the last batch of an epoch, while its iterator has not yet ended, it is that
        place: the iterator that goes on from it ends at once.

        >>> import json
        >>> loader = DataLoader(range(10), batch_size=2, seed=0)
        >>> batches = iter(loader)
        >>> next(batches)
        array([0, 1])
        >>> state = json.dumps(loader.state_dict())
        >>> resumed = DataLoader(range(10), batch_size=2, seed=0)
        >>> resumed.load_state_dict(json.loads(state))
        >>> next(iter(resumed))
        array([2, 3])
        """
        return self._state(self._epochs.position()).to_dict()

    def load_state_dict(
        self, state: Mapping[str, Any], at: Literal["step", "samples"] = "step", *, strict: bool = True
    ) -> None:
        """Let the next iterator go on where the state was taken.

        A computed order is entered at once, and so is a stream that has the methods `state_dict` and `load_state_dict`,
        or whose iterators have; a sampler is gone through again, and any other stream is read again, up to there. An
        empty dict, which stands for no state in some frameworks, changes nothing.

        Args:
            state: what `state_dict` gave, on any rank.
            at: "step" counts steps, which must be of as many samples as before: the ranks may be others, if `batch_size
                * world_size` is the same. "samples" counts samples, so the batch size may be another one, too; the
                epoch goes on with full steps.
            strict: refuse a dataset that has grown. Else, with at="samples", this epoch goes on with the samples that
                it had, the next one has all, and a warning says what has changed.

        Raises:
            StateError: it is not the state of a loader with this dataset length, seed and batch size.

        >>> one = DataLoader(range(100), batch_size=10, seed=0)
        >>> batches = iter(one)
        >>> _ = next(batches), next(batches), next(batches)
        >>> ranks = [DataLoader(range(100), batch_size=8, seed=0, rank=rank, world_size=2) for rank in range(2)]
        >>> for loader in ranks:
        ...     loader.load_state_dict(one.state_dict(), at="samples")
        >>> [int(next(iter(loader))[0]) for loader in ranks]
        [30, 38]
        """
        if isinstance(state, dict) and not state:
            return
        position.go_on(self, state, at, strict=strict)

    def seek(self, step: int, epoch: int = 0) -> None:
        """Let the next iterator begin at a step of an epoch.

        Args:
            step: the step of its first batch, 0 ... len(loader).
            epoch: the number of the epoch.

        Raises:
            OutOfRangeError: there is no such step (also an IndexError).

        >>> loader = DataLoader(range(10), batch_size=4)
        >>> loader.seek(2)
        >>> next(iter(loader))
        array([8, 9])
        """
        epoch, step = check_count("epoch", epoch), position.check_step(self, step, self._length())
        self._epochs.seek(epoch, step)
        self._states.loaded = None
        self._order.tell_sampler(epoch)

    def skip(self, steps: Collection[tuple[int, int]]) -> None:
        """Pass over steps from the next iterator on: those of a loss spike, for example. A state remembers them.

        The other steps stay as they are, and `batch` gives those that are passed over, too.

        Args:
            steps: each as (epoch, step), in addition to those of earlier calls.

        >>> loader = DataLoader(range(6), batch_size=2)
        >>> loader.skip({(0, 1)})
        >>> list(loader)
        [array([0, 1]), array([4, 5])]
        """
        self._epochs.skipped |= {position.check_place(place) for place in steps}

    def iterate(self, start: int = 0, stop: int | None = None, epoch: int | None = None) -> BatchIterator[B_co]:
        """Return an iterator over some steps of an epoch, which leaves the position of the loader as it is.

        Args:
            start: the first step.
            stop: the step after the last one; by default all to the end.
            epoch: the number of the epoch; by default the one that the loader stands in, or else the next one.

        Raises:
            OutOfRangeError: there are no such steps (also an IndexError).
            ArgumentTypeError: the dataset is a stream, or a sampler decides (also a TypeError).

        >>> loader = DataLoader(range(10), batch_size=2)
        >>> list(loader.iterate(1, 3))
        [array([2, 3]), array([4, 5])]
        """
        self._check_open()
        if self._streams or self._given_sampling is not None:
            raise ArgumentTypeError("iterate(start, stop) needs an order that the loader computes; use iter(loader)")
        cursor = self._epochs.find(None if epoch is None else check_count("epoch", epoch), self._length())
        steps = self._steps(cursor.length, cursor.start.shift)
        stop = steps if stop is None else check_count("stop", stop)
        if check_count("start", start) > stop or stop > steps:
            raise OutOfRangeError(f"there are no steps from {start} to {stop} in an epoch of {steps} steps")
        return BatchIterator(self, self._epochs.aside(cursor, start, stop))

    def forever(self) -> Iterator[B_co]:
        """Return an iterator over this epoch and all that follow it.

        With a seed, workers begin the next epoch while the last batches of this one are handed out. The batches are
        those of one `iter(loader)` after the other, and so are the states.

        Returns:
            An iterator that ends only where an epoch has no batches.

        >>> from itertools import islice
        >>> [batch.tolist() for batch in islice(DataLoader(range(4), batch_size=2, seed=0).forever(), 3)]
        [[0, 1], [2, 3], [0, 1]]
        """
        if self.seed is None or self._streams or self._given_sampling is not None:
            return one_after_the_other(self)  # what an epoch draws as it begins, it draws in its turn
        self._check_open()
        self._iterated = True
        return BatchIterator(self, endless=True)

    def replay(self, batches: int) -> Replay[B_co]:
        """Return a loader that hands out a few kept batches again and again, as if loading took no time.

        So long as a training step takes with it, no tuning of the loader can make it faster.

        Args:
            batches: how many are loaded, by this very call; the first of the epoch that begins next.

        Returns:
            An iterable of as many batches as an epoch has; of those that are kept, where that is not known.

        Raises:
            ArgumentError: it is not a positive integer (also a ValueError).

        >>> for batch in DataLoader(range(6), batch_size=2).replay(2):
        ...     print(batch)
        [0 1]
        [2 3]
        [0 1]
        """
        self._check_open()
        count = check_count("batches", batches)
        if not count:
            raise ArgumentError("batches must be a positive integer, the batches that are kept, but got batches=0")
        if self._streams:
            with copy.copy(self) as other:
                return Replay(list(islice(other, count)), None)
        steps = len(self)
        return Replay([self.batch(step) for step in range(min(count, steps))], steps)

    @property
    def samples_seen(self) -> int:
        """The samples that all ranks together have been given since epoch 0, by where the loader stands.

        Raises:
            ArgumentTypeError: the dataset is a stream, or a sampler decides (also a TypeError).

        >>> loader = DataLoader(range(10), batch_size=2, rank=0, world_size=2, seed=0)
        >>> for step, batch in zip(range(4), loader.forever(), strict=False):
        ...     pass
        >>> loader.samples_seen  # an epoch of 10, and a step of 4
        14
        """
        at = self._epochs.place()
        return position.samples_seen(self, self._shares(at.number), at)

    # ------------------------------------------------------------------ resources

    def stats(self) -> LoaderStats:
        """Return a snapshot of what the loader has handed out so far and how long that took.

        >>> loader = DataLoader(range(10), batch_size=5)
        >>> for batch in loader:
        ...     pass
        >>> loader.stats().batches, loader.stats().samples
        (2, 10)
        """
        from headrace.insight.stats import make_stats  # when it is asked for

        return make_stats(
            self._clock,
            bad_samples=len(self._bad),
            counters=add_counters([counters(self.dataset), self._clock.counters()]),
            sources=self._sources(),
            settings=self._settings(),
        )

    def _settings(self) -> Settings:
        from headrace.insight.stats import Settings  # as above

        auto = self._finds_workers()
        if not self.num_workers:
            return Settings(cores=available_cores(), auto=auto)
        in_flight = self.num_workers * (self.prefetch_factor or 1)
        if auto and self._auto is not None:
            in_flight = self._auto.setting.ahead
        backend = choose_backend(self, streams=self._streams).name
        return Settings(self.num_workers, in_flight, backend, available_cores(), auto)

    def _sources(self) -> dict[str, SourceStats]:
        """Return what the run has drawn from each source of a mixture."""
        length = self._length()
        if length is None or not self._order.mixes():
            return {}
        cursor = self._epochs.find(None, length)
        return self._order.drawn(cursor.epoch.number, cursor.step)

    @property
    def bad_samples(self) -> tuple[BadSample, ...]:
        """The samples that could not be read and were left out or replaced, each once, in order of meeting.

        The first 10,000 are listed, or `max_errors` if that is more.
        """
        return self._bad.listed()

    def close(self) -> None:
        """End the workers and give up the loader's memory.

        Batches handed out stay valid; no more can be loaded.
        """
        self._closed = True
        self._pools.close()
        if self._end_of_trace is not None:
            self._end_of_trace()
        for arena in (self._arena, *self._other_arenas.values()):
            arena.clear()

    def __enter__(self) -> DataLoader[B_co]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ inner parts

    def _iterate_in(self, name: str, make: Callable[[], Arena]) -> Iterator[B_co]:
        """Return an iterator over the next epoch whose batches lie in an arena of another kind; see BatchIterator."""
        batches = iter(self)
        if isinstance(batches, BatchIterator):  # a subclass may return another one
            batches.lie_in(name, make)
        return batches

    def _arena_named(self, name: str, make: Callable[[], Arena]) -> Arena:
        """Return the arena of another kind that the loader has, made if it has none of that name."""
        if name not in self._other_arenas:
            self._other_arenas[name] = make()
        return self._other_arenas[name]

    def _check_open(self) -> None:
        if self._closed:
            raise HeadraceError("the loader is closed; make a new one")

    def _batches(
        self,
        pool: Pool[Any, Any],
        cursor: Cursor,
        arena: Arena,  # noqa: ARG002 - for loaders that have no pool
    ) -> SampledBatches | StreamedBatches:
        if self._streams:
            self._states.begin(cursor, self._between_epochs())
            readers = self._readers() or 1
            drops = readers * ((self.batch_size or 1) - 1) if self.drop_last else 0
            check = self._stream_history.begin(readers, drops=drops, whole=not (cursor.step or cursor.ahead))
            return StreamedBatches(pool, readers, cursor, self._note, self._clock, check)
        return self._sampled_batches(pool, cursor)

    def _sampled_batches(
        self, pool: Pool[Any, Any], cursor: Cursor, following: Following | None = None
    ) -> SampledBatches:
        """Return the batches of an epoch of a dataset, and of those that follow it, if any are to."""
        sampling = self._sampling(cursor.length, cursor.start.shift)
        coalesced = self._coalesce_bytes()
        several = self.num_workers > 0 or self._finds_workers()
        elsewhere = several and choose_backend(self, streams=False).separate
        in_turns = elsewhere and not self._finds_workers() and (self._takes_turns() or self.worker_init_fn is not None)
        return SampledBatches(
            pool,
            self.dataset,
            sampling,
            cursor,
            self._note,
            self._clock,
            coalesced,
            following,
            elsewhere=elsewhere,
            turns=self.num_workers if in_turns else 1,
        )

    def _coalesce_bytes(self) -> int:
        """Return the bytes up to which batches may be coalesced."""
        if self.batch_size is None or self._given_sampling is not None or not self._collates_itself():
            return 0
        plan = compile_dataset(self.dataset)
        if not plan.reads_together:
            return 0
        if self._finds_workers():  # some may come, who read ahead anyway
            most = LARGE if self.num_workers else SMALL
            bounds = [bound // 4 for bound in (self.prefetch_bytes, self.ram_budget) if bound is not None]
            return min(most, *bounds) if bounds else most
        if not self.num_workers:
            return 0 if plan.may_change else SMALL
        window = self.num_workers * (self.prefetch_factor or 1)
        return LARGE if self.prefetch_bytes is None else min(LARGE, self.prefetch_bytes // window)

    def _collates_itself(self) -> bool:
        """Return whether batches are made with no function of the user's."""
        return self.collate_fn is None

    def _note(self, found: Loaded, epoch: Epoch, step: int) -> None:
        """Take in what a worker told beside a batch.

        Raises:
            TooManyErrorsError: there are more bad samples than are allowed.
        """
        self._states.snapshots.note(found.snapshot, step)
        self._clock.counted(found.counted)
        self._bad.note(found.failures, epoch.number, step)

    def _alone(self, found: Any, epoch: Epoch, step: int) -> Any:
        """Return a batch that was asked for alone; nothing stands for one that is not there."""
        if not isinstance(found, Loaded):
            return found
        self._note(found, epoch, step)
        if not found.loaded:
            raise [*(failure.error for failure in found.failures), *found.errors][-1]
        return found.batch

    def _readers(self) -> int | None:
        """Return how many workers read a stream in turns; None where the number makes no difference."""
        if not self._streams or self.num_workers < 2 or self.shard or not choose_backend(self, streams=True).separate:
            return None
        return self.num_workers

    def _make_pool(self, epoch: Epoch, arena: Arena) -> Pool[Any, Any]:
        """Make the workers for an iterator that begins with this epoch, and whose batches lie in the arena."""
        if self._finds_workers():
            return self._make_auto_pool(epoch, arena)
        return make_pool(self, self._maker_for(epoch), arena, turns=self._takes_turns())

    def _takes_turns(self) -> bool:
        """Return whether workers take the tasks in turns: those who read a stream, or fetch early what they will read.

        What a worker process has fetched is no other's. Threads have it together, so there whichever is free may go on.
        """
        if self._streams or not self.num_workers:
            return self._readers() is not None
        return choose_backend(self, streams=False).separate and reads_ahead(self.dataset)

    def _make_auto_pool(self, epoch: Epoch, arena: Arena) -> AutoPool:
        """Make workers of which the number is found; it goes on from where the iterator before came to."""
        from headrace.loader.auto_pool import make_auto_pool  # what few loaders need
        from headrace.loader.auto_workers import AutoWorkers

        self._auto = self._auto or AutoWorkers()
        return make_auto_pool(self, self._maker_for(epoch), arena, self._auto)

    def _maker_for(self, epoch: Epoch) -> WorkMaker:
        alike = self.seed is not None or self._finds_workers()  # as in processes, wherever it is that they load
        shields = (not self.num_workers or self._finds_workers()) and alike and self._runs_foreign_code()
        return replace(
            self._maker(),
            seed=epoch.key("workers"),
            settings=ProgramSettings.now(),
            shields=shields,
            every=self._states.snapshots.every if self._keeps_states() else 0,
            restored=None if self._states.loaded is None else RestoredStates(epoch, self._states.loaded),
        )

    def _maker(self) -> WorkMaker:
        return WorkMaker(
            dataset=self.dataset,
            streams=self._streams,
            batch_size=self.batch_size,
            single=self.batch_size is None and self.batch_sampler is None,
            collate_fn=self.collate_fn,
            shares=self._stream_shares(),
            num_workers=self.num_workers,
            worker_init_fn=self.worker_init_fn,
            shard=self.shard,
            on_error=self.on_error,
            from_batch=self._given_sampling is not None,
        )

    def _delivers(self) -> bool:
        """Return whether batches are handed out otherwise than they were loaded."""
        return self.pin_memory

    def _deliver(self, batch: Any) -> Any:
        return map_fields(frameworks.pin, batch) if self.pin_memory and frameworks.can_pin() else batch

    def _length(self) -> int | None:
        """Return the number of samples now, where the order depends on it."""
        return None if self._streams or self._given_sampling is not None else len(self.dataset)

    def _sampling(self, length: int | None, shift: int = 0) -> Sampling:
        """Return the sampling that says which samples make up each batch, of so many samples without the first."""
        if self._given_sampling is not None:
            return self._given_sampling
        return self._order.sampling(len(self.dataset) if length is None else length, shift)

    def _steps(self, length: int | None, shift: int = 0) -> int:
        """Return the number of batches in an epoch of so many samples without the first."""
        return len(self) if self._streams else self._sampling(length, shift).steps()

    def _state(self, at: StartPoint) -> LoaderState:
        return position.state_at(self, at)

    def _keeps_states(self) -> bool:
        """Return whether workers are asked for the states of datasets that have one of their own."""
        # The state of a Hugging Face stream leaves out what its shuffle buffer holds, so it is read again.
        return self._streams and not gives_samples(self.dataset)

    def _between_epochs(self) -> dict[int, Any]:
        """Return the states that an epoch leaves to the next one, where that is read from the same copies."""
        if not self._keeps_states() or (self.num_workers and not self.persistent_workers):
            return {}
        if not self.num_workers and is_stateful(self.dataset):
            return {0: dataset_part({"dataset": self.dataset.state_dict()})}
        return {reader: dataset_part(state) for reader, state in self._states.snapshots.latest.items()}

    def _stream_state(self, at: StartPoint) -> dict[str, Any] | None:
        """Return the states of a stream that has one of its own, after the batches before a place."""
        if not self._keeps_states() or at.ahead:
            return None
        _, states = self._states.at(at, self._between_epochs)
        return {str(reader): state for reader, state in states.items()} or None

    def _load_stream_state(self, state: dict[str, Any] | None) -> None:
        """Let the next iterator read a stream from where its state was taken."""
        self._states.loaded = None if state is None else {int(reader): each for reader, each in state.items()}
        if state is not None:
            self._pools.drop_idle()  # workers that have gone on are not those of the state
