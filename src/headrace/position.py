"""Where a loader stands: its epochs with their seeds, and the step that an iterator has reached."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import Any

from headrace.adapters import draw_seed
from headrace.errors import ArgumentError
from headrace.keys import epoch_key

__all__ = ["Cursor", "Epoch", "Epochs"]


@dataclass(frozen=True, slots=True)
class Epoch:
    """An epoch's number and seed, from which all its randomness follows."""

    number: int
    seed: int

    @property
    def order_key(self) -> int:
        """The key of the order of the samples."""
        return epoch_key(self.seed, self.number, "order")

    @property
    def draws_key(self) -> int:
        """The key of the samples' own randomness."""
        return epoch_key(self.seed, self.number, "draws")


@dataclass(slots=True)
class Cursor:
    """Where an iterator stands: its epoch, and the number of the batch that comes next."""

    epoch: Epoch
    step: int
    finished: bool = False


class Epochs:
    """The epochs of a loader, one after the other.

    Args:
        seed: the seed of all epochs; None lets each draw its own when it is needed first.
        generator: where such seeds come from; None is Python's `random`.
    """

    def __init__(self, seed: int | None, generator: Any) -> None:
        self._seed = seed
        self._generator = generator
        # The epoch that begins next: its number, its first step, and its seed where that is known.
        self._next = (0, 0, seed)
        self._begun: Epoch | None = None  # the epoch begun last
        self._cursor: Cursor | None = None  # where the latest iterator stands
        self._lock = Lock()  # threads may each begin or look at the next epoch

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_cursor")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=Lock(), _cursor=None)

    def begin(self) -> Cursor:
        """Begin the next epoch, or go on with the one that was resumed."""
        with self._lock:
            cursor = self._cursor = self._upcoming()
            self._begun = cursor.epoch
            self._next = (cursor.epoch.number + 1, 0, self._seed)
        return cursor

    def go_to(self, number: int) -> None:
        """Let this epoch begin next, at its start or where it was resumed."""
        if number != self._next[0]:
            self._next = (number, 0, self._seed)
        self._cursor = self._begun = None

    def resume(self, number: int, step: int, seed: int | None) -> None:
        """Let this epoch begin next, at a step, with the seed that it had drawn (None if it has no own)."""
        seed = self._seed if seed is None else seed
        self._next, self._cursor = (number, step, seed), None
        self._begun = None if seed is None else Epoch(number, seed)

    def position(self) -> Cursor:
        """Where the latest iterator stands; before it and after its end, the start of the next epoch."""
        with self._lock:
            cursor = self._cursor
            return self._upcoming() if cursor is None or cursor.finished else cursor

    def epoch(self, number: int | None) -> Epoch:
        """The epoch of that number; None is the one begun last, or else the next one.

        Raises:
            ArgumentError: its seed is not known, because each epoch draws its own.
        """
        if self._begun is not None and number in (None, self._begun.number):
            return self._begun
        with self._lock:
            if number is None or number == self._next[0]:
                return self._upcoming().epoch
        if self._seed is not None:
            return Epoch(number, self._seed)
        raise ArgumentError(
            f"the batches of epoch {number} are not known: with seed=None each epoch draws its seed when it begins; "
            "give the DataLoader a seed to look at any epoch"
        )

    def _upcoming(self) -> Cursor:
        """The start of the epoch that begins next. A seed that it has to draw is kept until then."""
        number, step, seed = self._next
        seed = draw_seed(self._generator) if seed is None else seed
        self._next = (number, step, seed)
        return Cursor(Epoch(number, seed), step)
