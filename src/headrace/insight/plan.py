"""The plan of a run: what a loader will read, ask for and find in its caches, found without loading.

The order is arithmetic, so the tasks of all steps are known. They go through the loader's own readers up to the calls
that would read (`headrace.insight.dry_run`), and these are counted as the datasets count them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArgumentError
from headrace.insight.dry_run import DryCache, DryProcess, Shared
from headrace.insight.memory import batches_held
from headrace.insight.order_quality import OrderQuality, find_labels, measure_order
from headrace.insight.uncached import batch_bytes, find_caches, sample_bytes
from headrace.loader.cursor import Cursor
from headrace.loader.pools import choose_backend
from headrace.loader.sample_tasks import READ_AHEAD, SampleTasks
from headrace.pipeline.describe import describe
from headrace.pipeline.hints import mixed_node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from headrace.insight.dry_run import FileUse
    from headrace.loader.dataloader import DataLoader
    from headrace.loader.fetch import BatchReader
    from headrace.loader.tasks import SampleTask

__all__ = ["PlannedEpoch", "PlannedMemory", "PlannedRank", "RunPlan", "make_plan"]

_OTHERS_TURN = "pieces that one worker or the other decodes, as they do not take turns"
_THREADS = "samples whose early fetch another thread may not have begun"


@dataclass(frozen=True)
class PlannedRank:
    """The samples that a rank has in an epoch.

    Attributes:
        rank: its number.
        steps: how many steps it makes.
        samples: how many samples they have.
        smallest: samples of its smallest step.
        largest: and of its largest one.
        workers: the samples of each process that loads; None where whichever worker is free takes a step.
    """

    rank: int
    steps: int
    samples: int
    smallest: int
    largest: int
    workers: tuple[int, ...] | None


@dataclass(frozen=True)
class PlannedEpoch:
    """The use that an epoch makes of files and caches.

    Attributes:
        number: of the epoch.
        counters: by which `loader.stats().counters` will rise, over all ranks; those that stay as they are are left
            out.
        ranks: the same for each rank.
        files: by path, over all ranks.
        timing: counts, by what they are of, that follow from which process is first; empty where all is certain.
    """

    number: int
    counters: dict[str, int]
    ranks: tuple[dict[str, int], ...]
    files: tuple[FileUse, ...]
    timing: dict[str, int]


@dataclass(frozen=True)
class PlannedMemory:
    """The memory of a rank, in bytes.

    Attributes:
        batch: of a batch; None where that could only be found by reading into a cache.
        held: of the batches that the loader may hold.
        early: of what lies far away and is fetched early, the most in all processes of the rank.
    """

    batch: int | None
    held: int | None
    early: int


@dataclass(frozen=True)
class RunPlan:
    """The plan of a run.

    Attributes:
        samples: of the dataset.
        batch_size: of a rank.
        workers: of a rank.
        backend: the kind of workers; None where there are none.
        ranks: the samples of each.
        epochs: the use of files and caches.
        order: the quality of the shuffle in the first epoch.
        memory: of a rank.
    """

    samples: int
    batch_size: int | None
    workers: int
    backend: str | None
    ranks: tuple[PlannedRank, ...]
    epochs: tuple[PlannedEpoch, ...]
    order: OrderQuality
    memory: PlannedMemory

    @property
    def is_exact(self) -> bool:
        """Whether no count follows from which process is first."""
        return not any(epoch.timing for epoch in self.epochs)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as dicts and lists, for JSON."""
        return asdict(self) | {"exact": self.is_exact}


