"""Each benchmark runs, says how and where it ran, and does without the rivals that are not installed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BENCHMARKS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem not in ("__main__", "common"))
RIVALS = {
    "images": ["torch", "nvidia.dali", "spdl", "grain"],
    "jpeg": ["torch", "simplejpeg", "nvidia.dali", "tensorflow", "mlx.data"],
    "table": ["torch", "datasets", "grain"],
    "tokens": ["torch", "grain"],
    "mixture": ["grain", "datasets"],
    "resume": ["grain", "torchdata"],
    "shards": ["torch", "webdataset", "datasets"],
    "columns": ["torch", "lmdb", "pyarrow"],
    "workers": ["torch", "grain", "spdl"],
    "writing": ["tensorflow", "webdataset", "lmdb", "pyarrow"],
    "cache": [],
    "clock": [],
    "depth": ["grain"],
    "gather": [],
    "ray": ["ray"],
    "reduced": [],
    "soak": [],
    "storage": ["tensorflow", "webdataset"],
    "tuning": [],
    "verdict": ["PIL.Image"],
}  # the others are compared with torch alone

# Of a machine without a compiler, and of one that is busy; processes of their own inherit it.
IGNORED = "ignore:the slower NumPy kernels serve,ignore:starting the workers took"


def rivals(name: str) -> list[str]:
    return RIVALS.get(name, ["torch"])


def is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # nor is the package that it would be in
        return False


def run(name: str, *, path: Path | None = None) -> str:
    """What a smoke run prints; modules in `path` come before the installed ones."""
    paths = [os.fspath(path)] if path else []
    paths += [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--smoke"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": IGNORED},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_every_benchmark_is_there() -> None:
    assert BENCHMARKS == [
        "cache",
        "clock",
        "columns",
        "depth",
        "gather",
        "images",
        "imports",
        "jpeg",
        "mixture",
        "order",
        "ray",
        "reduced",
        "resume",
        "samples",
        "sequences",
        "shards",
        "soak",
        "startup",
        "storage",
        "table",
        "tensors",
        "tokens",
        "torch_face",
        "training",
        "tuning",
        "verdict",
        "workers",
        "writing",
    ]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_smoke(name: str) -> None:
    lines = run(name).splitlines()
    assert lines[0] == f"$ python -m benchmarks.{name} --smoke"
    assert f"Python {sys.version.split()[0]}" in lines[1]
    assert "kernels)" in lines[1]
    assert lines[2] == "smoke run: the figures mean nothing"
    table = "\n".join(lines[3:])
    assert "headrace" in table
    assert "not the same work" not in table
    assert ("not installed" not in table) == all(map(is_there, rivals(name)))


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is missing, as all tests here show")
@pytest.mark.parametrize("name", [name for name in BENCHMARKS if "torch" in rivals(name)])
def test_a_missing_rival_is_no_failure(name: str, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('not here')", encoding="utf-8")
    table = run(name, path=tmp_path)
    assert "headrace" in table
    assert "not installed" in table


def run_all(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore:the slower NumPy kernels serve", "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)


def test_one_command_runs_them_and_saves_what_they_found(tmp_path: Path) -> None:
    target = tmp_path / "results.json"
    done = run_all("--smoke", "--only", "gather,reduced", "--out", os.fspath(target))
    assert done.returncode == 0, done.stderr
    saved = json.loads(target.read_text(encoding="utf-8"))
    assert [(each["name"], each["ended"]) for each in saved["benchmarks"]] == [("gather", "well"), ("reduced", "well")]
    assert saved["versions"]["Python"] == sys.version.split()[0]
    assert all(table["results"] for each in saved["benchmarks"] for table in each["tables"])
    assert "[ 2/2] reduced" in done.stdout


def test_one_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    target = tmp_path / "results.json"
    done = run_all("--smoke", "--only", "gather", "--limit", "0.01", "--out", os.fspath(target))
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "gather was ended after 0.01 s"
    assert json.loads(target.read_text(encoding="utf-8"))["benchmarks"][0]["tables"] == []


def test_a_benchmark_that_is_not_there() -> None:
    done = run_all("--only", "tabel")
    assert done.returncode == 2
    assert "there is no benchmark tabel; there are cache, clock" in done.stderr
