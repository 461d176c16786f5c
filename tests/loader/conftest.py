"""What tests of loaders with workers share."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import pytest

import headrace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PATIENCE = 30.0  # for what takes a moment, on a machine with much else to do


@pytest.fixture
def forks_quietly() -> Iterator[None]:
    """Let nobody warn of a fork beside other threads, such as those of a framework that another test imported."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
        warnings.filterwarnings("ignore", ".*fork", RuntimeWarning)
        yield


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], None]:
    """Waits until something is so."""

    def wait(is_so: Callable[[], Any]) -> None:
        deadline = monotonic() + _PATIENCE
        while not is_so():
            assert monotonic() < deadline, "it did not come to pass"
            sleep(0.01)

    return wait


class Script:
    """A script that runs in a process, and a session, of its own."""

    def __init__(self, script: Path, arguments: tuple[str, ...], flags: tuple[str, ...], path: list[Path]) -> None:
        self.folder = script.parent
        self.process = subprocess.Popen(
            [sys.executable, *flags, str(script), *arguments],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self) -> tuple[int, str, str]:
        """The exit code, standard output and standard error, once it has ended."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err

    def output(self) -> str:
        """What a script says that ends well, without a word of complaint."""
        code, out, err = self.finish()
        assert (code, err) == (0, "")
        return out


@pytest.fixture
def run_script(tmp_path: Path) -> Iterator[Callable[..., Script]]:
    """Starts a script with arguments, in an empty folder; and with one to import from, if that is given."""
    scripts: list[Script] = []

    def run(text: str, *arguments: str, flags: tuple[str, ...] = (), path: Path | None = None) -> Script:
        script = tmp_path / "script.py"
        script.write_text(textwrap.dedent(text))
        own = [Path(headrace.__file__).parents[1]]
        scripts.append(Script(script, arguments, flags, own if path is None else [*own, path]))
        return scripts[-1]

    yield run
    for script in scripts:
        script.process.kill()
        script.process.wait()
        for pipe in (script.process.stdout, script.process.stderr):
            assert pipe is not None
            pipe.close()
