"""Values that cannot be pickled are named, with the path that leads to them and a remedy."""

from __future__ import annotations

import collections
import functools
import io
import pickle
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.workers.pickling.helpers import (
    Holder,
    Lines,
    Pair,
    refusal,
    run,
    there_and_back,
)

from headrace.errors import NotPicklableError
from headrace.workers.pickling.messages import dump_result, dump_work

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_the_culprit_is_named_with_its_holder_and_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("a\nb\n")
    with (tmp_path / "lines").open() as file:
        text = refusal(Holder(_reader=Holder(_dataset=Lines(file))), name="work")
        with pytest.raises(TypeError) as caught:  # whose words are Python's
            pickle.dumps(file)
    assert text == (
        f"work._reader._dataset.file cannot be sent to a worker process: it is a _io.TextIOWrapper held by a "
        f'{Lines.__module__}.Lines ("{caught.value}"); open it in __getitem__ when it is first needed, '
        'leave it out in __getstate__, or use backend="thread"'
    )
    batch = {"meta": [Holder(lock=threading.Lock())]}
    assert refusal(batch, dump_result, "batch").startswith(
        "batch['meta'][0].lock cannot come back from a worker process: it is a _thread.lock held by a "
    )


def _with_closure(value: Any) -> Any:
    return lambda: value


def _with_default(value: Any) -> Any:
    def function(*, option: Any = value) -> Any:
        return option

    return function


class Slotted:
    __slots__ = ("other", "value")

    def __init__(self, value: Any) -> None:
        self.other, self.value = 1, value


class Stateful(Holder):
    def __getstate__(self) -> Any:
        return {**vars(self), "dropped": None}


class Sequence(list[Any]):
    pass


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda lock: lock, ""),
        (lambda lock: {"a": 1, "b": (2, [lock])}, "['b'][1][0]"),
        (lambda lock: Pair(1, lock), ".second"),
        (lambda lock: Holder(a=Slotted(lock)), ".a.value"),
        (lambda lock: Stateful(dropped=threading.Lock(), kept=lock), ".kept"),
        (lambda lock: Sequence([1, lock]), "[1]"),
        (lambda lock: collections.OrderedDict(x=lock), "['x']"),
        (lambda lock: collections.deque([1, 2, lock]), "[2]"),
        (lambda lock: functools.partial(max, 1, key=lock), ".keywords['key']"),
        (lambda lock: functools.partial(Lines(lock).__getitem__, 1), ".func.__self__.file"),
        (lambda lock: Lines(lock).__getitem__, ".__self__.file"),
        (lambda lock: np.array([[1, lock]], object), "[0, 1]"),
        (lambda lock: [None] * 100_000 + ["a", lock], "[100001]"),
    ],
)
@pytest.mark.parametrize("by_value", [True, False])
def test_the_path_leads_to_the_culprit(
    make: Callable[[Any], Any], path: str, by_value: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_value:
        pytest.importorskip("cloudpickle", reason="it sends code by value")
    else:
        monkeypatch.setitem(sys.modules, "cloudpickle", None)
    text = refusal(make(threading.Lock()))
    assert text.startswith(f"dataset{path} cannot be sent to a worker process: it is a _thread.lock")


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (_with_closure, ".__closure__['value']"),
        (_with_default, ".__kwdefaults__['option']"),
        (lambda lock: type("Locked", (), {"lock": lock})(), ".__class__.lock"),
        (
            lambda lock: type("Locked", (), {"get": staticmethod(_with_closure(lock))}),
            ".get.__func__.__closure__['value']",
        ),
    ],
)
def test_the_path_leads_through_code(make: Callable[[Any], Any], path: str) -> None:
    pytest.importorskip("cloudpickle", reason="it sends code by value")
    assert refusal(make(threading.Lock())).startswith(f"dataset{path} cannot be sent")


def test_the_path_leads_through_globals() -> None:
    pytest.importorskip("cloudpickle", reason="it sends code by value")
    script = """
import threading
a_lock, lock, used = 1, threading.Lock(), threading.Lock()
def function(value):
    value.lock
    def inner():
        return used
    return inner
try:
    dump_work(function)
except TypeError as error:
    print(error)
"""
    assert run(script).startswith("work.__globals__['used'] cannot be sent to a worker process: it is a _thread.lock")


def test_picklable_neighbours_are_not_named() -> None:
    """They refer to the object that holds it."""
    dataset = Holder()
    dataset.transform = Holder(owner=dataset, owners=[dataset])  # type: ignore[attr-defined]
    dataset.file = threading.Lock()  # type: ignore[attr-defined]
    assert refusal(dataset).startswith("dataset.file cannot be sent")
    items: list[Any] = []
    items += [items, threading.Lock()]
    assert refusal(items).startswith("dataset[1] cannot be sent")


class Moody:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


@pytest.mark.parametrize("error", [KeyError("mood"), AssertionError(), RecursionError("deep"), NotPicklableError("no")])
@pytest.mark.parametrize("dump", [dump_work, dump_result])
def test_objects_that_raise_when_pickled_are_named(error: Exception, dump: Any) -> None:
    text = refusal({"x": [Moody(error)]}, dump)
    path = "dataset" if isinstance(error, RecursionError) else "dataset['x'][0]"
    assert text.startswith(f"{path} cannot ")
    assert str(error) in text


def test_nesting_that_is_too_deep_is_told_at_the_top() -> None:
    nest: list[Any] = []
    for _ in range(100_000):
        nest = [nest]
    for dump in (dump_work, dump_result):
        assert "recursion" in refusal(Holder(nest=nest), dump)
        assert refusal(Holder(nest=nest), dump).startswith("dataset cannot ")
    while nest:  # taken apart by hand, lest freeing it be too deep as well
        nest = nest[0]


def test_interrupts_pass_through() -> None:
    for dump in (dump_work, dump_result):
        with pytest.raises(KeyboardInterrupt):
            dump(Moody(KeyboardInterrupt()))


def test_open_files_of_text_are_refused_not_read(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("a\n" * 10)
    with (tmp_path / "lines").open() as file:
        assert refusal(Lines(file)).startswith("dataset.file cannot be sent")
        assert file.tell() == 0
    assert there_and_back(io.StringIO("a"), dump_work).read() == "a"
