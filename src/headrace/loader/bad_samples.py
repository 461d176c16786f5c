"""Samples that could not be read and were passed over: a record that the loader keeps, and users read."""

from __future__ import annotations

import threading
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.errors import HeadraceWarning, TooManyErrorsError
from headrace.errors.notes import level_of_user, whole_text_of

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BadSample", "BadSamples", "Failure"]

# So many bad samples are listed, or as many as are allowed, if that is more; the others are only counted.
_MOST_LISTED = 10_000
# So many are named in the text of an error.
_MOST_NAMED = 10
_LONGEST_TEXT = 1000


class Failure(NamedTuple):
    """A sample that could not be read, and why."""

    index: Any
    error: Exception


@dataclass(frozen=True, slots=True)
class BadSample:
    """A sample that a loader could not read.

    Attributes:
        index: its index in the dataset, or the key that a sampler gave; in a stream, how many samples
            came before it, those that failed included.
        error: the class of the error.
        text: what the error says, with its notes.
        path: the file that the error names, if it does.
        epoch: in which epoch it was met first.
        step: at which step of it.

    >>> print(BadSample(index=3, error="OSError", text="no such file", path=None, epoch=0, step=1))
    sample 3 (step 1 of epoch 0): OSError: no such file
    """

    index: Any
    error: str
    text: str
    path: str | None
    epoch: int
    step: int

    def __str__(self) -> str:
        return f"sample {self.index!r} (step {self.step} of epoch {self.epoch}): {self.error}: {self.text}"


class BadSamples:
    """The bad samples that a loader has met.

    Args:
        on_error: what the loader does about them, for the texts: "skip" or "replace".
        max_errors: how many there may be; None for any number.
    """

    def __init__(self, on_error: str, max_errors: int | None) -> None:
        self._remedy = "another is read in its place" if on_error == "replace" else "it is left out"
        self._on_error = on_error
        self._max_errors = max_errors
        self._most_listed = max(_MOST_LISTED, max_errors or 0)
        self._listed: dict[Any, BadSample] = {}
        self._unlisted = 0
        self._lock = threading.Lock()  # several iterators may be gone through in as many threads

    def __len__(self) -> int:
        return len(self._listed) + self._unlisted

    def listed(self) -> tuple[BadSample, ...]:
        """Return the bad samples in the order in which they were met, each once."""
        with self._lock:
            return tuple(self._listed.values())

    def note(self, failures: Iterable[Failure], epoch: int, step: int) -> None:
        """Take note of samples that failed, and warn of the first one ever.

        Raises:
            TooManyErrorsError: there are more than `max_errors`; the cause is the last one's error.
        """
        with self._lock:
            first = not len(self)
            new = [failure for failure in failures if self._add(failure, epoch, step)]
            count = len(self)
        if not new:
            return
        if first:
            self._warn(_describe(new[0], epoch, step))
        if self._max_errors is not None and count > self._max_errors:
            raise self._too_many() from new[-1].error

    def _add(self, failure: Failure, epoch: int, step: int) -> bool:
        """Add a sample, unless it is known."""
        key = failure.index if isinstance(failure.index, int) else repr(failure.index)
        if key in self._listed:
            return False
        if len(self._listed) < self._most_listed:
            self._listed[key] = _describe(failure, epoch, step)
        else:
            self._unlisted += 1
        return True

    def _warn(self, sample: BadSample) -> None:
        warnings.warn(
            f"{sample}; {self._remedy} (on_error={self._on_error!r}). This is the only warning: loader.bad_samples "
            "lists all such samples",
            HeadraceWarning,
            stacklevel=level_of_user(),
        )

    def _too_many(self) -> TooManyErrorsError:
        listed = self.listed()
        lines = [f"  {sample}" for sample in listed[-_MOST_NAMED:]]
        if len(self) > len(lines):
            lines.insert(0, f"  ({len(self) - len(lines)} more, see loader.bad_samples)")
        return TooManyErrorsError(
            f"{len(self)} samples could not be read, and max_errors={self._max_errors} allows {self._max_errors}:\n"
            + "\n".join(lines)
        )


def _describe(failure: Failure, epoch: int, step: int) -> BadSample:
    error = failure.error
    text = whole_text_of(error)
    path = None
    with suppress(Exception):  # of a class that lets nobody ask for it
        path = getattr(error, "filename", None)
    return BadSample(
        index=failure.index,
        error=type(error).__name__,
        text=text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}...",
        path=None if path is None else str(path),
        epoch=epoch,
        step=step,
    )
