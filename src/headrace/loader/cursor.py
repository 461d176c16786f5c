"""Epochs of a loader with their seeds, and cursors: the steps that its iterators have reached."""

from __future__ import annotations

import warnings
from collections import deque
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING, Any

from headrace.errors import ArgumentError, HeadraceWarning
from headrace.errors.notes import level_of_user
from headrace.frameworks import draw_seed, preview_seed
from headrace.rng.keys import epoch_key

if TYPE_CHECKING:
    from headrace.sampling.samplers import Pass

__all__ = ["Cursor", "Epoch", "Epochs", "StartPoint"]

# So many looks at an epoch's first batch in a row leave the epoch to the next iterator. More are no looks: who
# trains by `next(iter(loader))` would never see another batch.
_MOST_LOOKS = 10


@dataclass(frozen=True, slots=True)
class Epoch:
    """An epoch's number and seed, from which all its randomness follows.

    Attributes:
        number: 0, 1, ...
        seed: that of the loader, or the one that the epoch has drawn.
        numbered: whether the number is part of its keys. A drawn seed alone decides, so that the same state of the
            generator gives the same epoch again.
        draws_key: the key of the samples' own randomness.
    """

    number: int
    seed: int
    numbered: bool = True
    draws_key: int = field(init=False, repr=False, compare=False)  # asked for with every batch

    def __post_init__(self) -> None:
        object.__setattr__(self, "draws_key", self.key("draws"))

    def key(self, purpose: str) -> int:
        """Return the epoch's key for a purpose."""
        return epoch_key(self.seed, self.number if self.numbered else 0, purpose)

    @property
    def order_key(self) -> int:
        """The key of the order of the samples."""
        return self.key("order")


@dataclass(frozen=True, slots=True)
class StartPoint:
    """A place where an iterator begins.

    Attributes:
        number: the number of its epoch.
        seed: the epoch's seed; None if it is still to be drawn.
        numbered: whether the number is part of the epoch's keys.
        step: all batches before this one have been handed out.
        ahead: and these after it.
        length: the number of samples that the epoch's order is made for; None for the dataset's present one.
        sampler: what a user's sampler was when the epoch began; None if it is to begin anew.
        shift: so many samples of the epoch come before its first step.
        stop: the step before which it ends; None for the end of the epoch.
    """

    number: int
    seed: int | None
    numbered: bool
    step: int = 0
    ahead: frozenset[int] = frozenset()
    length: int | None = None
    sampler: dict[str, Any] | None = None
    shift: int = 0
    stop: int | None = None


@dataclass(slots=True, eq=False)
class Cursor:
    """The position of an iterator in its epoch.

    Attributes:
        epoch: its epoch.
        start: where it began.
        step: all batches before this one have been handed out.
        ahead: and these after it, where batches need not come in order.
        length: the number of samples that the order was made for; None where that is not known.
        sampler: the pass through a user's sampler; None where there is none, or it has not begun.
        finished: whether the epoch is over.
        trained: whether a second batch was asked for, so that it is more than a look at the data.
        stale: whether it is a look, and another iterator has gone through an epoch since.
    """

    epoch: Epoch
    start: StartPoint
    step: int
    ahead: set[int] = field(default_factory=set)
    length: int | None = None
    sampler: Pass | None = None
    finished: bool = False
    trained: bool = False
    stale: bool = False
    _previous: Cursor | None = None  # the one begun before, until this one is more than a look
    _lock: Lock = field(default_factory=Lock)

    def hand_out(self, step: int) -> None:
        """Take note that a batch has been handed out, or passed over."""
        with self._lock:
            if step == self.step:
                self.step += 1
            else:
                self.ahead.add(step)
            while self.step in self.ahead:
                self.ahead.remove(self.step)
                self.step += 1

    def reached(self) -> StartPoint:
        """Return the present place as one to begin from, consistent while other threads hand out batches."""
        with self._lock:
            step, ahead = self.step, frozenset(self.ahead)
        epoch = self.epoch
        sampler = self.start.sampler if self.sampler is None else self.sampler.state(step)
        shift = self.start.shift
        return StartPoint(epoch.number, epoch.seed, epoch.numbered, step, ahead, self.length, sampler, shift)


