"""The arguments of a loader: checked together, taken, and changed while that is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from headrace.cache.randomness import is_of_torch
from headrace.datasets.base import describe_dataset
from headrace.errors import ArgumentError
from headrace.loader.bad_samples import BadSamples
from headrace.loader.config import check_arguments, check_divides, check_kind, is_stream, rows_of_table
from headrace.loader.cursor import Epochs
from headrace.loader.order import SampleOrder
from headrace.loader.order_arguments import CHOICE
from headrace.loader.ranks import resolve_ranks
from headrace.workers.backends import own_backends

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence
    from typing import Literal, Self

    from numpy.typing import ArrayLike

    from headrace.loader.auto_workers import AutoWorkers
    from headrace.loader.config import OnError, OnWorkerDeath, Shuffle
    from headrace.loader.order_arguments import BatchBy
    from headrace.sampling.ranks import Uneven
    from headrace.sampling.samplers import GivenSampling, Sampling

__all__ = ["B_co", "LoaderBase"]

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
_FIXED_LATER |= set(CHOICE)
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
    *CHOICE,
)
_WINDOW = 8  # blocks, where the user does not say


class LoaderBase(Generic[B_co]):
    """A loader's arguments, and the order that follows from them; DataLoader tells what each means."""

    _iterated: bool
    _streams: bool
    _epochs: Epochs
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

    def with_arguments(self, **changed: Any) -> Self:
        """Return a fresh loader of the same arguments but for some; a trace stays this one's alone.

        What is for workers is left out where there are none any more, and what is for one backend with another.

        Args:
            **changed: arguments of the constructor by name.

        >>> from headrace import DataLoader
        >>> list(DataLoader(range(5), 2, drop_last=True).with_arguments(batch_size=3))
        [array([0, 1, 2])]
        """
        arguments = self._arguments_with(changed)
        return type(self)(arguments.pop("dataset"), **arguments)  # type: ignore[call-arg] # DataLoader takes them

    def _arguments_with(self, changed: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments, some of them changed, and without what does not go with the changes."""
        given = {"dataset": self.dataset, **self._given, "trace": None}
        workers = changed.get("num_workers", given["num_workers"])
        options = [name for backend in own_backends().values() for name in backend.options]
        if workers == 0:
            given |= {"timeout": 0, "persistent_workers": False, "prefetch_factor": None, "prefetch_bytes": None}
        if workers == 0 or changed.get("backend", given["backend"]) != given["backend"]:
            given |= dict.fromkeys(options)
        if workers != "auto":
            given["ram_budget"] = None
        if changed.get("seed") is not None:
            given["generator"] = None
        return given | changed

    def _make_sampling(self) -> GivenSampling | None:
        return self._order.given()

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

    def _length(self) -> int | None:
        """Return the number of samples now, where the order depends on it."""
        return None if self._streams or self._given_sampling is not None else len(self.dataset)

    def _sampling(self, length: int | None, shift: int = 0) -> Sampling:
        """Return the sampling that says which samples make up each batch, of so many samples without the first."""
        if self._given_sampling is not None:
            return self._given_sampling
        return self._order.sampling(len(self.dataset) if length is None else length, shift)
