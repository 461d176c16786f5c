"""What goes wrong with workers: it is told at once and whole, can be gone on after, and leaves nothing behind."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.loader.conftest import Footprint, count_descriptors

from headrace import DataLoader, Dataset, IterableDataset, MapDataset, get_worker_info, sample_rng
from headrace.errors import (
    HeadraceError,
    NotPicklableError,
    UnexpectedStopIterationError,
    WorkerDiedError,
    WorkerError,
    WorkerTimeoutError,
    WorkerTraceback,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Eventually = Callable[[Callable[[], Any]], None]
    RunScript = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("by_value", "forks_quietly")

BACKENDS = ["thread", "process"]
CONTEXTS = ["fork", "forkserver", "spawn"]
POOLS = [("thread", None), ("process", None), *(("process", context) for context in CONTEXTS)]


class Coded(Exception):
    """Keeps another thing than its constructor takes."""

    def __init__(self, code: int, *, where: str) -> None:
        super().__init__(f"{where} {code}")
        self.code = code


class Failing(Dataset[Any]):
    """Eight samples, of which one does what it is told to."""

    def __init__(self, fail: Callable[[], Any], at: int = 3) -> None:
        self.fail, self.at = fail, at

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int, /) -> Any:
        return self.fail() if index == self.at else index


def throw(error: BaseException) -> Any:
    raise error


def coded() -> Any:
    raise Coded(7, where="there")


def lists(batches: Any) -> list[Any]:
    return [batch.tolist() for batch in batches]


def notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and was not asked for its exit code does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(("backend", "context"), POOLS)
def test_an_error_comes_as_it_is_and_the_iteration_goes_on(backend: Any, context: str | None) -> None:
    loader = DataLoader(Failing(coded), 2, seed=5, num_workers=2, backend=backend, multiprocessing_context=context)
    batches = iter(loader)
    assert next(batches).tolist() == [0, 1]
    with pytest.raises(Coded, match=r"^there 7") as caught:
        next(batches)
    assert caught.value.code == 7
    assert notes(caught.value) == ["while reading sample 3 of Failing", "in step 1 of epoch 0 (seed 5)"]
    if backend == "process":
        assert isinstance(caught.value.__cause__, WorkerTraceback)
        assert "in coded\n" in str(caught.value.__cause__)
    else:
        assert [entry.name for entry in caught.traceback][-1] == "coded"
    assert lists(batches) == [[4, 5], [6, 7]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_error_that_came_before_its_turn(backend: Any) -> None:
    def collate(samples: list[int]) -> list[int]:
        if samples[0] == 0:
            sleep(0.3)
        return throw(KeyError("early")) if samples[0] == 2 else samples

    batches = iter(DataLoader(range(6), 2, num_workers=2, backend=backend, collate_fn=collate, seed=5))
    assert next(batches) == [0, 1]
    with pytest.raises(KeyError, match="early") as caught:
        next(batches)
    assert notes(caught.value) == ["in step 1 of epoch 0 (seed 5)"]
    assert list(batches) == [[4, 5]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_kind_of_error(backend: Any) -> None:
    """In one pool, one after the other: none of them harms the worker."""
    errors: list[Any] = [
        OSError(2, "no file", "there"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        ExceptionGroup("several", [KeyError(1), ValueError(2)]),
        KeyboardInterrupt("typed"),
        SystemExit(3),
        RecursionError(),
        MemoryError(),
    ]

    class Broken(Dataset[Any]):
        def __len__(self) -> int:
            return len(errors) + 1

        def __getitem__(self, index: int, /) -> Any:
            return throw(errors[index]) if index < len(errors) else index

    batches = iter(DataLoader(Broken(), num_workers=1, backend=backend))
    for error in errors:
        with pytest.raises(type(error)) as caught:
            next(batches)
        assert repr(caught.value.args) == repr(error.args)
        assert vars(caught.value).keys() - {"__notes__"} == set()
    assert lists(batches) == [[len(errors)]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_stop_iteration_does_not_end_the_epoch(backend: Any) -> None:
    batches = iter(DataLoader(Failing(lambda: next(iter([]))), 2, num_workers=2, backend=backend))
    next(batches)
    with pytest.raises(UnexpectedStopIterationError, match=r"^Failing\.__getitem__\(3\) raised StopIteration"):
        next(batches)
    assert lists(batches) == [[4, 5], [6, 7]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_worker_that_cannot_be_made_ready(backend: Any) -> None:
    """Each batch says so, and it is the error itself."""
    loader = DataLoader(range(4), 2, num_workers=2, backend=backend, worker_init_fn=lambda worker: coded())
    for _ in range(2):
        batches = iter(loader)
        for _ in range(2):
            with pytest.raises(Coded) as caught:
                next(batches)
            assert caught.value.code == 7
        assert next(batches, "over") == "over"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_worker_that_meets_the_end_of_a_file(backend: Any) -> None:
    """Not of its connection: it is an error as any other."""

    def begin(worker: int) -> None:
        raise EOFError("the file is cut off")

    with pytest.raises(EOFError, match="the file is cut off"):
        next(iter(DataLoader(range(4), 2, num_workers=1, backend=backend, worker_init_fn=begin)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sampler_that_fails(backend: Any) -> None:
    def broken() -> Iterator[int]:
        yield from range(4)
        raise OSError("no more")

    loader = DataLoader(range(4), 2, sampler=broken(), num_workers=1, prefetch_factor=1, backend=backend)
    batches = iter(loader)
    assert lists([next(batches), next(batches)]) == [[0, 1], [2, 3]]
    with pytest.raises(OSError, match="no more"):
        next(batches)
    assert next(batches, "over") == "over"


@pytest.mark.parametrize("context", [None, "spawn"])
def test_what_cannot_be_sent_is_named(context: str | None) -> None:
    class Locked(Failing):
        def __init__(self) -> None:
            super().__init__(coded)
            self.guards = {"first": threading.Lock()}

    loader = DataLoader(Locked(), num_workers=1, backend="process", multiprocessing_context=context)
    before = count_descriptors()
    with pytest.raises(NotPicklableError, match=r"loader\.dataset\.guards\['first'\] cannot be sent to a worker"):
        iter(loader)
    assert count_descriptors() == before


def test_what_a_worker_cannot_import(run_script: RunScript) -> None:
    """A module that only this process knows how to make."""
    script = run_script(
        """
        import sys, types
        from headrace import DataLoader

        made = sys.modules["made"] = types.ModuleType("made")
        exec("class Samples(list): pass", vars(made))
        try:
            next(iter(DataLoader(made.Samples([1, 2]), num_workers=1, backend="process")))
        except ModuleNotFoundError as error:
            print(error, *error.__notes__, sep="\\n")
        """
    )
    said, *note = script.output().splitlines()
    assert said == "No module named 'made'"
    assert "make it importable (sys.path), or take" in note[0]


def test_what_cannot_come_back_is_named_and_the_iteration_goes_on() -> None:
    batches = iter(DataLoader(Failing(threading.Lock), None, num_workers=1, backend="process", seed=5))
    assert [next(batches) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(
        NotPicklableError, match=r"^batch cannot come back from a worker process: it is a _thread\.lock"
    ):
        next(batches)
    assert list(batches) == [4, 5, 6, 7]


# ------------------------------------------------------------------ deaths

DEATHS: dict[str, tuple[Callable[[], Any], str]] = {
    "killed": (
        lambda: os.kill(os.getpid(), signal.SIGKILL),
        r"was killed by signal 9 \(SIGKILL\), as the system does when memory runs out,",
    ),
    "segfault": (lambda: ctypes.string_at(0), r"was killed by signal 11 \(SIGSEGV\)"),
    "exit": (lambda: os._exit(3), "ended with exit code 3"),
    "quiet exit": (lambda: os._exit(0), "ended with exit code 0"),
}


def dying(how: str) -> Failing:
    return Failing(DEATHS[how][0])


class Once:
    """Does something in the first calls of all, in whichever process they are; returns 3 thereafter."""

    def __init__(self, marks: Path, name: str, act: Callable[[], Any], times: int = 1) -> None:
        self.marks, self.name, self.act, self.times = marks, name, act, times

    def __call__(self) -> int:
        for time in range(self.times):
            with suppress(FileExistsError):
                (self.marks / f"{self.name} {time}").open("x").close()
                self.act()
        return 3


@pytest.mark.parametrize(
    ("how", "context"), [*((how, None) for how in DEATHS), *(("killed", context) for context in CONTEXTS)]
)
def test_a_worker_that_dies(how: str, context: str | None) -> None:
    loader = DataLoader(
        dying(how), 2, num_workers=2, prefetch_factor=1, backend="process", multiprocessing_context=context, seed=5
    )
    batches = iter(loader)
    text = (
        rf"^worker [01] \(process \d+\) {DEATHS[how][1]} while it loaded step 1 of epoch 0 \(seed 5\); "
        r"before that it had \d+ MB of memory$"
    )
    with pytest.raises(WorkerDiedError, match=text) as caught:
        list(batches)
    with pytest.raises(WorkerDiedError) as again:
        next(batches)
    assert str(again.value) == str(caught.value)


def test_a_death_is_noticed_while_another_worker_is_waited_for() -> None:
    class OneSleeps(Failing):
        def __getitem__(self, index: int, /) -> Any:
            return sleep(1000) if index == 0 else super().__getitem__(index)

    for in_order in (True, False):
        loader = DataLoader(OneSleeps(DEATHS["killed"][0], at=1), num_workers=2, backend="process", in_order=in_order)
        with pytest.raises(WorkerDiedError, match="SIGKILL"):
            next(iter(loader))


def test_a_worker_that_dies_of_having_nothing_to_do(eventually: Eventually) -> None:
    """Between two epochs of persistent workers, and between two batches."""

    class Pids(Failing):
        def __getitem__(self, index: int, /) -> int:
            return os.getpid()

    loader = DataLoader(Pids(coded), num_workers=1, persistent_workers=True, backend="process")
    (pid,) = {batch.item() for batch in loader}
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not is_alive(pid))
    with pytest.raises(WorkerDiedError, match=r"was killed by signal 9 \(SIGKILL\), .* between tasks"):
        list(loader)
    assert len(list(loader)) == 8, "the loader can begin anew"
    batches = iter(loader)
    (pid,) = {batch.item() for batch in (next(batches), next(batches))}
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerDiedError, match="SIGKILL"):
        list(batches)
    loader.close()


def test_an_interpreter_that_cannot_start_others(monkeypatch: pytest.MonkeyPatch, before: Footprint) -> None:
    """One that is part of another program."""
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(WorkerError, match=r"sys\.executable is empty\), so it cannot start worker processes"):
        iter(DataLoader(range(4), num_workers=2, backend="process"))
    before.check_is_back()


def test_a_worker_that_dies_while_it_starts() -> None:
    loader = DataLoader(range(4), num_workers=2, backend="process", worker_init_fn=lambda worker: os._exit(4))
    text = r"ended with exit code 4 while it started \(its standard error may say why\)"
    with pytest.raises(WorkerDiedError, match=text):
        next(iter(loader))


def test_after_a_death_no_worker_is_left_and_a_new_iterator_works(tmp_path: Path, eventually: Eventually) -> None:
    once = Once(tmp_path, "death", DEATHS["killed"][0])
    pids = tmp_path / "pids"
    pids.mkdir()
    loader = DataLoader(
        Failing(once),
        2,
        num_workers=3,
        backend="process",
        persistent_workers=True,
        worker_init_fn=lambda worker: (pids / str(os.getpid())).touch(),
    )
    with pytest.raises(WorkerDiedError):
        list(loader)
    eventually(lambda: not any(is_alive(int(path.name)) for path in pids.iterdir()))
    assert lists(loader) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    loader.close()


# ------------------------------------------------------------------ restarts


class Mortal(Dataset[Any]):
    """Samples with randomness of their own and a large array; to read some of them is deadly, so many times."""

    def __init__(self, marks: Path, deadly: dict[int, int]) -> None:
        ways = [act for act, _ in DEATHS.values()]
        self.deaths = {
            index: Once(marks, f"at {index}", ways[index % len(ways)], times) for index, times in deadly.items()
        }

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        if index in self.deaths:
            self.deaths[index]()
        return {
            "index": index,
            "own": sample_rng().random(),
            "global": np.random.random(),  # noqa: NPY002 - as users do
            "large": np.full(20_000, index, np.uint16),
        }


class MortalStream(IterableDataset[Any]):
    """A stream of them: all of it, or the share of a worker."""

    def __init__(self, dataset: Mortal, *, shared: bool) -> None:
        self.dataset, self.shared = dataset, shared

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info and self.shared else (0, 1)
        return (self.dataset[index] for index in range(first, len(self.dataset), step))


def test_after_a_restart_not_one_batch_is_missing_or_doubled(tmp_path: Path) -> None:
    def load(deadly: dict[int, int], **options: Any) -> list[Any]:
        loader = DataLoader(
            Mortal(tmp_path, deadly), 2, shuffle=True, seed=3, num_workers=2, backend="process", **options
        )
        return list(loader)

    np.testing.assert_equal(load({1: 1, 11: 2, 12: 1, 22: 1}, on_worker_death="restart"), load({}))
    assert len(list(tmp_path.iterdir())) == 5, "it did not die so often"


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_restart_in_a_context(tmp_path: Path, context: str) -> None:
    loader = DataLoader(
        Mortal(tmp_path, {6: 2}),
        2,
        seed=3,
        num_workers=2,
        backend="process",
        multiprocessing_context=context,
        on_worker_death="restart",
    )
    without = DataLoader(Mortal(tmp_path, {}), 2, seed=3, num_workers=1, backend="process")
    np.testing.assert_equal(list(loader), list(without))


def test_a_restart_out_of_order_and_over_epochs(tmp_path: Path) -> None:
    """Persistent workers that die in two epochs; the number of deaths is counted for each task."""
    loader = DataLoader(
        Mortal(tmp_path, {5: 2, 10: 2, 15: 2, 22: 2}),
        2,
        num_workers=3,
        backend="process",
        persistent_workers=True,
        in_order=False,
        on_worker_death="restart",
    )
    for _ in range(2):
        assert sorted(index for batch in loader for index in batch["index"].tolist()) == list(range(24))
    assert len(list(tmp_path.iterdir())) == 8
    loader.close()


@pytest.mark.parametrize("options", [{"shared": True}, {"shared": False, "shard": True}])
def test_a_restart_in_a_stream(tmp_path: Path, options: dict[str, bool]) -> None:
    def load(deadly: dict[int, int], shared: bool, **rest: Any) -> list[Any]:
        stream = MortalStream(Mortal(tmp_path, deadly), shared=shared)
        loader = DataLoader(stream, 2, seed=3, num_workers=2, backend="process", on_worker_death="restart", **rest)
        return list(loader)

    np.testing.assert_equal(load({3: 1, 8: 2, 21: 1}, **options), load({}, **options))
    assert len(list(tmp_path.iterdir())) == 4


def test_batches_of_the_dead_stay(tmp_path: Path) -> None:
    loader = DataLoader(Mortal(tmp_path, {10: 1}), 2, num_workers=1, backend="process", on_worker_death="restart")
    kept = list(loader)
    assert [np.unique(batch["large"]).tolist() for batch in kept] == [[n, n + 1] for n in range(0, 24, 2)]
    for batch in kept:
        batch["large"] += 1


def test_a_worker_that_dies_while_it_starts_is_started_again(tmp_path: Path) -> None:
    once = Once(tmp_path, "death", DEATHS["exit"][0])

    def begin(worker: int) -> None:
        once()

    loader = DataLoader(range(8), 2, num_workers=2, backend="process", on_worker_death="restart", worker_init_fn=begin)
    assert lists(loader) == [[0, 1], [2, 3], [4, 5], [6, 7]]


@pytest.mark.parametrize("where", ["in a task", "at the start"])
def test_who_always_dies_is_not_started_for_ever(where: str) -> None:
    die = DEATHS["exit"][0]
    loader = DataLoader(
        Failing(die) if where == "in a task" else range(8),
        num_workers=2,
        backend="process",
        on_worker_death="restart",
        worker_init_fn=(lambda worker: die()) if where == "at the start" else None,
    )
    with pytest.raises(WorkerDiedError, match=r"; so did 3 in a row, so it is not started again$"):
        list(loader)


# ------------------------------------------------------------------ timeouts


class Waiting(Failing):
    """One sample is there only when a file is."""

    def __init__(self, file: Path, at: int = 3) -> None:
        super().__init__(self.wait_for_the_file, at)
        self.file = file

    def wait_for_the_file(self) -> int:
        while not self.file.exists():
            sleep(0.01)
        return self.at


@pytest.mark.parametrize(("backend", "context"), POOLS)
def test_a_timeout_says_where_the_workers_are_and_loses_nothing(
    tmp_path: Path, backend: Any, context: str | None, eventually: Eventually
) -> None:
    loader = DataLoader(
        Waiting(tmp_path / "file"),
        2,
        num_workers=2,
        timeout=0.2,
        backend=backend,
        multiprocessing_context=context,
    )
    batches = iter(loader)
    found: list[Any] = []

    def go_on() -> str:
        """What a timeout says, until the epoch is over."""
        try:
            found.extend(next(batches).tolist())
        except WorkerTimeoutError as error:
            return str(error)
        except StopIteration:
            return "over"
        return ""

    eventually(lambda: "in wait_for_the_file" in go_on())
    text = go_on()
    assert re.match(
        r"no worker (thread|process) gave a result within 0\.2 seconds \(timeout=0\.2\); they are at\n", text
    )
    assert text.count("in wait_for_the_file") == 1
    assert re.findall(r"worker (\d)", text) == ["0", "1"]
    assert found == [0, 1]
    (tmp_path / "file").touch()
    eventually(lambda: go_on() == "over")
    assert found == list(range(8))


def test_a_timeout_of_workers_that_have_not_started(tmp_path: Path) -> None:
    def wait(worker: int) -> None:
        while not (tmp_path / "file").exists():
            sleep(0.01)

    loader = DataLoader(range(4), num_workers=1, timeout=0.2, backend="process", worker_init_fn=wait)
    batches = iter(loader)
    with pytest.raises(TimeoutError, match=r"\(it has not started yet\)"):
        next(batches)
    (tmp_path / "file").touch()


# ------------------------------------------------------------------ what is left behind


class Pids(Dataset[Any]):
    """Where each sample was read, with an array that travels in a block. It does not end soon."""

    def __init__(self) -> None:
        self.array = np.zeros(1 << 18, np.uint8)

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, index: int, /) -> Any:
        return os.getpid(), np.full(1 << 17, index, np.uint8) + self.array[0]


def use_up(loader: Any) -> None:
    for _ in loader:
        pass


def leave_by_break(loader: Any) -> None:
    for number, _ in enumerate(loader):
        if number == 3:
            break


def leave_by_del(loader: Any) -> None:
    batches = iter(loader)
    next(batches)
    del batches


def leave_in_a_circle(loader: Any) -> None:
    circle: list[Any] = [iter(loader)]
    next(circle[0])
    circle.append(circle)
    del circle
    gc.collect()


def leave_by_an_error(loader: Any) -> None:
    with pytest.raises(KeyError):  # noqa: PT012 - the loop is what is left
        for _ in loader:
            raise KeyError


def leave_before_the_first(loader: Any) -> None:
    iter(loader)


def leave_by_close(loader: Any) -> None:
    batches = iter(loader)
    next(batches)
    loader.close()
    with pytest.raises(HeadraceError, match=r"^the loader is closed"):
        next(batches)


def leave_by_with(loader: Any) -> None:
    with loader:
        for _ in loader:
            return


def leave_to_a_thread(loader: Any) -> None:
    thread = threading.Thread(target=leave_by_break, args=(loader,))
    thread.start()
    thread.join()


def leave_two(loader: Any) -> None:
    one, other = iter(loader), iter(loader)
    for _ in range(3):
        next(one), next(other)


LEAVINGS: dict[str, Callable[[Any], None]] = {
    name: value for name, value in globals().items() if name.startswith("leave_")
}


@pytest.mark.parametrize("leave", LEAVINGS.values(), ids=LEAVINGS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_left_behind(leave: Callable[[Any], None], backend: Any, before: Footprint) -> None:
    leave(DataLoader(Pids(), 2, num_workers=1, backend=backend))
    before.check_is_back()


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_left_behind_by_an_error_of_a_sample(backend: Any, before: Footprint) -> None:
    with suppress(Coded):
        use_up(DataLoader(Failing(coded), num_workers=2, backend=backend))
    before.check_is_back()


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_left_behind_by_persistent_workers(backend: Any, before: Footprint) -> None:
    loader = DataLoader(Pids(), 2, num_workers=2, backend=backend, persistent_workers=True)
    for leave in LEAVINGS.values():
        if leave not in (leave_by_close, leave_by_with):
            leave(loader)
    assert any(batch for batch in loader)
    del loader
    before.check_is_back()
    for last in leave_by_close, leave_by_with:
        last(DataLoader(Pids(), 2, num_workers=1, backend=backend, persistent_workers=True))
        before.check_is_back()


@pytest.mark.parametrize("context", CONTEXTS)
def test_nothing_is_left_behind_by_a_context(context: str) -> None:
    def leave() -> None:
        leave_by_break(DataLoader(Pids(), 2, num_workers=2, backend="process", multiprocessing_context=context))

    leave()  # a server of multiprocessing stays, once
    before = Footprint()
    leave()
    before.check_is_back()


def test_nothing_is_left_behind_by_deaths_and_restarts(tmp_path: Path, before: Footprint) -> None:
    loader = DataLoader(Mortal(tmp_path, {5: 2, 15: 2}), 2, num_workers=2, backend="process", on_worker_death="restart")
    assert len(list(loader)) == 12
    with pytest.raises(WorkerDiedError):
        list(DataLoader(dying("exit"), num_workers=2, backend="process"))
    del loader
    before.check_is_back()


def test_batches_outlive_everything(before: Footprint) -> None:
    loader = DataLoader(Pids(), 2, num_workers=2, backend="process")
    pids, arrays = next(iter(loader))
    loader.close()
    del loader
    gc.collect()
    assert not any(map(is_alive, pids.tolist()))
    assert [np.unique(row).tolist() for row in arrays] == [[0], [1]]
    arrays += 1
    view = arrays[1, 7:]
    del arrays
    assert view[0] == 2
    del view
    before.check_is_back()


# ------------------------------------------------------------------ whole programs

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
def test_all_is_closed_that_python_looks_after(context: str, run_script: RunScript) -> None:
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
def test_ctrl_c_that_is_caught(backend: Any, run_script: RunScript) -> None:
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
def test_a_parent_that_is_no_more(how: str, context: str, run_script: RunScript, eventually: Eventually) -> None:
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


def test_a_user_who_forks(run_script: RunScript) -> None:
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


# ------------------------------------------------------------------ in other company


class Nested(Dataset[Any]):
    """A loader in each sample."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int, /) -> Any:
        return np.concatenate(list(DataLoader(range(index, index + 6), 2, num_workers=2, **self.options)))


