"""Mixtures: several datasets as one, each with its share of the samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from headrace.datasets.composed import ComposedDataset
from headrace.datasets.lengths import sequence_lengths
from headrace.datasets.tables import as_dataset
from headrace.errors import ArgumentError, ArgumentTypeError
from headrace.pipeline.describe import describe
from headrace.pipeline.nodes import Mixed, Node
from headrace.sampling.blend import ENDLESS, LARGEST
from headrace.sampling.mixture import Mixture

if TYPE_CHECKING:
    from headrace.pipeline.reading import Indexable

__all__ = ["MixedDataset", "mix"]

Stop: TypeAlias = Literal["first_exhausted", "all_exhausted", "never"]
Unit: TypeAlias = Literal["samples", "tokens"]
Batches: TypeAlias = Literal["mixed", "stratified", "per_source"]
# Numbers of the sources: by name, or in their order.
Numbers: TypeAlias = Mapping[str, float] | Sequence[float]


class MixedDataset(ComposedDataset[Any]):
    """Several datasets mixed; `headrace.mix` makes it.

    Args:
        sources: the datasets by name.
        mixture: their shares.

    Attributes:
        sources: the datasets by name.
    """

    made_of = ("sources", "mixture")
    keeps_slots = True

    def __init__(self, sources: dict[str, Indexable[Any]], mixture: Mixture) -> None:
        self.sources = sources
        self.mixture = mixture

    def __len__(self) -> int:
        return self.mixture.length

    def node(self) -> Node:
        """Return the description of the dataset."""
        return Mixed(self, tuple(map(describe, self.sources.values())), self.mixture)


def mix(
    datasets: Mapping[str, Indexable[Any]] | Sequence[Indexable[Any]],
    weights: Numbers | None = None,
    *,
    stop: Stop = "first_exhausted",
    schedule: Sequence[tuple[int, Numbers]] = (),
    unit: Unit = "samples",
    batches: Batches = "mixed",
    temperature: float | None = None,
    repeat: Numbers | None = None,
) -> MixedDataset:
    """Mix datasets, each with its share of the samples.

    Of any 2**k consecutive samples, the first of them at a multiple of 2**k, each dataset has its share, rounded
    down or up. A loader with `shuffle` shuffles the samples of each dataset, anew each time that it begins
    again, and leaves the shares as they are. Where a sample stands is computed, so a mixture takes no memory and
    resumes like any dataset.

    Args:
        datasets: the sources, by name or one after the other. They may be mixtures.
        weights: the shares of the sources, which need not add up to 1; by default their sizes, so that each sample
            comes once.
        stop: an epoch ends when the first source has been seen to its end ("first_exhausted"), when all have
            ("all_exhausted"), or "never". Sources that are at their end before that begin again.
        schedule: weights for later, as (step, weights): from this step of a loader's epoch on.
        unit: what the weights are shares of: "samples", or "tokens", which takes the mean length of each source's
            samples into account: from its method `lengths()`, or else all samples are read once.
        batches: "mixed" has samples of the sources in their order; in "stratified" each batch has its share of
            every source, rounded down or up; in "per_source" a batch is of one source. Batches are those of all
            ranks together. Without weights, and with `repeat`, the last ones have what is then left of the sources.
        temperature: the weights are raised to the power 1 / temperature: above 1 small sources get more.
        repeat: how often the samples of each source come in an epoch, in place of `weights` and `stop`: 2 twice,
            0.5 a half of them.

    Returns:
        The mixture. Its index i is the i-th sample, not shuffled; the length is that of an epoch.

    Raises:
        ArgumentError: a weight is negative, NaN or infinite, all are zero, a source is empty, a schedule goes back.

    >>> digits = mix({"a": [1, 2, 3, 4], "b": [10, 20]}, weights={"a": 0.5, "b": 0.5})
    >>> list(digits)
    [1, 10, 2, 20]
    """
    sources = _sources(datasets)
    names, sizes = tuple(sources), tuple(map(len, sources.values()))
    _check_choices(stop=(stop, Stop), unit=(unit, Unit), batches=(batches, Batches))
    _check_inner(sources)
    if repeat is not None:
        _check_alone(weights=weights, temperature=temperature, schedule=schedule or None)
    counts = None if repeat is None else _counts(_numbers("repeat", repeat, names), sizes)
    given = [(0, weights)] if weights is not None else [(0, counts or sizes)]
    phases = [*given, *_phases(schedule)]
    per_sample = _mean_lengths(sources) if unit == "tokens" else [1.0] * len(names)
    shares = [
        _shares(_numbers("weights", numbers, names), 1.0 if temperature is None else temperature, per_sample)
        for _, numbers in phases
    ]
    if counts is None and weights is None and temperature is None and not schedule and unit == "samples":
        counts = sizes
    for number, name in enumerate(names):
        _check_source(name, sizes[number], [share[number] for share in shares], stop)
    _check_positions(names, sizes, shares)
    mixture = Mixture(
        names=names,
        lengths=sizes,
        endless=tuple(isinstance(each, MixedDataset) for each in sources.values()),
        weights=tuple(shares),
        steps=tuple(step for step, _ in phases),
        stop=stop,
        batches=batches,
        counts=counts,
    )
    return MixedDataset(sources, mixture)


def _sources(datasets: Any) -> dict[str, Indexable[Any]]:
    if not isinstance(datasets, Mapping | Sequence) or isinstance(datasets, str):
        raise ArgumentTypeError(f"mix takes a dict of datasets or a list of them, got a {type(datasets).__name__}")
    named = datasets if isinstance(datasets, Mapping) else dict(enumerate(datasets))
    if not named:
        raise ArgumentError("mix needs at least one dataset, got none")
    if len(set(map(str, named))) < len(named):
        raise ArgumentError(f"sources must have different names, as text too, but got {list(named)}; rename some")
    return {str(name): as_dataset(dataset, f"source {str(name)!r}") for name, dataset in named.items()}


def _check_choices(**given: tuple[str, Any]) -> None:
    for name, (value, choices) in given.items():
        allowed = get_args(choices)
        if value not in allowed:
            raise ArgumentError(f"{name} must be one of {', '.join(map(repr, allowed))}, but got {name}={value!r}")


def _check_alone(**others: object) -> None:
    for name, value in others.items():
        if value is not None:
            raise ArgumentError(f"repeat says how often each source comes, so {name} must be left out; got {value!r}")


def _check_inner(sources: Mapping[str, Any]) -> None:
    for name, source in sources.items():
        if isinstance(source, MixedDataset) and (source.mixture.batches != "mixed" or len(source.mixture.steps) > 1):
            raise ArgumentError(
                f"source {name!r} is a mixture with a schedule or batches={source.mixture.batches!r}, which hold for "
                "the steps of a loader; give them to the outer mixture"
            )


def _phases(schedule: Any) -> list[tuple[int, Numbers]]:
    """Return the steps of a schedule with the weights from each on."""
    if not isinstance(schedule, Sequence) or any(not isinstance(each, Sequence) or len(each) != 2 for each in schedule):
        raise ArgumentError(
            f"schedule must be pairs (step, weights), as in [(1000, [1, 2])], but got {schedule!r:.100}"
        )
    steps = [step for step, _ in schedule]
    integers = all(isinstance(step, int | np.integer) and not isinstance(step, bool) for step in steps)
    if not integers or any(not before < step < ENDLESS for before, step in pairwise([0, *steps])):
        raise ArgumentError(
            f"the steps of a schedule must be integers that rise, the first above 0, but got {steps!r:.100}"
        )
    return [(int(step), weights) for step, weights in schedule]


def _check_source(name: str, size: int, weights: list[float], stop: str) -> None:
    if not size and any(weights):
        raise ArgumentError(f"source {name!r} is empty; leave it out")
    if stop == "all_exhausted" and not any(weights):
        raise ArgumentError(
            f"source {name!r} has weight 0, so it is never exhausted; leave it out, or use stop='first_exhausted'"
        )


def _check_positions(names: tuple[str, ...], sizes: tuple[int, ...], shares: list[tuple[float, ...]]) -> None:
    """Refuse a source so large, and of so little weight, that its last samples would stand beyond all positions."""
    for name, size, of_source in zip(names, sizes, zip(*shares, strict=True), strict=True):
        mean = sum(of_source) / len(of_source)
        if mean and size / mean >= LARGEST / 2:
            raise ArgumentError(
                f"source {name!r} has {size:,} samples and {mean:.3g} of the weight, so its last ones would come after "
                "more samples than can be counted; give it more weight, or take a subset of it"
            )


def _numbers(what: str, given: Any, names: tuple[str, ...]) -> list[float]:
    """Return the number of each source, in their order."""
    if isinstance(given, Mapping):
        given = {str(name): number for name, number in given.items()}
        if set(given) != set(names):
            raise ArgumentError(f"{what} are given for {sorted(given)}, but the sources are {sorted(names)}")
        given = [given[name] for name in names]
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        raise ArgumentTypeError(f"{what} must be a number for each source, in a list or by name, but got {given!r}")
    numbers = list(given)
    if len(numbers) != len(names):
        raise ArgumentError(f"{what} has {len(numbers)} numbers for {len(names)} sources; give one for each")
    for name, number in zip(names, numbers, strict=True):
        if not _is_finite(number) or number < 0:
            raise ArgumentError(f"{what} must be finite and not negative, but source {name!r} has {number!r:.100}")
    if not any(numbers):
        raise ArgumentError(f"{what} are all zero, so there is nothing to draw; give a source a share")
    return numbers


def _shares(weights: list[float], temperature: float, per_sample: list[float]) -> tuple[float, ...]:
    if not _is_finite(temperature) or temperature <= 0:
        raise ArgumentError(f"temperature must be positive and finite, but got temperature={temperature!r:.100}")
    total = sum(weights)
    if not math.isfinite(total):  # though each of them is
        total = max(weights)
    powers = [(weight / total) ** (1 / temperature) if weight else 0.0 for weight in weights]
    for number, (weight, power) in enumerate(zip(weights, powers, strict=True)):
        if weight and not power:
            raise ArgumentError(
                f"temperature={temperature!r} leaves nothing of weight {weight!r}, the one at place {number} of "
                f"{len(weights)}; take a higher temperature, or leave that source out"
            )
    shares = [share / length for share, length in zip(powers, per_sample, strict=True)]
    return tuple(share / sum(shares) for share in shares)


def _mean_lengths(sources: Mapping[str, Indexable[Any]]) -> list[float]:
    found = map(sequence_lengths, sources.values())
    return [float(lengths.mean()) if lengths.any() else 1.0 for lengths in found]


def _is_finite(number: Any) -> bool:
    """Return whether this is a number, and neither NaN nor infinite."""
    try:
        return math.isfinite(number)
    except (TypeError, ValueError, OverflowError):
        return False


def _counts(repeat: list[float], sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Return how many samples of each source come in an epoch."""
    counts = tuple(round(min(times * size, ENDLESS)) for times, size in zip(repeat, sizes, strict=True))
    if not 0 < sum(counts) < ENDLESS:
        raise ArgumentError(
            f"repeat={repeat!r:.100} of sources of {list(sizes)!r:.100} samples makes an epoch of "
            f"{'none' if not sum(counts) else f'more than {ENDLESS:,}'}; give other numbers, or stop='never'"
        )
    return counts
