"""Worker threads that end though nobody asked them to, and those that could not be started."""

from __future__ import annotations

import ctypes
import threading
from time import sleep
from typing import TYPE_CHECKING, Any

import pytest

from headrace.errors import WorkerDiedError, WorkerError
from headrace.workers import ThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def end_thread(thread: threading.Thread) -> None:
    """Raise SystemExit in a thread, as debuggers and libraries for timeouts do."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))


def make_slow_work(worker: int) -> Callable[[float], float]:
    def work(seconds: float) -> float:
        sleep(seconds)
        return seconds

    return work


@pytest.fixture
def pool() -> Iterator[ThreadPool[float, float]]:
    made: ThreadPool[float, float] = ThreadPool(make_slow_work, 2, in_flight=4)
    yield made
    made.close()


def test_a_thread_that_is_ended_between_tasks(pool: ThreadPool[float, float]) -> None:
    """The exception strikes when the thread takes its next task, which is lost."""
    assert list(pool.run(iter([0.0, 0.0, 0.0]))) == [0.0, 0.0, 0.0]
    sleep(0.1)  # both wait for a task
    for thread in pool.threads:
        end_thread(thread)
    with pytest.raises(WorkerDiedError, match=r"^worker thread [01] ended by SystemExit: .*; begin a new iterator$"):
        list(pool.run(iter([0.0] * 8)))
    assert pool.closed


def test_a_death_is_told_again_and_ends_the_pool(pool: ThreadPool[float, float]) -> None:
    results = pool.run(iter([0.0] * 8))
    end_thread(pool.threads[0])
    end_thread(pool.threads[1])
    said = set()
    for _ in range(3):
        with pytest.raises(WorkerError) as caught:
            list(results)
        said.add(str(caught.value))
    assert len(said) == 1
    assert not any(thread.is_alive() for thread in pool.threads)


def test_thread_that_ends_silently(pool: ThreadPool[float, float], monkeypatch: pytest.MonkeyPatch) -> None:
    results = pool.run(iter([0.5]))
    monkeypatch.setattr(pool.threads[1], "is_alive", lambda: False)
    with pytest.raises(WorkerDiedError, match=r"^worker thread 1 ended without a word; begin a new iterator$"):
        next(pool.run(iter([1.0])))
    results.close()


def test_system_exit_in_a_task_is_its_error(pool: ThreadPool[float, float]) -> None:
    """And the thread goes on."""
    results = pool.run(iter([0.3, 0.3, 0.0, 0.0]))
    sleep(0.1)
    end_thread(pool.threads[0])
    found: list[Any] = []
    for _ in range(4):
        try:
            found.append(next(results))
        except SystemExit:
            found.append("ended")
    assert sorted(map(str, found)) == ["0.0", "0.0", "0.3", "ended"]


def test_nothing_of_a_result_is_outside_of_its_task() -> None:
    """What is asked of a batch after it has been made may raise, too."""

    class Unsized:
        @property
        def nbytes(self) -> int:
            raise SystemExit("not known")

    pool: ThreadPool[Any, Any] = ThreadPool(lambda worker: lambda task: Unsized(), 1, in_flight=1)
    results = pool.run(iter([0, 1]))
    for _ in range(2):
        try:
            assert isinstance(next(results), Unsized)
        except SystemExit as error:
            assert error.args == ("not known",)  # noqa: PT017 - either will do
    assert next(results, "over") == "over"
    pool.close()


def test_threads_that_cannot_be_started_leave_none(monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count()
    start = threading.Thread.start

    def refuse_the_third(thread: threading.Thread) -> None:
        if thread.name == "headrace worker 2":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse_the_third)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        ThreadPool(make_slow_work, 4, in_flight=4)
    assert threading.active_count() == before


def test_a_signal_while_results_are_waited_for_ends_the_run(pool: ThreadPool[float, float]) -> None:
    """Not only Ctrl-C may take a result away that has just come; so does whatever a handler raises."""
    import signal

    class Late(Exception):
        pass

    def raise_late(*_: object) -> None:
        raise Late

    before = signal.signal(signal.SIGALRM, raise_late)
    try:
        results = pool.run(iter([1.0]))
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Late):
            next(results)
    finally:
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(WorkerError, match="the run was interrupted"):
        next(results)
