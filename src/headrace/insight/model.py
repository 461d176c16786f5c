"""A model of a loader and its consumer: how long a step takes with other workers, or more prefetching.

Workers take one task after the other, a bounded number ahead of the consumer, who takes their results in order. As in
the loader, there is room for one more when the consumer asks for a batch, not when it was given the one before. The
model goes through the tasks and steps that were measured and moves each to where it would have been; so it knows of
bursts, which averages do not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from heapq import heapreplace
from itertools import cycle, islice

__all__ = ["Measured", "predict_step"]

_LEAST = 64  # steps that are gone through at least; short measurements are repeated


@dataclass(frozen=True)
class Measured:
    """Times of a run that were measured, in seconds.

    Attributes:
        loads: how long a worker took for each batch.
        consumers: how long the consumer took for each.
        overhead: what the consumer's own thread does for each batch, where there are workers.
        workers: how many loaded; 0 where the consumer did.
        ahead: how many batches were loaded ahead.
        cores: how many processors there are.
        busy_cores: how many of them a worker keeps busy while it loads.
    """

    loads: tuple[float, ...]
    consumers: tuple[float, ...]
    overhead: float = 0.0
    workers: int = 0
    ahead: int = 0
    cores: int = 1
    busy_cores: float = 1.0

    @property
    def load(self) -> float:
        """The mean of `loads`."""
        return sum(self.loads) / len(self.loads)

    @property
    def consumer(self) -> float:
        """The mean of `consumers`."""
        return sum(self.consumers) / len(self.consumers)


def predict_step(measured: Measured, *, workers: int, ahead: int | None = None) -> float:
    """Return how long a step takes on the average with another number of workers, in seconds.

    Args:
        measured: the run that was measured.
        workers: how many workers; 0 loads in the consumer's own thread.
        ahead: how many batches they load ahead; by default two for each.

    Workers that keep processors busy share those that there are.

    >>> measured = Measured(loads=(0.3,), consumers=(0.1,), cores=8)
    >>> [round(predict_step(measured, workers=workers), 3) for workers in (0, 1, 2, 4)]
    [0.4, 0.3, 0.15, 0.1]
    """
    if workers == 0:
        return measured.load + measured.consumer
    stretched = _stretch(measured, workers) / _stretch(measured, measured.workers or 1)
    measured = replace(measured, loads=tuple(load * stretched for load in measured.loads))
    return _go_through(measured, workers, max(workers, 2 * workers if ahead is None else ahead))


def _stretch(measured: Measured, workers: int) -> float:
    """Return how much longer a task takes where workers share the processors."""
    return max(1.0, workers * measured.busy_cores / measured.cores)


def _go_through(measured: Measured, workers: int, ahead: int) -> float:
    """Return the mean time of a step, of as many steps as were measured, after the queue has filled."""
    filling = 2 * ahead
    count = max(_LEAST, len(measured.consumers), len(measured.loads)) + filling
    free = [0.0] * workers  # when each worker is, as a heap
    room = [0.0] * ahead  # when the consumer was done with each of the last batches, and a worker may begin another
    now = started = 0.0
    for step, load, consumer in zip(range(count), _endless(measured.loads), _endless(measured.consumers), strict=False):
        begun = max(free[0], room[step % ahead])
        heapreplace(free, begun + load)
        now = max(now, begun + load) + measured.overhead
        now += consumer
        room[step % ahead] = now
        if step == filling - 1:
            started = now
    return (now - started) / (count - filling)


def _endless(times: tuple[float, ...]) -> islice[float]:
    return islice(cycle(times), None)
