"""The search for settings, on loaders whose speed is made up."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader, TensorDataset
from headrace.cli.main import main
from headrace.errors import ArgumentError
from headrace.insight import tune as tuning
from headrace.insight.profile import Profile
from headrace.insight.stats import LoaderStats
from headrace.insight.tune import Setting, candidates, tune

if TYPE_CHECKING:
    from pathlib import Path

RATES = {Setting(): 100, Setting(1, "thread"): 150, Setting(2, "thread"): 290, Setting(2, "process"): 300}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, float]]:
    """The runs that were made: a loader is its setting, and takes a second to start."""
    made: list[tuple[Any, float]] = []

    def profile(loader: Any, consume: object, *, seconds: float) -> Profile:
        made.append((loader, seconds))
        stats = LoaderStats(samples=int(RATES[loader] * seconds), wait_seconds=seconds + 1, start_seconds=1.0)
        return Profile(stats, seconds, [(0.0, 1000 * (1 + loader.num_workers))])

    monkeypatch.setattr(tuning, "profile_loader", profile)
    return made


def test_the_fastest_is_found_in_rounds_that_get_longer(runs: list[tuple[Any, float]]) -> None:
    found = tune(lambda setting: setting, len, RATES, seconds=10)  # type: ignore[arg-type, return-value]
    assert [trial.setting for trial in found] == sorted(RATES, key=lambda setting: -RATES[setting])
    assert found[0].rates == [300, 300, 300]
    assert [trial.dropped for trial in found] == [
        "",
        "slower than 1 others in round 2",
        "slower than 2 others in round 1",
        "slower than 2 others in round 1",
    ]
    assert [seconds for _, seconds in runs] == [10] * 4 + [20] * 2 + [40]


def test_memory_is_kept_to(runs: list[tuple[Any, float]]) -> None:
    found = tune(lambda setting: setting, len, RATES, seconds=10, ram=2000)  # type: ignore[arg-type, return-value]
    assert found[0].setting == Setting(1, "thread")
    with pytest.raises(ArgumentError, match="no setting keeps to ram=10 bytes"):
        tune(lambda setting: setting, len, RATES, ram=10)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("arguments", [{"seconds": 0}, {"ram": 0}, {"seconds": -1}])
def test_bounds_are_positive(arguments: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="must be positive"):
        tune(lambda _: DataLoader([1]), len, [Setting()], **arguments)
    with pytest.raises(ArgumentError, match="no settings"):
        tune(lambda _: DataLoader([1]), len, [])


def test_settings_are_arguments_of_a_loader() -> None:
    for setting in candidates(2):
        loader = DataLoader(TensorDataset(np.zeros((8, 2))), 2, **setting.arguments())
        assert loader.num_workers == setting.num_workers
    assert len(set(candidates(5))) == len(candidates(5)) == 11


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        "import numpy as np",
        "from headrace import TensorDataset",
        "rows = TensorDataset(np.zeros((100, 25), 'f4'))",
    ]
    (tmp_path / "tuned_data.py").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "tuned_data", raising=False)
    monkeypatch.setattr("headrace.cli.tune.candidates", lambda: [Setting(), Setting(1, "thread")])
    assert main(["tune", "tuned_data:rows", "--seconds", "0.02"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 5
    assert out[-1].startswith("DataLoader(..., num_workers=")
    assert main(["tune", "tuned_data:rows", "--seconds", "0.02", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2
    assert main(["tune", "tuned_data:rows", "--seconds", "0"]) == 2
