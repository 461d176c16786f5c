"""Checks of what a stream gives against what it says of itself, and against what it gave before."""

from __future__ import annotations

import warnings
from typing import Any

from headrace.errors import ArgumentTypeError, DatasetChangedError, HeadraceWarning
from headrace.errors.notes import level_of_user

__all__ = ["StreamCheck", "StreamHistory"]


class StreamHistory:
    """The epochs of a loader's stream so far, as far as they matter to the next.

    Args:
        stream: the dataset.
        trusts_length: whether its length is to be compared with the samples that come.
    """

    def __init__(self, stream: Any, *, trusts_length: bool = True) -> None:
        self.stream = stream
        self.trusts_length = trusts_length
        self.gave_samples = False  # in any epoch so far

    def begin(self, readers: int, *, drops: int, whole: bool) -> StreamCheck:
        """Begin an epoch.

        Args:
            readers: how many worker processes have a whole stream for themselves; 1 if there is but one stream.
            drops: how many samples `drop_last` may leave out.
            whole: whether the epoch begins with its first sample; else nothing is checked.
        """
        return StreamCheck(self, readers, drops=drops, whole=whole)


class StreamCheck:
    """Counts the samples of one epoch of a stream, and compares what its readers see."""

    def __init__(self, history: StreamHistory, readers: int, *, drops: int, whole: bool) -> None:
        self._history = history
        self._name = type(history.stream).__name__
        self._readers = readers
        self._drops = drops
        self._whole = whole
        self._samples = 0
        self._lost = False  # an error may stand for a sample
        self._length = _length(history.stream) if whole and history.trusts_length else None
        self._sums: dict[int, int] = {}  # of the samples before a batch, by its number, until they are compared
        self._differ = False

    def count(self, samples: int, *, lost: bool) -> None:
        """Take note of samples that have come, and warn once of more than the stream's length.

        Args:
            samples: how many, with those that were passed over.
            lost: whether there was an error among them.
        """
        self._samples += samples
        self._lost = self._lost or lost
        self._history.gave_samples = self._history.gave_samples or samples > 0
        if self._length is not None and self._samples > self._length:
            self._warn(f"more samples have come, so len(loader) is too small{self._several()}")

    def compare(self, number: int, sums: tuple[int, int] | None) -> None:
        """Compare what two workers have read before a batch, of whom one has that batch and one the batch before it.

        Args:
            number: which batch of the stream.
            sums: checksums of all samples before it, and with it.

        Raises:
            DatasetChangedError: they have read other samples, now or earlier in the epoch.
        """
        for place, found in zip((number, number + 1), sums or (), strict=False):
            other = self._sums.pop(place, None)
            if other is None:
                self._sums[place] = found
            self._differ = self._differ or other not in (None, found)
        if self._differ:
            raise DatasetChangedError(
                f"the worker processes read different samples of the stream {self._name}, each for itself, so some "
                "would be lost and others doubled where they are dealt out (shard=True); let all that is random in it "
                "follow from a seed or headrace.sample_rng(), or let it divide itself among the workers (shard=False), "
                "or take backend='thread', where all have one stream"
            )

    def end(self) -> None:
        """Check the epoch that is over: warn of fewer samples than the stream's length.

        Raises:
            ArgumentTypeError: nothing has come of a stream that is its own iterator, and can be gone through once.
        """
        if self._whole and not self._samples and not self._lost and self._history.gave_samples and self._length != 0:
            self._refuse_exhausted()
        elif self._length is not None and not self._lost and self._samples + self._drops < self._length:
            batches = " in complete batches" if self._drops else ""
            self._warn(f"only {self._samples} samples have come{batches}, so len(loader) is too large")

    def _several(self) -> str:
        """Return the advice for worker processes that may each have given the whole stream."""
        if self._readers == 1:
            return ""
        return (
            f"; each of {self._readers} worker processes reads it, so let its __iter__ pick the worker's share "
            "(get_worker_info()), or use shard=True"
        )

    def _warn(self, text: str) -> None:
        warnings.warn(
            f"the length of the stream {self._name} was reported to be {self._length} (len(dataset)), but {text}",
            HeadraceWarning,
            stacklevel=level_of_user(),
        )
        self._length = None  # once is enough

    def _refuse_exhausted(self) -> None:
        if hasattr(type(self._history.stream), "__next__"):
            raise ArgumentTypeError(
                f"the dataset ({self._name}) is its own iterator and can be gone through once: an earlier epoch had "
                "samples, and this one has none; let its __iter__ start anew in each epoch"
            )
        warnings.warn(
            f"this epoch of the stream {self._name} has no samples, and an earlier one had some; if it can be gone "
            "through once, let its __iter__ start anew in each epoch",
            HeadraceWarning,
            stacklevel=level_of_user(),
        )


def _length(stream: Any) -> int | None:
    """Return the length that a stream reports; None if it has none, or will not say."""
    try:
        return len(stream)
    except Exception:
        return None