def make_plan(
    loaders: Sequence[DataLoader[Any]],
    *,
    epochs: int = 1,
    steps: int | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> RunPlan:
    """Return what loaders will read, ask for and find in caches.

    No samples are loaded but one batch, whose size is taken. The counts are those of the datasets' own counters, from
    the present state of caches on.

    Args:
        loaders: one for each rank, which differ in nothing else.
        epochs: how many follow each other.
        steps: how many steps of each epoch; None for all.
        watch: called with the number of steps that are done, and of all.

    Raises:
        ArgumentError: a number is not positive, or the dataset is a stream.

    >>> import numpy as np
    >>> from headrace import DataLoader, TensorDataset
    >>> cached = TensorDataset(np.zeros((100, 250), np.float32)).cache()
    >>> found = make_plan([DataLoader(cached, 32, shuffle=True, seed=0)], epochs=2)
    >>> [epoch.counters for epoch in found.epochs]
    [{'cache_misses': 100}, {'cache_hits': 100}]
    >>> found.ranks[0].steps, found.ranks[0].smallest, found.memory.batch, found.is_exact
    (4, 4, 32000, True)
    """
    for name, number in (("epochs", epochs), ("steps", 1 if steps is None else steps)):
        if number < 1:
            raise ArgumentError(f"{name} must be a positive integer, but got {name}={number!r}")
    if not hasattr(type(loaders[0].dataset), "__getitem__"):
        raise ArgumentError("a stream's samples are not known before they are read; plan a dataset with indices")
    run = _Run(loaders, steps, watch)
    planned = [run.epoch(number, epochs) for number in range(epochs)]
    return RunPlan(
        samples=len(loaders[0].dataset),
        batch_size=loaders[0].batch_size,
        workers=loaders[0].num_workers,
        backend=run.backend,
        ranks=run.ranks(),
        epochs=tuple(planned),
        order=run.order(),
        memory=run.memory(),
    )


class _Run:
    """The ranks of a run, step by step."""

    def __init__(
        self, loaders: Sequence[DataLoader[Any]], steps: int | None, watch: Callable[[int, int], None] | None
    ) -> None:
        first = loaders[0]
        self.backend = choose_backend(first, streams=False).name if first.num_workers else None
        self._most_steps = steps
        self._watch = watch or (lambda _done, _of: None)
        self._shared = Shared()
        kept = {id(cached): _dry_cache(cached) for cached in find_caches(first.dataset) if cached.is_kept}
        self._ranks = [_Rank(number, loader, self._shared, kept) for number, loader in enumerate(loaders)]
        self._selections: list[np.ndarray[Any, Any]] = []

    def epoch(self, number: int, of: int) -> PlannedEpoch:
        """Go through an epoch, and return the use that it makes of files and caches."""
        self._shared.begin_epoch()
        before = [rank.counters() for rank in self._ranks]
        files = {path: replace(use) for path, use in self._shared.files.items()}
        steps = [islice(rank.begin_epoch(number), self._most_steps) for rank in self._ranks]
        count = self._steps()
        for done, tasks in enumerate(zip_longest(*steps), 1):
            for rank, task in zip(self._ranks, tasks, strict=True):
                if task is not None:
                    rank.take(task)
                    if not number:
                        self._selections.append(np.asarray(task.selection, np.int64))
            self._watch(number * count + done, of * count)
        ranks = tuple(_risen(rank.counters(), old) for rank, old in zip(self._ranks, before, strict=True))
        timing, self._shared.timing = dict(self._shared.timing), Counter()
        used = tuple(use.since(files.get(path)) for path, use in self._shared.files.items())
        return PlannedEpoch(number, dict(sum(map(Counter, ranks), Counter())), ranks, used, timing)

    def ranks(self) -> tuple[PlannedRank, ...]:
        """Return what each rank has in the first epoch."""
        return tuple(rank.planned() for rank in self._ranks)

    def order(self) -> OrderQuality:
        """Return the quality of the first epoch's order."""
        dataset, sizes = self._ranks[0].loader.dataset, [len(each) for each in self._selections]
        if mixed_node(describe(dataset)) is not None:  # whose indices are places in the order, not in the sources
            return OrderQuality(None, None, None, None)
        order = np.concatenate([np.empty(0, np.int64), *self._selections])
        return measure_order(order, sizes, len(dataset), find_labels(dataset))

    def memory(self) -> PlannedMemory:
        """Return the memory of a rank."""
        loader = self._ranks[0].loader
        batch = batch_bytes(loader)
        held = None if batch is None else batch * batches_held(loader)
        return PlannedMemory(batch, held, max(rank.early() for rank in self._ranks))

    def _steps(self) -> int:
        """Return how many steps an epoch has, as far as that is known: a user's sampler may have no length."""
        try:
            steps = len(self._ranks[0].loader)
        except TypeError:
            return self._most_steps or 0
        return steps if self._most_steps is None else min(steps, self._most_steps)


class _Rank:
    """A rank: its tasks go to the processes that it has."""

    def __init__(self, number: int, loader: DataLoader[Any], shared: Shared, kept: dict[int, DryCache]) -> None:
        self.loader = loader
        self._number = number
        self._shared = shared
        caches = {id(cached): _dry_cache(cached) for cached in find_caches(loader.dataset) if id(cached) not in kept}
        self._caches = kept | caches
        self._reader: BatchReader = loader._maker().reader()  # noqa: SLF001 - of the same house
        backend = choose_backend(loader, streams=False) if loader.num_workers else None
        self._separate = backend is not None and backend.separate
        in_turns = loader._takes_turns() or loader.worker_init_fn is not None  # noqa: SLF001
        self._takes_turns = self._separate and in_turns
        self._threads = loader.num_workers if backend is not None and not backend.separate else 0
        self._processes: list[DryProcess] = []
        self._ended: Counter[str] = Counter()  # counters of processes that have ended
        self._early = self._next = 0
        self._sizes: list[list[int]] = []  # of the batches of each process, in the first epoch
        self._in_first_epoch = True

    def begin_epoch(self, number: int) -> Iterator[SampleTask]:
        """Return the tasks of an epoch, with new processes unless they stay."""
        loader = self.loader
        for cache in self._caches.values():
            cache.begin_epoch()
        if not self._processes or (self._separate and not loader.persistent_workers):
            self._ended = self.counters()
            self._early = self.early()
            count = loader.num_workers if self._separate else 1
            names = [(self._number, worker) for worker in range(count)]
            self._processes = [DryProcess(name, self._shared, self._caches) for name in names]
        self._next, self._in_first_epoch = 0, not number
        if not number:
            self._sizes = [[] for _ in self._processes]
        length = len(loader.dataset)
        epoch = loader._epochs.find(number, length)  # noqa: SLF001
        start = replace(epoch.start, step=0, ahead=frozenset(), shift=0, stop=None)
        cursor = Cursor(epoch.epoch, start, 0, length=length)
        turns = len(self._processes) if self._takes_turns else 1
        sampling = loader._sampling(length)  # noqa: SLF001
        return SampleTasks(loader.dataset, sampling, cursor, elsewhere=self._separate, turns=turns)

    def take(self, task: SampleTask) -> None:
        """Let a process do a task, up to the reading."""
        number = self._next % len(self._processes)
        process, timing = self._processes[number], self._shared.timing
        self._next += 1
        decoded = process.decoded
        if task.later is not None:
            process.announce(self.loader.dataset, task.later)
            if self._threads > 1 and (task.step < self._threads - 1 or self._threads > READ_AHEAD):
                timing[_THREADS] += len(task.selection)
        _check_indices(task.selection)
        process.read(self._reader.calls(task.selection))
        if process.decoded > decoded and len(self._processes) > 1 and not self._takes_turns:
            timing[_OTHERS_TURN] += process.decoded - decoded
        if self._in_first_epoch:
            self._sizes[number].append(len(task.selection))

    def counters(self) -> Counter[str]:
        """Return what has been counted so far."""
        return sum((process.counters for process in self._processes), self._ended)

    def early(self) -> int:
        """Return the most bytes that were fetched early in all of its processes together."""
        return max(self._early, sum(process.ahead for process in self._processes))

    def planned(self) -> PlannedRank:
        """Return what it has in the first epoch."""
        sizes = [size for own in self._sizes for size in own]
        known = not self._separate or self._takes_turns or len(self._processes) == 1
        workers = tuple(map(sum, self._sizes)) if known and not self._threads else None
        return PlannedRank(self._number, len(sizes), sum(sizes), min(sizes, default=0), max(sizes, default=0), workers)


def _check_indices(selection: Any) -> None:
    for key in () if isinstance(selection, np.ndarray) else selection:
        if not isinstance(key, int | np.integer):
            raise ArgumentError(f"the sampler gives keys such as {key!r}, but only indices of samples can be planned")


def _dry_cache(cached: Any) -> DryCache:
    return DryCache(cached, sample_bytes(cached))


def _risen(now: Counter[str], before: Counter[str]) -> dict[str, int]:
    """Return by how much counters have risen, where they have."""
    return {name: count - before[name] for name, count in now.items() if count != before[name]}