THREADS, PROCESSES, FORKS = {"backend": "thread"}, {"backend": "process"}, {"multiprocessing_context": "fork"}


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        (THREADS, THREADS),
        (THREADS, PROCESSES),
        (PROCESSES, THREADS),
        (PROCESSES, PROCESSES),
        (FORKS, THREADS),
        (FORKS, FORKS),
    ],
)
def test_a_loader_in_a_dataset(outer: dict[str, Any], inner: dict[str, Any], before: Footprint) -> None:
    loader = DataLoader(Nested(**inner), 2, num_workers=2, **outer)
    assert lists(loader) == [[list(range(n, n + 6)), list(range(n + 1, n + 7))] for n in (0, 2)]
    before.check_is_back()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loader_in_a_thread(backend: Any) -> None:
    """Several at once, each in a thread of its own, of which one begins what another goes on with."""
    found: dict[int, Any] = {}
    loader = DataLoader(range(40), 4, num_workers=2, backend=backend, shuffle=True, seed=3)
    batches = iter(loader)

    def walk(number: int) -> None:
        own = DataLoader(range(40), 4, num_workers=1, backend=backend, shuffle=True, seed=number)
        found[number] = lists(own if number else batches)

    threads = [threading.Thread(target=walk, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(3):
        assert found[number] == lists(DataLoader(range(40), 4, shuffle=True, seed=number or 3))


@pytest.mark.parametrize("backend", BACKENDS)
def test_closed_by_another_thread_while_a_batch_is_waited_for(backend: Any) -> None:
    def wait(index: int) -> int:
        sleep(0.5 if index else 0)
        return index

    loader = DataLoader(MapDataset(range(8), wait), num_workers=1, backend=backend)
    batches = iter(loader)
    next(batches)
    closing = threading.Timer(0.1, loader.close)
    closing.start()
    with pytest.raises(HeadraceError, match=r"closed|have ended"):
        list(batches)
    closing.join()


def test_no_descriptor_is_left_for_a_batch(run_script: RunScript) -> None:
    """All that is kept stays; whoever goes on hears it again."""
    script = run_script(
        """
        import os, resource
        import numpy as np
        from headrace import DataLoader, TensorDataset

        rows = np.arange(300)[:, None].repeat(20_000, 1)
        batches = iter(DataLoader(TensorDataset(rows), num_workers=2, backend="process"))
        kept = [next(batches)[0] for _ in range(4)]
        most = len(os.listdir("/proc/self/fd")) + 4
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        for _ in range(2):
            try:
                while True:
                    kept.append(next(batches)[0])
            except RuntimeError as error:
                print(error)
        assert [int(batch[0, 0]) for batch in kept] == list(range(len(kept)))
        assert len(os.listdir("/proc/self/fd")) <= len(kept) + 8
        """
    )
    one, other = script.output().splitlines()
    assert re.match(
        r"a batch of worker \d cannot be taken in: \[Errno 24\] Too many open files; keep fewer batches", one
    )
    assert one == other


def test_a_closed_pool_is_not_asked() -> None:
    loader = DataLoader(range(8), 2, num_workers=1, backend="process")
    batches = iter(loader)
    (pool,) = loader._pools._open
    pool.close()
    with pytest.raises(WorkerError, match=r"^the workers have ended; begin a new iterator$"):
        next(batches)


def test_stdin_and_output_of_workers(run_script: RunScript) -> None:
    """What a dataset prints is seen; what is typed is not a worker's."""
    script = run_script(
        """
        import sys
        from headrace import DataLoader

        def say(samples):
            print("said", samples, sys.stdin.read(), flush=True)
            return samples

        assert list(DataLoader(range(2), num_workers=1, backend="process", collate_fn=say)) == [[0], [1]]
        """
    )
    assert script.output() == "said [0] \nsaid [1] \n"
