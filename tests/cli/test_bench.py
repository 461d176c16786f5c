"""`headrace bench`: what it prints, saves and refuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from headrace.bench.results import Comparison, Measurement
from headrace.bench.rivals import RIVALS
from headrace.bench.workloads import WORKLOADS
from headrace.cli import bench
from headrace.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


def test_tables_bars_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "results.json"
    assert main(["bench", "tokens", "--against", "numpy", "--smoke", "--json", str(target)]) == 0
    said = capsys.readouterr().out
    assert "against numpy\n" in said
    assert "slices to buffers" in said
    assert "░" in said  # the bar of the limit
    saved = json.loads(target.read_text(encoding="utf-8"))
    assert saved["versions"]["headrace"]
    tables = [Comparison.from_dict(table) for table in saved["benchmarks"][0]["tables"]]
    assert [result.name for result in tables[0].results] == ["headrace", "slices to buffers"]


def test_other_work_is_told_and_is_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Comparison("a copy", (Measurement("headrace", seconds=1.0),), differs="torch has other labels")
    monkeypatch.setattr(bench, "_measure", lambda *_, **__: [table])
    assert main(["bench", "table"]) == 1
    assert "not installed" in capsys.readouterr().out or all(rival.is_there for rival in RIVALS.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tabel"], f"there is no workload 'tabel'; allowed are {', '.join(WORKLOADS)}"),
        (["--against", "pytorch"], f"there is no rival 'pytorch'; allowed are {', '.join(RIVALS)}"),
        (["--against", ","], f"name at least one rival, of {', '.join(RIVALS)}"),
        (["--seconds", "0"], "seconds must be greater than 0, got 0"),
        (["--json", "no/such/file"], "there is no folder for no/such/file; make it first"),
    ],
)
def test_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"headrace bench: {message}\n")


def test_a_rival_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(type(RIVALS["grain"]), "is_there", False)
    assert main(["bench", "--against", "grain"]) == 2
    assert capsys.readouterr().err == "headrace bench: grain is not installed: pip install grain\n"


def test_bars_have_letters_where_the_terminal_has_no_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ascii:
        encoding = "ascii"

    monkeypatch.setattr(bench.sys, "stdout", Ascii())  # type: ignore[attr-defined]
    quick, slow = Measurement("headrace", seconds=1.0), Measurement("torch", "rival", seconds=4.0)
    assert bench._bars(Comparison("a copy", (quick, slow))) == [
        "  headrace  " + "#" * 40 + " 1.00",
        "  torch     " + "=" * 10 + " 0.25",
    ]
    assert bench._bars(Comparison("a copy", (quick,))) == []


def test_the_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--help"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in WORKLOADS)
    assert "exit code:" in said
