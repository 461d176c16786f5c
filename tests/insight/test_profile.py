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

from headrace import DataLoader, TensorDataset
from headrace.cli.main import main
from headrace.errors import ArgumentError
from headrace.insight.profile import profile_loader
from headrace.insight.report import html_report

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
    return html_report(profile, "rows & <more>", "Loading takes 1 of 2 ms.")


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


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    text = page()
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert "rows & <more>" in parser.texts
    assert not re.search(r"<script|src=|href=|@import|url\(", text)
    assert "worker " in "".join(parser.texts)


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
    assert done.stdout.count("<svg") == 3


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    lines = [
        "import numpy as np",
        "from headrace import DataLoader, TensorDataset",
        "loader = DataLoader(TensorDataset(np.zeros((100, 25), 'f4')), 10, shuffle=True, seed=0)",
        "def step(batch): assert batch[0].shape == (10, 25)",
    ]
    (tmp_path / "profiled_data.py").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "profiled_data", raising=False)
    return "profiled_data"


def test_the_command(module: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    loader = f"{module}:loader"
    assert main(["profile", loader, "--epochs", "2", "--consumer-ms", "1", "--html", str(tmp_path / "a.html")]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].endswith(".")  # the verdict
    assert "memory: " in out
    assert (tmp_path / "a.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert main(["profile", loader, "--epochs", "1", "--train", f"{module}:step", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stats"]["batches"] == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seconds", "0"], "seconds must be positive"),
        (["--consumer-ms", "-1"], "--consumer-ms must be a number of milliseconds"),
        (["--consumer-ms", "1", "--train", "json:loads"], "mutually exclusive"),
        (["--train", "sys:path"], "is a list, but a function of a batch is needed"),
        (["--html", "/nowhere/a.html"], "there is no folder"),
    ],
)
def test_mistakes_are_told_in_a_line(
    options: list[str], message: str, module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", f"{module}:loader", *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
