"""States of datasets that have one of their own, as they were after the batches that have been handed out."""

from __future__ import annotations

from typing import Any

__all__ = ["Snapshots", "dataset_part", "is_stateful"]


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
        """Return the last step up to this one whose states are known, and those."""
        earlier, last = self._taken[0], self._taken[-1]
        return last if last[0] <= step else earlier
