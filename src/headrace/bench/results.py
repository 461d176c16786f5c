"""Tables of what contenders took, as data: printed, saved as JSON, and asked where headrace is behind."""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.bench.same import compare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from headrace.bench.race import Contender, Rounds

__all__ = ["Behind", "Comparison", "Measurement", "per", "rate", "show_number", "table_of"]

_CLOSE = 1.005  # more than this much is behind: less is told by no clock


def rate(amount: float) -> Callable[[float], float]:
    """Return a function of seconds: how much of the amount was done in each.

    >>> rate(100)(0.5)
    200.0
    """
    return lambda seconds: amount / seconds


def per(amount: float, unit: float) -> Callable[[float], float]:
    """Return a function of seconds: how many units of time (1e-6: microseconds) each of the amount took.

    >>> per(2, 0.5)(3.0)
    3.0
    """
    return lambda seconds: seconds / amount / unit


@dataclass(frozen=True)
class Measurement:
    """The figures of one contender.

    Args:
        name: of the contender.
        kind: "headrace", "rival" or "limit".
        figures: what the table shows, by column.
        seconds: of the work, the median of the rounds; None where another measure counts.
        best: of the quickest round.
        spread: from the quickest round to the slowest, in parts of the median.
        rounds: how many counted.
        cpu: seconds of CPU in all processes, the median of the rounds.
        memory: bytes of memory that were added at the peak, what processes share counted once.
        ratio: of its seconds to those of the first contender.
        aims: what it takes, in times of what it is to take at most: up to 1 is well.
        aim: what is to be reached, in words.
        against: the contender of headrace that a rival is compared with.
        note: why there are no figures.
    """

    name: str
    kind: str = "headrace"
    figures: dict[str, float | str] = field(default_factory=dict)
    seconds: float | None = None
    best: float | None = None
    spread: float | None = None
    rounds: int = 0
    cpu: float | None = None
    memory: int | None = None
    ratio: float | None = None
    aims: tuple[float, ...] = ()
    aim: str = ""
    against: str = ""
    note: str = ""


class Behind(NamedTuple):
    """A place where headrace is behind another, or behind its aim."""

    title: str
    ours: str
    other: str
    kind: str
    ratio: float


@dataclass(frozen=True)
class Comparison:
    """A table: the figures of all contenders at one work.

    Args:
        title: what the work is.
        results: of each contender; the first one is what the others are compared with.
        checked: what was found to be the same for all of them.
        differs: who does other work, and in what; empty where nobody was found to.
    """

    title: str
    results: tuple[Measurement, ...]
    checked: str = ""
    differs: str = ""

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Comparison:
        """Return the table of which `to_dict` gave the content."""
        results = tuple(Measurement(**{**each, "aims": tuple(each["aims"])}) for each in saved["results"])
        return cls(saved["title"], results, saved.get("checked", ""), saved.get("differs", ""))

    def to_dict(self) -> dict[str, Any]:
        """Return the content as what JSON can hold.

        >>> table = Comparison("a copy", (Measurement("headrace", figures={"us": 1.5}),))
        >>> Comparison.from_dict(table.to_dict()) == table
        True
        """
        return asdict(self)

    def rows(self) -> list[list[str]]:
        """Return the cells of a header and of a line a contender, without the columns in which there is nothing."""
        names = list(dict.fromkeys(name for result in self.results for name in result.figures))
        columns: dict[str, Callable[[Measurement], str]] = {
            "": lambda result: result.name,
            **{name: lambda result, name=name: _cell(result.figures.get(name)) for name in names},  # type: ignore[misc]
            "time": lambda result: _times(result.ratio),
            "spread": lambda result: "" if result.spread is None else f"{result.spread:.0%}",
            "CPU s": lambda result: "" if result.cpu is None else show_number(result.cpu),
            "MB": lambda result: "" if result.memory is None else f"{result.memory / 1e6:,.0f}",
            "/ aim": lambda result: "  ".join(map(_times, result.aims)),
        }
        lines = [[show(result) for show in columns.values()] for result in self.results]
        kept = [number for number in range(len(columns)) if any(line[number] for line in lines)]
        header = list(columns)
        return [[line[number] for number in kept] for line in (header, *lines)]

    def behind(self) -> Iterator[Behind]:
        """Yield each contender that is quicker than headrace, and each aim that is not reached.

        >>> slow = Measurement("headrace", seconds=1.5, aims=(1.2,))
        >>> table = Comparison("a copy", (slow, Measurement("another", "rival", seconds=1.0)))
        >>> [(each.other, each.ratio) for each in table.behind()]
        [('its aim', 1.2), ('another', 1.5)]
        """
        for result in self.results:
            quicker = self._quicker(result)
            told = () if quicker is None else (quicker.ratio,)
            if quicker is not None and quicker.ratio > _CLOSE:
                yield quicker
            for ratio in result.aims:
                # An aim of as much time as a rival takes says nothing that the rival does not.
                if ratio > _CLOSE and not any(math.isclose(ratio, other, rel_tol=1e-6) for other in told):
                    yield self._missed(result, ratio)

    def _quicker(self, result: Measurement) -> Behind | None:
        """Return what headrace takes in times of a contender that is not its own."""
        ours = {each.name: each.seconds for each in self.results if each.kind == "headrace" and each.seconds}
        if result.kind == "headrace" or not result.seconds or not ours:
            return None
        name = result.against if result.against in ours else min(ours, key=lambda each: ours[each])
        return Behind(self.title, name, result.name, result.kind, ours[name] / result.seconds)

    def _missed(self, result: Measurement, ratio: float) -> Behind:
        if result.kind == "headrace":
            return Behind(self.title, result.name, result.aim or "its aim", "aim", ratio)
        return Behind(self.title, self.results[0].name, f"the aim against {result.name}", "aim", ratio)


