"""Pieces of work, each with the contenders that do it: what workloads give, and tables are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.bench.race import Contender, race, stopwatch
from headrace.bench.results import table_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from headrace.bench.results import Comparison

__all__ = ["Race", "missing", "of_rivals"]


@dataclass(frozen=True)
class Race:
    """A piece of work and those that do it.

    Args:
        title: what it is.
        contenders: headrace first.
        figures: what to show of a number of seconds, by column.
        rounds: how many count.
        measure: runs a contender and gives the seconds that count.
        tolerance: of the mean of values, for contenders whose draws differ.
    """

    title: str
    contenders: list[Contender]
    figures: Mapping[str, Callable[[float], float | str]]
    rounds: int = 5
    measure: Callable[[Callable[[], Any]], float] = field(default=stopwatch)
    tolerance: float = 0

    def run(self, limit: float | None = None) -> Comparison:
        """Let the contenders take turns.

        Args:
            limit: seconds after which no further round begins.
        """
        seconds = race(self.contenders, self.rounds, self.measure, limit=limit)
        return table_of(self.title, self.contenders, seconds, self.figures, self.tolerance)


def of_rivals(
    makers: Mapping[str, Callable[..., Iterable[Contender]]], wanted: Collection[str], *arguments: Any
) -> list[Contender]:
    """Return the contenders of the rivals that are wanted, and those of headrace.

    Args:
        makers: functions that make contenders, by the name of the rival; "headrace" is wanted always.
        wanted: names of rivals.
        arguments: what the functions take.
    """
    return [entry for name, make in makers.items() if name in ("headrace", *wanted) for entry in make(*arguments)]


def missing(*names: str) -> list[Contender]:
    """Return contenders that cannot be run, since what they need is not installed."""
    return [Contender(name, None) for name in names]
