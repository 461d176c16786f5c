"""The search for the settings of a loader with which its consumer gets most samples a second."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.errors import ArgumentError
from headrace.insight.model import predict_step
from headrace.insight.profile import profile_loader
from headrace.kernels.cores import available_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from headrace.insight.model import Measured
    from headrace.insight.profile import Profile
    from headrace.insight.stats import LoaderStats
    from headrace.loader.dataloader import DataLoader

__all__ = ["Setting", "Trial", "candidates", "tune"]

_MOST_WAITING = 16  # workers that are tried where there are fewer cores
_ALIKE = 0.93  # rates of more than this part of the best tell no difference
_LONGEST = 4  # times the first round is the longest
_SLOWER = 1.4  # a step that is predicted to take so many times as long as the shortest is not tried
_FAR = 0.6  # what has less than this part of the best rate is given up at once


class Setting(NamedTuple):
    """Arguments of a loader that are tried, and a cache of its dataset. None but the batch size changes a batch.

    Attributes:
        num_workers: as the DataLoader has it.
        backend: what they are; "" without any.
        prefetch_factor: batches ahead for each.
        batch_size: samples a batch; None for the loader's own.
        cache: where samples are kept: "ram" or "disk"; "" for nowhere.
    """

    num_workers: int = 0
    backend: str = ""
    prefetch_factor: int = 2
    batch_size: int | None = None
    cache: str = ""

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of a DataLoader among it.

        >>> Setting(2, "thread").arguments()
        {'num_workers': 2, 'backend': 'thread', 'prefetch_factor': 2}
        """
        size = {} if self.batch_size is None else {"batch_size": self.batch_size}
        workers: dict[str, Any] = {"num_workers": self.num_workers}
        if self.num_workers:
            workers |= {"backend": self.backend, "prefetch_factor": self.prefetch_factor}
        return size | workers

    def code(self) -> str:
        """Return the line of code that asks for it.

        >>> print(Setting(batch_size=64, cache="ram").code())
        DataLoader(dataset.cache(), ..., batch_size=64, num_workers=0)
        """
        cached = {"": "", "ram": "dataset.cache(), ", "disk": 'dataset.cache("cache"), '}[self.cache]
        return f"DataLoader({cached}..., {self._arguments_text()})"

    def _arguments_text(self) -> str:
        return ", ".join(f"{name}={json.dumps(value)}" for name, value in self.arguments().items())

    def __str__(self) -> str:
        return self._arguments_text() + (f", cache in {self.cache}" if self.cache else "")


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


def candidates(
    cores: int | None = None,
    backends: Sequence[str] = ("thread", "process"),
    *,
    busy_cores: float = 1.0,
    batch_sizes: Sequence[int | None] = (None,),
    caches: Sequence[str] = ("",),
) -> list[Setting]:
    """Return the settings that are tried: no workers, and 1, 2, 4 ... up to the cores, of each kind.

    Args:
        cores: how many there are; by default those of the machine.
        backends: kinds of workers.
        busy_cores: how many of them a worker keeps busy: where it waits, there are more workers than cores.
        batch_sizes: each is tried with all workers.
        caches: and so is each of these.

    >>> [str(each) for each in candidates(2, ["thread"])]  # doctest: +NORMALIZE_WHITESPACE
    ['num_workers=0', 'num_workers=1, backend="thread", prefetch_factor=2',
     'num_workers=2, backend="thread", prefetch_factor=2', 'num_workers=2, backend="thread", prefetch_factor=4']
    """
    cores = cores or available_cores()
    most = max(cores, min(_MOST_WAITING, int(cores / max(busy_cores, 1e-3))))
    counts = sorted({1, cores, *(2**power for power in range(most.bit_length()) if 2**power <= most)})
    workers = [Setting()]
    for backend in backends:
        workers += [Setting(count, backend) for count in counts]
        workers.append(Setting(cores, backend, 4))
    return [each._replace(batch_size=size, cache=cache) for cache in caches for size in batch_sizes for each in workers]


