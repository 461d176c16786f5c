"""What a loader has done: a meter that it feeds, and snapshots that a user reads."""

from __future__ import annotations

import threading
from dataclasses import dataclass

__all__ = ["LoaderStats", "Meter"]


@dataclass(frozen=True, slots=True)
class LoaderStats:
    """A snapshot of a loader's work since it was made, over all its iterators.

    Attributes:
        batches: batches handed out.
        samples: samples in them.
        bytes: bytes of their arrays and strings.
        wait_seconds: how long the consumer waited for batches, in seconds.
        consumer_seconds: how long the consumer took between batches, in seconds.

    >>> LoaderStats(batches=2, samples=64, bytes=512, wait_seconds=1.0, consumer_seconds=3.0).wait_share
    0.25
    """

    batches: int = 0
    samples: int = 0
    bytes: int = 0
    wait_seconds: float = 0.0
    consumer_seconds: float = 0.0

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


class Meter:
    """Adds up what all iterators of one loader do, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batches = self._samples = self._bytes = 0
        self._wait = self._consumer = 0.0

    def handed_out(self, samples: int, nbytes: int, wait_seconds: float) -> None:
        """Count one batch and how long it was waited for."""
        with self._lock:
            self._batches += 1
            self._samples += samples
            self._bytes += nbytes
            self._wait += wait_seconds

    def consumed(self, seconds: float) -> None:
        """Count the time that the consumer took for a batch."""
        with self._lock:
            self._consumer += seconds

    def snapshot(self) -> LoaderStats:
        """The sums so far."""
        with self._lock:
            return LoaderStats(self._batches, self._samples, self._bytes, self._wait, self._consumer)
