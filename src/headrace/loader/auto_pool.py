"""The pool of a loader that finds the number of its workers itself.

It begins in the consumer's own thread. Workers come while that goes on loading, and take over where it is then; they
become more or fewer in the midst of an epoch, and where they are of no use, the consumer takes over again.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import perf_counter_ns, process_time_ns
from typing import TYPE_CHECKING, Any

from headrace.batch.coalesce import LARGE, MOST_BATCHES, SMALL
from headrace.batch.tree import count_bytes
from headrace.errors import HeadraceWarning, NotPicklableError
from headrace.errors.notes import level_of_user, text_of
from headrace.insight.columns import BEGUN, CPU, CPU_OF, ENDED
from headrace.kernels.cores import available_cores
from headrace.loader.auto_workers import MOST_WORKERS, InUse, Limits
from headrace.loader.pools import choose_backend, start_workers
from headrace.workers import InlinePool, PoolOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.batch.arena import Arena
    from headrace.insight.clock import StageClock
    from headrace.loader.auto_workers import AutoWorkers
    from headrace.loader.pools import WorkerSettings
    from headrace.loader.work import WorkMaker
    from headrace.workers.base import ResizablePool, Results

__all__ = ["AutoPool", "make_auto_pool"]

# What a task costs the consumer's own thread: of threads and of processes, in seconds.
_OVERHEADS = {False: 60e-6, True: 150e-6}
_SECOND = 1e9
_CPU_ONE_IN = 16  # loads in the consumer's thread are asked for the processors' time
_WIDER = LARGE // SMALL  # workers may be given so many times the batches at a time that the consumer takes


@dataclass(frozen=True)
class _Ways:
    """The ways to load, with workers and without."""

    inline: Callable[[], InlinePool[Any, Any]]
    workers: Callable[[InUse, int | None], ResizablePool[Any, Any]]


def make_auto_pool(loader: WorkerSettings, maker: WorkMaker, arena: Arena, auto: AutoWorkers) -> AutoPool:
    """Return a pool that finds its workers itself.

    Args:
        loader: says what they may be.
        maker: makes what they do.
        arena: where batches are written that are loaded in this process.
        auto: knows what has been found so far.
    """
    backend, given = choose_backend(loader, streams=False), loader._given
    alone = replace(maker, num_workers=0, arena=arena)
    # More are begun later, with the same work: each has one share of the cores, whatever their number.
    several = replace(maker, num_workers=MOST_WORKERS, shields=False)
    in_order, timeout, most_bytes = loader.in_order, loader.timeout, loader.prefetch_bytes

    def start(setting: InUse, max_bytes: int | None) -> Any:
        options = PoolOptions(
            workers=setting.workers,
            in_flight=setting.ahead,
            max_bytes=_least(max_bytes, most_bytes),
            in_order=in_order,
            timeout=timeout,
            turns=False,
        )
        return start_workers(backend, several, options, given, arena)

    limits = Limits(
        cores=_own_cores(),
        prefetch=given["prefetch_factor"],
        ram_budget=given["ram_budget"],
        separate=backend.separate,
        overhead=_OVERHEADS[backend.separate],
    )
    return AutoPool(auto, _Ways(lambda: InlinePool(alone), start), limits, most_bytes)


def _own_cores() -> int:
    """Return how many processors this process has for itself, of those that ranks on this machine share."""
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, available_cores() // max(1, int(ranks))) if ranks.isdecimal() else available_cores()


def _least(*bounds: int | None) -> int | None:
    return min((each for each in bounds if each is not None), default=None)


class AutoPool:
    """Loads in the consumer's thread or with workers, as it turns out to be faster; see `make_auto_pool`.

    Args:
        auto: decides.
        ways: how to load, with workers and without.
        limits: of the workers.
        max_bytes: how large batches ahead may be together, in bytes; None for any size.

    Attributes:
        auto: as above.
        limits: as above.
        setting: the workers that load; those that have only been started do not yet.
        workers: these; None where there are none.
    """

    def __init__(self, auto: AutoWorkers, ways: _Ways, limits: Limits, max_bytes: int | None) -> None:
        self.auto = auto
        self.limits = limits
        self.setting = InUse()
        self.workers: ResizablePool[Any, Any] | None = None
        self._ways = ways
        self._max_bytes = max_bytes
        self._inline: InlinePool[Any, Any] | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether it loads no more, or had workers and has lost them."""
        return self._closed or (self.workers is not None and self.workers.closed)

    @property
    def inline(self) -> InlinePool[Any, Any]:
        """The pool without workers."""
        if self._inline is None:
            self._inline = self._ways.inline()
        return self._inline

    def run(self, tasks: Iterator[Any]) -> AutoResults:
        """Begin to do the tasks."""
        return AutoResults(self, tasks)

    def begin_workers(self, setting: InUse) -> None:
        """Start workers; where they cannot be sent their work, there are none."""
        try:
            self.workers = self._ways.workers(setting, self._bytes_ahead(setting))
        except NotPicklableError as error:
            self.auto.refuse_workers()
            warnings.warn(
                f"num_workers='auto' stays at 0, as the dataset cannot be sent to a worker process: {text_of(error)}",
                HeadraceWarning,
                stacklevel=level_of_user(),
            )

    def use(self, setting: InUse) -> None:
        """Take note of the workers that load from now on."""
        self.setting = setting
        self.auto.use(setting)

    def resize(self, setting: InUse) -> None:
        """Go on with more or fewer workers."""
        assert self.workers is not None  # noqa: S101 - the setting has had some
        self.use(setting)
        self.workers.resize(setting.workers, setting.ahead, _least(self._bytes_ahead(setting), self._max_bytes))

    def end_workers(self) -> None:
        """End the workers, which have nothing to do any more."""
        self.setting = InUse()
        if self.workers is not None:
            self.workers.close()
            self.workers = None

    def count_ready(self) -> int:
        """Return how many workers could begin with a task at once."""
        return 0 if self.workers is None else self.workers.count_ready()

    def start_times(self) -> tuple[float, float]:
        """Return how many seconds passed until a worker could begin with a task, and until now; 0 for threads."""
        times: tuple[float, float] = getattr(self.workers, "start_times", lambda: (0.0, 0.0))()
        return times

    def close(self) -> None:
        """End what there is of workers."""
        self._closed = True
        self.end_workers()

    def look_at_memory(self) -> None:
        """Take note of the memory of the workers, where it is bounded."""
        if self.workers is not None and self.limits.ram_budget is not None:
            self.auto.worker_bytes = max(self.workers.worker_memory(), self.auto.worker_bytes or 0)

    def _bytes_ahead(self, setting: InUse) -> int | None:
        return self.limits.bytes_ahead(setting, self.auto.observed.task_bytes, self.auto.worker_bytes or 0)


