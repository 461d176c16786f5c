"""Where a loader stands: its epochs with their seeds, and the step that an iterator has reached."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING, Any

from headrace.adapters import draw_seed
from headrace.errors import ArgumentError
from headrace.keys import epoch_key

if TYPE_CHECKING:
    from collections.abc import Collection

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
    """Where an iterator stands.

    Attributes:
        epoch: its epoch.
        step: all batches before this one have been handed out.
        ahead: and these after it, where batches need not come in order.
        finished: whether the epoch is over.
    """

    epoch: Epoch
    step: int
    ahead: set[int] = field(default_factory=set)
    finished: bool = False

    def hand_out(self, step: int) -> None:
        """Take note that a batch has been handed out, or passed over."""
        self.ahead.add(step)
        while self.step in self.ahead:
            self.ahead.remove(self.step)
            self.step += 1


@dataclass(frozen=True, slots=True)
class _Start:
    """Where an epoch begins: its number, its seed if that is known, and what has been handed out."""

    number: int
    seed: int | None
    step: int = 0
    ahead: frozenset[int] = frozenset()


class Epochs:
    """The epochs of a loader, one after the other.

    Args:
        seed: the seed of all epochs; None lets each draw its own when it is needed first.
        generator: where such seeds come from; None is Python's `random`.
    """

    def __init__(self, seed: int | None, generator: Any) -> None:
        self._seed = seed
        self._generator = generator
        self._next = _Start(0, seed)  # of the epoch that begins next
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
            self._next = _Start(cursor.epoch.number + 1, self._seed)
        return cursor

    def go_to(self, number: int) -> None:
        """Let this epoch begin next, at its start or where it was resumed."""
        if number != self._next.number:
            self._next = _Start(number, self._seed)
        self._cursor = self._begun = None

    def resume(self, number: int, step: int, ahead: Collection[int], seed: int | None) -> None:
        """Let this epoch begin next, where its cursor stood.

        Args:
            number: the number of the epoch.
            step: the cursor's step.
            ahead: the later steps that had been handed out.
            seed: the seed that the epoch had drawn; None if it has none of its own.
        """
        seed = self._seed if seed is None else seed
        self._next, self._cursor = _Start(number, seed, step, frozenset(ahead)), None
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
            if number is None or number == self._next.number:
                return self._upcoming().epoch
        if self._seed is not None:
            return Epoch(number, self._seed)
        raise ArgumentError(
            f"the batches of epoch {number} are not known: with seed=None each epoch draws its seed when it begins; "
            "give the DataLoader a seed to look at any epoch"
        )

    def _upcoming(self) -> Cursor:
        """The start of the epoch that begins next. A seed that it has to draw is kept until then."""
        start = self._next
        seed = draw_seed(self._generator) if start.seed is None else start.seed
        self._next = replace(start, seed=seed)
        return Cursor(Epoch(start.number, seed), start.step, set(start.ahead))
