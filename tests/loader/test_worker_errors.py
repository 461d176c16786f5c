"""Errors in workers: they come whole, in their turn, and the iteration goes on."""

from __future__ import annotations

import re
import threading
from time import sleep
from typing import TYPE_CHECKING, Any

import pytest
from tests.loader.conftest import count_descriptors
from tests.loader.failing import (
    BACKENDS,
    POOLS,
    Coded,
    Failing,
    coded,
    lists,
    notes,
    throw,
)

from headrace import DataLoader, Dataset
from headrace.errors import (
    NotPicklableError,
    UnexpectedStopIterationError,
    WorkerTimeoutError,
    WorkerTraceback,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Eventually = Callable[[Callable[[], Any]], None]
    RunScript = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("by_value", "forks_quietly")


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
        next(iter(loader))
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
