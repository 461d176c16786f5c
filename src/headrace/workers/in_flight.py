"""Tasks in flight: how far workers are ahead of the consumer, and in which order results are handed out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["InFlight"]

T = TypeVar("T")
D = TypeVar("D")


class InFlight(Generic[T, D]):
    """The tasks that have been drawn and whose results have not been handed out.

    Args:
        tasks: where they come from.
        size: how many there may be.
        max_bytes: how large their results may be together, in bytes; None for no bound. Until the
            first result has come there is one task only, and there may always be one.
        in_order: hand out in the order of drawing, else in that of coming.
        first: the number of the first task; the others count on from it.

    >>> in_flight = InFlight(iter("abc"), size=2, max_bytes=None, in_order=True, first=0)
    >>> in_flight.draw()
    [(0, 'a'), (1, 'b')]
    >>> in_flight.finish(1, "B", nbytes=1)
    >>> in_flight.ready() is None  # the first comes first
    True
    """

    def __init__(self, tasks: Iterator[T], size: int, max_bytes: int | None, *, in_order: bool, first: int) -> None:
        self._tasks = tasks
        self._size = size
        self._max_bytes = max_bytes
        self._in_order = in_order
        self._next = first
        self._largest = 0
        self._pending: dict[int, T | None] = {}  # in the order of drawing; None where drawing failed
        self._done: dict[int, D | BaseException] = {}  # in the order of coming

    def __len__(self) -> int:
        return len(self._pending)

    def __contains__(self, number: int) -> bool:
        """Return whether the result of the task is waited for."""
        return number in self._pending and number not in self._done

    @property
    def waiting(self) -> int:
        """The number of results that have come and have not been handed out."""
        return len(self._done)

    @property
    def following(self) -> int:
        """The number of the task that will be drawn next."""
        return self._next

    @property
    def room(self) -> int:
        """The number of tasks that there may be, by the largest result that has come."""
        if self._max_bytes is None:
            return self._size
        return min(self._size, max(1, self._max_bytes // self._largest)) if self._largest else 1

    def resize(self, size: int, max_bytes: int | None) -> None:
        """Allow another number of tasks, and other bytes, from the next drawing on."""
        self._size, self._max_bytes = size, max_bytes

    def draw(self) -> list[tuple[int, T]]:
        """Draw as many tasks as there is room for, with their numbers.

        What drawing raises takes the place of a result.
        """
        drawn = []
        while len(self._pending) < self.room:
            try:
                task = next(self._tasks)
            except StopIteration:
                break
            except Exception as error:
                self._pending[self._next] = None
                self._done[self._next] = error
            else:
                self._pending[self._next] = task
                drawn.append((self._next, task))
            self._next += 1
        return drawn

    def unfinished(self) -> list[tuple[int, T]]:
        """Return the tasks whose results have not come."""
        return [
            (number, task) for number, task in self._pending.items() if task is not None and number not in self._done
        ]

    def finish(self, number: int, result: D | BaseException, nbytes: int) -> None:
        """Take in the result of a task, and how large it is."""
        self._largest = max(self._largest, nbytes, 1)
        if number in self:
            self._done[number] = result

    def ready(self) -> int | None:
        """Return the task whose turn it is to be handed out, if its result has come."""
        number = next(iter(self._pending if self._in_order else self._done), None)
        return number if number in self._done else None

    def hand_out(self, number: int) -> tuple[T | None, D | BaseException]:
        """Return the task and its result, which make room for another."""
        return self._pending.pop(number), self._done.pop(number)

    def clear(self) -> list[D]:
        """Give up all tasks; return the results that were not handed out."""
        unseen = [result for result in self._done.values() if not isinstance(result, BaseException)]
        self._tasks = iter(())
        self._pending.clear()
        self._done.clear()
        return unseen
