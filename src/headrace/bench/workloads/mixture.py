"""The first batch of ten weighted sources of 10^9 samples each, shuffled in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace import DataLoader, mix
from headrace.bench.race import Contender, rival
from headrace.bench.results import per
from headrace.bench.work import Race, missing, of_rivals
from headrace.bench.workloads.numbers import Numbers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

__all__ = ["first_batch", "works"]

_BATCH, _SOURCES = 256, 10
_LENGTH = 10**9  # of each, and a little more
_AIM = 0.02  # seconds


def works(folder: Path, wanted: Collection[str], *, smoke: bool = False) -> Iterator[Race]:  # noqa: ARG001
    """Yield what it takes to make the sources, mix them, and load a batch.

    Args:
        folder: stays empty.
        wanted: the names of the rivals that take part.
        smoke: with few rounds, to see that it runs.
    """
    makers = {"headrace": _headrace, "grain": _grain, "torch": _torch, "hf": _hugging_face}
    title = f"the first {_BATCH} samples of a mixture of {_SOURCES} sources of {_LENGTH:,}, shuffled"
    yield Race(title, of_rivals(makers, wanted), {"ms": per(1, 1e-3)}, 1 if smoke else 15)


def first_batch(length: int = _LENGTH) -> Any:
    """Mix ten datasets of that many samples and load a batch.

    Args:
        length: of the first; each has a sample more than the one before.
    """
    sources = {f"source {number}": Numbers(length + number) for number in range(_SOURCES)}
    return next(iter(DataLoader(mix(sources, range(1, _SOURCES + 1)), _BATCH, shuffle=True, seed=0)))


def _headrace() -> Iterator[Contender]:
    yield Contender("headrace mix", first_batch, within=_AIM)


def _grain() -> Iterable[Contender]:
    name = "Grain MapDataset.mix"
    grain: Any = rival("grain")
    if not grain:
        return missing(name)

    def run() -> None:
        sources = [
            grain.MapDataset.source(Numbers(_LENGTH + number)).shuffle(seed=number) for number in range(_SOURCES)
        ]
        mixed = grain.MapDataset.mix(sources, weights=list(range(1, _SOURCES + 1)))
        next(iter(mixed.batch(_BATCH)))

    return [Contender(name, run)]


def _torch() -> Iterator[Contender]:
    note = "needs 80 GB of weights, and draws among 2^24 samples at most"
    yield Contender("torch WeightedRandomSampler", None, note)


def _hugging_face() -> Iterable[Contender]:
    name = "datasets interleave_datasets, shuffle buffers of 1,000"
    library: Any = rival("datasets")
    if not library:
        return missing(name)

    def numbers(start: int) -> Iterator[dict[str, int]]:
        for number in range(start, _LENGTH):
            yield {"number": number}

    def run() -> None:
        sources = [
            library.IterableDataset.from_generator(numbers, gen_kwargs={"start": number}).shuffle(0, buffer_size=1000)
            for number in range(_SOURCES)
        ]
        total = sum(range(1, _SOURCES + 1))
        weights = [weight / total for weight in range(1, _SOURCES + 1)]
        next(library.interleave_datasets(sources, weights, seed=0).iter(_BATCH))

    return [Contender(name, run)]
