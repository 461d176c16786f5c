"""Compare the verdict's prediction with what a change really does, for four consumers.

Loading waits and computes nothing, and so do the consumers, so that the processors of the machine do not matter.

    python -m benchmarks.verdict [--smoke]
"""

from __future__ import annotations

from time import sleep
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.common import Comparison, Measurement, begin, show

from headrace import DataLoader, Dataset
from headrace.insight.model import predict_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace import LoaderStats

STEPS = 96
AIM = 0.15  # of what is measured after the change


class Waiting(Dataset["NDArray[np.float32]"]):
    """Takes a while for each sample, as from a server."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, index: int, /) -> NDArray[np.float32]:
        sleep(self.seconds)
        return np.full(16, index, np.float32)


def steady(seconds: float) -> Callable[[int], float]:
    """Return a consumer that takes so long for each batch."""
    return lambda _: seconds


def bursty(step: int) -> float:
    """Take long for each sixth batch, and hardly any time for the others."""
    return 0.06 if step % 6 == 5 else 0.002


# How long loading a batch takes, and the consumer.
CONSUMERS = {
    "loading-bound": (0.03, steady(0.004)),
    "consumer-bound": (0.004, steady(0.03)),
    "balanced": (0.02, steady(0.02)),
    "bursty": (0.02, bursty),
}


def measure(seconds: float, consumer: Callable[[int], float], workers: int) -> LoaderStats:
    """Go through an epoch."""
    loader: DataLoader[Any] = DataLoader(Waiting(seconds), num_workers=workers, backend="thread" if workers else "auto")
    with loader:
        for step, _ in enumerate(loader):
            sleep(consumer(step))
        return loader.stats()


def step_seconds(stats: LoaderStats) -> float:
    """Return how long a step took, without the first."""
    steps = stats.timeline.steps
    return float(steps["handed_out"][-1] - steps["handed_out"][0]) / (len(steps) - 1)


def main() -> None:
    """Show for each consumer the step that was measured, predicted, and measured after the change."""
    smoke = begin("the verdict's prediction beside what a change does")
    results = [compare(name, workers) for name in CONSUMERS for workers in ((2,) if smoke else (1, 2, 4))]
    show(Comparison("a step of four consumers, predicted and measured", tuple(results)))


def compare(name: str, workers: int) -> Measurement:
    """A line of the table."""
    seconds, consumer = CONSUMERS[name]
    before = measure(seconds, consumer, 0)
    measured = before.measured()
    assert measured is not None
    predicted = predict_step(measured, workers=workers)
    after = step_seconds(measure(seconds, consumer, workers))
    off = predicted / after - 1
    times = {"before": step_seconds(before), "predicted": predicted, "measured": after}
    figures: dict[str, float | str] = {column: f"{time * 1e3:.1f} ms" for column, time in times.items()}
    title = f"headrace, {name}, {workers} worker{'s' if workers > 1 else ''}"
    return Measurement(title, "headrace", {**figures, "off": f"{off:+.1%}"}, aims=(abs(off) / AIM,), aim=f"{AIM:.0%}")


if __name__ == "__main__":
    main()
