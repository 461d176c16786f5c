"""The DataLoader: walks the function (dataset, seed, epoch, step) -> batch quickly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from headrace.loader.base import B_co
from headrace.loader.positioned import PositionedLoader

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence
    from typing import Literal, Unpack

    from numpy.typing import ArrayLike, NDArray

    from headrace.loader.batch_types import A, B, LoaderOptions, Number, Samples, T, Untyped
    from headrace.loader.config import OnError, OnWorkerDeath, Shuffle
    from headrace.loader.order_arguments import BatchBy
    from headrace.sampling.ranks import Uneven

__all__ = ["DataLoader"]


class DataLoader(PositionedLoader[B_co]):
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
