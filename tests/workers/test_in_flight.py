from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.workers.in_flight import InFlight


def in_flight(tasks: Any, size: int = 4, **options: Any) -> InFlight[Any, Any]:
    return InFlight(iter(tasks), size, **{"max_bytes": None, "in_order": True, "first": 0, **options})


class Stumbling:
    """Tasks, some of which are errors."""

    def __init__(self, *tasks: Any) -> None:
        self.tasks = iter(tasks)

    def __iter__(self) -> Stumbling:
        return self

    def __next__(self) -> Any:
        task = next(self.tasks)
        if isinstance(task, BaseException):
            raise task
        return task


def test_draws_as_many_as_there_is_room_for() -> None:
    tasks = count()
    found = in_flight(tasks, 3)
    assert found.draw() == [(0, 0), (1, 1), (2, 2)]
    assert found.draw() == []
    found.finish(0, "a", 1)
    assert found.draw() == []  # a result that nobody has taken holds its place
    assert found.hand_out(0) == (0, "a")
    assert found.draw() == [(3, 3)]
    assert next(tasks) == 4
    assert len(found) == 3


def test_numbers_go_on_where_they_are_told_to() -> None:
    found = in_flight("ab", first=7)
    assert found.draw() == [(7, "a"), (8, "b")]
    assert found.following == 9


@given(st.permutations(range(6)), st.booleans())
def test_order(coming: list[int], in_order: bool) -> None:
    found = in_flight("abcdef", 6, in_order=in_order)
    found.draw()
    handed_out = []
    for number in coming:
        found.finish(number, number, 1)
        while (ready := found.ready()) is not None:
            task, result = found.hand_out(ready)
            assert task == "abcdef"[ready]
            assert result == ready
            handed_out.append(result)
    assert handed_out == (sorted(coming) if in_order else coming)
    assert len(found) == 0


def test_a_result_that_comes_twice_counts_once() -> None:
    found = in_flight("ab")
    found.draw()
    found.finish(0, "first", 1)
    found.finish(0, "second", 1)
    assert found.hand_out(0) == ("a", "first")
    found.finish(0, "third", 1)
    assert 0 not in found
    assert 1 in found
    assert found.ready() is None


def test_an_error_of_drawing_takes_its_place() -> None:
    error, later = KeyError("x"), KeyError("y")
    found = in_flight(Stumbling("a", error, "b", later))
    assert found.draw() == [(0, "a"), (2, "b")]
    assert found.unfinished() == [(0, "a"), (2, "b")]
    found.finish(2, "B", 1)
    found.finish(0, "A", 1)
    out = []
    while (ready := found.ready()) is not None:
        out.append(found.hand_out(ready))
    assert out == [("a", "A"), (None, error), ("b", "B"), (None, later)]


def test_interrupt_is_not_a_result() -> None:
    found = in_flight(Stumbling("a", KeyboardInterrupt(), "b"))
    with pytest.raises(KeyboardInterrupt):
        found.draw()


def test_bytes() -> None:
    found = in_flight(count(), 8, max_bytes=100)
    assert len(found.draw()) == 1  # how large they are is not known yet
    found.finish(0, "a", 30)
    assert len(found.draw()) == 2  # three of 30, one of which waits
    found.finish(1, "b", 60)
    found.hand_out(0)
    found.hand_out(1)
    assert len(found.draw()) == 0  # one of 60 is under way
    found.finish(2, "c", 1000)
    found.hand_out(2)
    assert len(found.draw()) == 1  # there may always be one


def test_bytes_do_not_exceed_the_size() -> None:
    found = in_flight(count(), 2, max_bytes=10**9)
    found.draw()
    found.finish(0, "a", 0)
    assert len(found.draw()) == 1


def test_clear() -> None:
    tasks = count()
    found = in_flight(Stumbling("a", KeyError(), "b"), 3)
    found.draw()
    found.finish(0, "A", 1)
    assert found.clear() == ["A"]
    assert len(found) == 0
    assert found.draw() == []
    assert next(tasks) == 0
    assert found.following == 3
