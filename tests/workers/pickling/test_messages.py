"""Exceptions between processes: they come back with their type, attributes and traceback."""

from __future__ import annotations

import functools
import json
import pickle
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.workers.pickling.helpers import (
    LARGE,
    Dump,
    dumps,
    in_worker,
    there_and_back,
)

from headrace.errors import NotPicklableError, WorkerError, WorkerTraceback
from headrace.testing import check_same
from headrace.workers.pickling.messages import dump_error, load_error

if TYPE_CHECKING:
    from pathlib import Path


def after(error: BaseException) -> Any:
    """The error as it comes out of a worker."""
    with pytest.raises(type(error)) as caught:
        raise error
    return load_error(dump_error(caught.value))


class Swapped(Exception):
    """Its arguments are not those of its constructor."""

    def __init__(self, path: str, line: int) -> None:
        super().__init__(f"{path}:{line}")
        self.path, self.line = path, line


class Prefixed(Exception):
    """Its constructor accepts its own argument, and makes another one of it."""

    def __init__(self, code: object) -> None:
        super().__init__(f"code {code}")


class NamedFile(OSError):
    def __init__(self, path: str) -> None:
        super().__init__(2, "is not there", path)
        self.path = path


class Parsed(Exception):
    """It says itself how it is made."""

    def __init__(self, text: str, *, place: int) -> None:
        super().__init__(f"{text} at {place}")
        self.text, self.place = text, place

    def __reduce__(self) -> Any:
        return functools.partial(Parsed, place=self.place), (self.text,)


class Counted(Exception):
    """It cannot be made again past its constructor, which leaves nothing behind in it."""

    def __new__(cls, *args: Any) -> Any:
        error = super().__new__(cls, *args)
        vars(error)["made_by_new"] = len(args)
        return error