class _Gate(Iterator[Any]):
    """Tasks for one pool, until it is to draw no more of them."""

    def __init__(self, tasks: Iterator[Any]) -> None:
        self._tasks = tasks
        self.is_open = True

    def __next__(self) -> Any:
        if not self.is_open:
            raise StopIteration
        return next(self._tasks)


class AutoResults:
    """The results of one run, of whoever loads at the time.

    Args:
        pool: whose run it is.
        tasks: what there is to do.
    """

    def __init__(self, pool: AutoPool, tasks: Iterator[Any]) -> None:
        self._pool = pool
        self._auto = pool.auto
        self._tasks = tasks
        self._gate = _Gate(tasks)
        self._handed_out_at: int | None = None
        self._loads = 0  # in this thread
        self._next: InUse | None = None  # what was decided, and waits for workers to be ready or to have done
        self._current: Results[Any, Any] = self._begin()

    def _begin(self) -> Results[Any, Any]:
        """Begin with the workers that were found to be right; until they are ready, without."""
        pool, setting = self._pool, self._auto.setting
        if not setting.workers:
            pool.end_workers()
        elif pool.workers is None:
            pool.begin_workers(setting)
        if pool.workers is None:
            return pool.inline.run(self._gate)
        if not pool.workers.count_ready():
            self._next = setting
            return pool.inline.run(self._gate)
        pool.resize(setting)
        return pool.workers.run(self._gate)

    @property
    def task(self) -> Any:
        """The task of the latest result or error; None if that came from drawing the next task."""
        return self._current.task

    @property
    def clock(self) -> StageClock:
        """The clock of what the consumer's own thread does for the results."""
        return self._current.clock

    @property
    def timing(self) -> bytes | None:
        """The times of the latest task; None where the consumer has loaded it."""
        return self._current.timing

    @property
    def waiting(self) -> int:
        """The number of results that had come when the latest one was asked for."""
        return self._current.waiting

    @property
    def _is_inline(self) -> bool:
        return self._current.timing is None

    def __iter__(self) -> AutoResults:
        return self

    def __next__(self) -> Any:
        asked, before = perf_counter_ns(), self._handed_out_at
        self._handed_out_at = None
        self._adapt()
        asks_cpu = self._pool.workers is None and (self._loads < _CPU_ONE_IN or not self._loads % _CPU_ONE_IN)
        began_cpu = process_time_ns() if asks_cpu else 0
        try:
            value = next(self._current)
        except StopIteration:
            if self._next is None or self._gate.is_open:
                raise
            self._go_on_inline()
            value = next(self._current)
        now = self._handed_out_at = perf_counter_ns()
        if before is not None and self._next is None and not self._auto.skips(self._pool.count_ready):
            self._measure(value, asked, now, asked - before)
            if asks_cpu and self._is_inline:
                self._auto.observed.add_cpu(process_time_ns() - began_cpu, now - asked)
        return value

    def close(self) -> None:
        """End the run."""
        self._current.close()

    def _measure(self, value: Any, asked: int, now: int, consumed: int) -> None:
        """Take in the times of a task that is done."""
        observed, timing = self._auto.observed, self._current.timing
        if observed.began is None:
            observed.began = asked / _SECOND
        load = now - asked
        if timing is None:
            self._loads += 1
        else:
            row = memoryview(timing).cast("q")
            if len(row):
                load = row[ENDED] - row[BEGUN]
                observed.add_cpu(row[CPU], row[CPU_OF])
        if observed.tasks < _CPU_ONE_IN:
            observed.task_bytes = max(observed.task_bytes, count_bytes(value))
        task: Any = self._current.task
        observed.add(len(task.steps), (now - asked) / _SECOND, consumed / _SECOND, load / _SECOND)

    # ------------------------------------------------------------------ changes

    def _adapt(self) -> None:
        """Go on with a change that was begun, or decide on one."""
        pool = self._pool
        if self._next is not None:
            if self._next.workers and pool.workers is not None and pool.workers.count_ready():
                self._go_on_with_workers(self._next)
            return
        if pool.closed:
            return
        chosen = self._auto.find(pool.limits, pool.look_at_memory)
        if chosen == pool.setting:  # which another iterator of the loader may have changed, too
            return
        self._auto.use(chosen)  # an epoch that begins before they are ready begins with them
        if not chosen.workers:
            self._gate.is_open, self._next = False, chosen  # once what they have begun has been handed out
        elif pool.setting.workers:
            pool.resize(chosen)
        else:
            pool.begin_workers(chosen)
            self._next = None if pool.workers is None else chosen

    def _go_on_with_workers(self, setting: InUse) -> None:
        assert self._pool.workers is not None  # noqa: S101 - they are ready
        self._current.close()
        self._widen(_WIDER)
        self._current = self._pool.workers.run(self._gate)
        self._next = None
        self._pool.use(setting)

    def _go_on_inline(self) -> None:
        self._current.close()
        self._pool.end_workers()
        self._widen(1 / _WIDER)
        self._gate = _Gate(self._tasks)
        self._current = self._pool.inline.run(self._gate)
        self._next = None
        self._pool.use(InUse())

    def _widen(self, factor: float) -> None:
        """Let tasks that are of several batches have more of them, or fewer."""
        tasks: Any = self._tasks
        if tasks.coalesced > 1 and self._pool.limits.ram_budget is None:
            tasks.coalesced = min(MOST_BATCHES, max(2, int(tasks.coalesced * factor)))