def tune(
    make_loader: Callable[[Setting], DataLoader[Any]],
    consume: Callable[[Any], object],
    settings: Iterable[Setting],
    *,
    seconds: float = 0.5,
    ram: int | None = None,
    reserved: Mapping[str, int] | None = None,
    measured: Measured | None = None,
    watch: Callable[[Setting, float], object] | None = None,
) -> list[Trial]:
    """Try settings in rounds, each with the better half of those before it and longer: successive halving.

    The number of rounds is the logarithm of that of the settings, and each round takes about as long as the first, or
    less where settings are so far behind that no longer run could make up for it. Where those that are left are about
    as fast as each other, the first of them is the best. All settings of a round take turns,
    so that a machine that becomes slower does not favour those that came before.
    (Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016.)

    Args:
        make_loader: makes a fresh loader with a setting.
        consume: called with each batch, as a training step would be.
        settings: those to try; those that take less before those that take more.
        seconds: how long each is run in the first round, from its first batch on.
        ram: bytes of memory that a setting may take; None for any.
        reserved: bytes that each cache will take beyond what is seen of it here.
        measured: a run of the loader as it is: what the model predicts to be far slower than others is not tried.
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
    _check(trials, seconds, ram)
    if measured is not None:
        _drop_predicted(trials, measured)
    left, over, longest = [trial for trial in trials if not trial.dropped], False, _LONGEST * seconds
    while not over:
        for trial in left:
            profile = profile_loader(make_loader(trial.setting), consume, seconds=seconds, after_start=True)
            _run(trial, profile, ram, (reserved or {}).get(trial.setting.cache, 0))
            if watch is not None:
                watch(trial.setting, trial.rates[-1])
        left = sorted((trial for trial in left if not trial.dropped), key=lambda trial: -trial.rates[-1])
        if not left:
            raise ArgumentError(f"no setting keeps to ram={ram:,} bytes; allow more, or take smaller batches")
        left, seconds = _drop_slow(left), min(2 * seconds, longest)
        over = len(left) == 1 or _are_alike(left)
    best = min(left, key=trials.index)
    for trial in left:
        if trial is not best:
            trial.dropped = "no faster than the best, which comes before it"
    return sorted(
        trials, key=lambda trial: (trial.dropped != "", -len(trial.rates), *(-rate for rate in trial.rates[-1:]))
    )


def _check(trials: list[Trial], seconds: float, ram: int | None) -> None:
    if not trials:
        raise ArgumentError("there are no settings to try")
    for name, value in (("seconds", seconds), ("ram", ram)):
        if value is not None and not value > 0:
            raise ArgumentError(f"{name} must be positive, but got {name}={value!r}")


def _drop_predicted(trials: list[Trial], measured: Measured) -> None:
    """Give up what the model predicts to be far slower than another; it knows of no caches and other batch sizes."""
    steps = {
        trial.setting: predict_step(
            measured,
            workers=trial.setting.num_workers,
            ahead=trial.setting.num_workers * trial.setting.prefetch_factor,
        )
        for trial in trials
        if trial.setting.batch_size is None and not trial.setting.cache
    }
    for trial in trials:
        if trial.setting in steps and steps[trial.setting] > _SLOWER * min(steps.values()):
            trial.dropped = "predicted to be slower"


def _drop_slow(trials: list[Trial]) -> list[Trial]:
    """Return the better half of trials that come the best first, or fewer where others are far behind."""
    near = sum(trial.rates[-1] >= _FAR * trials[0].rates[-1] for trial in trials)
    keep = min((len(trials) + 1) // 2, near)
    for trial in trials[keep:]:
        trial.dropped = f"slower than {keep} {'other' if keep == 1 else 'others'} in round {len(trial.rates)}"
    return trials[:keep]


def _are_alike(trials: list[Trial]) -> bool:
    """Return whether trials that come the best first tell no difference, in runs of some length."""
    return len(trials[0].rates) > 1 and trials[-1].rates[-1] >= _ALIKE * trials[0].rates[-1]


def _run(trial: Trial, profile: Profile, ram: int | None, reserved: int) -> None:
    trial.rates.append(_rate(profile.stats))
    trial.memory = max(trial.memory, profile.peak_memory + reserved)
    if ram is not None and trial.memory > ram:
        trial.dropped = f"takes {trial.memory / 1e6:,.0f} MB"


def _rate(stats: LoaderStats) -> float:
    """Return the samples a second, without those batches that were ready before the first was handed out."""
    steps = stats.timeline.steps
    ready = min(stats.settings.in_flight + 1, (len(steps) + 1) // 2)
    if ready < len(steps):
        return float(steps["samples"][ready:].sum() / (steps["handed_out"][-1] - steps["handed_out"][ready - 1]))
    under_way = stats.wait_seconds + stats.consumer_seconds - stats.start_seconds
    return stats.samples / under_way if under_way > 0 else 0.0
