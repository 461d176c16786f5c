"""The search for the settings of a loader with which its consumer gets most samples a second."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.errors import ArgumentError
from headrace.insight.profile import profile_loader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from headrace.insight.profile import Profile
    from headrace.loader.dataloader import DataLoader

__all__ = ["Setting", "Trial", "candidates", "tune"]


class Setting(NamedTuple):
    """The arguments of a loader that change no batch.

    Attributes:
        num_workers: as the DataLoader has it.
        backend: what they are; "" without any.
        prefetch_factor: batches ahead for each.
    """

    num_workers: int = 0
    backend: str = ""
    prefetch_factor: int = 2

    def arguments(self) -> dict[str, Any]:
        """Return them as arguments of a DataLoader.

        >>> Setting(2, "thread").arguments()
        {'num_workers': 2, 'backend': 'thread', 'prefetch_factor': 2}
        """
        return dict(self._asdict()) if self.num_workers else {"num_workers": 0}

    def __str__(self) -> str:
        return ", ".join(f"{name}={json.dumps(value)}" for name, value in self.arguments().items())


@dataclass
class Trial:
    """A setting that was tried, and its speed.

    Attributes:
        setting: what was tried.
        rates: samples a second in each round that it took part in; the start of workers does not count.
        memory: the most memory that was seen, in bytes; 0 where the system does not say.
        dropped: why it was given up; "" for the best.
    """

    setting: Setting
    rates: list[float]
    memory: int = 0
    dropped: str = ""


def candidates(cores: int | None = None, backends: Sequence[str] = ("thread", "process")) -> list[Setting]:
    """Return the settings that are tried: no workers, and 1, 2, 4 ... up to the cores, of each kind.

    >>> [str(each) for each in candidates(2, ["thread"])]  # doctest: +NORMALIZE_WHITESPACE
    ['num_workers=0', 'num_workers=1, backend="thread", prefetch_factor=2',
     'num_workers=2, backend="thread", prefetch_factor=2', 'num_workers=2, backend="thread", prefetch_factor=4']
    """
    most = cores or os.cpu_count() or 1
    counts = sorted({1, most, *(2**power for power in range(most.bit_length()) if 2**power <= most)})
    found = [Setting()]
    for backend in backends:
        found += [Setting(count, backend) for count in counts]
        found.append(Setting(most, backend, 4))
    return found


def tune(
    make_loader: Callable[[Setting], DataLoader[Any]],
    consume: Callable[[Any], object],
    settings: Iterable[Setting],
    *,
    seconds: float = 0.5,
    ram: int | None = None,
    watch: Callable[[Setting, float], object] | None = None,
) -> list[Trial]:
    """Try settings in rounds, each with the better half of those before it and twice as long: successive halving.

    The number of rounds is the logarithm of that of the settings, and each round takes about as long as the first. All
    settings of a round take turns, so that a machine that becomes slower does not favour those that came before.
    (Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016.)

    Args:
        make_loader: makes a fresh loader with a setting.
        consume: called with each batch, as a training step would be.
        settings: those to try.
        seconds: how long each is run in the first round.
        ram: bytes of memory that a setting may take; None for any.
        watch: called with each setting that was run, and its samples a second.

    Returns:
        All trials, the best first.

    Raises:
        ArgumentError: there are no settings, a bound is not positive, or none is within the memory.

    >>> from headrace import DataLoader
    >>> best, *others = tune(lambda each: DataLoader(range(64), 8), sum, [Setting()], seconds=0.01)
    >>> best.setting.num_workers, others
    (0, [])
    """
    trials = [Trial(setting, []) for setting in settings]
    if not trials:
        raise ArgumentError("there are no settings to try")
    for name, value in (("seconds", seconds), ("ram", ram)):
        if value is not None and not value > 0:
            raise ArgumentError(f"{name} must be positive, but got {name}={value!r}")
    left = trials
    while True:
        for trial in left:
            _run(trial, profile_loader(make_loader(trial.setting), consume, seconds=seconds), ram)
            if watch is not None:
                watch(trial.setting, trial.rates[-1])
        left = sorted((trial for trial in left if not trial.dropped), key=lambda trial: -trial.rates[-1])
        if not left:
            raise ArgumentError(f"no setting keeps to ram={ram:,} bytes; allow more, or take smaller batches")
        if len(left) == 1:
            break
        keep = (len(left) + 1) // 2
        for trial in left[keep:]:
            trial.dropped = f"slower than {keep} others in round {len(trial.rates)}"
        left, seconds = left[:keep], 2 * seconds
    return sorted(trials, key=lambda trial: (trial.dropped != "", -len(trial.rates), -trial.rates[-1]))


def _run(trial: Trial, profile: Profile, ram: int | None) -> None:
    stats = profile.stats
    under_way = stats.wait_seconds + stats.consumer_seconds - stats.start_seconds
    trial.rates.append(stats.samples / under_way if under_way > 0 else 0.0)
    trial.memory = max(trial.memory, profile.peak_memory)
    if ram is not None and trial.memory > ram:
        trial.dropped = f"takes {trial.memory / 1e6:,.0f} MB"
