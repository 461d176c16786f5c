"""The verdict on a loader in plain words: whether loading holds the model up, and what would help."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from headrace.insight.model import predict_step

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from headrace.insight.model import Measured

__all__ = ["Advice", "Verdict", "make_verdict"]

_STARVED = 0.1  # the share of a step from which loading holds the model up
_HIDDEN = 1.05  # a step is hidden that takes no longer than this, times the consumer alone
_IDLE = 0.01  # the share of a step below which the consumer does nothing
_MOST_WORKERS = 64
_GAIN = 0.97  # what is advised must at least take so much less time
_PREFETCH, _PREFETCH_GAIN = 2, 0.9  # a prefetch_factor that is not known, and the same for a larger one

_WORDS = {
    "order": "drawing the order",
    "read": "reading",
    "decode": "decoding",
    "transform": "transforming",
    "collate": "collating",
    "transport": "transport",
    "device_copy": "copying to the device",
}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True, slots=True)
class Advice:
    """Workers, or more prefetching, that would help.

    Attributes:
        num_workers: as the DataLoader takes it.
        step_seconds: how long a step would take then.
        hides: whether loading is hidden then.
        prefetch_factor: as the DataLoader takes it; None where the present one, or its own, does.
    """

    num_workers: int
    step_seconds: float
    hides: bool
    prefetch_factor: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of a loader and its consumer. `print` shows it as sentences.

    Attributes:
        kind: "data-starved" where the model waits for batches, "compute-bound" where it does not, "unknown" where too
            little has been measured.
        step_seconds: how long a step takes, the first of each iterator left out.
        wait_seconds: how much of it the consumer waits.
        consumer_seconds: how long a step takes with loading hidden, which is the ceiling of any tuning.
        queue_seconds: how long a loaded batch waits for the consumer.
        num_workers: the workers that were measured.
        shares: the share of each stage in loading, 0 ... 1.
        advice: the workers or the prefetching that would help; None where neither would.
    """

    kind: str
    step_seconds: float = 0.0
    wait_seconds: float = 0.0
    consumer_seconds: float = 0.0
    queue_seconds: float = 0.0
    num_workers: int = 0
    shares: tuple[tuple[str, float], ...] = ()
    advice: Advice | None = None

    @property
    def speedup(self) -> float:
        """The factor by which a step is faster with loading hidden."""
        return self.step_seconds / self.consumer_seconds if self.consumer_seconds else 1.0

    @property
    def largest_stage(self) -> str:
        """The stage that takes most of loading, and how much, in words."""
        stage, share = max(self.shares, key=lambda each: each[1], default=("read", 1.0))
        return f"{_WORDS[stage].capitalize()} is {share * 100:.0f} %"

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as dicts, numbers and strings, as `json.dumps` takes them."""
        return {**asdict(self), "shares": dict(self.shares), "speedup": self.speedup, "text": str(self)}

    def __str__(self) -> str:
        if self.kind == "unknown":
            return "Too little has been measured for a verdict: go through some more batches."
        sentences = [self._finding()]
        if self.kind == "data-starved":
            sentences.append(self._ceiling())
            sentences.append(self._remedy())
        return " ".join(sentences)

    def _finding(self) -> str:
        share = self.wait_seconds / self.step_seconds if self.step_seconds else 0.0
        wait, step = _text(self.wait_seconds), _text(self.step_seconds)
        if wait.split()[1] == step.split()[1]:
            wait = wait.split()[0]
        found = f"Loading takes {wait} of {step} a step ({share * 100:.1f} %): "
        if self.kind == "data-starved":
            return f"{found}the model is data-starved."
        return f"{found}the training is compute-bound, and a faster loader would gain little."

    def _ceiling(self) -> str:
        if self.consumer_seconds < _IDLE * self.step_seconds:
            return "The loop itself takes next to no time, so a step is as fast as loading is."
        return f"With loading hidden, a step takes {_text(self.consumer_seconds)}: {self.speedup:.1f} times faster."

    def _remedy(self) -> str:
        largest = f"{self.largest_stage} of loading; "
        if not self.num_workers:
            return f"{largest}{self._workers()}."
        waits = f"batches wait {_text(self.queue_seconds)} in the queue"
        prefetches = self.advice is not None and self.advice.prefetch_factor is not None
        if self.queue_seconds < self.wait_seconds / 2 and not prefetches:
            waits += ", so more prefetch won't help"
        return f"{largest}{self._workers()}; {waits}."

    def _workers(self) -> str:
        if self.advice is None:
            return "more workers would not make it faster on these processors"
        change = self._change(self.advice)
        if self.advice.hides:
            return f"{change} would hide it"
        return f"{change} would bring a step to {_text(self.advice.step_seconds)}"

    def _change(self, advice: Advice) -> str:
        more, prefetch = advice.num_workers - self.num_workers, f"prefetch_factor={advice.prefetch_factor}"
        if not more:
            return prefetch
        number = _NUMBERS[more] if more < len(_NUMBERS) else str(more)
        workers = f"{number} {'more ' if self.num_workers else ''}worker{'s' if more > 1 else ''}"
        return workers if advice.prefetch_factor is None else f"{workers} with {prefetch}"


def make_verdict(measured: Measured | None, wait: float, queued: float, stages: Mapping[str, float]) -> Verdict:
    """Return the verdict on a run.

    Args:
        measured: the times of its batches; None where there are too few.
        wait: how long the consumer waited for a batch, on the average, in seconds.
        queued: how long a loaded batch waited for the consumer.
        stages: the seconds of each stage.
    """
    if measured is None:
        return Verdict("unknown")
    step, total = wait + measured.consumer, sum(stages.values())
    starved = wait > _STARVED * step
    return Verdict(
        kind="data-starved" if starved else "compute-bound",
        step_seconds=step,
        wait_seconds=wait,
        consumer_seconds=measured.consumer,
        queue_seconds=queued,
        num_workers=measured.workers,
        shares=tuple((name, seconds / total) for name, seconds in stages.items()) if total else (),
        advice=_advise(measured, step) if starved else None,
    )


def _advise(measured: Measured, step: float) -> Advice | None:
    """Return the fewest workers that hide loading, and prefetch no more than needed; else what brings most."""
    best: Advice | None = None
    for workers in range(max(measured.workers, 1), _MOST_WORKERS + 1):
        for advice in _with_prefetch(measured, workers):
            if workers == measured.workers and advice.prefetch_factor is None:
                step = min(step, advice.step_seconds)  # what is there; the model may differ from what was measured
            elif advice.step_seconds < _GAIN * (step if best is None else best.step_seconds):
                best = advice
        if best is not None and best.hides:
            break
        if workers > measured.workers and workers * measured.busy_cores > measured.cores:
            break  # no more can work at the same time
    return best


def _with_prefetch(measured: Measured, workers: int) -> Iterator[Advice]:
    """Yield what so many workers bring, with the present prefetching and with more of it where that brings much."""
    present = measured.ahead // measured.workers if measured.workers else _PREFETCH
    least = math.inf
    for factor in (present, 2 * present, 4 * present):
        predicted = predict_step(measured, workers=workers, ahead=workers * factor)
        if predicted < _PREFETCH_GAIN * least:
            hides = predicted <= _HIDDEN * measured.consumer
            yield Advice(workers, predicted, hides, None if factor == present else factor)
            least = predicted
            if hides:
                return


def _text(seconds: float) -> str:
    """Return a time with its unit, to two or three digits."""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.{0 if seconds * factor >= 9.95 else 1}f} {unit}"
    return f"{seconds * 1e6:.0f} µs" if seconds >= 0.5e-6 else "0 ms"
