"""The commands write and verify."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace import open_dataset
from headrace.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def columns(tmp_path: Path) -> Path:
    folder = tmp_path / "columns"
    folder.mkdir()
    np.save(folder / "x.npy", np.arange(400.0).reshape(100, 4))
    np.save(folder / "y.npy", np.arange(100))
    return folder


def test_convert_says_where_and_how_fast(columns: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(columns), str(tmp_path / "a.tfrecord"), "--workers", "0"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == str(tmp_path / "a.tfrecord")
    assert out.splitlines()[1].startswith("100 samples, 0.0 MB, in ")
    assert err == ""
    assert int(open_dataset(tmp_path / "a.tfrecord")[7]["y"]) == 7


def test_convert_takes_its_options(columns: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["convert", str(columns), str(tmp_path / "a"), "--workers", "2", "--limit", "50"]
    assert main([*command, "--format", "tar", "--shard-samples", "20", "--shard-size", "1 MB"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{tmp_path / 'a' / '00000.tar'} ... 00002.tar, 3 shards"
    assert len(open_dataset(tmp_path / "a")) == 50


def test_convert_of_an_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "squares_for_a_test.py").write_text(
        "squares = [(i, i**2) for i in range(10)]\ndef make():\n    return squares\n"
    )
    monkeypatch.chdir(tmp_path)
    for name in ("squares", "make"):
        source = f"squares_for_a_test:{name}"
        assert main(["convert", source, name, "--fields", "number,square", "--workers", "0"]) == 0
        assert np.load(tmp_path / name / "square.npy").tolist() == [i**2 for i in range(10)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing", "a.tar"], "there is no file or folder"),
        (["no_such_module:data", "a.tar"], "there is no module 'no_such_module' in"),
        (["headrace:nothing", "a.tar"], "headrace has no 'nothing'; give a path, or module:object"),
        (["columns", "a.zip"], "give --format"),
        (["columns", "a.npy"], "format 'npy' is a folder with a file for each field: call it a, not a.npy"),
        (["columns", "a.tar", "--limit", "0"], "limit must be at least 1, got 0"),
        (["columns", "a.tar", "--shard-size", "x"], "shard_size must be a positive number"),
        (["columns", "there.tar"], "exists; choose another path, or overwrite it with --force"),
    ],
)
def test_convert_says_what_is_wrong(
    arguments: list[str],
    message: str,
    columns: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(columns.parent)
    (columns.parent / "there.tar").write_text("")
    assert main(["convert", *arguments, "--workers", "0"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("headrace convert: ")
    assert message in err


def test_verify_of_good_files(columns: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(columns), "--workers", "0"]) == 0
    assert capsys.readouterr().out.endswith(": all good\n")


def test_verify_lists_what_is_bad_and_repairs(
    columns: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.tfrecord"
    assert main(["convert", str(columns), str(bad), "--workers", "0"]) == 0
    content = bytearray(bad.read_bytes())
    content[len(content) // 2 + 20] ^= 1
    bad.write_bytes(content)
    capsys.readouterr()
    command = ["verify", str(bad), "--workers", "0"]
    assert main([*command, "--repair", str(tmp_path / "good.tfrecord")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("sample 50: CorruptDataError: ")
    assert f"{bad}, " in lines[0]
    assert lines[1].endswith(": 1 bad")
    assert lines[2] == f"99 good samples are in {tmp_path / 'good.tfrecord'}"
    assert main([*command, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["samples"], [each["index"] for each in report["bad"]]) == (100, [50])


def test_a_bar_on_a_terminal_alone(columns: Path, tmp_path: Path) -> None:
    pytest.importorskip("rich")
    pty = pytest.importorskip("pty")
    reader, terminal = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "headrace",
        "convert",
        str(columns),
        str(tmp_path / "a.tar"),
        "--workers",
        "0",
    ]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=terminal, check=True, env=environment, timeout=60)
    os.close(terminal)
    shown = b""
    while b"samples/s" not in shown:
        shown += os.read(reader, 1 << 16)
    os.close(reader)
    assert b"writing" in shown
    assert run.stdout.decode().splitlines()[0] == str(tmp_path / "a.tar")


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "slow_for_a_test.py").write_text(
        "import time\n"
        "from headrace.convert import shards\n"
        "shards._SECONDS_BETWEEN = 0\n"
        "class Slow:\n"
        "    def __len__(self): return 100_000\n"
        "    def __getitem__(self, index): time.sleep(0.00002); return index\n"
        "slow = Slow()\n"
    )
    command = [sys.executable, "-m", "headrace", "convert", "slow_for_a_test:slow", "a", "--workers", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        journal = tmp_path / "a.writing" / "journal"
        while not journal.exists() or journal.read_bytes().count(b"\n") < 2:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.decode() == "stopped; what is written is in a.writing: go on with --resume\n"
    subprocess.run([*command, "--resume"], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    assert np.load(tmp_path / "a" / "data.npy").tolist() == list(range(100_000))