class Speechless(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class Several(ExceptionGroup[Exception]):
    def __new__(cls, errors: list[Exception]) -> Any:
        return super().__new__(cls, "several", errors)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad", 3, None),
        KeyError("label"),
        IndexError(),
        StopIteration(7),
        SystemExit(3),
        KeyboardInterrupt(),
        FileNotFoundError(2, "No such file", "a.npy"),
        OSError(18, "Invalid link", "a", None, "b"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        json.JSONDecodeError("Expecting value", "[1,", 3),
        subprocess.CalledProcessError(2, ["ls"], b"out", b"err"),
        ImportError("no torch", name="torch", path="/lib"),
        Swapped("a.txt", 3),
        Prefixed(7),
        NamedFile("b.npy"),
        Parsed("text", place=4),
        Counted(1, 2),
        Several([ValueError("a")]),
        NotPicklableError("tree"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_come_back_as_they_were(error: BaseException) -> None:
    error.add_note("sample 17")
    vars(error)["sample"] = LARGE
    text, attributes = str(error), dict(vars(error))
    back = after(error)
    assert type(back) is type(error)
    assert (str(back), repr(back.args)) == (text, repr(error.args))
    assert back.__notes__ == ["sample 17"]
    check_same(vars(back), attributes)
    for name in (
        "errno",
        "filename",
        "filename2",
        "strerror",
        "start",
        "object",
        "reason",
        "code",
        "value",
        "name",
        "doc",
    ):
        assert getattr(back, name, None) == getattr(error, name, None)
    assert back.__traceback__ is None
    assert back.__context__ is None


def test_the_traceback_is_the_cause() -> None:
    try:
        try:
            [][3]
        except IndexError as error:
            raise ValueError("sample 3") from error
    except ValueError as error:
        back = load_error(dump_error(error))
    assert isinstance(back.__cause__, WorkerTraceback)
    text = str(back.__cause__)
    assert text.startswith("in the worker:\n\nTraceback (most recent call last):")
    assert "IndexError: list index out of range" in text
    assert "direct cause" in text
    assert "ValueError: sample 3" in text
    assert "in test_the_traceback_is_the_cause" in text


def test_error_pickled_twice_keeps_its_traceback() -> None:
    first = after(Swapped("a.txt", 3))
    second = after(first)
    assert type(second) is Swapped
    assert (second.path, second.line) == ("a.txt", 3)
    text = str(second.__cause__)
    assert text.count("in the worker:") == 2
    assert text.count("Traceback (most recent call last):") == 2
    assert text.count("Swapped: a.txt:3") == 2


def test_attributes_that_cannot_travel_are_left_out_one_by_one() -> None:
    errors: list[Exception] = [ValueError("bad"), Swapped("a", 1), Parsed("b", place=2), ImportError("c", name="d")]
    for error in errors:
        vars(error).update(lock=threading.Lock(), sample=3, file=sys.stdin)
        back = after(error)
        assert type(back) is type(error)
        assert (str(back), vars(back)["sample"]) == (str(error), 3)
        assert not hasattr(back, "lock")


def test_arguments_that_cannot_travel_come_as_text() -> None:
    back = after(ValueError("bad", threading.Lock()))
    assert type(back) is ValueError
    assert back.args[0] == "bad"
    assert back.args[1].startswith("<unlocked _thread.lock")


def test_groups_come_with_their_members() -> None:
    members: list[Exception] = [Swapped("a", 1), ExceptionGroup("inner", [Prefixed(2), KeyError("c")])]
    back = after(ExceptionGroup("all", members))
    assert type(back) is ExceptionGroup
    first: Any
    first, inner = back.exceptions
    assert (type(first), first.args, first.line) == (Swapped, ("a:1",), 1)
    assert [type(error) for error in inner.exceptions] == [Prefixed, KeyError]
    assert inner.exceptions[0].args == ("code 2",)
    assert type(after(BaseExceptionGroup("stop", [KeyboardInterrupt()])).exceptions[0]) is KeyboardInterrupt


def test_errors_that_hold_each_other_come_to_an_end() -> None:
    one, two = ValueError("one"), KeyError("two")
    vars(one).update(other=two, me=one)
    vars(two).update(other=one)
    back = after(one)
    other = vars(back)["other"]
    assert (type(back), type(other)) == (ValueError, KeyError)
    assert str(vars(other)["other"]) == str(vars(back)["me"]) == "ValueError: one"
    deep: Exception = ValueError("leaf")
    for _ in range(12):  # each level tried more than once would be too many
        deep = ExceptionGroup("level", [deep, Swapped("a", 1)])
    back = after(deep)
    for _ in range(12):
        back = back.exceptions[0]
    assert str(back) == "leaf"


def test_classes_that_cannot_travel_leave_their_name_and_text(no_cloudpickle: None) -> None:
    class Local(Exception):
        pass

    class Note(str):
        __slots__ = ()

    error = Local("bad", 3)
    error.__notes__ = ["sample 17", 3, Note("local")]  # type: ignore[list-item]
    back = after(error)
    assert type(back) is WorkerError
    name = f"{__name__}.test_classes_that_cannot_travel_leave_their_name_and_text.<locals>.Local"
    assert str(back) == f"{name}: ('bad', 3)"
    assert back.__notes__ == ["sample 17"]
    assert "Local: ('bad', 3)" in str(back.__cause__)
    assert str(after(Local())) == name


def test_classes_that_are_not_here_leave_their_name_and_text(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dump_error(Swapped("a", 1))
    monkeypatch.delattr(sys.modules[__name__], "Swapped")
    back = load_error(data)
    assert type(back) is WorkerError
    assert str(back) == f"{__name__}.Swapped: a:1"
    assert isinstance(back.__cause__, WorkerTraceback)


def test_errors_of_local_classes_come_by_value() -> None:
    pytest.importorskip("cloudpickle", reason="it sends code by value")

    class Local(Exception):
        pass

    assert type(after(Local("bad"))) is Local


class Evil(Exception):
    hides = "__notes__"

    def __getattribute__(self, name: str) -> Any:
        if name == type(self).hides:
            raise ValueError("it is hidden")
        return super().__getattribute__(name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise ValueError("no parts")


class MoreEvil(Evil):
    hides = "__dict__"


def test_errors_of_every_sort_are_dumped() -> None:
    assert type(after(Speechless("x"))) is Speechless
    assert type(after(Evil("x"))) is Evil
    assert str(after(MoreEvil("x"))) == f"{__name__}.MoreEvil: it could not be sent: ValueError"
    noted = ValueError("x")
    noted.__notes__ = [3, "text"]  # type: ignore[list-item]
    assert after(noted).__notes__ == [3, "text"]

    class Text(str):
        __slots__ = ()

    class Odd(Exception):
        def __str__(self) -> str:
            return Text("odd")

    assert "odd" in str(after(Odd()))


@pytest.mark.parametrize(
    "data", [b"", b"junk", pickle.dumps(3), pickle.dumps((1, 2)), dump_error(ValueError("x"))[:-9]]
)
def test_what_cannot_be_read_is_an_error_too(data: bytes) -> None:
    back = load_error(data)
    assert type(back) is WorkerError
    assert str(back).startswith("the error of a worker could not be read: ")


@dumps
def test_errors_in_a_result_travel_as_others_do(dump: Dump) -> None:
    first: Any
    first, second = there_and_back([Swapped("a", 1), {"error": FileNotFoundError(2, "no", "b")}], dump)
    assert (type(first), first.line) == (Swapped, 1)
    assert second["error"].filename == "b"
    assert isinstance(first.__cause__, WorkerTraceback)


def test_errors_of_workers_that_end_work(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.npy") as caught:
        in_worker(functools.partial(np.load, tmp_path / "missing.npy"))
    assert "in <module>" in str(caught.value.__cause__)
    with pytest.raises(SystemExit) as stopped:
        in_worker(functools.partial(sys.exit, 4))
    assert stopped.value.code == 4
