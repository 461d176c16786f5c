"""Programs with workers: how they end, Ctrl-C, forks, and the death of the main process."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest
from tests.loader.failing import (
    BACKENDS,
    CONTEXTS,
    POOLS,
    is_alive,
    throw,
)

from headrace import DataLoader
from headrace.errors import (
    WorkerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Eventually = Callable[[Callable[[], Any]], None]
    RunScript = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("by_value", "forks_quietly")


# Written as users write: at the top level, without a guard, with lambdas and classes of the script.
PROGRAM = """
    import gc, os, pathlib, signal, sys, time
    import numpy as np
    from headrace import DataLoader, Dataset

    pids = pathlib.Path("pids")
    pids.mkdir(exist_ok=True)
    backend, _, context = sys.argv[1].partition(" ")

    class Slow(Dataset):
        def __len__(self):
            return 10**6

        def __getitem__(self, index):
            if index >= 40:
                pathlib.Path(f"slow {os.getpid()}").touch()
                try:
                    time.sleep(0.1 if backend == "thread" else 1000)
                finally:
                    pathlib.Path(f"ended {os.getpid()}").touch()
            return np.full(50_000, index)

    def begin(worker):
        (pids / str(os.getpid())).touch()

    loader = DataLoader(
        Slow(), 4, num_workers=2, backend=backend, multiprocessing_context=context or None, worker_init_fn=begin
    )
    """


# For the start methods that run the script again.
GUARD = 'if __name__ == "__main__"'


def pids_of(script: Any) -> list[int]:
    return [int(path.name) for path in (script.folder / "pids").glob("*") if int(path.name) != script.process.pid]


ENDINGS = {
    "by itself": ("", 0),
    "by sys.exit": ("sys.exit(3)", 3),
    "by an error": ("raise SystemError", 1),
    "with a circle": ("circle = [batches]; circle.append(circle); del batches", 0),
    "with a module": ("sys.modules['headrace'].kept = batches", 0),
    "with a batch": ("del loader, batches", 0),
}


@pytest.mark.parametrize(
    ("ending", "backend"),
    [
        ("by itself", "thread"),
        ("by an error", "thread"),
        *((ending, "process") for ending in ENDINGS),
        *(("by an error", f"process {context}") for context in CONTEXTS),
    ],
)
def test_a_script_that_ends(ending: str, backend: Any, run_script: RunScript, eventually: Eventually) -> None:
    """At its own pace, whatever is still going on, and without a word."""
    end, expected = ENDINGS[ending]
    script = run_script(
        f"{PROGRAM}\n    {GUARD}:\n        batches = iter(loader); batch = next(batches)\n        {end}", backend
    )
    code, out, err = script.finish()
    assert (code, out) == (expected, "")
    assert err.count("Traceback") == ("error" in ending)
    if "error" not in ending:
        assert err == ""
    eventually(lambda: not any(map(is_alive, pids_of(script))))


@pytest.mark.parametrize("context", ["None", "'fork'"])
def test_program_ends_without_resource_warnings(context: str, run_script: RunScript) -> None:
    """In its development mode it says what was not."""
    script = run_script(
        f"""
        import numpy as np
        from headrace import DataLoader, TensorDataset

        options = dict(num_workers=2, backend="process", multiprocessing_context={context}, persistent_workers=True)
        with DataLoader(TensorDataset(np.zeros((40, 20_000))), 4, **options) as loader:
            print(len(list(loader)), len(list(loader)))
        print(len(list(DataLoader(range(4), num_workers=1, backend="process", multiprocessing_context={context}))))
        """,
        flags=("-X", "dev"),
    )
    assert script.output() == "10 10\n4\n"


INTERRUPTED = f"""{PROGRAM}
    {GUARD}:
        try:
            for batch in loader:
                print(batch[0, 0], flush=True)
        finally:
            del batch
    """


@pytest.mark.parametrize(("backend", "context"), [(backend, context or "") for backend, context in POOLS])
def test_ctrl_c(backend: Any, context: str, run_script: RunScript, eventually: Eventually) -> None:
    """The terminal sends it to all processes; one of them says so, once."""
    script = run_script(INTERRUPTED, f"{backend} {context}")
    eventually(lambda: len(list(script.folder.glob("slow *"))) == (1 if backend == "thread" else 2))
    assert script.process.stdout is not None
    for step in range(10):
        assert script.process.stdout.readline() == f"{4 * step}\n"
    os.killpg(script.process.pid, signal.SIGINT)
    code, out, err = script.finish()
    assert (code, out) == (-signal.SIGINT, "")
    assert err.count("Traceback") == err.count("KeyboardInterrupt") == 1
    assert err.startswith("Traceback")
    assert err.endswith("KeyboardInterrupt\n")
    assert not any(map(is_alive, pids_of(script)))
    assert len(list(script.folder.glob("ended *"))) == len(list(script.folder.glob("slow *"))), "one had to be killed"


@pytest.mark.parametrize("context", ["", "fork"])
def test_ctrl_c_while_workers_have_nothing_to_do(context: str, run_script: RunScript) -> None:
    """It is the script's own, and nobody else's."""
    script = run_script(
        f"""{PROGRAM}
    batches = iter(loader)
    next(batches)
    time.sleep(0.5)  # the workers have come to wait
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        for step in range(1, 8):
            next(batches)
        print("gone on", flush=True)
    """,
        f"process {context}",
    )
    assert script.process.stdout is not None
    assert script.process.stdout.readline() == "ready\n"
    os.killpg(script.process.pid, signal.SIGINT)
    assert script.output() == "gone on\n"
    assert not any(map(is_alive, pids_of(script)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_caught_ctrl_c_lets_the_program_go_on(backend: Any, run_script: RunScript) -> None:
    """The run is over, and its workers have gone, though the error still refers to all of it; another can begin."""
    script = run_script(
        """
        import os, signal, sys, threading, time
        from headrace import DataLoader

        def children(process):
            return open(f"/proc/{process}/task/{process}/children").read().split()

        def collate(samples):
            time.sleep(0 if samples[0] else 1 if sys.argv[1] == "thread" else 1000)
            return samples

        batches = iter(DataLoader(range(8), num_workers=1, backend=sys.argv[1], collate_fn=collate))
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            next(batches)
        except KeyboardInterrupt as error:
            kept = error
        try:
            next(batches)
        except RuntimeError as error:
            print(error)
        if sys.argv[1] == "process":
            template, = children(os.getpid())
            print(len(children(template)), "workers")
        print(len(list(DataLoader(range(1, 8), num_workers=1, backend=sys.argv[1], collate_fn=collate))))
        """,
        backend,
    )
    lines = script.output().splitlines()
    assert lines[0] == "the run was interrupted; begin a new iterator, or load the state of this one"
    assert lines[1:] == [*(["0 workers"] if backend == "process" else []), "7"]


class Interrupting:
    """Ctrl-C comes while a batch of it is unpickled."""

    def __reduce__(self) -> Any:
        return throw, (KeyboardInterrupt(),)


def test_ctrl_c_while_a_batch_is_taken_in() -> None:
    """The batch is lost, so the run does not go on as if there had been none."""
    batches = iter(DataLoader(range(4), num_workers=1, backend="process", collate_fn=lambda _: Interrupting()))
    with pytest.raises(KeyboardInterrupt):
        next(batches)
    with pytest.raises(WorkerError, match="the run was interrupted"):
        next(batches)


def test_ctrl_c_while_the_template_starts(run_script: RunScript, eventually: Eventually, tmp_path: Path) -> None:
    """Before there is a worker that could deal with it."""
    slow_start = "import os, sys, time; '-c' in sys.orig_argv and (open(f'up {os.getpid()}', 'x'), time.sleep(1))"
    (tmp_path / "sitecustomize.py").write_text(slow_start)
    script = run_script(INTERRUPTED.replace("del batch", "pass"), "process", path=tmp_path)
    eventually(lambda: len(list(tmp_path.glob("up *"))) == 1)
    os.killpg(script.process.pid, signal.SIGINT)
    code, out, err = script.finish()
    assert (code, out) == (-signal.SIGINT, "")
    assert err.count("Traceback") == err.count("KeyboardInterrupt") == 1
    assert not any(is_alive(int(path.name.split()[1])) for path in tmp_path.glob("up *"))


@pytest.mark.parametrize("context", ["", "fork"])
def test_ctrl_c_while_workers_start(context: str, run_script: RunScript, eventually: Eventually) -> None:
    text = INTERRUPTED.replace("(pids / str(os.getpid())).touch()", "(pids / str(os.getpid())).touch(); time.sleep(60)")
    script = run_script(text.replace("del batch", "pass"), f"process {context}")
    eventually(lambda: len(pids_of(script)) == 2)
    os.killpg(script.process.pid, signal.SIGINT)
    code, out, err = script.finish()
    assert (code, out) == (-signal.SIGINT, "")
    assert err.count("Traceback") == err.count("KeyboardInterrupt") == 1
    assert not any(map(is_alive, pids_of(script)))


@pytest.mark.parametrize(
    ("how", "context"),
    [
        ("killed", ""),
        *(("killed", context) for context in CONTEXTS),
        ("ended by os._exit", ""),
        ("killed with a fork of it alive", ""),
        ("killed with a fork of it alive", "fork"),
    ],
)
def test_workers_end_when_their_parent_is_killed(
    how: str, context: str, run_script: RunScript, eventually: Eventually
) -> None:
    """Its workers end by themselves: those that have nothing to do and those in the midst of a task."""
    end = {
        "killed": "os.kill(os.getpid(), signal.SIGKILL)",
        "ended by os._exit": "os._exit(0)",
        "killed with a fork of it alive": "os.fork() and os.kill(os.getpid(), signal.SIGKILL); time.sleep(40)",
    }[how]
    script = run_script(
        f"""{PROGRAM}
    {GUARD}:
        batches = iter(loader)
        for step in range(10):
            next(batches)
        while len(list(pathlib.Path().glob("slow *"))) < 2:
            time.sleep(0.01)
        {end}
    """,
        f"process {context}",
    )
    script.process.wait(60)
    pids = pids_of(script)
    assert len(pids) == 2
    eventually(lambda: not any(map(is_alive, pids)))
    if "fork" in how:
        os.killpg(script.process.pid, signal.SIGKILL)


def test_fork_by_the_user_does_not_disturb_workers(run_script: RunScript) -> None:
    """The child has no part in its parent's workers, can have its own, and its end is not theirs."""
    script = run_script(
        """
        import os, sys
        from headrace import DataLoader

        def walk(loader):
            print([int(batch[0]) for batch in loader], flush=True)

        for backend, context in (("thread", None), ("process", None), ("process", "fork")):
            loader = DataLoader(
                range(40), 4, num_workers=2, backend=backend, multiprocessing_context=context, persistent_workers=True
            )
            batches = iter(loader)
            next(batches)
            child = os.fork()
            if not child:
                try:
                    next(batches)
                except RuntimeError as error:
                    print(error)
                del batches
                walk(loader)
                sys.exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            walk(batches)
            if not os.fork():
                walk(loader)  # workers that are kept for the next epoch are its parent's
                loader.close()
                sys.exit()
            os.wait()
            walk(loader)
            loader.close()
        """,
        flags=("-W", "ignore::DeprecationWarning"),
    )
    lines = script.output().splitlines()
    refusal = (
        rf"the workers belong to process {script.process.pid}, and this is process \d+, forked from it; "
        "begin a new iterator here"
    )
    firsts = list(range(0, 40, 4))
    assert len(lines) == 15
    for place in (0, 5, 10):
        assert re.fullmatch(refusal, lines[place])
        assert lines[place + 1 : place + 5] == [str(firsts), str(firsts[1:]), str(firsts), str(firsts)]
