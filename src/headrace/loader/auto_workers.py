"""The search for the number of workers while a loader runs, for `num_workers="auto"`.

A batch is the same from any number of workers, so the number may change at any time. What was measured since the last
decision goes into the model of `headrace.insight.model`, which says what other numbers would bring. Each change is a
trial: it is undone where the steps did not become shorter.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from threading import RLock
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from headrace.insight.model import Measured, predict_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["AutoWorkers", "InUse", "Limits", "MOST_WORKERS", "Observed"]  # noqa: RUF022 - in plain order

MOST_WORKERS = 64
_COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, MOST_WORKERS)  # of workers that are considered
_KEPT = 128  # times of the last tasks, from which the model predicts

# Seconds that are measured before a decision: the first, after a change, and at the most.
_FIRST, _AFTER_CHANGE, _LONGEST = 0.2, 0.5, 8.0
_FEWEST, _TASKS = 3, 8  # tasks in which so long is measured, at least: where they take long, and else

_PAUSE = 1.0  # seconds from which on the consumer pauses, unless its steps are not much shorter
_TINY = 100e-6  # seconds in which a batch is loaded that no worker is worth
_WAITS = 0.05  # the share of a step from which waiting is worth a change
_KEPT_PROMISE = 1 / 3  # the part of the promised gain that has to come
_LOSS = 1.03  # a step that fewer workers may take longer, in times
_ALIKE = 1.03  # predictions that differ by less are alike
_PROMISED = 0.93  # a prediction that is worth a trial, in times of the present step
_LONGEST_CLOSED = 600.0  # seconds for which what has failed is not tried again, at most; longer each time
_OTHER_LOAD = 2.0  # loading or consuming that takes so many times as long is another one: all is tried anew


class InUse(NamedTuple):
    """The workers of a loader.

    Attributes:
        workers: how many; 0 loads in the consumer's own thread.
        ahead: how many tasks they are ahead of the consumer.
    """

    workers: int = 0
    ahead: int = 0


@dataclass(frozen=True)
class Limits:
    """The bounds of the search.

    Attributes:
        cores: how many processors there are.
        prefetch: tasks ahead for each worker; None where that is to be found, too.
        ram_budget: bytes that batches in flight and workers may take together; None for any.
        separate: whether workers are processes.
        overhead: what a worker's task costs the consumer's own thread, in seconds.
    """

    cores: int
    prefetch: int | None = None
    ram_budget: int | None = None
    separate: bool = False
    overhead: float = 0.0

    def settings(self, busy_cores: float) -> Iterator[InUse]:
        """Yield what may be tried, the fewest workers first: more than there are processors where they wait.

        >>> [tuple(each) for each in Limits(cores=2, prefetch=2).settings(busy_cores=1.0)]
        [(0, 0), (1, 2), (2, 4)]
        """
        yield InUse()
        most = self.cores / max(busy_cores, 1 / 8)
        factors = (self.prefetch,) if self.prefetch else (2, 4) if self.ram_budget is None else (1, 2, 4)
        for workers in _COUNTS:
            if workers == 1 or workers <= most:
                yield from (InUse(workers, workers * factor) for factor in factors)

    def memory(self, setting: InUse, task_bytes: int, worker_bytes: int) -> int:
        """Return the bytes that batches in flight and workers take.

        Args:
            setting: the workers.
            task_bytes: of what is loaded at a time.
            worker_bytes: that each worker has for itself.

        A process keeps memory for three batches more than its share of those ahead, to write the next ones.

        >>> Limits(cores=2).memory(InUse(2, 4), task_bytes=10, worker_bytes=0)
        50
        """
        if not setting.workers:
            return 0
        spare = 3 * setting.workers if self.separate else 0
        return setting.workers * worker_bytes + (setting.ahead + 1 + spare) * task_bytes

    def bytes_ahead(self, setting: InUse, task_bytes: int, worker_bytes: int) -> int | None:
        """Return how large batches ahead may be together, in bytes; None for any size."""
        if self.ram_budget is None:
            return None
        others = self.memory(InUse(setting.workers, 0), task_bytes, worker_bytes)
        return max(1, self.ram_budget - others)


@dataclass
class Observed:
    """The times that were measured since the last decision, of tasks, in seconds.

    Attributes:
        began: when the first task was asked for; None before that.
        tasks: how many there were.
        batches: and in them.
        waited: how long the consumer waited for all of them.
        consumers: how long it took between the last of them.
        loads: how long each of these took to load.
        cpu: the processors' time of those loads that were asked for it.
        cpu_of: how long these took.
        task_bytes: the size of the largest, in bytes.
    """

    began: float | None = None
    tasks: int = 0
    batches: int = 0
    waited: float = 0.0
    consumers: list[float] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)
    cpu: float = 0.0
    cpu_of: float = 0.0
    task_bytes: int = 0

    def add(self, batches: int, waited: float, consumed: float, load: float) -> None:
        """Take in the times of a task: of how many batches it was, and so on."""
        self.tasks += 1
        self.batches += batches
        self.waited += waited
        self.consumers.append(consumed)
        self.loads.append(load)
        if len(self.loads) >= 2 * _KEPT:
            del self.consumers[:-_KEPT], self.loads[:-_KEPT]

    def add_cpu(self, cpu: float, took: float) -> None:
        """Take in the processors' time of a load."""
        self.cpu += cpu
        self.cpu_of += took

    def lasts(self, seconds: float, tasks: int, now: float) -> bool:
        """Return whether it has lasted so long, in so many tasks; where these take long, in fewer."""
        if self.began is None or self.tasks < _FEWEST or now - self.began < seconds:
            return False
        return self.tasks >= tasks or now - self.began >= 5 * seconds

    @property
    def busy_cores(self) -> float:
        """The processors that a load keeps busy."""
        return self.cpu / self.cpu_of if self.cpu_of else 1.0

    @property
    def wait_share(self) -> float:
        """The share of waiting in the time."""
        consumers = self._without_pauses()
        total = self.waited / self.tasks + sum(consumers) / len(consumers)
        return self.waited / self.tasks / total if total else 0.0

    @property
    def step(self) -> float:
        """The time in which a batch is waited for and consumed; a pause of the consumer now and then does not count."""
        return (self.waited + median(self.consumers) * self.tasks) / self.batches

    def _without_pauses(self) -> list[float]:
        """Return how long the consumer took of late, where what lasts too long for a step counts as a short pause."""
        longest = max(_PAUSE, 20 * median(self.consumers))
        return [min(each, longest) for each in self.consumers[-_KEPT:]]

    def measured(self, setting: InUse, limits: Limits) -> Measured:
        """Return what the model takes."""
        return Measured(
            tuple(self.loads[-_KEPT:]),
            tuple(self._without_pauses()),
            limits.overhead,
            setting.workers,
            setting.ahead,
            limits.cores,
            self.busy_cores,
        )


