from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

import headrace
from headrace.cli import info
from headrace.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


def _command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "headrace", *arguments],
        capture_output=True,
        check=False,
        timeout=100,
        env=os.environ | environment,
    )


def _says(capsys: pytest.CaptureFixture[str], argv: list[str]) -> str:
    """Run a command that must fail with one line and nothing else."""
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err.rstrip("\n")


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    assert "demo" in text
    assert "info" in text


@pytest.mark.parametrize("argv", [["--help"], ["demo", "--help"], ["info", "--help"]])
def test_help(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 0
    assert capsys.readouterr().out.startswith("usage: headrace")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"headrace {headrace.__version__}\n"


def test_info_prints_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    assert capsys.readouterr().out == info.report() + "\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["dmo"], "headrace: argument COMMAND: invalid choice: 'dmo'"),
        (["info", "--verbose"], "headrace: unrecognized arguments: --verbose"),
        (["demo", "--epochs", "many"], "headrace demo: argument --epochs: invalid int value: 'many'"),
        (["demo", "--epochs"], "headrace demo: argument --epochs: expected one argument"),
        (["demo", "--epo", "1"], "headrace: unrecognized arguments: --epo 1"),
    ],
)
def test_unreadable_arguments(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _says(capsys, argv).startswith(message)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--epochs", "0", "headrace demo: epochs must be at least 1, got 0"),
        ("--batch-size", "-3", "headrace demo: batch size must be at least 1, got -3"),
        ("--seed", "-1", "headrace demo: seed must be at least 0, got -1"),
    ],
)
def test_demo_numbers_that_are_too_small(
    option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rich")
    pytest.importorskip("PIL")
    assert _says(capsys, ["demo", option, value]) == message


def test_demo_folder_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    pytest.importorskip("PIL")
    taken = tmp_path / "taken"
    taken.write_text("")
    said = _says(capsys, ["demo", "--out", str(taken)])
    assert said.startswith(f"headrace demo: cannot write {taken / 'digits.png'}: ")
    assert said.endswith("; choose another folder")


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (
            ["rich", "PIL"],
            "headrace demo needs the extras cli and images: pip install 'headrace[cli,images]'",
        ),
        (["rich"], "headrace demo needs the extra cli: pip install 'headrace[cli]'"),
        (["PIL"], "headrace demo needs the extra images: pip install 'headrace[images]'"),
    ],
)
def test_demo_without_its_extras(
    missing: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for module in ("rich", "PIL"):
        present: Any = object() if module not in missing else None
        if present is None:
            monkeypatch.setitem(sys.modules, module, present)
        else:
            pytest.importorskip(module)
    assert _says(capsys, ["demo"]) == message


def test_ctrl_c_ends_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(info, "report", interrupted)
    assert main(["info"]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of the terminal are POSIX")
@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_in_the_middle_of_the_demo(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    pytest.importorskip("PIL")
    command = [sys.executable, "-m", "headrace", "demo", "--epochs", "100000", "--out", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        while not (tmp_path / "digits.png").exists():  # training follows the picture
            assert process.poll() is None
            time.sleep(0.05)
        presses = 0
        while process.poll() is None and presses < 5:  # Python drops one that lands in a weak reference's callback
            process.send_signal(signal.SIGINT)
            presses += 1
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert presses > 1 or err == b""


def test_python_m_headrace_is_the_command() -> None:
    done = _command("info")
    assert done.returncode == 0
    assert done.stderr == b""
    assert done.stdout.decode().splitlines()[0].split()[0] == "headrace"


def test_a_reader_that_stops_early_is_no_error() -> None:
    code = (
        "import os, sys; from headrace.cli.main import main; "
        "reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 1); sys.exit(main(['info']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_terminal_without_the_characters_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "r\xb5.py").write_text("")
    (tmp_path / "ascii_rows.py").write_text("named = [1, 2]\nprint('\\u00b5')")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for arguments in (["plan", "ascii_rows:named"], ["profile", "r\xb5"]):
        command = [sys.executable, "-m", "headrace", *arguments]
        done = subprocess.run(command, capture_output=True, check=False, cwd=tmp_path, env=environment)
        assert b"Unicode" not in done.stderr
        assert rb"\xb5" in done.stdout + done.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_a_program_without_stdout_or_stderr_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "closed_rows.py").write_text("rows = [1, 2, 3]")
    for closed in (">&-", "2>&-"):
        command = f"{sys.executable} -m headrace plan closed_rows:rows {closed}"
        done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=False, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, b"")


def test_commands_are_imported_only_when_called() -> None:
    code = (
        "import sys; from headrace.cli.main import main; main(['--version']); "
        "print({'headrace.cli.demo', 'headrace.cli.info', 'rich', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["set()"]
    assert done.stderr == ""


def test_demo_writes_plain_text_where_there_is_no_terminal(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    pytest.importorskip("PIL")
    out = tmp_path / ("a long name " * 12).strip() / "[bold] \N{GREEK SMALL LETTER PI}"
    done = _command(
        *("demo", "--epochs", "1", "--out", str(out)),
        NO_COLOR="1",
        PYTHONIOENCODING="ascii",
        HEADRACE_KERNELS="reference",
    )
    assert done.stderr == b""
    assert done.returncode == 0
    text = done.stdout.decode("ascii")
    assert all(letter.isprintable() for letter in text.replace("\n", ""))
    values = dict(line.split("  ", maxsplit=1) for line in text.splitlines())
    assert list(values) == ["test accuracy", "images a second", "time spent loading", "first batch"]
    assert values["first batch"].strip() == str(out / "digits.png").replace("\N{GREEK SMALL LETTER PI}", "\\u03c0")
