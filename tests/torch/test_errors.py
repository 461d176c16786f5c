"""Errors: torch's types and texts, and what torch loses of them is kept."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from tests.torch.oracle import ours, theirs  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("by_value")


class TakesTwo(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(one, two)
        self.one = one


class TakesMessage(Exception):
    message = "a text"

    def __init__(self, message: str) -> None:
        super().__init__(message)


class Failing:
    """Sample 3 cannot be read."""

    def __init__(self, fail: Callable[[], Any]) -> None:
        self.fail = fail

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> int:
        if index == 3:
            self.fail()
        return index


def raise_value_error() -> None:
    raise ValueError("no such thing")


def raise_key_error() -> None:
    raise KeyError("a\nb")


def raise_os_error() -> None:
    error = FileNotFoundError(2, "No such file", "somewhere")
    error.add_note("look elsewhere")
    raise error


def raise_two() -> None:
    raise TakesTwo(1, 2)


def raise_message() -> None:
    raise TakesMessage(message="told")


def raise_stop() -> None:
    raise StopIteration


FAILURES = [raise_value_error, raise_key_error, raise_os_error, raise_two, raise_message]


def outcomes(module: Any, dataset: Any, **arguments: Any) -> list[Any]:
    """Batches and errors in the order in which they come."""
    found: list[Any] = []
    batches = iter(module.DataLoader(dataset, **arguments))
    while True:
        try:
            found.append(next(batches).tolist())
        except StopIteration:
            return found
        except Exception as error:
            found.append(error)


@pytest.mark.parametrize("fail", FAILURES)
def test_without_workers_errors_are_those_of_the_dataset(fail: Callable[[], Any]) -> None:
    expected, found = outcomes(theirs, Failing(fail), batch_size=2), outcomes(ours, Failing(fail), batch_size=2)
    assert [expected[0], expected[2]] == [found[0], found[2]] == [[0, 1], [4, 5]]
    assert type(found[1]) is type(expected[1])
    assert found[1].args == expected[1].args
    assert "while reading sample 3 of Failing" in found[1].__notes__[-2]


@pytest.mark.parametrize("fail", FAILURES)
def test_errors_of_workers_have_torchs_type_and_text(fail: Callable[[], Any]) -> None:
    arguments = {"batch_size": 2, "num_workers": 1}
    expected, found = outcomes(theirs, Failing(fail), **arguments), outcomes(ours, Failing(fail), **arguments)
    assert [expected[0], expected[2]] == [found[0], found[2]] == [[0, 1], [4, 5]]
    assert type(found[1]) is type(expected[1])
    first, second, *_ = str(found[1]).splitlines()
    assert [first, second] == str(expected[1]).splitlines()[:2]
    assert f"in {fail.__name__}" in str(found[1])


def test_the_original_is_the_cause() -> None:
    found = outcomes(ours, Failing(raise_os_error), batch_size=2, num_workers=1)[1]
    assert found.errno == 2
    cause = found.__cause__
    assert (cause.errno, cause.filename) == (2, "somewhere")
    assert "look elsewhere" in cause.__notes__
    two = outcomes(ours, Failing(raise_two), num_workers=1)[3]
    assert type(two) is RuntimeError
    assert vars(two.__cause__)["one"] == 1


@pytest.mark.parametrize("num_workers", [0, 1])
def test_stop_iteration_ends_no_epoch(num_workers: int) -> None:
    found = outcomes(ours, Failing(raise_stop), num_workers=num_workers)
    assert [each for each in found if isinstance(each, list)] == [[0], [1], [2], [4], [5]]
    assert "StopIteration" in str(found[3])


def fail_at_start(worker: int) -> None:
    raise ValueError(f"worker {worker} will not")


def fail_to_collate(samples: list[Any]) -> Any:
    raise ValueError("nothing fits")


@pytest.mark.parametrize("arguments", [{"worker_init_fn": fail_at_start}, {"collate_fn": fail_to_collate}])
def test_what_else_can_fail_in_a_worker(arguments: dict[str, Any]) -> None:
    for module in (theirs, ours):
        with pytest.raises(ValueError, match="Caught ValueError in DataLoader worker process 0"):
            next(iter(module.DataLoader([1, 2], num_workers=1, **arguments)))


class FailingStream(theirs.IterableDataset):
    def __iter__(self) -> Iterator[int]:
        yield from range(3)
        raise ValueError("the stream is broken")


def test_streams() -> None:
    for num_workers in (0, 1):
        found = outcomes(ours, FailingStream(), num_workers=num_workers)
        assert found[:3] == [[0], [1], [2]]
        assert isinstance(found[3], ValueError)
    assert "Caught ValueError in DataLoader worker process 0" in str(found[3])


def sleep_long() -> None:
    time.sleep(30)


def test_timeout() -> None:
    loader = ours.DataLoader(Failing(sleep_long), num_workers=1, timeout=0.5, batch_size=6)
    with pytest.raises(RuntimeError, match=r"DataLoader timed out after 0\.5 seconds"):
        next(iter(loader))


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    os._exit(7)


def test_death_of_a_worker() -> None:
    with pytest.raises(RuntimeError, match=r"DataLoader worker \(pid \d+\) is killed by signal: Killed\. "):
        list(ours.DataLoader(Failing(kill_itself), num_workers=1))
    text = r"DataLoader worker \(pid \d+\) exited unexpectedly with exit code 7\. Details are lost"
    with pytest.raises(RuntimeError, match=text):
        list(ours.DataLoader(Failing(leave), num_workers=1))


def unpicklable(samples: list[Any]) -> Any:
    return threading.Lock()


def test_a_batch_that_cannot_be_sent_is_an_error_and_no_hang() -> None:
    with pytest.raises(TypeError, match=r"cannot be sent|pickle"):
        next(iter(ours.DataLoader([1, 2], num_workers=1, collate_fn=unpicklable)))


class Locked(Failing):
    """A dataset that cannot be sent to a worker."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __getitem__(self, index: int) -> int:
        with self.lock:
            return index


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="torch forks on Linux alone")
def test_what_only_a_fork_can_have_is_forked_as_by_torch() -> None:
    loader = ours.DataLoader(Locked(), batch_size=3, num_workers=2)
    for _ in range(2):
        assert [batch.tolist() for batch in loader] == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(TypeError, match="lock"):
        list(ours.DataLoader(Locked(), num_workers=1, multiprocessing_context="spawn"))


def test_errors_of_getitems_are_told() -> None:
    class Many(Failing):
        def __getitems__(self, indices: list[int]) -> list[int]:
            raise ValueError("not so many")

    for module in (theirs, ours):
        with pytest.raises(ValueError, match="not so many"):
            list(module.DataLoader(Many(raise_stop), batch_size=2))
