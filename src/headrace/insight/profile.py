"""Runs of a loader with a consumer, watched: its statistics, and its memory over time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

from headrace.bench.processes import family, proportional_memory
from headrace.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.insight.stats import LoaderStats
    from headrace.loader.dataloader import DataLoader

__all__ = ["Profile", "profile_batch_sizes", "profile_loader"]

_LOOK = 0.25  # seconds between two looks at the memory


@dataclass(frozen=True)
class Profile:
    """The result of a watched run.

    Attributes:
        stats: of the loader, for this run.
        seconds: how long the run took.
        memory: bytes that this process and its descendants had, what several share counted once, and when, in seconds
            since the run began.
    """

    stats: LoaderStats
    seconds: float
    memory: list[tuple[float, int]] = field(default_factory=list)

    @property
    def peak_memory(self) -> int:
        """The most memory that was seen, in bytes; 0 where the system does not say."""
        return max((size for _, size in self.memory), default=0)

    @property
    def steady_rate(self) -> float:
        """Samples handed out a second once the first batch was there, as workers take a while to start; 0 for one."""
        steps = self.stats.timeline.steps
        took = float(steps["handed_out"][-1] - steps["handed_out"][0]) if len(steps) else 0.0
        return float(steps["samples"][1:].sum()) / took if took else 0.0


def profile_loader(
    loader: DataLoader[Any],
    consume: Callable[[Any], object],
    *,
    seconds: float | None = None,
    epochs: int | None = None,
    after_start: bool = False,
    watch: Callable[[LoaderStats, int], object] | None = None,
) -> Profile:
    """Run a loader with a consumer, and watch both.

    Args:
        loader: a fresh one, whose statistics begin with this run.
        consume: called with each batch, as a training step would be.
        seconds: how long to run at least; the batch that is under way is ended. None to go by epochs.
        epochs: how many epochs to run at most; None for any number.
        after_start: count the seconds from the first batch on, without the start of workers.
        watch: called now and then with the statistics so far and the memory in bytes.

    Raises:
        ArgumentError: there is no bound, or one is not positive, or an epoch has no batches.

    >>> from headrace import DataLoader
    >>> profile_loader(DataLoader(range(10), batch_size=5), sum, epochs=1).stats.batches
    2
    """
    if seconds is None and epochs is None:
        raise ArgumentError("give seconds, or epochs, or both")
    for name, value in (("seconds", seconds), ("epochs", epochs)):
        if value is not None and not value > 0:
            raise ArgumentError(f"{name} must be positive, but got {name}={value!r}")
    watched = _Watched(loader, consume, seconds, watch)
    watched.starts_over = after_start
    with loader:
        while not watched.over and (epochs is None or watched.epochs < epochs):
            watched.run_epoch()
        return watched.profile()


def profile_batch_sizes(
    make_loader: Callable[[int], DataLoader[Any]],
    batch_sizes: Sequence[int],
    *,
    seconds: float,
    watch: Callable[[LoaderStats, int], object] | None = None,
) -> dict[int, Profile]:
    """Run a loader alone, without a consumer, with one batch size after the other.

    Args:
        make_loader: makes the loader of a batch size.
        batch_sizes: samples a batch.
        seconds: how long to run each.
        watch: called now and then, as by `profile_loader`.

    Returns:
        The profile of each batch size.

    >>> from headrace import DataLoader
    >>> found = profile_batch_sizes(lambda size: DataLoader(range(10), size), [2, 5], seconds=0.01)
    >>> [profile.stats.samples // profile.stats.batches for profile in found.values()]
    [2, 5]
    """
    return {
        size: profile_loader(make_loader(size), lambda _: None, seconds=seconds, watch=watch) for size in batch_sizes
    }


class _Watched:
    """A run that goes on until its time is over. For the arguments see `profile_loader`."""

    def __init__(
        self, loader: DataLoader[Any], consume: Callable[[Any], object], seconds: float | None, watch: Any
    ) -> None:
        self._loader = loader
        self._consume = consume
        self._watch = watch
        self._start = self._looked = perf_counter()
        self._end = math.inf if seconds is None else self._start + seconds
        self._memory = [(0.0, proportional_memory(family()))]
        self._seconds = seconds
        self.starts_over = False  # with the first batch
        self.epochs = 0
        self.over = False

    def run_epoch(self) -> None:
        """Run an epoch, or what of it there is time for."""
        count = 0
        for batch in self._loader:
            self._consume(batch)
            count += 1
            now = perf_counter()
            if self.starts_over and self._seconds is not None:
                self.starts_over, self._end = False, now + self._seconds
            if now - self._looked > _LOOK:
                self._look(now)
            if now >= self._end:
                self.over = True
                break
        if not count:
            raise ArgumentError("an epoch of the loader has no batches, so there is nothing to measure")
        self.epochs += 1

    def profile(self) -> Profile:
        """Return what was seen."""
        took = perf_counter() - self._start
        self._memory.append((took, proportional_memory(family())))
        return Profile(self._loader.stats(), took, [each for each in self._memory if each[1]])

    def _look(self, now: float) -> None:
        self._memory.append((now - self._start, proportional_memory(family())))
        if self._watch is not None:
            self._watch(self._loader.stats(), self._memory[-1][1])
        self._looked = perf_counter()
