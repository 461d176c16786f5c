"""Statistics of a loader, as snapshots that a user reads."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace.insight.columns import STAGES
from headrace.insight.model import Measured
from headrace.insight.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.insight.verdict import Verdict

__all__ = [
    "DurationStats",
    "LoaderStats",
    "QueueStats",
    "Settings",
    "SlowBatch",
    "SlowSample",
    "SourceStats",
    "StageStats",
    "WorkerStats",
]

_FEW = 8  # batches, on which no verdict can be built


@dataclass(frozen=True, slots=True)
class SourceStats:
    """The samples that a run has drawn from one source of a mixture, on all ranks.

    Attributes:
        samples: samples drawn.
        epochs: how often all of the source has been drawn.
        tokens: tokens in the samples, by the source's mean length; None where its lengths are not known.
    """

    samples: int
    epochs: float
    tokens: int | None


@dataclass(frozen=True, slots=True)
class StageStats:
    """One stage of loading, over all workers.

    Attributes:
        seconds: time that it took, added up over workers.
        batches: batches that it was done for.
        bytes: bytes that it moved, where that is known; else 0.
    """

    seconds: float
    batches: int
    bytes: int


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """The load of one worker; the consumer itself is worker 0 where there are none.

    Attributes:
        batches: batches that it loaded.
        samples: samples in them.
        seconds: time that it was busy.
        load: the share of the run's time that it was busy, 0 ... 1.
    """

    batches: int
    samples: int
    seconds: float
    load: float


@dataclass(frozen=True, slots=True)
class QueueStats:
    """The batches that are loaded and wait for the consumer.

    Attributes:
        depth: how many there are when one is asked for, on the average.
        seconds: how long one has waited when it is asked for, on the average.
    """

    depth: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class DurationStats:
    """Durations in seconds; quantiles are known within a tenth.

    Attributes:
        mean: the average.
        p50: half of them took no longer than this.
        p90: 90 % of them.
        p99: 99 % of them.
    """

    mean: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0


class SlowSample(NamedTuple):
    """A sample that took long to read: the slowest of its batch."""

    sample: int
    seconds: float
    epoch: int
    step: int


class SlowBatch(NamedTuple):
    """A batch that took long to load."""

    epoch: int
    step: int
    seconds: float
    worker: int


class Settings(NamedTuple):
    """The settings that a loader was measured with.

    Attributes:
        num_workers: as the DataLoader has it.
        in_flight: how many batches, or groups of small ones, are loaded ahead.
        backend: what its workers are; "" where there are none.
        cores: how many the process may use.
        auto: whether the loader finds the number itself.
    """

    num_workers: int = 0
    in_flight: int = 0
    backend: str = ""
    cores: int = 1
    auto: bool = False

    def workers_text(self) -> str:
        """Return the workers in a word or two.

        >>> Settings(2, 4, "thread", auto=True).workers_text()
        '2 thread (auto)'
        """
        return f"{self.num_workers} {self.backend}".strip() + (" (auto)" if self.auto else "")


@dataclass(frozen=True, slots=True, repr=False)
class LoaderStats:
    """A snapshot of a loader's work since it was made, over all its iterators. `print` shows it as a table.

    Attributes:
        batches: batches handed out.
        samples: samples in them.
        bytes: bytes of their arrays and strings.
        wait_seconds: how long the consumer waited for batches, in seconds.
        consumer_seconds: how long the consumer took between batches, in seconds.
        bad_samples: samples that could not be read and were left out or replaced, each counted once (but
            again each time beyond the 10,000 that `DataLoader.bad_samples` lists).
        counters: what the dataset has counted in its method `counters()`, such as hits and misses of a
            cache: by any reader in this process, and in the loader's worker processes.
        sources: of a mixture what the run has drawn from each source, by name, up to the loader's present place: it
            follows from that place alone, so what was drawn before a resume counts.
        stages: of each stage of loading ("order", "read", "decode", "transform", "collate", "transport" and
            "device_copy") its time, batches and bytes, in workers, too. What one pass does is of one stage: decoding
            has the transforms that it is one pass with, and reading all that a dataset's own `__getitem__` does. The
            bytes of reading are those of files or of whole batches. "device_copy" is the time in which the consumer's
            thread pins a batch, or puts it on a device or begins to, as `prefetch_to_device` does; where that is done
            ahead it lies in `consumer_seconds`. Where the consumer loads batches in less than a millisecond each, one
            of sixteen is timed and stands for all.
        workers: the load of each worker, by its number.
        queue: the batches that were ready when one was asked for.
        waits: how long batches were waited for, but the first of each iterator.
        consumers: how long the consumer took for a batch.
        start_seconds: how much of `wait_seconds` went to the first batches of iterators, with the start of workers.
        busy_cores: how many processors a worker keeps busy while it loads, on the average: less than 1 where it waits
            for files, more where decoding has threads.
        slowest_samples: the slowest samples where they are read one by one, by index, of each batch one at most.
        slowest_batches: the batches that took longest to load.
        settings: the settings that were measured.
        timeline: the last steps and tasks, when each was begun and ended.

    >>> LoaderStats(batches=2, samples=64, bytes=512, wait_seconds=1.0, consumer_seconds=3.0).wait_share
    0.25
    """

    batches: int = 0
    samples: int = 0
    bytes: int = 0
    wait_seconds: float = 0.0
    consumer_seconds: float = 0.0
    bad_samples: int = 0
    counters: Mapping[str, int] = field(default_factory=dict)
    sources: Mapping[str, SourceStats] = field(default_factory=dict)
    stages: Mapping[str, StageStats] = field(default_factory=dict)
    workers: Mapping[int, WorkerStats] = field(default_factory=dict)
    queue: QueueStats = field(default_factory=QueueStats)
    waits: DurationStats = field(default_factory=DurationStats)
    consumers: DurationStats = field(default_factory=DurationStats)
    start_seconds: float = 0.0
    busy_cores: float = 1.0
    slowest_samples: tuple[SlowSample, ...] = ()
    slowest_batches: tuple[SlowBatch, ...] = ()
    settings: Settings = field(default_factory=Settings, compare=False)
    timeline: Timeline = field(default_factory=Timeline, compare=False)

    @property
    def wait_share(self) -> float:
        """The share of the time that went into waiting for batches, 0 ... 1."""
        total = self.wait_seconds + self.consumer_seconds
        return self.wait_seconds / total if total else 0.0

    @property
    def start_share(self) -> float:
        """The share of the time that went into waiting for the first batches of iterators, 0 ... 1."""
        total = self.wait_seconds + self.consumer_seconds
        return self.start_seconds / total if total else 0.0

    @property
    def samples_per_second(self) -> float:
        """Samples handed out a second, of waiting and consuming together."""
        total = self.wait_seconds + self.consumer_seconds
        return self.samples / total if total else 0.0

    @property
    def load_seconds(self) -> float:
        """The time of all stages, added up over workers, in seconds."""
        return sum(stage.seconds for stage in self.stages.values())

    def to_dict(self) -> dict[str, Any]:
        """Return all but the timeline as dicts, lists, numbers and strings, as `json.dumps` takes them.

        >>> LoaderStats(batches=2).to_dict()["batches"]
        2
        """
        found = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "timeline"}
        found |= {name: getattr(self, name) for name in ("wait_share", "start_share", "samples_per_second")}
        return {name: _plain(value) for name, value in found.items()}

    def verdict(self) -> Verdict:
        """Return whether loading holds the model up, in plain words, and what would help.

        >>> print(LoaderStats().verdict())
        Too little has been measured for a verdict: go through some more batches.
        """
        from headrace.insight.verdict import make_verdict  # when it is asked for

        stages = {name: stage.seconds for name, stage in self.stages.items()}
        return make_verdict(self.measured(), self.waits.mean, self.queue.seconds, stages)

    def measured(self) -> Measured | None:
        """Return the times of the last batches, from which the model predicts a step; None if they are too few."""
        return _measured(self)

    def to_prometheus(self, prefix: str = "headrace") -> str:
        """Return the sums in the text format that Prometheus scrapes.

        Args:
            prefix: begins the names of the metrics: letters, digits and _, of which no digit is the first.

        Raises:
            ArgumentError: Prometheus has no names that begin so.

        >>> LoaderStats(batches=2).to_prometheus().splitlines()[2]
        'headrace_batches_total 2'
        """
        from headrace.insight.prometheus import as_exposition  # when it is asked for
        from headrace.insight.views import metrics_of

        return as_exposition(metrics_of(self.to_dict(), prefix))

    def __str__(self) -> str:
        from headrace.insight.table import as_text  # when it is shown
        from headrace.insight.views import tables_of

        return "\n\n".join(map(as_text, tables_of(self.to_dict())))

    def _repr_html_(self) -> str:
        from headrace.insight.table import as_html  # when it is shown
        from headrace.insight.views import tables_of

        return "".join(map(as_html, tables_of(self.to_dict())))

    def __repr__(self) -> str:
        names = ["batches", "samples", "bytes", "wait_seconds", "consumer_seconds", "bad_samples", "counters"]
        shown = {name: getattr(self, name) for name in [*names, *["sources"][: len(self.sources)]]}
        shown |= {"wait_share": round(self.wait_share, 4), "samples_per_second": round(self.samples_per_second, 1)}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def _measured(stats: LoaderStats) -> Measured | None:
    """Return the times of the last batches but the first of iterators; None if they are too few."""
    steps, tasks, settings = stats.timeline.steps, stats.timeline.tasks, stats.settings
    consumers = steps["consumer"][~np.isnan(steps["consumer"])]
    first = steps[np.isnan(steps["consumer"])][["epoch", "step"]]
    loads = tasks[(tasks["worker"] >= 0) & ~np.isin(tasks[["epoch", "step"]], first)]
    own = tasks[tasks["worker"] < 0]
    if len(consumers) < _FEW or len(loads) < _FEW:
        return None
    each = np.repeat((loads["ended"] - loads["begun"]) / loads["steps"], loads["steps"])
    stages = [stage for stage in STAGES if stage != "device_copy"]  # of which the consumer's time knows
    overhead = sum(float(own[stage].sum()) for stage in stages) / max(len(steps), 1)
    return Measured(
        tuple(each.tolist()),
        tuple(consumers.tolist()),
        overhead,
        settings.num_workers,
        settings.in_flight,
        settings.cores,
        stats.busy_cores,
    )


def _plain(value: Any) -> Any:
    """Return a value as what JSON has."""
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if hasattr(value, "_asdict"):
        return value._asdict()
    if hasattr(value, "__dataclass_fields__"):
        return asdict(value)
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
