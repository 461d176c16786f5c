"""Runs that are watched, and the page of one, which a real browser opens."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace import DataLoader, LoaderStats, TensorDataset
from headrace.cli import profile
from headrace.cli.main import main
from headrace.errors import ArgumentError
from headrace.insight.columns import GOT, SAMPLES_OF_STEP, STEP_WIDTH, TIMES, WIDTH
from headrace.insight.profile import Profile, profile_batch_sizes, profile_loader
from headrace.insight.report import html_report
from headrace.insight.timeline import Timeline

if TYPE_CHECKING:
    from pathlib import Path

ROWS = TensorDataset(np.zeros((64, 100), np.float32), np.arange(64))
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_a_run_goes_by_epochs() -> None:
    seen: list[int] = []
    profile = profile_loader(DataLoader(ROWS, 16), lambda batch: seen.append(len(batch[0])), epochs=2)
    assert seen == [16] * 8
    assert (profile.stats.batches, profile.stats.samples) == (8, 128)
    assert profile.seconds > 0
    assert profile.memory == [] or profile.peak_memory > 1 << 20


def test_a_run_goes_by_time() -> None:
    profile = profile_loader(DataLoader(ROWS, 64), len, seconds=0.05)
    assert profile.seconds >= 0.05
    assert profile.stats.batches >= 1


@pytest.mark.parametrize(("seconds", "epochs"), [(None, None), (0, None), (None, 0), (-1.0, None)])
def test_bounds_are_positive(seconds: float | None, epochs: int | None) -> None:
    with pytest.raises(ArgumentError):
        profile_loader(DataLoader(ROWS), len, seconds=seconds, epochs=epochs)


def test_an_epoch_without_batches_is_an_error() -> None:
    with pytest.raises(ArgumentError, match="has no batches"):
        profile_loader(DataLoader([], 4), len, seconds=1)


def page(workers: int = 2) -> str:
    options: dict[str, Any] = {"num_workers": workers, "backend": "thread"} if workers else {}
    profile = profile_loader(DataLoader(ROWS, 4, **options), len, epochs=2)
    sizes = profile_batch_sizes(lambda size: DataLoader(ROWS, size, **options), [2, 4, 8], seconds=0.02)
    return html_report(profile, "rows & <more>", "Loading takes 1 of 2 ms.", sizes)


class Balanced(HTMLParser):
    """Holds that each element that is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    lines = [
        "import numpy as np",
        "from headrace import DataLoader, TensorDataset",
        "loader = DataLoader(TensorDataset(np.zeros((100, 25), 'f4')), 10, shuffle=True, seed=0)",
        "few = DataLoader(loader.dataset, 60, seed=0)",
        "listed = DataLoader(loader.dataset, batch_sampler=[[1, 2], [3]], seed=0)",
        "def step(batch): assert batch[0].shape == (10, 25)",
    ]
    (tmp_path / "profiled_data.py").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "profiled_data", raising=False)
    return "profiled_data"


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    text = page()
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert "rows & <more>" in parser.texts
    assert not re.search(r"<script|src=|href=|@import|url\(", text)
    assert "worker " in "".join(parser.texts)


def profile_of(rate: int, memory: int) -> Profile:
    """A profile of batches of 10 samples that came so many samples a second."""
    steps = np.zeros((5, STEP_WIDTH), np.int64)
    steps[:, GOT], steps[:, SAMPLES_OF_STEP] = np.arange(5) * 10 * 10**9 // rate, 10
    timeline = Timeline.of(steps, np.zeros((0, TIMES + WIDTH), np.int64))
    return Profile(LoaderStats(batches=5, bytes=500, timeline=timeline), 1.0, [(0.0, 0), (1.0, memory)])


def test_batch_sizes_are_drawn_to_scale() -> None:
    profiles = {8: profile_of(1000, 40_000_000), 16: profile_of(2000, 60_000_000), 32: profile_of(2500, 80_000_000)}
    assert [round(profile.steady_rate) for profile in profiles.values()] == [1000, 2000, 2500]
    text = html_report(profiles[8], "rows", "", profiles)
    dots = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="4" fill="[^"]+"><title>([^<]+)</title>', text)
    assert [tip for *_, tip in dots[:3]] == [
        f"batch size {size}: {rate:,} samples / s" for size, rate in ((8, 1000), (16, 2000), (32, 2500))
    ]
    lines = [float(y) for y in re.findall(r'<line [^>]*y1="([\d.]+)"', text)]
    for bottom, found, values in zip(lines, (dots[:3], dots[3:]), ((1000, 2000, 2500), (40, 60, 80)), strict=True):
        heights = [bottom - float(y) for _, y, _ in found]
        assert heights == pytest.approx([heights[-1] * value / values[-1] for value in values], abs=0.2)
        places = [float(x) for x, *_ in found]
        assert places == sorted(places)
    assert [x for x, *_ in dots[:3]] == [x for x, *_ in dots[3:]]


