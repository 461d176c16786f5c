"""What documents say of speeds is what the saved results say: none of their figures is typed by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from headrace.bench.results import Comparison, Measurement

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the benchmarks are no part of the package

from benchmarks.suite.bars import draw  # noqa: E402
from benchmarks.suite.documents import documents  # noqa: E402
from benchmarks.suite.headline import headline, headline_table  # noqa: E402
from benchmarks.suite.results import behind, load, merge  # noqa: E402

FOUND = load()
MADE = dict(documents(FOUND))


@pytest.mark.parametrize("path", MADE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_is_made_of_the_results(path: Path) -> None:
    """`python -m benchmarks.suite.documents` makes them anew."""
    assert path.read_text(encoding="utf-8") == MADE[path]


def test_there_is_no_plot_of_anything_else() -> None:
    plots = {path for path in MADE if path.suffix == ".svg"}
    assert set((ROOT / "benchmarks" / "plots").glob("*.svg")) == plots


def test_another_result_is_another_document() -> None:
    """A test that finds all documents up to date must be able to find one that is not."""
    first = FOUND["benchmarks"][0]
    other = {**FOUND, "benchmarks": [{**first, "seconds": first["seconds"] + 1000}, *FOUND["benchmarks"][1:]]}
    assert dict(documents(other)) != MADE


def results(*tables: tuple[str, Comparison]) -> dict[str, Any]:
    found: dict[str, Any] = {"machine": {"cpu": "one"}, "versions": {}, "quick": False, "benchmarks": []}
    for name, table in tables:
        found["benchmarks"].append({"name": name, "seconds": 1.0, "tables": [table.to_dict()]})
    return found


def tokens() -> Comparison:
    ours = Measurement("headrace", figures={"Mtokens/s median": 100.0}, seconds=1.0)
    theirs = Measurement("nanoGPT's get_batch", "rival", {"Mtokens/s median": 25.0}, seconds=4.0)
    floor = Measurement("slices to buffers", "limit", {"Mtokens/s median": 200.0}, seconds=0.5)
    return Comparison("32 windows of 1,024 tokens", (ours, theirs, floor, Measurement("Grain", "rival", note="no")))


def test_the_headline() -> None:
    found = results(("tokens", tokens()))
    assert [len(table.results) for _, table in headline(found)] == [3]
    row = headline_table(found).splitlines()[-1]
    assert row.endswith("| 100 Mtokens/s | nanoGPT's get_batch: 4.00 | slices to buffers: 0.50 |")


def test_where_it_is_behind_the_farthest_comes_first() -> None:
    slow = Comparison("another", (Measurement("headrace", seconds=9.0), Measurement("torch", "rival", seconds=1.0)))
    found = results(("tokens", tokens()), ("other", slow))
    assert [(place.other, place.ratio) for place in behind(found)] == [("torch", 9.0), ("slices to buffers", 2.0)]


def test_results_of_others_stay() -> None:
    old, new = results(("a", tokens()), ("b", tokens())), results(("b", tokens()))
    new["benchmarks"][0]["seconds"] = 5.0
    old["versions"], new["versions"] = {"Python": "3.11", "rival": "1.0"}, {"Python": "3.12"}
    merged = merge(old, new)
    assert merged["versions"] == {"Python": "3.12", "rival": "1.0"}
    assert not merged["quick"]
    assert merge({**old, "quick": True}, new)["quick"], "some of them are"
    assert not merge({**new, "quick": True}, new)["quick"], "none is left"
    assert [(each["name"], each["seconds"]) for each in merged["benchmarks"]] == [("a", 1.0), ("b", 5.0)]
    with pytest.raises(SystemExit, match="another machine"):
        merge({**old, "machine": {"cpu": "two"}}, new)


def test_bars_are_as_long_as_they_are_quick() -> None:
    drawing = draw("a title", [tokens()])
    widths = [float(part.split('width="')[1].split('"')[0]) for part in drawing.split("<rect")[4:]]
    assert widths == [165.0, pytest.approx(41.2, abs=0.1), 330.0]
    assert "100 Mtokens/s" in drawing
    assert drawing.count("<title>a title</title>") == 1
    assert "another" not in draw("a title", []).split("</text>")[-1]