class _Change(NamedTuple):
    """A change whose worth is to be seen."""

    before: InUse
    step: float  # how long one took before
    most: float  # and may take now, in times of that
    times: tuple[float, float]  # and how long loading and consuming did
    closed_until: float = 0.0  # when it may be tried again, if it has failed


class AutoWorkers:
    """Finds the workers of a loader, from one iterator to the next.

    Attributes:
        setting: the workers in use, or about to be.
        observed: what was measured with them.
        worker_bytes: the memory that each worker has for itself, once that is known.
    """

    def __init__(self) -> None:
        self.setting = InUse()
        self.observed = Observed()
        self.worker_bytes: int | None = None
        self._patience = _FIRST
        self._in_vain = 0  # trials, one after the other
        self._trial: _Change | None = None
        self._failed: dict[InUse, _Change] = {}
        self._starting = False  # workers, not all of which are known to be ready
        self._skipped = 0  # tasks after a change that are not measured
        self._refuses = False
        self._lock = RLock()  # iterators in several threads have it together

    def find(self, limits: Limits, look: Callable[[], object]) -> InUse:
        """Return the workers to go on with: those in use, unless enough has been measured for a decision.

        Args:
            limits: of the search.
            look: called before a decision, to look at the memory of the workers.
        """
        with self._lock:
            if not self.is_due():
                return self.setting
            look()
            return self.decide(limits)

    def is_due(self) -> bool:
        """Return whether enough has been measured for a decision."""
        observed = self.observed
        return observed.tasks >= _FEWEST and observed.lasts(
            self._patience, max(_TASKS, 2 * self.setting.ahead), perf_counter()
        )

    def skips(self, count_ready: Callable[[], int]) -> bool:
        """Return whether the next task is none to measure, since workers are being started or the queue filled.

        Args:
            count_ready: tells how many workers have been started.
        """
        if not self._skipped:
            return False
        if self._starting and count_ready() < self.setting.workers:
            return True
        self._starting = False
        self._skipped -= 1
        return True

    def refuse_workers(self) -> None:
        """Load in the consumer's thread from now on, since there cannot be workers."""
        self._refuses, self.setting = True, InUse()

    def use(self, setting: InUse) -> None:
        """Take note that these workers begin to load."""
        with self._lock:
            self._starting, self._skipped = True, setting.ahead + setting.workers
            if setting != self.setting:
                self.setting = setting
                self._patience = min(_LONGEST, _AFTER_CHANGE * 2**self._in_vain)
                self.observed = Observed(task_bytes=self.observed.task_bytes)

    def decide(self, limits: Limits) -> InUse:
        """Return the workers to go on with, after what was measured; those in use, where nothing else seems better."""
        observed, present = self.observed, self.setting
        chosen = self._judge(observed, present)
        if self._refuses:
            chosen = present
        elif not self._fits(present, limits):
            self._trial = None
            fitting = [each for each in limits.settings(observed.busy_cores) if self._fits(each, limits)]
            chosen = max(each for each in fitting if each < present)
        elif chosen is None:
            chosen = self._choose(observed, present, limits)
        if chosen == present:
            self._patience = min(2 * self._patience, _LONGEST)
        self.observed = Observed(task_bytes=observed.task_bytes)
        return chosen

    def _judge(self, observed: Observed, present: InUse) -> InUse | None:
        """Return what there was before the last change, if that was in vain."""
        if self._trial is None:
            return None
        trial, self._trial = self._trial, None
        if observed.step <= trial.step * trial.most:
            self._in_vain = 0
            return None
        self._in_vain += 1
        closed = min(_LONGEST_CLOSED, _LONGEST * 2**self._in_vain)
        self._failed[present] = trial._replace(closed_until=perf_counter() + closed)
        return trial.before

    def _choose(self, observed: Observed, present: InUse, limits: Limits) -> InUse:
        """Return the fewest workers with which a step is predicted to take about as short as with any."""
        self._forgive(present, _times(observed))
        if not present.workers and (observed.wait_share < _WAITS or observed.waited < _TINY * observed.batches):
            return present
        measured = observed.measured(present, limits)
        now = predict_step(measured, workers=present.workers, ahead=present.ahead)
        most = 0 if observed.wait_share < _WAITS else max(limits.cores, 2 * present.workers)
        others = [
            each
            for each in limits.settings(observed.busy_cores)
            if (each.workers < present.workers or (present < each and each.workers <= most))
            and self._is_open(each, present, limits)
        ]
        predicted = {each: predict_step(measured, workers=each.workers, ahead=each.ahead) for each in others}
        predicted[present] = now
        # After a failure it is the model that is not to be believed: then the least change that it thinks well of.
        failed = any(trial.before == present for trial in self._failed.values())
        enough = max(_PROMISED * now, min(predicted.values())) if failed else _ALIKE * min(predicted.values())
        found = min(each for each, step in predicted.items() if step <= enough)
        if found == present or (found > present and predicted[found] > _PROMISED * now):
            return present
        allowed = 1 - _KEPT_PROMISE * (1 - predicted[found] / now) if found > present else _LOSS
        self._trial = _Change(present, observed.step, allowed, _times(observed))
        return found

    def _is_open(self, setting: InUse, present: InUse, limits: Limits) -> bool:
        """Return whether it may be tried: neither it, nor what is between the present one and it, has failed."""
        low, high = min(setting, present), max(setting, present)
        return not any(low <= each <= high for each in self._failed) and self._fits(setting, limits)

    def _forgive(self, present: InUse, times: tuple[float, float]) -> None:
        """Forget failures after a while, as it may have been other programs; and if loading or consuming is another."""
        for setting, trial in list(self._failed.items()):
            alike = all(a <= _OTHER_LOAD * b and b <= _OTHER_LOAD * a for a, b in zip(times, trial.times, strict=True))
            if perf_counter() >= trial.closed_until or (trial.before == present and not alike):
                del self._failed[setting]

    def _fits(self, setting: InUse, limits: Limits) -> bool:
        """Return whether the workers keep to the memory; of processes one tells how much each takes."""
        if limits.ram_budget is None or not setting.workers:
            return True
        if limits.separate and self.worker_bytes is None and setting.workers > 1:
            return False
        return limits.memory(setting, self.observed.task_bytes, self.worker_bytes or 0) <= limits.ram_budget


def _times(observed: Observed) -> tuple[float, float]:
    """Return how long loading a task took, and consuming it."""
    return sum(observed.loads) / len(observed.loads), median(observed.consumers)