def table_of(
    title: str,
    contenders: Sequence[Contender],
    seconds: Mapping[str, Rounds],
    figures: Mapping[str, Callable[[float], float | str]],
    tolerance: float = 0,
) -> Comparison:
    """Return the table of a race.

    Args:
        title: what the work is.
        contenders: all of them, also those that could not be run; others are compared with the first that could.
        seconds: the result of `race`.
        figures: what to show of the best round and of the median one, for its seconds.
        tolerance: of the mean of their values, where contenders were asked for the work that they do.
    """
    medians = {name: statistics.median(rounds) for name, rounds in seconds.items()}
    first = next(iter(medians.values()), 0.0)
    results = []
    for entry in contenders:
        rounds = seconds.get(entry.name)
        if rounds is None:
            results.append(Measurement(entry.name, entry.kind, note=entry.note))
            continue
        middle = medians[entry.name]
        shown = {"best": min(rounds), "median": middle}
        results.append(
            Measurement(
                entry.name,
                entry.kind,
                {f"{name} {which}": show(took) for name, show in figures.items() for which, took in shown.items()},
                middle,
                min(rounds),
                (max(rounds) - min(rounds)) / middle if len(rounds) > 1 else None,
                len(rounds),
                statistics.median(rounds.cpu) if rounds.cpu else None,
                rounds.memory,
                middle / first,
                _aims(entry, medians, medians.get(entry.against, first)),
                against=entry.against,
            )
        )
    digests = {name: rounds.digest for name, rounds in seconds.items() if rounds.digest is not None}
    return Comparison(title, tuple(results), *compare(digests, tolerance))


def _aims(entry: Contender, medians: Mapping[str, float], other: float) -> tuple[float, ...]:
    """Return what the first takes in times of its aim, and this one in times of what it is to take at most."""
    middle = medians[entry.name]
    aims = [] if entry.aim is None else [next(iter(medians.values())) / middle / entry.aim]
    if entry.most is not None and (not entry.against or entry.against in medians):
        aims.append(middle / other / entry.most)
    if entry.within is not None:
        aims.append(middle / entry.within)
    return tuple(aims)


def show_number(value: float) -> str:
    """Return a number with about three digits that tell something.

    >>> [show_number(value) for value in (12345.6, 123.4, 12.34, 1.234, 0.01234)]
    ['12,346', '123', '12.3', '1.23', '0.012']
    """
    for least, digits in ((100, 0), (10, 1), (1, 2), (0.1, 2)):
        if abs(value) >= least:
            return f"{value:,.{digits}f}"
    return f"{value:.2g}" if value else "0"


def _cell(value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:,}" if isinstance(value, int) else show_number(value)


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"x {ratio:.2f}"
