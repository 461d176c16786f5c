"""Statistics of a loader: a meter that it feeds, and snapshots that a user reads."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LoaderStats", "Meter", "SourceStats"]


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


@dataclass(frozen=True, slots=True, repr=False)
class LoaderStats:
    """A snapshot of a loader's work since it was made, over all its iterators.

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

    @property
    def wait_share(self) -> float:
        """The share of the time that went into waiting for batches, 0 ... 1."""
        total = self.wait_seconds + self.consumer_seconds
        return self.wait_seconds / total if total else 0.0

    @property
    def samples_per_second(self) -> float:
        """Samples handed out a second, of waiting and consuming together."""
        total = self.wait_seconds + self.consumer_seconds
        return self.samples / total if total else 0.0

    def __repr__(self) -> str:
        shown = {field.name: getattr(self, field.name) for field in fields(self)}
        if not self.sources:
            del shown["sources"]
        shown |= {"wait_share": round(self.wait_share, 4), "samples_per_second": round(self.samples_per_second, 1)}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class Meter:
    """Adds up what all iterators of one loader do, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batches = self._samples = self._bytes = 0
        self._wait = self._consumer = 0.0
        self._counters: Counter[str] = Counter()

    def handed_out(self, samples: int, nbytes: int, wait_seconds: float, consumer_seconds: float = 0.0) -> None:
        """Count one batch, how long it was waited for, and how long the consumer took for the one before."""
        with self._lock:
            self._batches += 1
            self._samples += samples
            self._bytes += nbytes
            self._wait += wait_seconds
            self._consumer += consumer_seconds

    def consumed(self, seconds: float) -> None:
        """Count the time that the consumer took for a batch after which there is no other."""
        with self._lock:
            self._consumer += seconds

    def counted(self, counters: Mapping[str, int]) -> None:
        """Add what the dataset of a worker process has counted."""
        with self._lock:
            self._counters.update(counters)

    def snapshot(self) -> LoaderStats:
        """Return the sums so far."""
        with self._lock:
            sums = self._batches, self._samples, self._bytes, self._wait, self._consumer
            return LoaderStats(*sums, counters=dict(self._counters))
