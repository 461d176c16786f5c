"""Take the verdict's advice, and compare what it predicted with what it did.

    python -m benchmarks.verdict [--smoke]

Loading waits and computes nothing, and so do the consumers, so that the processors of the machine do not matter; but
for photographs in JPEG files, which are decoded in memory. Of these the quickest of several epochs counts, before and
after: what other programs do meanwhile is neither loading nor advice.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.common import Comparison, Measurement, begin, rival, show, use_cores

from headrace import Compose, DataLoader, Dataset, Decode
from headrace.bench.workloads.jpeg import AUGMENT, photograph

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace import LoaderStats

AIM = 0.15  # of what is measured after the change


class Waiting(Dataset["NDArray[np.float32]"]):
    """Takes a while for each sample, as from a server.

    Args:
        seconds: how long it takes.
        length: how many samples there are.
    """

    def __init__(self, seconds: float, length: int) -> None:
        self.seconds = seconds
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int, /) -> NDArray[np.float32]:
        sleep(self.seconds)
        return np.full(16, index, np.float32)


class Photographs(Dataset[tuple[bytes, int]]):
    """Files in memory.

    Args:
        files: their bytes, over and over.
        length: how many samples there are.
    """

    def __init__(self, files: list[bytes], length: int) -> None:
        self.files = files
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int, /) -> tuple[bytes, int]:
        return self.files[index % len(self.files)], index


def steady(seconds: float) -> Callable[[int], float]:
    """Return a consumer that takes so long for each batch."""
    return lambda _: seconds


def bursty(step: int) -> float:
    """Take long for each sixth batch, and hardly any time for the others."""
    return 0.06 if step % 6 == 5 else 0.002


@dataclass(frozen=True)
class Run:
    """A loader and a consumer.

    Attributes:
        name: what the table calls it.
        make: makes the loader, with other arguments.
        consumer: how long it takes for a batch.
        workers: with which it is measured first.
        rounds: epochs of which the quickest counts.
    """

    name: str
    make: Callable[..., DataLoader[Any]]
    consumer: Callable[[int], float]
    workers: int = 0
    rounds: int = 1

    def measure(self, workers: int, prefetch: int | None) -> LoaderStats:
        """Return the statistics of the quickest epoch."""
        return min((self._go_through(workers, prefetch) for _ in range(self.rounds)), key=step_seconds)

    def _go_through(self, workers: int, prefetch: int | None) -> LoaderStats:
        options = {"num_workers": workers, "backend": "thread", "prefetch_factor": prefetch} if workers else {}
        with self.make(**options) as loader:
            for step, _ in enumerate(loader):
                sleep(self.consumer(step))
            return loader.stats()

    def compare(self) -> Measurement:
        """Take the advice, and return a line of the table."""
        stats = self.measure(self.workers, 2)
        advice = stats.verdict().advice
        name = f"headrace, {self.name}" + (f", {self.workers} workers" if self.workers else "")
        if advice is None:
            return Measurement(name, note=f"no advice: {stats.verdict()}")
        after = step_seconds(self.measure(advice.num_workers, advice.prefetch_factor or 2))
        off = advice.step_seconds / after - 1
        times = {"before": step_seconds(stats), "predicted": advice.step_seconds, "measured": after}
        figures: dict[str, float | str] = {"advice": advised(advice.num_workers, advice.prefetch_factor)}
        figures |= {column: f"{time * 1e3:.1f} ms" for column, time in times.items()}
        return Measurement(name, figures={**figures, "off": f"{off:+.1%}"}, aims=(abs(off) / AIM,), aim=f"{AIM:.0%}")


def advised(workers: int, prefetch: int | None) -> str:
    """Return the arguments that are advised."""
    named = f"{workers} worker{'s' if workers > 1 else ''}"
    return named if prefetch is None else f"{named}, prefetch {prefetch}"


def step_seconds(stats: LoaderStats) -> float:
    """Return how long a step took, without the first."""
    steps = stats.timeline.steps
    return float(steps["handed_out"][-1] - steps["handed_out"][0]) / (len(steps) - 1)


def runs(*, smoke: bool) -> list[Run]:
    """Return what is measured: four consumers, of which the bursty one needs prefetch too, and photographs."""
    steps = 24 if smoke else 90

    def waiting(seconds: float) -> Callable[..., DataLoader[Any]]:
        return lambda **options: DataLoader(Waiting(seconds, steps), **options)

    found = [
        Run("loading-bound", waiting(0.03), steady(0.004)),
        Run("consumer-bound", waiting(0.004), steady(0.03)),
        Run("balanced", waiting(0.02), steady(0.02)),
        Run("bursty", waiting(0.02), bursty),
        Run("bursty", waiting(0.02), bursty, workers=2),
    ]
    if not rival("PIL.Image"):
        return found
    files = [photograph(*((90, 120) if smoke else (375, 500)), number) for number in range(8)]
    batch = 4 if smoke else 32
    photographs = Photographs(files, batch * steps).map(Compose([Decode(), *AUGMENT]), field=0)

    def decoding(**options: Any) -> DataLoader[Any]:
        return DataLoader(photographs, batch, shuffle=True, **options)

    rounds = 1 if smoke else 4
    took = step_seconds(Run("", decoding, steady(0), rounds=rounds).measure(0, None))
    for name, share in (("balanced", 1.0), ("loading-bound", 0.25)):
        found.append(Run(f"JPEG, {name}", decoding, steady(took * share), rounds=rounds))
    return found


def main() -> None:
    """Show for each run the step that was measured, predicted, and measured after the change."""
    smoke = begin("the verdict's prediction beside what its advice does")
    use_cores(2)
    results = [run.compare() for run in runs(smoke=smoke)]
    if not rival("PIL.Image"):
        results.append(Measurement("headrace, JPEG", note="Pillow is not installed"))
    show(Comparison("a step before and after the verdict's advice is taken", tuple(results)))


if __name__ == "__main__":
    main()
