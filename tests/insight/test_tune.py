"""The search for settings, on loaders whose speed is made up."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader, Dataset, RandomCrop, TensorDataset
from headrace.cli.main import main
from headrace.errors import ArgumentError, CacheError
from headrace.insight import tune as tuning
from headrace.insight.cached_part import CachedPart, cache_part
from headrace.insight.model import Measured
from headrace.insight.profile import Profile
from headrace.insight.stats import LoaderStats, Settings
from headrace.insight.timeline import Timeline
from headrace.insight.tune import Setting, candidates, tune

if TYPE_CHECKING:
    from pathlib import Path

RATES = {Setting(): 100, Setting(1, "thread"): 150, Setting(2, "thread"): 290, Setting(2, "process"): 300}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, float]]:
    """The runs that were made: a loader is its setting, and takes a second to start."""
    made: list[tuple[Any, float]] = []

    def profile(loader: Any, consume: object, *, seconds: float, after_start: bool) -> Profile:
        assert after_start
        made.append((loader, seconds))
        stats = LoaderStats(samples=int(RATES[loader] * seconds), wait_seconds=seconds + 1, start_seconds=1.0)
        return Profile(stats, seconds, [(0.0, 1000 * (1 + loader.num_workers))])

    monkeypatch.setattr(tuning, "profile_loader", profile)
    return made


def test_the_fastest_is_found_in_rounds_that_get_longer(runs: list[tuple[Any, float]]) -> None:
    found = tune(lambda setting: setting, len, RATES, seconds=10)  # type: ignore[arg-type, return-value]
    assert [trial.setting for trial in found] == sorted(RATES, key=lambda setting: -RATES[setting])
    assert found[0].rates == [300, 300]
    assert [trial.dropped for trial in found] == [
        "",
        "slower than 1 other in round 2",
        "slower than 2 others in round 1",
        "slower than 2 others in round 1",
    ]
    assert [seconds for _, seconds in runs] == [10] * 4 + [20] * 2


def test_what_is_far_behind_is_given_up_at_once(runs: list[tuple[Any, float]], monkeypatch: pytest.MonkeyPatch) -> None:
    rates = dict(zip(candidates(2), [10, 11, 12, 13, 100, 14, 15], strict=True))
    monkeypatch.setitem(globals(), "RATES", rates)
    found = tune(lambda setting: setting, len, rates, seconds=10)  # type: ignore[arg-type, return-value]
    assert rates[found[0].setting] == 100
    assert {trial.dropped for trial in found[1:]} == {"slower than 1 other in round 1"}
    assert len(runs) == 7


def test_of_those_alike_the_first_is_best(runs: list[tuple[Any, float]], monkeypatch: pytest.MonkeyPatch) -> None:
    rates = dict(zip(candidates(2), [50, 98, 97, 96, 100, 60, 90], strict=True))
    monkeypatch.setitem(globals(), "RATES", rates)
    found = tune(lambda setting: setting, len, rates, seconds=10)  # type: ignore[arg-type, return-value]
    assert rates[found[0].setting] == 98
    assert [rates[trial.setting] for trial in found if "no faster" in trial.dropped] == [100]
    assert len(runs) == 7 + 4


def test_what_the_model_thinks_little_of_is_not_tried(
    runs: list[tuple[Any, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading takes ten times as long as the consumer, so two workers are nearly twice as fast as one or none."""
    measured = Measured(loads=(0.1,), consumers=(0.01,), cores=8)
    found = tune(lambda setting: setting, len, RATES, seconds=10, measured=measured)  # type: ignore[arg-type, return-value]
    assert [trial.dropped for trial in found[2:]] == ["predicted to be slower"] * 2
    assert [trial.rates for trial in found[2:]] == [[], []]
    assert [seconds for _, seconds in runs] == [10] * 2
    assert found[0].setting == Setting(2, "process")
    other_sizes = [each._replace(batch_size=7) for each in RATES]
    monkeypatch.setitem(globals(), "RATES", dict.fromkeys(other_sizes, 100))
    found = tune(lambda setting: setting, len, other_sizes, measured=measured)  # type: ignore[arg-type, return-value]
    assert all(trial.rates for trial in found)


def test_what_a_cache_will_take_counts(runs: list[tuple[Any, float]], monkeypatch: pytest.MonkeyPatch) -> None:
    rates = dict(zip(candidates(1, ["thread"], caches=["", "ram"]), [10, 11, 12, 100, 110, 120], strict=True))
    monkeypatch.setitem(globals(), "RATES", rates)
    found = tune(lambda setting: setting, len, rates, ram=9000, reserved={"ram": 8000}, seconds=1)  # type: ignore[arg-type, return-value]
    assert found[0].setting == Setting(cache="ram")
    assert found[0].memory == 9000
    found = tune(lambda setting: setting, len, rates, ram=9000, reserved={"ram": 8001}, seconds=1)  # type: ignore[arg-type, return-value]
    assert found[0].setting.cache == ""


