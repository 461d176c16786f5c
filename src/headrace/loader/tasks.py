"""Tasks that a worker is given, and their outcomes where those are more than a batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import frameworks
from headrace.errors import UnexpectedStopIterationError
from headrace.errors.notes import add_note
from headrace.loader.cursor import Epoch

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

    from headrace.loader.bad_samples import Failure
    from headrace.sampling.samplers import Selection

__all__ = [
    "Loaded",
    "SampleTask",
    "Several",
    "StreamTask",
    "name_error",
    "name_step",
    "naming_step",
    "numbers_of",
    "seed_globals",
]


@dataclass(slots=True)  # not frozen, which would take three times as long to make, and one is made for each batch
class SampleTask:
    """A batch of a dataset, or several that are loaded together.

    Attributes:
        epoch: of which epoch.
        step: which step of it; of several batches the first.
        selection: which samples.
        later: those that will be read later, by whichever worker, if the dataset wants to hear of them.
        parts: of several batches, those of consecutive steps, how many of the samples each has.
    """

    epoch: Epoch
    step: int
    selection: Selection
    later: NDArray[np.int64] | None = None
    parts: tuple[int, ...] = ()

    @property
    def steps(self) -> range:
        """The steps of its batches."""
        return range(self.step, self.step + (len(self.parts) or 1))

    def singly(self) -> list[SampleTask]:
        """Return a task for each of the batches."""
        ends = accumulate(self.parts)
        selections = [self.selection[end - part : end] for end, part in zip(ends, self.parts, strict=True)]
        return [SampleTask(self.epoch, step, selection) for step, selection in zip(self.steps, selections, strict=True)]

    def __str__(self) -> str:
        return _name(self.epoch, *self.steps[:: max(1, len(self.steps) - 1)])

    def __reduce__(self) -> tuple[Any, ...]:
        # A tenth of the time that pickle would take for its parts; one is sent for every batch.
        indices = self.selection.tobytes() if isinstance(self.selection, np.ndarray) else self.selection
        later = None if self.later is None else self.later.tobytes()
        epoch = self.epoch
        return _sample_task, (epoch.number, epoch.seed, epoch.numbered, self.step, indices, later, self.parts)


def _sample_task(
    epoch: int,
    seed: int,
    numbered: bool,  # noqa: FBT001 - positions are what is sent
    step: int,
    indices: bytes | list[Any],
    late: bytes | None,
    parts: tuple[int, ...],
) -> SampleTask:
    selection = np.frombuffer(indices, np.int64).copy() if isinstance(indices, bytes) else indices
    later = None if late is None else np.frombuffer(late, np.int64)
    return SampleTask(Epoch(epoch, seed, numbered), step, selection, later, parts)


@dataclass(frozen=True, slots=True)
class StreamTask:
    """A batch of a stream.

    Attributes:
        epoch: of which epoch.
        step: which step of it.
        number: which batch of the stream that its reader reads; other than the step where readers
            take turns.
        skip: pass it over.
        run: of which run of tasks, each of which has a higher number than those begun before it.
        first: with which batch of the stream that run begins.
    """

    epoch: Epoch
    step: int
    number: int
    skip: bool = False
    run: int = 0
    first: int = 0

    def __str__(self) -> str:
        return _name(self.epoch, self.step)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The outcome of a task, where there is more to tell than a batch.

    Attributes:
        samples: how many samples the batch holds; 0 where there is none: all have failed, the stream has
            ended, or the task was to pass it over.
        batch: the batch, if it is loaded.
        loaded: whether it is; else there is none, or the last of the errors prevented it.
        errors: what was raised on the way, in the order in which that happened.
        failures: the samples that were left out, or replaced.
        counted: what the dataset of a worker process has counted since it was last told.
        sums: of a stream that several processes read, checksums of all samples before the batch, and with it.
        snapshot: whose dataset has a state of its own, and that state after the batch; None where nobody asks for it.
    """

    samples: int
    batch: Any = None
    loaded: bool = False
    errors: list[Exception] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    counted: dict[str, int] = field(default_factory=dict)
    sums: tuple[int, int] | None = None
    snapshot: tuple[int, Any] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it is a batch of all samples that were asked for."""
        return self.loaded and not self.errors and not self.failures


@dataclass(frozen=True, slots=True)
class Several:
    """The outcomes of coalesced batches.

    Attributes:
        found: of each the batch, a Loaded, or an error.
        counted: what the dataset of a worker process has counted since it was last told.
    """

    found: tuple[Any, ...]
    counted: dict[str, int] = field(default_factory=dict)


class naming_step:  # noqa: N801 - a context manager reads like a function
    """Add to an error which batch it came from, and let no StopIteration end the loop."""

    __slots__ = ("_epoch", "_step")

    def __init__(self, epoch: Epoch, step: int) -> None:
        self._epoch = epoch
        self._step = step

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            name_error(error, self._epoch, self._step)


def name_error(error: BaseException, epoch: Epoch, step: int) -> None:
    """Add to an error which batch it came from.

    Raises:
        UnexpectedStopIterationError: it is a StopIteration, which would end the loop.
    """
    if isinstance(error, StopIteration):
        unexpected = UnexpectedStopIterationError("StopIteration came out of a collate_fn or get_batch")
        name_step(unexpected, epoch, step)
        raise unexpected from error
    if isinstance(error, Exception):
        name_step(error, epoch, step)


def name_step(error: Exception, epoch: Epoch, step: int) -> None:
    """Add to an error which batch it came from."""
    add_note(error, f"in {_name(epoch, step)}")


def numbers_of(selection: Selection, step: int) -> NDArray[np.int64]:
    """Return what tells the draws of a batch's samples apart: their indices or, without those, their places."""
    if isinstance(selection, np.ndarray):
        return selection
    return (np.int64(step) << 32) + np.arange(len(selection))


def _name(epoch: Epoch, step: int, last: int | None = None) -> str:
    steps = f"step {step}" if last is None else f"steps {step} to {last}"
    return f"{steps} of epoch {epoch.number} (seed {epoch.seed})"


def seed_globals(epoch: Epoch, step: int, *, devices: bool = True) -> None:
    """Seed the global generators for a batch, so that code that draws from them finds them alike wherever it runs.

    Args:
        epoch: the batch's epoch.
        step: and its step.
        devices: seed those of GPUs, too, as only a worker process may.
    """
    frameworks.seed_globals(epoch.key(f"globals {step}"), devices=devices)
