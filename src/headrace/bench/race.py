"""Contenders that do the same work and take turns at it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import partial
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.bench.processes import PeakMemory, cpu_seconds
from headrace.bench.same import Digest, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["Contender", "Rounds", "race", "rival", "steady", "stopwatch", "touch", "touch_all"]

# Threads of the contender before, which may wait in a loop for more to do, go to sleep meanwhile; in seconds.
_PAUSE, _SHORT_PAUSE = 0.25, 0.05


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Args:
        name: what the table calls it. One of headrace begins with "headrace".
        run: does the work once, or begins it where `steady` measures; None where it cannot be run here.
        note: shown in place of figures where it cannot be run.
        share: how much of the work it does, of what would take too long; its name tells. The figures are scaled up.
        aim: what the first contender is to take at most, in times of this one; None for no aim.
        most: what this one is to take at most, in times of another one; None for no aim.
        within: the seconds that this one is to take at most; None for no aim.
        against: the name of that other one, by default the first of the table; of a rival, the contender of headrace
            that it is compared with, by default the quickest.
        limit: whether it does less than the work, so that it is no rival: a copy of the memory, say.
        batches: begins an epoch, of which it is found out whether it is the same work as the others'.

    >>> Contender("headrace", lambda: None).kind, Contender("a copy", None, limit=True).kind
    ('headrace', 'limit')
    """

    name: str
    run: Callable[[], object] | None
    note: str = "not installed"
    share: float = 1
    aim: float | None = None
    most: float | None = None
    within: float | None = None
    against: str = ""
    limit: bool = False
    batches: Callable[[], Iterable[Any]] | None = None

    @classmethod
    def over(cls, name: str, batches: Callable[[], Iterable[Any]] | None, **options: Any) -> Contender:
        """Return a contender that goes through an epoch and touches each batch.

        Args:
            name: what the table calls it.
            batches: begins the epoch; None where it cannot be run here.
            options: the other arguments.
        """
        run = None if batches is None else lambda: touch_all(batches())
        return cls(name, run, batches=batches, **options)

    @property
    def kind(self) -> str:
        """Return "headrace", "limit" or "rival"."""
        if self.limit:
            return "limit"
        return "headrace" if self.name.startswith("headrace") else "rival"


class Rounds(list[float]):
    """The seconds that each round of a contender took.

    Attributes:
        cpu: the seconds of CPU in each, of all its processes.
        memory: the bytes of memory that it added at its peak, in a round that does not count; None if not measured.
        digest: what an epoch of it holds; None if that was not asked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cpu: list[float] = []
        self.memory: int | None = None
        self.digest: Digest | None = None


def rival(module: str) -> Any:
    """Return the module of a rival, or None where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def stopwatch(run: Callable[[], object]) -> float:
    """Return the seconds that all of it takes."""
    start = perf_counter()
    run()
    return perf_counter() - start


def steady(passed_over: int) -> Callable[[Callable[[], Any]], float]:
    """Measure a loader that is under way: what it takes to start and to end, and its first batches, do not count.

    Args:
        passed_over: how many batches.

    Returns:
        A measure for `race`, of contenders whose `run` begins an epoch and returns its iterator. It gives the seconds
        until all other batches were there.
    """

    def seconds(begin_epoch: Callable[[], Iterator[Any]]) -> float:
        batches = begin_epoch()
        for _ in range(passed_over):
            touch(next(batches))
        start = end = perf_counter()
        for batch in batches:
            touch(batch)
            end = perf_counter()
        return end - start

    return seconds


def race(
    contenders: Sequence[Contender],
    rounds: int,
    measure: Callable[[Callable[[], Any]], float] = stopwatch,
    *,
    limit: float | None = None,
) -> dict[str, Rounds]:
    """Let the contenders take turns, after one round that does not count, in which memory and work are looked at.

    Args:
        contenders: all of them.
        rounds: how many rounds count. A single one is a trial: no pauses are made, and memory is not looked at.
        measure: runs a contender and gives the seconds that count.
        limit: seconds for all of it; who has taken its part of them makes no further round, once one has counted.

    Returns:
        The seconds of each round, for each contender that could be run; those that all of the work would take.

    >>> seconds = race([Contender("headrace", lambda: None), Contender("another", None)], rounds=1)
    >>> list(seconds), len(seconds["headrace"])
    (['headrace'], 1)
    """
    running = [(entry, entry.run) for entry in contenders if entry.run is not None]
    found = {entry.name: Rounds() for entry, _ in running}
    part = float("inf") if limit is None else limit / max(len(running), 1)
    pause = 0 if rounds == 1 else _PAUSE if limit is None else _SHORT_PAUSE
    spent = dict.fromkeys(found, 0.0)
    for entry, run in running:
        sleep(pause)
        spent[entry.name] = stopwatch(partial(_warm_up, entry, run, measure, found[entry.name], trial=rounds == 1))
    for number in range(rounds):
        for entry, run in running:
            if number == 0 or spent[entry.name] < part:
                sleep(pause)
                spent[entry.name] += stopwatch(partial(_round, entry, run, measure, found[entry.name]))
    return found


def _warm_up(
    entry: Contender,
    run: Callable[[], object],
    measure: Callable[[Callable[[], Any]], float],
    to: Rounds,
    *,
    trial: bool,
) -> None:
    """Do the work once, see what it holds, and what memory it takes."""
    if trial:
        to.digest = None if entry.batches is None else digest_of(entry.batches())
        return
    with PeakMemory() as memory:
        if entry.batches is None:
            measure(run)
        else:
            to.digest = digest_of(entry.batches())
    to.memory = memory.grown if memory.before else None


def _round(
    entry: Contender, run: Callable[[], object], measure: Callable[[Callable[[], Any]], float], to: Rounds
) -> None:
    """Do the work once, and count what it takes."""
    before = cpu_seconds()
    to.append(measure(run) / entry.share)
    took = cpu_seconds() - before
    if took >= 0:  # else a process that took some has ended as a child of another
        to.cpu.append(took / entry.share)


def touch_all(batches: Iterable[Any]) -> None:
    """Touch each batch."""
    for batch in batches:
        touch(batch)


def touch(batch: Iterable[Any]) -> None:
    """Read a number of each field of a batch, as cheaply for a tensor as for an array."""
    for field in batch:
        (field if isinstance(field, np.ndarray) else field.numpy()).item(-1)