def test_batches_that_were_ready_before_the_first_do_not_count() -> None:
    """Four of them were loaded while the workers of the loader started, and cost no time at all."""
    steps = np.zeros(12, LoaderStats().timeline.steps.dtype)
    steps["handed_out"] = [10, 10, 10, 10, 10, *(11 + np.arange(7))]
    steps["samples"] = 3
    stats = LoaderStats(batches=12, settings=Settings(2, 4, "thread"), timeline=Timeline(steps))
    assert tuning._rate(stats) == pytest.approx(3.0)


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
        loader = DataLoader(TensorDataset(np.zeros((8, 2))), **{"batch_size": 2} | setting.arguments())
        assert loader.num_workers == setting.num_workers
    assert len(set(candidates(5))) == len(candidates(5)) == 11
    crossed = candidates(1, batch_sizes=[4, 8], caches=["", "disk"])
    assert len(set(crossed)) == len(crossed) == 4 * 5
    assert crossed[0].code() == "DataLoader(..., batch_size=4, num_workers=0)"
    assert crossed[-1].code() == (
        'DataLoader(dataset.cache("cache"), ..., batch_size=8, num_workers=1, backend="process", prefetch_factor=4)'
    )
    assert str(crossed[-1]).endswith("prefetch_factor=4, cache in disk")


def test_where_workers_wait_there_may_be_more_of_them_than_cores() -> None:
    assert max(setting.num_workers for setting in candidates(2)) == 2
    assert max(setting.num_workers for setting in candidates(2, busy_cores=0.5)) == 4
    assert max(setting.num_workers for setting in candidates(2, busy_cores=0.0)) == 16
    assert max(setting.num_workers for setting in candidates(32, busy_cores=0.1)) == 32


# ------------------------------------------------------------------ caches


class Costly(Dataset[Any]):
    def __init__(self, length: int = 300) -> None:
        self.length = length
        self.read = 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int, /) -> Any:
        self.read += 1
        return np.full(100, index, np.float32)


def test_a_part_that_is_cached_is_all_read(tmp_path: Path) -> None:
    dataset = Costly()
    part = cache_part(dataset, tmp_path, ram=10**6, seconds=1e-9, least=100)
    assert isinstance(part, CachedPart)
    assert (part.kind, len(part.dataset), dataset.read) == ("ram", 128, 128)
    assert 400 * (300 - 128) <= part.nbytes <= 450 * (300 - 128)
    assert [int(sample[0]) for sample in part.dataset] == list(range(128))
    assert dataset.read == 128


def test_where_the_memory_does_not_do_it_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = cache_part(Costly(), tmp_path, ram=100_000, seconds=10)
    assert isinstance(part, CachedPart)
    assert (part.kind, len(part.dataset), part.nbytes) == ("disk", 300, 0)
    assert (tmp_path / "cache").is_dir()
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=100_000))
    assert cache_part(Costly(), tmp_path, ram=90_000, seconds=10) == (
        "it would take 0.0 GB, and there are 0.0 GB of memory for it"
    )
    with pytest.raises(CacheError, match="is random"):
        cache_part(TensorDataset(np.zeros((9, 9, 9, 3))).map(RandomCrop(4), 0), tmp_path, ram=10**9, seconds=1)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        "import numpy as np",
        "from headrace import DataLoader, TensorDataset",
        "costly = list(range(200))",
        "cached = TensorDataset(np.zeros((100, 25), 'f4')).cache()",
        "chosen = DataLoader(costly, 4, sampler=range(100), seed=0)",
        "batches = DataLoader(costly, batch_sampler=[[1, 2]] * 10, seed=0)",
        "rows = TensorDataset(np.zeros((100, 25), 'f4'))",
    ]
    (tmp_path / "tuned_data.py").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "tuned_data", raising=False)
    monkeypatch.setattr("headrace.cli.tune.candidates", lambda busy_cores, **more: candidates(1, ["thread"], **more))
    assert main(["tune", "tuned_data:rows", "--seconds", "0.02"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 7
    assert out[-1].startswith("DataLoader(..., num_workers=")
    assert out[-3] == "no cache was tried: the samples are rows in memory"
    assert main(["tune", "tuned_data:costly", "--seconds", "0.02", "--json", "--batch-sizes", "8,16"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {(trial["setting"]["batch_size"], trial["setting"]["cache"]) for trial in found} == {
        (size, cache) for size in (8, 16) for cache in ("", "ram")
    }
    assert found[0]["code"].startswith("DataLoader(")
    for name, reason in (("chosen", "the loader's sampler asks"), ("cached", "the dataset has one")):
        assert main(["tune", f"tuned_data:{name}", "--seconds", "0.02"]) == 0
        assert f"no cache was tried: {reason}" in capsys.readouterr().out
    for wrong in (["--seconds", "0"], ["--batch-sizes", "8,x"], ["--ram", "1"], ["--ram", "much"]):
        assert main(["tune", "tuned_data:rows", *wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert main(["tune", "tuned_data:batches", "--batch-sizes", "8"]) == 2
    assert "--batch-sizes cannot be tried with a batch_sampler" in capsys.readouterr().err
