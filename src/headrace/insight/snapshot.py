"""Statistics of a loader, taken from what its clock has added up."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from headrace.insight.columns import STAGES, STEP
from headrace.insight.stats import (
    DurationStats,
    LoaderStats,
    QueueStats,
    SlowBatch,
    SlowSample,
    StageStats,
    WorkerStats,
)
from headrace.insight.timeline import Timeline
from headrace.insight.totals import WorkerTotals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from headrace.insight.loader_clock import LoaderClock
    from headrace.insight.stats import Settings, SourceStats
    from headrace.insight.totals import Slow, Totals

__all__ = ["make_stats"]

_SECOND = 1e9  # nanoseconds
_DEVICE_COPY = STAGES.index("device_copy")


def make_stats(
    clock: LoaderClock,
    *,
    bad_samples: int,
    counters: Mapping[str, int],
    sources: Mapping[str, SourceStats],
    settings: Settings,
) -> LoaderStats:
    """Return a snapshot of what a clock has added up, with what else a loader knows."""
    totals, (steps, tasks) = _extrapolated(clock.totals()), clock.recent()
    run, loaded = totals.wait + totals.consumer, sum(each.batches for each in totals.workers.values())
    return LoaderStats(
        batches=totals.batches,
        samples=totals.samples,
        bytes=totals.bytes,
        wait_seconds=totals.wait / _SECOND,
        consumer_seconds=totals.consumer / _SECOND,
        bad_samples=bad_samples,
        counters=_Fixed({name: _number(count) for name, count in counters.items()}),
        sources=_Fixed(sources),
        stages=_Fixed(_with_bytes(_stages(totals.stages, loaded), totals.bytes)),
        workers=_Fixed(
            {
                number: WorkerStats(each.batches, each.samples, each.busy / _SECOND, min(1.0, each.busy / max(run, 1)))
                for number, each in sorted(totals.workers.items())
            }
        ),
        queue=QueueStats(totals.depth / max(totals.tasks, 1), totals.queued / _SECOND / max(totals.tasks, 1)),
        waits=_durations(totals.waits, totals.wait - totals.start_wait),
        consumers=_durations(totals.consumers, totals.consumer),
        start_seconds=totals.start_wait / _SECOND,
        busy_cores=totals.cpu / totals.cpu_of if totals.cpu_of else 1.0,
        slowest_samples=tuple(
            SlowSample(each.which, each.nanoseconds / _SECOND, each.epoch, each.step) for each in totals.slow_samples
        ),
        slowest_batches=tuple(_slow_batch(each) for each in totals.slow_batches),
        settings=settings,
        timeline=Timeline.of(steps[steps[:, STEP] >= 0], tasks),
    )


def _number(value: Any) -> Any:
    """Return a number as Python has it, where a dataset counts with NumPy's."""
    return value.item() if isinstance(value, np.generic) else value


def _extrapolated(totals: Totals) -> Totals:
    """Return the sums over tasks for as many batches as were handed out, where some tasks were not timed."""
    if not totals.passed_over or len(totals.workers) > 1:  # all tasks of other workers than the consumer are timed
        return totals
    (worker,) = totals.workers.values()
    factor = totals.batches / worker.batches
    stages = np.rint(totals.stages * factor).astype(np.int64)
    stages[_DEVICE_COPY] = totals.stages[_DEVICE_COPY]
    worker = WorkerTotals(worker.tasks, totals.batches, totals.samples, round(worker.busy * factor))
    return replace(totals, stages=stages, workers=dict.fromkeys(totals.workers, worker))


def _slow_batch(slow: Slow) -> SlowBatch:
    return SlowBatch(slow.epoch, slow.step, slow.nanoseconds / _SECOND, slow.which)


def _stages(totals: NDArray[np.int64], loaded: int) -> dict[str, StageStats]:
    """Return the stages that were gone through; samples not told apart have their time as those that were."""
    totals[0, 2] = loaded  # the consumer draws the order of several at a time
    told, (nanoseconds, _, batches) = totals[:-1].copy(), totals[-1].tolist()
    if nanoseconds:
        of_samples = told[1:4]  # reading, decoding, transforming
        times = of_samples[:, 0] if of_samples[:, 0].any() else np.array([1, 0, 0])
        of_samples[:, 2] = np.minimum(of_samples[:, 2] + batches * (times > 0), loaded)
        of_samples[:, 0] += np.rint(times * (nanoseconds / times.sum())).astype(np.int64)
    return {
        name: StageStats(nanoseconds / _SECOND, batches, nbytes)
        for name, (nanoseconds, nbytes, batches) in zip(STAGES, told.tolist(), strict=True)
        if nanoseconds
    }


def _with_bytes(stages: dict[str, StageStats], handed_out: int) -> dict[str, StageStats]:
    """Return the stages with the bytes of reading, where whole batches are read and handed out as they are."""
    read = stages.get("read")
    if read is None or read.bytes or stages.keys() & {"decode", "transform", "collate"}:
        return stages
    return {**stages, "read": replace(read, bytes=handed_out)}


def _durations(histogram: NDArray[np.int64], total: int) -> DurationStats:
    count = int(histogram.sum())
    if not count:
        return DurationStats()
    ranks = np.searchsorted(np.cumsum(histogram), np.array([0.5, 0.9, 0.99]) * count)
    return DurationStats(total / _SECOND / count, *(2 ** ((ranks + 0.5) / 4) / _SECOND).tolist())


class _Fixed(dict[Any, Any]):
    """A dict of a snapshot, which nobody can change."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("statistics are a snapshot and cannot be changed; take a copy, dict(...)")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[_Fixed], tuple[dict[Any, Any]]]:
        return _Fixed, (dict(self),)
