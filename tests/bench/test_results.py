"""Tables of results: what they say of a race, and where headrace is behind."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING

import pytest

from headrace.bench.race import Contender, Rounds
from headrace.bench.results import Comparison, Measurement, per, rate, table_of
from headrace.bench.same import Digest
from headrace.bench.text import as_text, behind_as_text

if TYPE_CHECKING:
    from collections.abc import Callable


def rounds(*seconds: float, cpu: float = 1.0, memory: int | None = None) -> Rounds:
    found = Rounds()
    found.extend(seconds)
    found.cpu, found.memory = [cpu] * len(seconds), memory
    return found


def work() -> None:
    pass


FIGURES: dict[str, Callable[[float], float | str]] = {"rows/s": rate(100), "ms/row": per(100, 1e-3)}


def example() -> Comparison:
    contenders = [
        Contender("headrace", work, most=1 / 0.5, against="a copy"),
        Contender("a copy", work, limit=True),
        Contender("torch", work, aim=0.5),
        Contender("grain", None),
    ]
    seconds = {"headrace": rounds(3.0, 1.0, 2.0, memory=5_000_000), "a copy": rounds(0.5), "torch": rounds(1.6)}
    seconds["headrace"].digest = seconds["torch"].digest = Digest(200, 7, 0.5)
    return table_of("a race", contenders, seconds, FIGURES)


def test_a_table_of_a_race() -> None:
    ours, copy, torch, grain = example().results
    assert ours.seconds == statistics.median([3.0, 1.0, 2.0])
    assert (ours.best, ours.spread, ours.rounds, ours.cpu, ours.memory) == (1.0, 1.0, 3, 1.0, 5_000_000)
    assert ours.figures == {"rows/s best": 100, "rows/s median": 50, "ms/row best": 10, "ms/row median": 20}
    assert ours.aims == (2.0 / 0.5 / 2,)
    assert (copy.kind, copy.ratio, copy.spread) == ("limit", 0.25, None)
    assert torch.aims == (2.0 / 1.6 / 0.5,)
    assert (grain.note, grain.seconds) == ("not installed", None)


def test_an_aim_against_one_that_is_not_there() -> None:
    contenders = [Contender("headrace", work, most=1, against="lmdb"), Contender("lmdb", None)]
    assert table_of("a race", contenders, {"headrace": rounds(1.0)}, {}).results[0].aims == ()


def test_where_the_first_cannot_be_run_the_next_one_is_the_first() -> None:
    contenders = [Contender("headrace", None, "needs the extra remote"), Contender("torch", work)]
    ours, torch = table_of("a race", contenders, {"torch": rounds(2.0)}, FIGURES).results
    assert (ours.note, torch.ratio) == ("needs the extra remote", 1.0)
    assert [result.seconds for result in table_of("a race", contenders[:1], {}, FIGURES).results] == [None]


def test_saved_and_read_again() -> None:
    table = example()
    assert Comparison.from_dict(json.loads(json.dumps(table.to_dict()))) == table


def test_where_it_is_behind() -> None:
    found = [(place.ours, place.other, place.kind, place.ratio) for place in example().behind()]
    assert found == [
        ("headrace", "its aim", "aim", 2.0),
        ("headrace", "a copy", "limit", 4.0),
        ("headrace", "torch", "rival", 1.25),
        ("headrace", "the aim against torch", "aim", 2.5),
    ]


def test_an_aim_that_is_the_rival_is_told_once() -> None:
    contenders = [Contender("headrace", work), Contender("torch", work, aim=1.0)]
    table = table_of("a race", contenders, {"headrace": rounds(3.0), "torch": rounds(1.5)}, {})
    assert [(place.other, place.ratio) for place in table.behind()] == [("torch", 2.0)]


@pytest.mark.parametrize(("against", "ratio"), [("", 1.0), ("headrace, slow", 2.0)])
def test_a_rival_is_compared_with_the_quickest_or_the_one_it_names(against: str, ratio: float) -> None:
    slow, quick = Measurement("headrace, slow", seconds=4.0), Measurement("headrace, quick", seconds=2.0)
    other = Measurement("torch", "rival", seconds=2.0, against=against)
    found = [place.ratio for place in Comparison("a race", (slow, quick, other)).behind()]
    assert found == ([ratio] if ratio > 1 else [])


def test_the_text_of_a_table() -> None:
    lines = as_text(example()).splitlines()
    assert lines[0] == "a race"
    assert (
        " ".join(lines[1].split()) == "rows/s best rows/s median ms/row best ms/row median time spread CPU s MB / aim"
    )
    assert " ".join(lines[2].split()) == "headrace 100 50.0 10.0 20.0 x 1.00 100% 1.00 5 x 2.00"
    assert lines[5].split() == ["grain", "not", "installed"]
    assert lines[6] == "  the same for all: 200 samples, their labels, the mean of their values (0.5)"


def test_a_table_of_notes_alone() -> None:
    table = Comparison("a race", (Measurement("headrace", note="there is no GPU"),))
    assert as_text(table).splitlines() == ["a race", "", "  headrace  there is no GPU"]


def test_the_text_of_where_it_is_behind() -> None:
    text = behind_as_text(example().behind())
    ratios = [float(line.split(" x ")[1].split()[0]) for line in text.splitlines()[2:]]
    assert ratios == sorted(ratios, reverse=True)
    assert len(ratios) == 4
    assert behind_as_text([]) == "headrace is behind nobody, and has reached its aims"
