"""Pools that end in unusual ways: by Ctrl-C twice, where exit codes go elsewhere, when the program is killed."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    Eventually = Callable[[Callable[[], Any]], None]
    RunScript = Callable[..., Any]

CONTEXTS = ["None", "fork", "forkserver", "spawn"]

# ------------------------------------------------------------------ Ctrl-C, and again

IMPATIENT = """
    import gc, os, pathlib, signal, sys, threading, time
    import numpy as np
    from headrace import DataLoader, Dataset

    class Slow(Dataset):
        def __len__(self):
            return 4000

        def __getitem__(self, index):
            time.sleep(0.002)
            return np.full(20_000, index)

    def descendants(process):
        found = []
        for path in pathlib.Path(f"/proc/{process}/task").glob("*/children"):
            for child in path.read_text().split():
                found += [child, *descendants(child)]
        return found

    def begin(backend, context):
        return DataLoader(Slow(), 4, num_workers=2, backend=backend, multiprocessing_context=context)

    def interrupt_twice(backend, context):
        timers = [threading.Timer(wait, os.kill, (os.getpid(), signal.SIGINT)) for wait in (0.3, 0.31, 0.33)]
        loader = begin(backend, context)
        batches = iter(loader)
        next(batches)  # the workers have started
        for timer in timers:
            timer.start()
        del batches
        while any(timer.is_alive() for timer in timers):
            try:
                for _ in loader:
                    pass
            except KeyboardInterrupt:
                pass

    def count():
        gc.collect()
        return len(descendants(os.getpid())), threading.active_count(), len(os.listdir("/proc/self/fd"))

    if __name__ == "__main__":
        backend, _, context = sys.argv[1].partition(" ")
        next(iter(begin(backend, context or None)))  # what stays for the next pools: a template, a server
        before = count()
        for _ in range(3):
            try:
                interrupt_twice(backend, context or None)
                time.sleep(0.1)
            except KeyboardInterrupt:
                pass
        print("left:", *(now - then for now, then in zip(count(), before)))
    """


@pytest.mark.parametrize("pool", ["thread", "process", "process fork", "process forkserver", "process spawn"])
def test_ctrl_c_again_and_again_leaves_no_worker(pool: str, run_script: RunScript) -> None:
    """The second one comes while the pool is ended for the first."""
    assert run_script(IMPATIENT, pool).finish()[1] == "left: 0 0 0\n"


# ------------------------------------------------------------------ exit codes that go elsewhere

CHILDREN = """
    import os, signal, sys
    from headrace import DataLoader, Dataset

    def reap(*_):
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass

    class Deadly(Dataset):
        def __len__(self):
            return 16

        def __getitem__(self, index):
            return os._exit(3) if index == 9 else index

    if __name__ == "__main__":
        how, context = sys.argv[1:]
        signal.signal(signal.SIGCHLD, signal.SIG_IGN if how == "ignored" else reap)
        options = dict(num_workers=2, backend="process", multiprocessing_context=None if context == "None" else context)
        print(len(list(DataLoader(range(8), 2, **options))), "batches")
        for on_death in "raise", "restart":
            try:
                list(DataLoader(Deadly(), 2, on_worker_death=on_death, seed=1, **options))
            except RuntimeError as error:
                print(error)
    """


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("how", ["ignored", "handled by another"])
def test_exit_codes_reaped_by_the_program(how: str, context: str, run_script: RunScript) -> None:
    """A program may ignore SIGCHLD, or wait for all its children: what then is not known, is said so."""
    good, death, deaths = run_script(CHILDREN, how, context).output().splitlines()
    assert good == "4 batches"
    text = (
        r"worker [01] \(process \d+\) (ended with exit code 3|ended, of what is not known \(its exit code went "
        r"elsewhere, as it does where SIGCHLD is ignored\),) while it loaded step 4 of epoch 0 \(seed 1\); before .*"
    )
    assert re.fullmatch(text, death)
    assert re.fullmatch(text + "; so did 3 in a row, so it is not started again", deaths)


# ------------------------------------------------------------------ programs that are killed

KILLED = """
    import ctypes, os, pathlib, signal, sys, threading, time
    from headrace import DataLoader, Dataset

    class Stuck(Dataset):
        def __len__(self):
            return 100

        def __getitem__(self, index):
            if index == 20:
                pathlib.Path("stuck").write_text(str(os.getpid()))
                if sys.argv[2] == "in C code":
                    ctypes.PyDLL(None).sleep(1000)
                os.kill(os.getpid(), signal.SIGSTOP)
            return index

    def walk():
        context = None if sys.argv[1] == "None" else sys.argv[1]
        for _ in DataLoader(Stuck(), 4, num_workers=2, backend="process", multiprocessing_context=context):
            pass

    if __name__ == "__main__":
        walk()
    """


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux ends processes with their parents")
@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("state", ["in C code", "stopped"])
def test_a_worker_that_cannot_act_ends_with_a_program_that_is_killed(
    state: str, context: str, run_script: RunScript, eventually: Eventually
) -> None:
    """The one holds the GIL, so that no other thread of it can do anything; the other does nothing at all."""
    script = run_script(KILLED, context, state)
    stuck = script.folder / "stuck"
    eventually(lambda: stuck.exists() and stuck.read_text())
    os.kill(script.process.pid, signal.SIGKILL)
    try:
        eventually(lambda: not is_alive(int(stuck.read_text())))
    finally:
        if is_alive(int(stuck.read_text())):
            os.kill(int(stuck.read_text()), signal.SIGKILL)


@pytest.mark.parametrize("context", CONTEXTS)
def test_workers_do_not_end_with_the_thread_that_began_them(context: str, run_script: RunScript) -> None:
    script = run_script(
        """
        import sys, threading, time
        from headrace import DataLoader

        def begin():
            context = None if sys.argv[1] == "None" else sys.argv[1]
            loader = DataLoader(range(40), 4, num_workers=2, backend="process", multiprocessing_context=context)
            begun.append(iter(loader))
            next(begun[0])

        if __name__ == "__main__":
            begun = []
            thread = threading.Thread(target=begin)
            thread.start()
            thread.join()
            time.sleep(0.5)
            print(len(list(begun[0])))
        """,
        context,
        flags=("-W", "ignore::DeprecationWarning"),
    )
    assert script.output() == "9\n"
