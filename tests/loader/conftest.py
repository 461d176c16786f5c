"""What tests of loaders with workers share."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import cloudpickle
import pytest
from tests.loader import failing

import headrace
from headrace.workers.processes.template import prepare_template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

cloudpickle.register_pickle_by_value(failing)  # as the fixture `by_value` does for a test file

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
def run_script(tmp_path: Path, interruptible: None) -> Iterator[Callable[..., Script]]:
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


def count_descriptors() -> int:
    """Return how many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def descendants(process: str = "self") -> set[str]:
    """Return the processes that a process has started, and those that they have."""
    found: set[str] = set()
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in path.read_text().split():
                found |= {child} | descendants(child)
    return found


class Footprint:
    """What this process has of workers: processes, threads, descriptors, mapped memory."""

    def __init__(self) -> None:
        self.processes = descendants()
        self.threads = {thread.ident for thread in threading.enumerate()}
        self.descriptors = count_descriptors()
        self.blocks = Path("/proc/self/maps").read_text().count("memfd:headrace")

    def check_is_back(self) -> None:
        """Nothing has come to stay, and at once: nobody needs to wait for a garbage collection."""
        now = Footprint()
        assert now.processes <= self.processes
        assert now.threads <= self.threads
        assert now.descriptors <= self.descriptors
        assert now.blocks <= self.blocks


@pytest.fixture
def before() -> Footprint:
    """What there is of workers before a test."""
    gc.collect()  # of what other tests have left
    prepare_template()  # it stays
    return Footprint()
