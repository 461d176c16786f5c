"""Workers are forked from a process that has imported what they need, and see the program as it is when they start."""

from __future__ import annotations

import os
import resource
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from headrace import DataLoader
from headrace.errors import WorkerDiedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.loader.conftest import Script

    Eventually = Callable[[Callable[[], Any]], None]
    RunScript = Callable[..., Script]

pytestmark = [
    pytest.mark.usefixtures("by_value", "forks_quietly"),
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are clean interpreters"),
]


def in_worker(look: Callable[[], Any]) -> Any:
    """Return what a new worker sees."""
    return next(iter(DataLoader([0], num_workers=1, backend="process", collate_fn=lambda _: look())))


def say(text: str) -> None:
    print(text)  # noqa: T201
    print(text, file=sys.stderr)  # noqa: T201


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_all_workers_have_one_template() -> None:
    first, second = in_worker(os.getppid), in_worker(os.getppid)
    assert first == second != os.getpid()


def test_worker_sees_current_environment_and_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    template = in_worker(os.getppid)
    cores = os.sched_getaffinity(0)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    umask = os.umask(0o027)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEW_FOR_THE_WORKER", "1")
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        os.sched_setaffinity(0, {min(cores)})
        resource.setrlimit(resource.RLIMIT_NOFILE, (files[0] - 1, files[1]))

        def look() -> Any:
            (Path.cwd() / "written").touch()
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            return os.getppid(), os.sched_getaffinity(0), limits, sys.path, dict(os.environ)

        found = in_worker(look)
        variables = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} | os.environ
        assert found == (template, {min(cores)}, (files[0] - 1, files[1]), sys.path, variables)
        assert (tmp_path / "written").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(umask)
        os.sched_setaffinity(0, cores)
        resource.setrlimit(resource.RLIMIT_NOFILE, files)


def test_worker_starts_when_the_working_directory_was_deleted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert in_worker(lambda: 1) == 1


def test_a_worker_writes_where_the_program_writes(capfd: pytest.CaptureFixture[str]) -> None:
    in_worker(os.getppid)
    for text in ("one", "two"):
        in_worker(partial(say, text))
        assert tuple(capfd.readouterr()) == (f"{text}\n", f"{text}\n")


def test_changed_environment_starts_another_template(monkeypatch: pytest.MonkeyPatch) -> None:
    before = in_worker(os.getppid)
    monkeypatch.setenv("OMP_SOMETHING", "1")
    assert in_worker(os.getppid) != before


def test_template_imports_installed_modules_but_not_local_ones(run_script: RunScript) -> None:
    script = run_script(
        """
        import os, sys
        from pathlib import Path
        from headrace import DataLoader
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # two versions of one second and one size are one to a .pyc file
        sys.dont_write_bytecode = True
        Path("mine.py").write_text("import mailbox\\ndef look(samples):\\n    return 1, id(mailbox), mailbox.__file__")
        import mine

        def start():
            return next(iter(DataLoader([0], num_workers=1, backend="process", collate_fn=mine.look)))

        first = start()
        Path("mine.py").write_text(Path("mine.py").read_text().replace("1,", "2,"))
        second = start()
        print(first[0], second[0], first[1:] == second[1:])
        """
    )
    assert script.output() == "1 2 True\n"


def test_a_template_that_dies(eventually: Eventually) -> None:
    """Its workers go on; the next ones have another."""
    loader = DataLoader(range(100), num_workers=1, backend="process", collate_fn=lambda _: (os.getpid(), os.getppid()))
    batches = iter(loader)
    worker, template = next(batches)
    os.kill(template, signal.SIGKILL)
    eventually(lambda: not is_alive(template))
    assert len({worker for worker, _ in batches} | {worker}) == 1
    assert in_worker(os.getppid) not in (template, os.getpid())
    eventually(lambda: not is_alive(worker))


def test_workers_that_die_without_a_template(eventually: Eventually) -> None:
    batches = iter(DataLoader(range(100), num_workers=1, backend="process", collate_fn=lambda _: os.getppid()))
    template = next(batches)
    os.kill(template, signal.SIGKILL)
    eventually(lambda: not is_alive(template))
    with pytest.raises(WorkerDiedError, match=r"ended, of what is not known"):
        list(DataLoaderThatKills(batches))