class Epochs:
    """The epochs of a loader, one after the other, and the iterators that go through them.

    An iterator begins an epoch with its first batch: `iter()` alone begins none. One that is dropped by the very call
    that asked for its first batch, as `next(iter(loader))` is, was a look at the data, and leaves the epoch to the next
    one. The loader stands where the iterator stands that was asked for a batch last; a first batch does not count while
    another one goes through its epoch.

    Attributes:
        skipped: the steps that are passed over, each as (epoch, step); it holds for iterators that begin.
        front: the cursor that was asked for a batch last, once it is more than a look: to `ask` it again tells nothing.

    Args:
        seed: the seed of all epochs; None lets each draw its own when it is needed first.
        generator: where such seeds come from; None is the program's own generator.
        of_torch: that one is torch's; else Python's `random`.
    """

    def __init__(self, seed: int | None, generator: Any, *, of_torch: bool = False) -> None:
        self._seed = seed
        self._generator = generator
        self._of_torch = of_torch
        self.skipped: set[tuple[int, int]] = set()
        self._next = self._fresh(0)  # of the epoch that begins next
        self._empty()

    def _empty(self) -> None:
        self._lock = Lock()  # threads may each begin or look at the next epoch
        self._running: list[Cursor] = []  # of those that go through an epoch, by when they were asked last
        self.front: Cursor | None = None  # the last of these, once it is more than a look
        self._left: Cursor | None = None  # of an iterator that was dropped in the midst of its epoch
        self._last: Cursor | None = None  # the one begun last
        self._looks = 0  # how many in a row were looks
        # Those that were dropped, and whether they were looks. Iterators end at any moment, so what follows from
        # that has to wait until the lock can be taken.
        self._dropped: deque[tuple[Cursor, bool]] = deque()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy goes on from: the present place."""
        with self._lock:
            current = self._current()
            begins = self._next if current is None else current.reached()
            of_self = {"_seed": self._seed, "_generator": self._generator, "_of_torch": self._of_torch}
        return {**of_self, "_next": begins, "skipped": set(self.skipped)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._empty()

    def draw_from(self, seed: int | None, generator: Any) -> None:
        """Let the epochs that have not begun have other seeds."""
        with self._lock:
            self._seed, self._generator = seed, generator
            if not self._next.step:
                self._next = self._fresh(self._next.number)

    # ------------------------------------------------------------------ iterators

    def begin(self, length: int | None) -> Cursor:
        """Begin the next epoch.

        Args:
            length: the present number of samples, if that decides on the order.

        Returns:
            A cursor for the iterator that goes through it.
        """
        self._warn_of_looks()
        with self._lock:
            self._settle()
            start = self._next
            cursor = _cursor(start, self._draw() if start.seed is None else start.seed, length)
            cursor.ahead |= {step for epoch, step in self.skipped if epoch == start.number and step >= start.step}
            cursor._previous, self._last = self._last, cursor  # noqa: SLF001 - known to this file only
            self._running.append(cursor)
            self._next = self._fresh(start.number + 1)
        return cursor

    def give_up(self, cursor: Cursor) -> None:
        """Let an epoch that was begun begin anew, since nothing could be loaded."""
        with self._lock:
            self._running.remove(cursor)
            if cursor.sampler is not None:
                cursor.sampler.undo()
            if cursor is self._last:
                self._next, self._last = replace(cursor.start, seed=cursor.epoch.seed), cursor._previous  # noqa: SLF001

    def ask(self, cursor: Cursor) -> None:
        """Take note that one more batch is asked for."""
        with self._lock:
            self._settle()
            cursor.trained, cursor._previous = True, None  # noqa: SLF001
            self._looks = 0
            if cursor in self._running:
                self._running.remove(cursor)
                self._running.append(cursor)
                self.front, self._left = cursor, None

    def finish(self, cursor: Cursor) -> None:
        """Take note that an epoch is over."""
        with self._lock:
            self._settle()
            cursor.finished = True
            if cursor in self._running:
                self._end(cursor)
                self._left = None

    def drop(self, cursor: Cursor, *, look: bool) -> None:
        """Take note that an iterator is gone, at whatever moment that is."""
        self._dropped.append((cursor, look))

    # ------------------------------------------------------------------ the present place

    def go_to(self, number: int) -> None:
        """Let this epoch begin next, at its start or where it was resumed."""
        with self._lock:
            self._settle()
            if number != self._next.number:
                self._next = self._fresh(number)
            self._forget()

    def resume(self, start: StartPoint) -> None:
        """Let the next iterator begin here. Without a seed of its own the epoch has that of the loader."""
        with self._lock:
            self._settle()
            self._next = replace(start, seed=self._seed, numbered=True) if start.seed is None else start
            if self._next.seed is None:
                self._next = replace(self._next, numbered=False)
            self._forget()

    def seek(self, number: int, step: int) -> None:
        """Let the next iterator begin at a step of an epoch, which has the seed that it had before if it had one."""
        with self._lock:
            self._settle()
            begun = [each.epoch for each in (*self._running, self._left, self._last) if each is not None]
            known = [epoch.seed for epoch in begun if epoch.number == number]
            start = replace(self._fresh(number), step=step)
            if known and start.seed is None:
                start = replace(start, seed=known[0])
            self._next = start
            self._forget()

    def place(self) -> StartPoint:
        """Return where the loader stands, and draw nothing."""
        with self._lock:
            current = self._current()
            return self._next if current is None else current.reached()

    def aside(self, cursor: Cursor, step: int, stop: int) -> Epochs:
        """Return epochs of their own, the next of which goes from one step of a given epoch to another."""
        epoch = cursor.epoch
        other = Epochs(self._seed, self._generator, of_torch=self._of_torch)
        shift = cursor.start.shift
        other._next = StartPoint(
            epoch.number, epoch.seed, epoch.numbered, step, length=cursor.length, shift=shift, stop=stop
        )
        return other

    def position(self) -> StartPoint:
        """Return where the loader stands; where no iterator does, that is the start of the next epoch."""
        with self._lock:
            current = self._current()
            if current is not None:
                return current.reached()
            if self._next.seed is None:
                self._next = replace(self._next, seed=self._draw())
            return self._next

    def next_start(self) -> StartPoint:
        """Return where the next iterator begins."""
        with self._lock:
            self._settle()
            return self._next

    def upcoming_length(self, length: int | None) -> int | None:
        """Return how many samples the next epoch has, where `length` is the number of those that are there."""
        with self._lock:
            self._settle()
            return length if self._next.length is None else self._next.length

    def find(self, number: int | None, length: int | None) -> Cursor:
        """Return the epoch of a number without beginning it; None is the present one, the one begun last, or the next.

        Args:
            number: the epoch's number.
            length: the present number of samples, if that decides on the order.

        Raises:
            ArgumentError: its seed is not known, because each epoch draws its own.
        """
        with self._lock:
            current = self._current() or self._last
            if current is not None and number is None:
                return current
            for cursor in (*self._running, self._left, self._last):
                if cursor is not None and cursor.epoch.number == number:
                    return cursor
            start = self._next
            if number in (None, start.number):
                seed = start.seed
                if seed is None:  # as it would be now; what is only looked at draws nothing
                    seed = preview_seed(self._generator, of_torch=self._of_torch)
                return _cursor(start, seed, length)
            if self._seed is not None:
                return _cursor(self._fresh(number), self._seed, length)
        raise ArgumentError(
            f"the batches of epoch {number} are not known: with seed=None each epoch draws its seed when it begins; "
            "give the DataLoader a seed to look at any epoch"
        )

    def is_current(self, cursor: Cursor) -> bool:
        """Return whether the samples of an epoch are decided by what `find` gave: it has begun, or begins next."""
        return cursor.start == self._next or cursor in (*self._running, self._left, self._last)

    # ------------------------------------------------------------------ inner parts

    def _fresh(self, number: int) -> StartPoint:
        return StartPoint(number, self._seed, numbered=self._seed is not None)

    def _draw(self) -> int:
        return draw_seed(self._generator, of_torch=self._of_torch)

    def _current(self) -> Cursor | None:
        """Return the cursor that says where the loader stands."""
        self._settle()
        for cursor in reversed(self._running):
            if cursor.trained:
                return cursor
        looks = [cursor for cursor in self._running if not cursor.stale]
        return looks[-1] if looks else self._left

    def _forget(self) -> None:
        self._running, self.front, self._left, self._last = [], None, None, None

    def _settle(self) -> None:
        """Draw the consequences of the iterators that are gone."""
        while self._dropped:
            cursor, look = self._dropped.popleft()
            if cursor not in self._running:
                continue
            if look and not cursor.trained and self._looks < _MOST_LOOKS:
                self._running.remove(cursor)
                self._give_back(cursor)
            else:
                self._end(cursor)
                if not any(other.trained for other in self._running):
                    self._left = cursor

    def _give_back(self, cursor: Cursor) -> None:
        """Leave the epoch of a look to the next iterator, unless a later one has begun."""
        if cursor is self._last:
            self._next, self._last = cursor.start, cursor._previous  # noqa: SLF001
            if cursor.start.seed is not None:
                self._looks += 1

    def _end(self, cursor: Cursor) -> None:
        """Let an iterator count no more, nor looks that are kept from before it unless they go on."""
        self._running.remove(cursor)
        for other in self._running:
            other.stale = not other.trained
        self.front = None
        cursor._previous = None  # noqa: SLF001

    def _warn_of_looks(self) -> None:
        with self._lock:
            self._settle()
            are_many = self._looks == _MOST_LOOKS
            self._looks += are_many
        if are_many:
            warnings.warn(
                f"next(iter(loader)) has given the first batch of epoch {self._next.number} {_MOST_LOOKS} times in a "
                "row; from now on each begins the next epoch. To train, keep one iterator and go through it; to look "
                "at a batch use loader.batch(step)",
                HeadraceWarning,
                stacklevel=level_of_user(),
            )


def _cursor(start: StartPoint, seed: int, length: int | None) -> Cursor:
    epoch = Epoch(start.number, seed, start.numbered)
    length = length if start.length is None else start.length
    return Cursor(epoch, start, start.step, set(start.ahead), length)
