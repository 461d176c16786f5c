from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from headrace.io import new_file as creating
from headrace.io.new_file import new_file, remove_leftovers

if TYPE_CHECKING:
    from pathlib import Path

KINDS = [pytest.param(True, marks=pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="none here")), False]


@pytest.fixture(params=KINDS, ids=["unnamed", "named"])
def unnamed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if not request.param:
        monkeypatch.setattr(creating, "_open_unnamed", lambda _: None)
    return bool(request.param)


@pytest.mark.usefixtures("unnamed")
def test_file_appears_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"first", b"second"):
        with new_file(path, 0o640) as file:
            file.write(content)
            file.flush()
            assert not path.exists() or path.read_bytes() == b"first"
        assert path.read_bytes() == content
        assert path.stat().st_mode & 0o777 == 0o640
        assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.usefixtures("unnamed")
def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with suppress(RuntimeError), new_file(tmp_path / "file") as file:
        file.write(b"new")
        raise RuntimeError
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"old"]
    with pytest.raises(FileNotFoundError), new_file(tmp_path / "none" / "file"):
        pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"), new_file(tmp_path / "folder") as file:
        file.write(b"new")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.skipif(sys.platform != "linux", reason="locks and kills of POSIX")
def test_killed_write_is_cleaned_up_later(tmp_path: Path, unnamed: bool) -> None:
    program = f"""
        import sys
        from pathlib import Path
        from headrace.io import new_file as creating
        if not {unnamed}:
            creating._open_unnamed = lambda _: None
        with creating.new_file(Path({str(tmp_path)!r}, "file")) as file:
            file.write(bytes(1000))
            file.flush()
            print("here", flush=True)
            sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        before = list(tmp_path.iterdir())
        assert len(before) == (not unnamed)
        for each in before:
            os.utime(each, (1, 1))
        remove_leftovers(tmp_path)  # it is being written
        assert list(tmp_path.iterdir()) == before
        process.send_signal(signal.SIGKILL)
        process.wait()
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    os.utime(tmp_path / "file", (1, 1))
    (tmp_path / ".young").write_bytes(b"new")
    remove_leftovers(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == [".young", "file"]