class DataLoaderThatKills:
    """Goes through batches while their worker is killed."""

    def __init__(self, batches: Any) -> None:
        self.batches = batches

    def __iter__(self) -> Any:
        [worker] = self.batches._batches._results._supervisor._workers.values()
        worker.process.kill()
        return self.batches


THREADED = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"


def test_a_module_with_threads_is_left_to_the_workers(run_script: RunScript, tmp_path: Path) -> None:
    """The first ones are clean interpreters; later ones are forked by a template that does without the module."""
    installed = tmp_path / "site-packages"
    installed.mkdir()
    (installed / "busy.py").write_text(
        THREADED + "def look(samples):\n    import os, sys\n    return sys.orig_argv[-1]\n"
    )
    script = run_script(
        """
        from headrace import DataLoader
        import busy

        for _ in range(3):
            program = next(iter(DataLoader([0], num_workers=1, backend="process", collate_fn=busy.look)))
            print("template" in program)
        """,
        path=installed,
    )
    assert script.output() == "False\nTrue\nTrue\n"


def test_without_notice_of_processes_workers_are_clean_interpreters(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(process: int) -> int:
        raise OSError("no such call here")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert in_worker(os.getppid) == os.getpid()


@pytest.mark.parametrize("how", ["fork", "exit", "kill"])
def test_no_template_outlives_its_program(how: str, run_script: RunScript, eventually: Eventually) -> None:
    """Nor does it belong to a fork of that."""
    script = run_script(
        """
        import os, signal, sys
        from headrace import DataLoader

        def start():
            return next(iter(DataLoader([0], num_workers=1, backend="process", collate_fn=lambda _: os.getppid())))

        print(start(), flush=True)
        if sys.argv[1] == "fork":
            if os.fork():
                os.wait()
            print(start(), flush=True)
        if sys.argv[1] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        """,
        how,
    )
    code, out, err = script.finish()
    assert (code, err) == (-signal.SIGKILL if how == "kill" else 0, "")
    templates = list(map(int, out.split()))
    if how == "fork":
        assert templates[0] == templates[2] != templates[1]
    eventually(lambda: not any(map(is_alive, templates)))


def test_stopped_workers_end_when_the_program_is_killed(run_script: RunScript, eventually: Eventually) -> None:
    script = run_script(
        """
        import os, signal
        from headrace import DataLoader

        loader = DataLoader(range(9), num_workers=1, backend="process", collate_fn=lambda _: os.getpid())
        batches = iter(loader)
        worker = next(batches)
        print(worker, flush=True)
        os.kill(worker, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    code, out, _ = script.finish()
    assert code == -signal.SIGKILL
    eventually(lambda: not is_alive(int(out)))


def test_a_program_that_does_not_wait_for_its_children(run_script: RunScript) -> None:
    script = run_script(
        """
        import os, signal
        from headrace import DataLoader

        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        for _ in range(2):
            try:
                list(DataLoader([0], num_workers=1, backend="process", collate_fn=lambda _: os._exit(7)))
            except RuntimeError as error:
                print("exit code 7" in str(error))
        """
    )
    assert script.output() == "True\nTrue\n"


ENDING = """
    import atexit, os, sys, threading, time
    from pathlib import Path
    from headrace import DataLoader, Dataset

    class Mine(Dataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            global log
            log = open("log", "w")
            log.write("not flushed")
            self.circle = self
            print("buffered")
            atexit.register(Path("atexit").touch)
            threading.Thread(target=lambda: (time.sleep(0.3), Path("thread").touch())).start()
            return 1

        def __del__(self):
            if "circle" in vars(self):
                Path("closed").write_text("deleted")

    list(DataLoader(Mine(), num_workers=1, backend="process"))
    print(*(path.name for path in map(Path, ("atexit", "thread")) if path.exists()))
    print(Path("closed").read_text(), Path("log").read_text())
"""


def test_a_worker_that_ends_closes_what_it_has_open(run_script: RunScript) -> None:
    script = run_script(ENDING)
    assert script.output() == "buffered\natexit thread\ndeleted not flushed\n"