def test_batch_sizes_go_as_far_as_there_are_samples(module: str, tmp_path: Path) -> None:
    loader, path = f"{module}:loader", tmp_path / "a.html"
    assert main(["profile", loader, "--epochs", "1", "--html", str(path)]) == 0
    found = re.findall(r"batch size (\d+): [\d,]+ samples / s", path.read_text(encoding="utf-8"))
    assert found == ["2", "5", "10", "20", "40"]
    assert main(["profile", f"{module}:few", "--epochs", "1", "--html", str(path)]) == 0
    found = re.findall(r"batch size (\d+): [\d,]+ samples / s", path.read_text(encoding="utf-8"))
    assert found == ["15", "30", "60"]
    assert main(["profile", f"{module}:listed", "--epochs", "1", "--html", str(path)]) == 0
    assert "Batch size" not in path.read_text(encoding="utf-8")


@pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (390, "light")])
def test_a_browser_shows_it(width: int, scheme: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page(), encoding="utf-8")
    assert BROWSER is not None
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--window-size={width},900",
        "--virtual-time-budget=1000",
    ]
    if scheme == "dark":
        options.append("--blink-settings=preferredColorScheme=0")
    probe = (
        "<script>document.title = [document.documentElement.scrollWidth, innerWidth,"
        " getComputedStyle(document.body).backgroundColor].join(' ')</script></body>"
    )
    probed = tmp_path / "probed.html"
    probed.write_text((tmp_path / "page.html").read_text(encoding="utf-8").replace("</body>", probe), encoding="utf-8")
    done = subprocess.run(
        [BROWSER, *options, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", probed.as_uri()],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    found = re.search(r"<title>(\d+) (\d+) (rgb\([^)]*\))</title>", done.stdout)
    assert found is not None, done.stdout[:500]
    assert int(found[1]) <= int(found[2])  # nothing is cut off at the side
    assert (found[3] == "rgb(255, 255, 255)") == (scheme == "light")
    assert done.stdout.count("<svg") == 4
    assert "samples / s" in done.stdout


def test_the_command(module: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    loader = f"{module}:loader"
    assert main(["profile", loader, "--epochs", "2", "--consumer-ms", "1", "--html", str(tmp_path / "a.html")]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].endswith(".")  # the verdict
    assert "verdict on a model" not in out
    assert "memory: " in out
    assert (tmp_path / "a.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert main(["profile", loader, "--epochs", "1", "--train", f"{module}:step", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stats"]["batches"] == 10


def test_without_a_consumer_nothing_is_said_about_a_model(
    module: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = tmp_path / "a.html"
    assert main(["profile", f"{module}:loader", "--epochs", "3", "--html", str(page)]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert re.match(
        r"The loader alone gives [\d,]+ samples a second\.( \w+ is \d+ % of loading\.)? For a verdict", first
    )
    assert "The loader alone gives" in page.read_text(encoding="utf-8")


def test_a_line_tells_of_the_run_where_rich_is_not(
    module: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile, "find_spec", lambda _: None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["profile", f"{module}:loader", "--seconds", "0.8", "--json"]) == 0
    out, err = capsys.readouterr()
    assert re.search(r"headrace: [\d,]+ samples/s  waiting [\d.]+%  ready [\d.]+  memory [\d,]+ MB", err)
    assert json.loads(out)["verdict"] is None, "nothing is known of a model"


@pytest.mark.filterwarnings("ignore:sample 7 .*another is read in its place")
def test_the_loader_is_run_with_all_of_its_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with samples that cannot be read and are to be replaced."""
    lines = [
        "from headrace import DataLoader",
        "class Broken:",
        "    def __len__(self): return 40",
        "    def __getitem__(self, index):",
        "        if index == 7: raise OSError('broken')",
        "        return index",
        "options = dict(num_workers=1, backend='thread', prefetch_factor=3)",
        "loader = DataLoader(Broken(), 4, on_error='replace', seed=0, **options)",
    ]
    (tmp_path / "broken_data.py").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_data", raising=False)
    assert main(["profile", "broken_data:loader", "--epochs", "1", "--json"]) == 0
    assert main(["memory", "broken_data:loader", "--batch-sizes", "20"]) == 0
    assert main(["plan", "broken_data:loader"]) == 0
    assert main(["tune", "broken_data:loader", "--seconds", "0.01"]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seconds", "0"], "seconds must be positive"),
        (["--consumer-ms", "-1"], "--consumer-ms must be a number of milliseconds"),
        (["--consumer-ms", "1", "--train", "json:loads"], "mutually exclusive"),
        (["--train", "sys:path"], "is of type list, but takes a function of a batch"),
        (["--train", "photos"], "--train is module:function, but got 'photos'"),
        (["--train", "json:nothing"], "json has no 'nothing'; give --train a module:function"),
        (["--html", "/nowhere/a.html"], "there is no folder"),
        (["--html", "."], ". is a folder; give the name of a file"),
    ],
)
def test_mistakes_are_told_in_a_line(
    options: list[str], message: str, module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", f"{module}:loader", *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
