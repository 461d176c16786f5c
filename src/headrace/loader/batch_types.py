"""Types from which a type checker tells the batches of a loader; none of them is looked at when a program runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypedDict, TypeVar

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from headrace.datasets.base import IterableDataset
    from headrace.loader.config import OnError, OnWorkerDeath
    from headrace.loader.order_arguments import BatchBy
    from headrace.pipeline.reading import Indexable
    from headrace.sampling.ranks import Uneven

__all__ = ["A", "Arrays", "B", "LoaderOptions", "Number", "Samples", "T", "Untyped"]

# Samples whose batches, as `default_collate` makes them, are of the samples' own type.
Arrays: TypeAlias = "NDArray[Any] | tuple[Arrays, ...] | Mapping[str, Arrays]"
# Samples of which batches are ndarrays: of which dtype, no type checker can tell, since a bool is an int to it.
Number: TypeAlias = "int | float | complex"

T = TypeVar("T")
A = TypeVar("A", bound="Arrays")
B = TypeVar("B")

Samples: TypeAlias = "Indexable[T] | IterableDataset[T]"


class Untyped(Protocol):
    """A dataset whose class derives from one of a library without types.

    To a type checker it has all attributes, this one too, which nothing else has.
    """

    @property
    def __is_of_unknown_type__(self) -> bool: ...


class LoaderOptions(TypedDict, total=False):
    """The arguments of a DataLoader on which the type of its batches does not depend."""

    sampler: Iterable[Any] | None
    batch_sampler: Iterable[Sequence[Any]] | None
    num_workers: int | Literal["auto"]
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
    rank: int | None
    world_size: int | None
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
