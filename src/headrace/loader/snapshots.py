"""States of datasets that have one of their own, as they were after the batches that have been handed out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.loader.cursor import Cursor, Epoch, StartPoint

__all__ = ["ReaderStates", "RestoredStates", "Snapshots", "dataset_part", "is_stateful"]


class RestoredStates(NamedTuple):
    """The states of readers to go on from, by their numbers, and the epoch in which they do."""

    epoch: Epoch
    readers: dict[int, dict[str, Any]]


def is_stateful(thing: object) -> bool:
    """Return whether a thing has a state of its own: the methods `state_dict` and `load_state_dict`."""
    return callable(getattr(thing, "state_dict", None)) and callable(getattr(thing, "load_state_dict", None))


def dataset_part(state: dict[str, Any]) -> dict[str, Any]:
    """Return what is left of a reader's state when its epoch is over: the dataset's own."""
    return {"dataset": state["dataset"], "iterator": None, "number": 0, "position": 0, "ended": False}


class Snapshots:
    """The states of all who read a dataset, at the last steps at which they were taken together.

    Args:
        every: after so many batches they are taken, and those of the batches since are loaded again.

    >>> taken = Snapshots(every=2)
    >>> taken.begin(0, {})
    >>> for step in range(3):
    ...     taken.note((0, f"after {step}"), step)
    >>> taken.at(3)
    (2, {0: 'after 1'})
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.latest: dict[int, Any] = {}
        self._taken: list[tuple[int, dict[int, Any]]] = [(0, {})]

    def begin(self, step: int, states: dict[int, Any]) -> None:
        """Begin with what the readers were at a step."""
        self.latest = dict(states)
        self._taken = [(step, states)]

    def note(self, snapshot: tuple[int, Any] | None, step: int) -> None:
        """Take in the state of a reader after a step, if it was told, and count the step."""
        if snapshot is not None:
            reader, state = snapshot
            self.latest[reader] = state
        if (step + 1) % self.every == 0:
            # The last batch may wait behind an error that is raised first, so the one before it is kept.
            self._taken = [self._taken[-1], (step + 1, dict(self.latest))]

    def at(self, step: int) -> tuple[int, dict[int, Any]]:
        """Return the last step up to this one whose states are known, and those; no states where none are."""
        return next((taken for taken in reversed(self._taken) if taken[0] <= step), (0, {}))


class ReaderStates:
    """The states of all who read a loader's dataset, where it has one of its own.

    Attributes:
        snapshots: those of the iterator that began last.
        loaded: states that the next iterator goes on from, by the number of the reader; None for none.

    Args:
        every: after so many batches they are taken.
    """

    def __init__(self, every: int) -> None:
        self.snapshots = Snapshots(every)
        self.loaded: dict[int, Any] | None = None
        self._begun: Cursor | None = None

    def begin(self, cursor: Cursor, between: dict[int, Any]) -> None:
        """Let an iterator begin with the states that were loaded, else with those that epochs leave."""
        self.snapshots.begin(cursor.start.step, between if self.loaded is None else self.loaded)
        self._begun, self.loaded = cursor, None

    def at(self, place: StartPoint, between: Callable[[], dict[int, Any]]) -> tuple[int, dict[int, Any]]:
        """Return the last step up to a place whose states are known, and those.

        Args:
            place: where the loader stands.
            between: returns the states that the epoch before has left, where none has begun there.
        """
        begun = self._begun
        if self.loaded is not None:
            return place.step, self.loaded
        if begun is not None and not begun.finished and begun.epoch.number == place.number:
            return self.snapshots.at(place.step)
        return place.step, between()
